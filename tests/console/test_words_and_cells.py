"""What cells, facts and clocks say, without a screen."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from agentclient.model.snapshot import FreezeInfo, VmState
from agentclient.model.states import (
    AgentState,
    EvidenceResult,
    FreezeState,
    Level,
    OutcomeKind,
    Phase,
    RunState,
)
from tests.console.fakes import StillClock
from tests.console.fleets import (
    EFI,
    HOSTILE_NAMES,
    ROOT,
    VAR,
    every_state,
    held,
    lost,
    make_vm,
    pending,
    refused,
    state_of,
    verified,
)
from tui.console.ascii import to_ascii
from tui.console.widgets.pane.fact import Fact, fact_lines, urgent_first
from tui.console.widgets.pane.facts import facts_of, size_in_words
from tui.console.widgets.table import cells
from tui.console.widgets.table.cells import Paint
from tui.console.widgets.table.columns import COLUMNS, lay_out
from tui.shared import glyphs
from tui.shared.clocks import countdown, elapsed
from tui.shared.fit import fit, safe, wrap
from tui.shared.glyphs import Signs
from tui.shared.tone import Line, Piece, hanging


@pytest.fixture
def paint(still: StillClock) -> Paint:
    return Paint(still.clock.moment(), Signs())


def text_of(lines: list[Line]) -> list[str]:
    return ["".join(piece.text for piece in line) for line in lines]


def said(facts: list[Fact], label: str) -> str:
    return next((fact.text for fact in facts if fact.label == label), "")


# -- words --------------------------------------------------------------------------------------

FOLDER = Path(__file__).resolve().parents[2]
VOCABULARY: list[tuple[Any, type[StrEnum]]] = [
    (glyphs.AGENT, AgentState),
    (glyphs.FREEZE, FreezeState),
    (glyphs.RUN, RunState),
    (glyphs.OUTCOME, OutcomeKind),
    (glyphs.PHASE, Phase),
    (glyphs.EVIDENCE, EvidenceResult),
    (glyphs.LEVEL, Level),
]


@pytest.mark.parametrize(("looks", "states"), VOCABULARY)
def test_every_state_has_a_look_with_its_own_word(looks: Any, states: type[StrEnum]) -> None:
    for state in states:
        assert looks[state].word == state.value


def test_a_language_that_python_has_put_there_is_not_the_operators() -> None:
    code = "from tui.shared.glyphs import detect_signs as d; print(d().ascii)"
    environment = {"LANG": "C", "TERM": "xterm", "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, env=environment, capture_output=True, check=True, cwd=FOLDER)
    assert told.stdout == b"True\n"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "xterm-256color", "FROSTWATCH_ASCII": "1"}, True),
        ({"TERM": "xterm-256color", "FROSTWATCH_ASCII": "0"}, False),
        ({"TERM": "linux"}, True),
        ({"TERM": "xterm", "LANG": "C"}, True),
        ({"TERM": "xterm", "LANG": ""}, True),
        ({"TERM": "xterm", "LC_ALL": "POSIX"}, True),
        ({"TERM": "xterm", "LANG": "C", "LC_CTYPE": "de_DE.UTF-8"}, False),
    ],
)
def test_the_set_of_signs(
    environment: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FROSTWATCH_ASCII", "LC_ALL", "LC_CTYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "en_GB.UTF-8")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("locale.getpreferredencoding", lambda do_setlocale=True: "UTF-8")
    assert glyphs.detect_signs() == Signs(ascii=expected)


def test_a_locale_without_unicode_gets_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("FROSTWATCH_ASCII", raising=False)
    monkeypatch.setattr("locale.getpreferredencoding", lambda do_setlocale=True: "ISO-8859-1")
    assert glyphs.detect_signs().ascii


# -- text on cells ------------------------------------------------------------------------------


@given(st.text(max_size=60), st.integers(1, 40), st.booleans())
def test_a_cell_is_as_wide_as_its_column(text: str, width: int, right: bool) -> None:
    assert cell_len(fit(safe(text), width, right=right)) == width


@given(st.text(max_size=200), st.integers(2, 60))
def test_wrapped_text_fits_and_loses_nothing(text: str, width: int) -> None:
    lines = wrap(safe(text), width)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == safe(text).replace(" ", "")


def test_a_long_path_is_broken_behind_a_slash() -> None:
    upid = "UPID:node1:0000A2B3:00C0FFEE:65000000:vzdump:101:root@pam:"
    text = f"end them: pvesh delete /nodes/node1/tasks/{upid}; then: frostwatch thaw"
    assert wrap(text, 69) == (
        "end them: pvesh delete /nodes/node1/tasks/",
        f"{upid}; then:",
        "frostwatch thaw",
    )
    assert wrap(text, 54) == (
        "end them: pvesh delete /nodes/node1/tasks/UPID:node1:",
        "0000A2B3:00C0FFEE:65000000:vzdump:101:root@pam:; then:",
        "frostwatch thaw",
    )
    assert wrap("/a/b//cc", 4) == ("/a/", "b/", "/cc")
    assert wrap("/one/two", 8) == ("/one/two",)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_names_are_one_harmless_line(name: str) -> None:
    shown = safe(name)
    assert len(shown) <= 200
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)


def test_a_sentence_hangs_below_its_own_beginning() -> None:
    lines = hanging((Piece("  label  "), Piece("one two three four")), 19)
    assert text_of(lines) == ["  label  one two", "         three four"]


def test_ascii_has_the_same_width() -> None:
    for text in ("❆ frozen…", "日本語", "─│┌┐", "ż"):
        assert to_ascii(text).isascii()
        assert cell_len(to_ascii(text)) == cell_len(text)


@given(st.characters(exclude_categories=["Cs"]))
def test_no_letter_of_a_name_ends_a_word_in_quotes(letter: str) -> None:
    """Commands that are to be pasted are drawn through this as well."""
    assert letter == "'" or "'" not in to_ascii(letter)
    assert "'" not in to_ascii("’‘‚‛′＇ʼ´")


# -- columns ------------------------------------------------------------------------------------


def test_columns_fit_and_do_not_overlap() -> None:
    for width in range(10, 260):
        placed = lay_out(width).placed
        assert placed[0].column.id == "name"
        end = 0
        for column in placed:
            assert column.x > end - 1
            end = column.x + column.width
        assert end <= max(width, 3 + 14)


def test_a_small_terminal_shows_what_matters() -> None:
    shown = {placed.column.id for placed in lay_out(79).placed}
    assert shown == {"name", "agent", "freeze", "step", "total", "silent", "held"}


def test_a_large_terminal_shows_everything() -> None:
    assert len(lay_out(159).placed) == len(COLUMNS)


# -- cells --------------------------------------------------------------------------------------


def test_a_long_freeze_shows_its_clocks(still: StillClock, paint: Paint) -> None:
    state = VmState(make_vm("a"), progress=pending(still))
    assert cells.step(state, paint).text == "2/6  7:41"
    assert cells.total(state, paint).text == "47:41"
    assert cells.silent(state, paint).text == "12:19"
    assert cells.held(state, paint).text == ""


def test_a_guest_that_never_answered_is_silent_since_it_was_asked(
    still: StillClock, paint: Paint
) -> None:
    state = VmState(make_vm("a"), progress=pending(still, heard_at=None))
    assert cells.silent(state, paint).text == "12:19"


def test_clocks_run(still: StillClock) -> None:
    state = VmState(make_vm("a"), progress=pending(still))
    still.advance(462)
    later = Paint(still.clock.moment(), Signs())
    assert cells.step(state, later).text == "2/6  0:00"
    assert cells.total(state, later).text == "39:59"
    assert cells.silent(state, later).text == "20:01"


def test_a_held_freeze_shows_its_window(still: StillClock, paint: Paint) -> None:
    state = VmState(make_vm("a"), progress=held(still))
    assert cells.held(state, paint).text == "0:42/1:00"
    assert cells.step(state, paint).text == "✓ verified"
    assert cells.total(state, paint).text == ""


def test_a_foreign_freeze_is_at_least_so_old(still: StillClock, paint: Paint) -> None:
    state = state_of(every_state(still), "db-2")
    assert cells.freeze(state, paint).text == "◈ foreign"
    assert cells.held(state, paint).text == "≥12:03"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"phase": Phase.BLOCKED}, "2/6 blocked"),
        ({"cancelled": True}, "2/6  7:41 ↩"),
        ({"phase": Phase.DRAINING}, "≋ draining"),
        ({"phase": Phase.THAWING, "verdict": lost()}, "✗ lost"),
        ({"phase": Phase.THAWING}, "◑ thawing"),
        ({"phase": Phase.THAWING, "verdict": verified()}, "◑ thawing"),
        ({"phase": Phase.AT_RISK}, "▲ at risk"),
        ({"phase": Phase.PREPARING, "step": 0}, "◌ preparing"),
    ],
)
def test_what_goes_on(
    still: StillClock, paint: Paint, changes: dict[str, Any], expected: str
) -> None:
    state = VmState(make_vm("a"), progress=pending(still, **changes))
    assert cells.step(state, paint).text == expected


def test_what_came_out(paint: Paint) -> None:
    state = VmState(make_vm("a"), last=verified())
    assert cells.step(state, paint).text == "✓ certified"
    assert cells.step(state._replace(last=verified(certified=False)), paint).text == "✓ verified"
    assert cells.why(state._replace(last=refused()), paint).text == "silent"
    assert cells.why(state._replace(last=lost()), paint).text == "agent-restarted"


def test_nothing_turns_red_while_a_guest_is_frozen(still: StillClock, paint: Paint) -> None:
    state = state_of(every_state(still), "app-2")
    shown = {cell(state, paint).tone for cell in (cells.run, cells.agent, cells.known_by)}
    assert not shown & {"bad", "warn"}


def test_countdowns_never_go_below_zero(still: StillClock) -> None:
    moment = still.clock.moment()
    assert countdown(still.mono - 5, moment) == "0:00"
    assert countdown(still.mono + 600, moment) == "10:00"
    assert countdown(still.mono + 0.2, moment) == "0:01"
    assert elapsed(still.mono + 5, moment) == "0:00"


# -- facts --------------------------------------------------------------------------------------


def test_facts_of_a_long_freeze(still: StillClock, paint: Paint) -> None:
    state = VmState(
        make_vm("a"), progress=pending(still, blocked_s=61.0), file_systems=(ROOT, VAR, EFI)
    )
    facts = facts_of(state, paint)
    assert "step 2 of 6 ends in 7:41 · gives up in 47:41, at 12:47:41" in said(facts, "now")
    assert said(facts, "seen") == (
        "the agent has read the freeze · silent 12:19 · blocked by the host 1 min 1 s · "
        "wrote 7.0 MiB since it was sent"
    )
    assert "2 of 3 can freeze: vda1 (ext4 at /), vdb1" in said(facts, "mounts")
    assert any("can't freeze: vda15 (vfat" in fact.text for fact in facts)


@pytest.mark.parametrize(
    ("read", "words"), [(True, "has read"), (False, "NOT read"), (None, "can't be seen")]
)
def test_whether_the_freeze_was_read(
    still: StillClock, paint: Paint, read: bool | None, words: str
) -> None:
    state = VmState(make_vm("a"), progress=pending(still, read=read))
    assert words in said(facts_of(state, paint), "seen")


def test_facts_of_a_window(still: StillClock, paint: Paint) -> None:
    facts = facts_of(VmState(make_vm("a"), progress=held(still)), paint)
    assert said(facts, "window") == "❆ held for 0:42 · thawed on its own in 0:18 · 2 file systems"
    assert "✓ verified" in said(facts, "verdict")


def test_the_evidence_of_the_last_outcome(paint: Paint) -> None:
    facts = facts_of(VmState(make_vm("a"), last=verified()), paint)
    assert said(facts, "evidence") == "✓ reply: 2 (3.1 s old)"
    assert [fact.text for fact in facts if fact.text.startswith("? writes")]
    assert said(facts, "counts") == "2 frozen · 2 thawed · in 3.4 s · coverage 2 of 3"
    assert "vda15 (vfat at /boot/efi) could take writes" in said(facts, "outside")


def test_what_a_person_has_to_do_is_never_cut_away(paint: Paint) -> None:
    state = VmState(make_vm("mail"), last=lost(settled=False), trouble="no monitor")
    lines = text_of(urgent_first(facts_of(state, paint), 70))
    assert any("frostwatch thaw qemu:mail" in line for line in lines[:6])


def test_what_is_most_urgent_stands_on_top(paint: Paint) -> None:
    lines = text_of(urgent_first(facts_of(VmState(make_vm("a"), last=lost()), paint), 78))
    assert [line[:9].strip() for line in lines[:6]] == ["last", "copy", "", "guest", "next", ""]
    assert all(cell_len(line) <= 78 for line in lines)


def test_what_is_cut_is_told_in_full_further_below(paint: Paint) -> None:
    reason = "it was " * 20 + "so"
    last = lost()._replace(reason=reason)
    lines = text_of(urgent_first(facts_of(VmState(make_vm("a"), last=last), paint), 78))
    assert "…" in lines[0]
    whole = " ".join(line[9:].strip() for line in lines)
    assert reason in whole
    assert any(line.startswith("in full") for line in lines)


def test_what_is_held_is_not_called_silent(still: StillClock, paint: Paint) -> None:
    state = VmState(make_vm("a"), progress=held(still))
    assert cells.silent(state, paint).text == ""
    assert "silent" not in said(facts_of(state, paint), "seen")


def test_all_facts_are_wrapped(still: StillClock, paint: Paint) -> None:
    facts = facts_of(state_of(every_state(still), "mail"), paint)
    assert all(cell_len(line) <= 40 for line in text_of(fact_lines(facts, 40)))


def test_a_foreign_freeze_is_said_to_be_one(paint: Paint) -> None:
    info = FreezeInfo(FreezeState.FROZEN, None, foreign=True)
    facts = facts_of(VmState(make_vm("a"), freeze=info), paint)
    assert "not provably by this console" in said(facts, "freeze")


def test_a_fact_that_can_not_be_said_is_one_fact(paint: Paint) -> None:
    broken = VmState(make_vm("a"), run_state=cast(RunState, "nonsense"), last=lost())
    facts = facts_of(broken, paint)
    assert "can't be shown" in said(facts, "trouble")
    assert "lost" in said(facts, "last")


def test_sizes() -> None:
    assert [size_in_words(size) for size in (0, 1023, 1536, 7_340_032, 5 * 2**40)] == [
        "0 B", "1023 B", "1.5 KiB", "7.0 MiB", "5.0 TiB",
    ]  # fmt: skip


@given(st.lists(st.text("ab● データ", max_size=40), min_size=1, max_size=6), st.integers(24, 90))
@example(["a aaaaaタタタタタタタタタ", ""], 24)
def test_a_line_is_broken_and_never_cut(texts: list[str], width: int) -> None:
    rows = hanging(tuple(Piece(text) for text in texts), width)
    assert all(sum(cell_len(piece.text) for piece in row) <= width for row in rows)
    said = "".join(piece.text for row in rows for piece in row)
    assert said.replace(" ", "") == "".join(texts).replace(" ", "")
