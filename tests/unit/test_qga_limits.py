"""The guest is untrusted (P7, protocol §2.6): size, depth, types and texts."""

from __future__ import annotations

import json
import time
import tracemalloc

import pytest

from agentclient.protocol.qga import MOST_NOISE, NOISE_OF_A_LINE, AgentWire
from agentclient.protocol.qga_events import Dropped, Failure, Reply, Synced
from agentclient.protocol.qga_lines import DEFAULT_MAX_LINE
from tests.unit.fakes import failed, line
from tests.unit.test_qga import answers, new_wire, owned_wire, synced


def untagged(max_line: int = 1000) -> AgentWire:
    wire = owned_wire(tags=False, max_line=max_line)
    wire.request(2, "guest-info")
    return wire


# -- size -------------------------------------------------------------------------------------


def test_the_limit_is_eight_mebibytes() -> None:
    assert DEFAULT_MAX_LINE == 8 * 1024 * 1024


def test_a_line_of_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    exact = line({"return": "x" * 100})[:-1]
    assert untagged(len(exact)).feed(exact + b"\n") == [Reply(2, "x" * 100)]
    assert untagged(len(exact) - 1).feed(exact + b"\n") == [
        Dropped(f"a line of {len(exact)} bytes (limit {len(exact) - 1})", violation=True)
    ]


def test_behind_an_overlong_line_the_conversation_goes_on() -> None:
    wire = untagged(max_line=50)
    events = wire.feed(b"x" * 60 + line({"return": "lost"}) + line({"return": 1}))
    assert [type(event) for event in events] == [Dropped, Reply]
    assert events[1] == Reply(2, 1)


def test_an_overlong_line_without_an_end_is_cut_by_a_sentinel() -> None:
    wire = untagged(max_line=50)
    wire.sync(3)
    events = wire.feed(b"x" * 60 + synced(102))
    assert events[0] == Dropped("a line of 60 bytes (limit 50)", violation=True)
    assert events[-1] == Synced(3)


def test_the_head_of_an_overlong_line_is_no_line() -> None:
    wire = untagged(max_line=50)
    reply = line({"return": 1})[:-1]
    assert answers(wire.feed(reply + b" " * 60) + wire.feed(b"\n")) == []


def test_a_hundred_megabytes_in_one_line_stay_bounded_in_memory() -> None:
    wire = AgentWire(new_id=lambda: 101)
    wire.sync(1)
    piece = b"x" * (1024 * 1024)
    tracemalloc.start()
    try:
        for _ in range(100):
            assert wire.feed(piece) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * DEFAULT_MAX_LINE
    events = wire.feed(b"\n" + synced(101))
    assert events[0] == Dropped(f"a line of {100 * 2**20} bytes (limit 8388608)", violation=True)
    assert events[1] == Synced(1)


def test_what_is_told_of_a_long_line_is_short() -> None:
    for content in (b"x" * 900, b'{"a":"' + b"x" * 900 + b'"}', b"[" + b"1," * 400 + b"1]"):
        (event,) = untagged().feed(content + b"\n")
        assert isinstance(event, Dropped)
        assert len(event.text) < 200
    (event,) = owned_wire().feed(line({"return": "y" * 900}))
    assert isinstance(event, Dropped)
    assert len(event.text) < 200


def test_an_error_text_is_capped() -> None:
    (event,) = untagged().feed(failed("d" * 900, "C" * 50))
    assert isinstance(event, Failure)
    assert len(event.desc) == 500
    (event,) = untagged().feed(failed("", "C" * 900))
    assert isinstance(event, Failure)
    assert len(event.error_class) == 60


# -- floods -----------------------------------------------------------------------------------


def flood_after(wire: AgentWire, data: bytes) -> str | None:
    wire.feed(data)
    return wire.flood


def test_a_line_without_an_end_is_a_flood_while_it_comes() -> None:
    wire = untagged(max_line=50)
    assert flood_after(wire, b"\xff" * 50) is None
    assert flood_after(wire, b"\xff") == "a line of 51 bytes and more (limit 50)"
    assert wire.noisy
    assert flood_after(wire, b"\n") is None


@pytest.mark.parametrize("noise", [b"x\n", b"\xff\n", b"{}\n", line({"return": 1, "id": "x"})])
def test_lines_that_answer_nothing_are_a_flood_until_an_answer_comes(noise: bytes) -> None:
    wire = untagged()
    assert flood_after(wire, noise * (MOST_NOISE // NOISE_OF_A_LINE)) is None
    text = f"{MOST_NOISE + NOISE_OF_A_LINE} bytes in a row that are no answer"
    assert flood_after(wire, noise) == text
    assert flood_after(wire, line({"return": 1})) is None


def test_what_others_have_left_is_noise_and_no_flood() -> None:
    wire = new_wire(max_line=50)
    wire.sync(1)
    stale = b"y" * 60 + b"\n" + b"x\n" * (MOST_NOISE // NOISE_OF_A_LINE + 1)
    assert flood_after(wire, stale) is None
    assert wire.noisy
    assert flood_after(wire, synced(101)) is None
    assert not wire.noisy


# -- depth ------------------------------------------------------------------------------------


def nested(depth: int, opening: bytes, inside: bytes, closing: bytes) -> bytes:
    """A reply that is nested `depth` deep, its own object included."""
    return b'{"return":' + opening * (depth - 1) + inside + closing * (depth - 1) + b"}\n"


@pytest.mark.parametrize(
    ("opening", "inside", "closing"), [(b"[", b"", b"]"), (b'{"a":', b"1", b"}")]
)
def test_nesting_is_taken_up_to_the_limit(opening: bytes, inside: bytes, closing: bytes) -> None:
    (event,) = untagged().feed(nested(8, opening, inside, closing))
    assert isinstance(event, Reply)
    deeper = untagged().feed(nested(9, opening, inside, closing))
    assert deeper == [Dropped("a line nested deeper than 8", violation=True)]


def test_brackets_side_by_side_and_in_strings_are_not_deep() -> None:
    value = [{"s": '[[[[[[[[[{{{{{\\"[["{', "\\": []}] * 20
    assert untagged(10_000).feed(line({"return": value})) == [Reply(2, value)]


@pytest.mark.parametrize("quote", [b'"', b'\\"', b'"\\\\"', b'"\\"'])
def test_quotes_do_not_hide_depth(quote: bytes) -> None:
    (event,) = untagged(100_000).feed(b'{"return":["a",' + quote + b"," + b"[" * 5000 + b"\n")
    assert isinstance(event, Dropped)
    assert event.violation


def test_closing_brackets_do_not_pay_for_opening_ones() -> None:
    (event,) = untagged(100_000).feed(b"]" * 5000 + b"[" * 5000 + b"\n")
    assert event == Dropped("a line nested deeper than 8", violation=True)


@pytest.mark.parametrize("size", [100_000, 400_000])
def test_a_hundred_thousand_brackets_are_a_violation_and_no_crash(size: int) -> None:
    wire = AgentWire()
    assert wire.feed(b"[" * size + b"]" * size + b"\n") == [
        Dropped("a line nested deeper than 64", violation=True)
    ]


@pytest.mark.parametrize(
    "line_",
    [
        b"[]" * 65 + b'"' + b'\\"' * 500_000,
        b"[]" * 65 + b'"' * 500_001,
        b"[]" * 65 + b"\\" * 500_000,
        b"[]" * 500_000,
        (b"[" * 64 + b"]" * 64) * 8_000,
        b"[" * 64 + b"1," * 500_000,
    ],
    ids=["escaped quotes", "quotes", "backslashes", "pairs", "towers", "unclosed"],
)
def test_no_line_takes_long_to_judge(line_: bytes) -> None:
    started = time.process_time()
    (event,) = AgentWire().feed(line_ + b"\n")
    assert isinstance(event, Dropped)
    # Many times what it takes; what backtracks takes hours.
    assert time.process_time() - started < 2.0


# -- types ------------------------------------------------------------------------------------

WRONG: list[object] = [
    None,
    True,
    0,
    -1,
    2**63,
    10**400,
    1.5,
    1e300,
    "",
    "x",
    [],
    [[]],
    {},
    {"a": None},
]


@pytest.mark.parametrize("value", WRONG)
def test_a_reply_may_be_of_any_type(value: object) -> None:
    assert untagged().feed(line({"return": value})) == [Reply(2, value)]


@pytest.mark.parametrize("error", WRONG)
def test_an_error_may_be_of_any_type(error: object) -> None:
    (event,) = untagged().feed(line({"error": error}))
    assert isinstance(event, Failure)
    assert event.error_class == "GenericError"
    assert isinstance(event.desc, str)


@pytest.mark.parametrize("value", WRONG)
def test_an_errors_class_and_text_may_be_of_any_type(value: object) -> None:
    (event,) = untagged().feed(line({"error": {"class": value, "desc": value}}))
    assert isinstance(event, Failure)
    assert isinstance(event.error_class, str)
    assert isinstance(event.desc, str)


@pytest.mark.parametrize(
    "body", [b"null", b"1", b'"return"', b"[]", b'["return"]', b"true", b"NaN", b"-Infinity"]
)
def test_a_line_is_an_object(body: bytes) -> None:
    events = untagged().feed(body + b"\n")
    assert events == [Dropped(f"no JSON object: {body!r}", violation=True)]


@pytest.mark.parametrize(
    "body",
    [
        b"}",
        b"{",
        b"{]",
        b"x",
        b'{"return"}',
        b"{} {}",
        b"\x00",
        b"'",
        b"{'return': 1}",
        b"\x80\x81",
    ],
)
def test_what_is_no_json_is_a_violation(body: bytes) -> None:
    (event,) = untagged().feed(body + b"\n")
    assert isinstance(event, Dropped)
    assert event.violation


@pytest.mark.parametrize("body", [{}, {"event": "X"}, {"QMP": {}}, {"id": 1}, {"execute": "x"}])
def test_an_object_that_is_neither_reply_nor_error_is_a_violation(body: object) -> None:
    (event,) = untagged().feed(line(body))
    assert isinstance(event, Dropped)
    assert event.violation
    assert event.text.startswith("no reply: ")


def test_an_object_with_both_is_an_error() -> None:
    events = untagged().feed(line({"return": 2, "error": {"class": "X", "desc": "d"}}))
    assert events == [Failure(2, "X", "d")]


def test_numbers_that_are_none() -> None:
    (event,) = untagged().feed(b'{"return": NaN}\n')
    assert isinstance(event, Reply)
    assert event.value != event.value
    assert untagged().feed(b'{"return": 1e999}\n') == [Reply(2, float("inf"))]
    (event,) = untagged(10_000).feed(b'{"return": ' + b"9" * 5000 + b"}\n")
    assert isinstance(event, Dropped)
    assert event.violation


def test_invalid_utf8_inside_of_a_string_is_replaced() -> None:
    assert untagged().feed(b'{"return": "a\x80\xc3b"}\n') == [Reply(2, "a\ufffd\ufffdb")]


def test_lone_surrogates_pass_as_a_value_and_are_shown_escaped() -> None:
    assert untagged().feed(b'{"return": "\\ud800"}\n') == [Reply(2, "\ud800")]
    assert untagged().feed(b'{"error": {"desc": "\\ud800"}}\n') == [
        Failure(2, "GenericError", "\\ud800")
    ]


def test_error_texts_are_safe_to_show() -> None:
    events = untagged().feed(failed("\x1b[2J\u202egone\n", "\x9bC"))
    assert events == [Failure(2, "\\x9bC", "\\x1b[2J\\u202egone ")]


def test_dropped_texts_are_safe_to_show() -> None:
    for data in (
        b"\x1b[2J\n",
        json.dumps({"return": "\x1b[2J\u202e"}, ensure_ascii=False).encode() + b"\n",
        json.dumps({"\x1b": "\u202e"}, ensure_ascii=False).encode() + b"\n",
        b"\x1b[2J\xff\n",
    ):
        wire = new_wire()
        wire.sync(1)
        for event in wire.feed(data):
            assert isinstance(event, Dropped)
            assert event.text.isprintable()


def test_a_line_of_a_million_empty_lists_is_a_violation_and_no_memory() -> None:
    wire = AgentWire()
    line = b'{"return": [' + b"[]," * 1_000_000 + b"0]}\n"
    assert wire.feed(line) == [Dropped("a line of more than 500000 elements", violation=True)]


def test_a_flood_of_junk_lines_is_told_in_few_words() -> None:
    wire = AgentWire()
    events = wire.feed(b"x\n" * 30_000)
    assert len(events) == 101
    assert events[-1] == Dropped("29900 more lines that are no answers", violation=True)
