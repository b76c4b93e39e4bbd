from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.model.text import DEFAULT_LIMIT, printable

FORBIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"}
# Plain text, and characters of every category (surrogates included) in equal shares.
NASTY = st.sampled_from(
    "\x1b\x9b\x00\x7f\x85\u202e\u2066\u200d\u0301\u0489\ufeff\U000e0041\ud800\n\t\\"
)
ANYTHING = st.text(st.one_of(NASTY, st.characters(), st.sampled_from("ab 漢é")), max_size=80)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ~ text", "plain ~ text"),
        ("", ""),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("C1 \x9b31m \x90", "C1 \\x9b31m \\x90"),
        ("nul \x00 del \x7f", "nul \\x00 del \\x7f"),
        ("a\nb\rc\td", "a b c d"),
        ("next\x85line", "next\\x85line"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("abc\u202egpj.exe", "abc\\u202egpj.exe"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("zero\u200bwidth\u200d\ufeff", "zero\\u200bwidth\\u200d\\ufeff"),
        ("tag \U000e0041", "tag \\U000e0041"),
        ("private \ue000 \U0010ffff", "private \\ue000 \\U0010ffff"),
        ("lone \ud800 \udcff", "lone \\ud800 \\udcff"),
        ("ünïcödé 漢字 🧊", "ünïcödé 漢字 🧊"),
        ("db[/]1", "db[/]1"),
    ],
)
def test_what_moves_or_reorders_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_marks_that_pile_up_are_cut_after_four_and_others_are_kept() -> None:
    acute = "\u0301"
    assert printable("e" + acute * 9 + "x" + acute) == "e" + acute * 4 + "x" + acute
    assert printable("e" + "\u0489" * 9) == "e" + "\u0489" * 4
    assert printable(acute * 9) == acute * 4
    assert printable(("漢" + acute * 9) * 2) == ("漢" + acute * 4) * 2


def test_a_million_marks_are_one_character() -> None:
    assert printable("e" + "\u0301" * 100_000, 10) == "e" + "\u0301" * 4


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "None"),
        (5, "5"),
        (["\x1b"], "['\\x1b']"),
        (b"\x1b", "b'\\x1b'"),
        (ValueError("\x1b"), "\\x1b"),
    ],
)
def test_any_value_can_be_shown(value: object, shown: str) -> None:
    assert printable(value) == shown


def test_the_limit_counts_characters_of_the_result() -> None:
    assert printable("a" * 10, 10) == "a" * 10
    assert printable("a" * 11, 10) == "a" * 9 + "…"
    assert printable("\x1b" * 3, 12) == "\\x1b" * 3
    assert printable("\x1b" * 4, 12) == "\\x1b\\x1b\\x1…"
    assert len(printable("x" * 10_000)) == DEFAULT_LIMIT


@given(ANYTHING, st.integers(1, 60))
def test_nothing_unsafe_ever_comes_out(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert not {unicodedata.category(one) for one in shown} & FORBIDDEN
    assert len(shown) <= limit
    assert shown.encode("utf-8").decode("utf-8") == shown


@given(ANYTHING, st.integers(1, 60))
def test_what_is_printable_stays_as_it_is(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert printable(shown, limit) == shown


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=60))
def test_harmless_text_is_not_touched(text: str) -> None:
    assert printable(text) == text


def test_every_unsafe_character_of_unicode_is_shown_as_its_number() -> None:
    for code in [*range(0x20), *range(0x7F, 0xA0), 0xAD, *range(0x2000, 0x2070), 0xFEFF, 0xFFF9]:
        one = chr(code)
        if one not in "\n\t\r" and unicodedata.category(one) in FORBIDDEN:
            assert printable(one) in (f"\\x{code:02x}", f"\\u{code:04x}")
