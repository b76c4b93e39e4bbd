"""A report of what has happened to one VM, in Markdown: for a ticket, or for somebody to come.

Whatever a guest or its administrator has chosen stands in code, so that it can neither make a
heading nor a link.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from agentclient.journal.history import VmHistory
from agentclient.model.explanation.present import Present, present
from agentclient.model.guest_report import GuestReport
from agentclient.model.snapshot import LogLine, VmState
from agentclient.model.text import printable, uncut
from agentclient.model.version import VERSION
from agentclient.model.vm import VmId
from tui.console.model.explained import explained
from tui.console.model.guest_lines import guest_lines
from tui.console.model.vm_lines import identity_lines, longest_answer, past_head, past_line
from tui.shared.clocks import Moment
from tui.shared.glyphs import Signs
from tui.shared.tone import Line
from tui.shared.verdict import verdict_of

MOST_LINES = 200  # of the log
MOST_WINDOWS = 50  # of the past
_TEXT = 2000
_ROOM = 100
_PLAIN = Signs(ascii=True)
_OVER = (
    "What the journal has of {at} is shown as it was known then: nothing of it is to be done now."
)


class Incident(NamedTuple):
    """What a report is made of, all of it as of one moment.

    Attributes:
        state: what is known of the VM.
        log: its log, oldest first.
        moment: when the report is made.
        host: the machine on which frostwatch runs.
        report: what its agent has told; None if it was not asked.
        past: what the journal knows; None if it was not asked, or there is none.
        replayed: it is taken from a replay: all of it is what the journal has of a moment before.
    """

    state: VmState
    log: tuple[LogLine, ...]
    moment: Moment
    host: str
    report: GuestReport | None = None
    past: VmHistory | None = None
    replayed: bool = False


def incident_report(incident: Incident) -> str:
    """Return the report."""
    state = incident.state
    at = incident.moment.wall.isoformat(sep=" ", timespec="seconds")
    parts: list[str] = [f"# Incident report: {code(str(state.id))}", ""]
    by = f"by frostwatch {VERSION} on {code(incident.host)}"
    parts += [
        f"A REPLAY, made {by}. {_OVER.format(at=at)}" if incident.replayed else f"Made {at} {by}.",
        "",
    ]
    then = f"was known at {at}" if incident.replayed else "is known now"
    parts += [*_in_short(incident), f"## What {then}, and what it means", ""]
    for one in present(state):
        parts += _word(one, over=incident.replayed)
    parts += _evidence(state)
    parts += _timeline(incident.log)
    parts += ["## The past, by the journal", "", *_past(incident.past), ""]
    if incident.report is not None or state.file_systems:
        told = guest_lines(state, incident.report, incident.moment, _PLAIN, _ROOM)
        if incident.report is None:
            next(told)  # that it is being asked
            parts += ["## The guest, as far as is known without asking it", "", *_block(told), ""]
        else:
            parts += ["## The guest", "", *_block(told), ""]
    parts += ["## The VM", "", *_block(identity_lines(state, replayed=incident.replayed)), ""]
    return "\n".join(parts)


def log_text(vm_id: VmId, log: Iterable[LogLine]) -> str:
    """Return a log as plain text, one line each."""
    lines = [f"{one.at.isoformat(timespec='seconds')} {one.level}: {one.text}" for one in log]
    return "\n".join([f"# {printable(str(vm_id), 400)}", *lines]) + "\n"


def file_name(vm_id: VmId, what: str, at: datetime, ending: str) -> str:
    """Return the name of a file about a VM, of letters that any file system takes.

    Args:
        vm_id: the VM, whose name may have any letters, and any number of them.
        what: what is in it.
        at: when it was made.
        ending: its ending, without the dot.
    """
    plain = "".join(
        one if one.isascii() and (one.isalnum() or one in "-_") else "-" for one in str(vm_id)[:400]
    )
    name = plain[:80].strip("-") or "vm"
    return f"{what}-{name}-{at:%Y%m%d-%H%M%S}.{ending}"


def code(text: str) -> str:
    """Return a text in code, on one line, with all of its letters."""
    return _fenced(printable(text, _TEXT))


def command_code(text: str) -> str:
    """Return a text with a command in it in code: whole, and letter by letter."""
    return _fenced(uncut(text))


def _fenced(text: str) -> str:
    plain = text or " "
    fence = "`" * (_longest_run(plain) + 1)
    # Markdown takes one blank away at either end, if there is one at both.
    ends = {plain[0], plain[-1]}
    pad = " " if "`" in ends or (ends == {" "} and plain.strip()) else ""
    return f"{fence}{pad}{plain}{pad}{fence}"


def _longest_run(text: str) -> int:
    """Return how many backticks stand in a row in a text, at the most."""
    return max(map(len, re.findall("`+", text)), default=0)


def _cell(text: str) -> str:
    """Return a text in code, as it may stand in a table."""
    # In a table a backslash before it is no part of the code; behind another one it would be.
    return code(text.replace("\\|", "\\¦")).replace("|", "\\|")


def _in_short(incident: Incident) -> Iterator[str]:
    state, over = incident.state, incident.replayed
    found = verdict_of(state)
    yield "## In short"
    yield ""
    if found is None:
        yield "No freeze had an outcome then." if over else "This console has frozen nothing here."
        yield ""
        return
    told = explained(found, state)
    yield f"- **{told.word}**: {code(told.reason)}"
    if told.meaning is not None:
        yield f"- For a copy of its disks: {told.meaning.copy}"
        yield f"- For the guest: {told.meaning.guest}"
    if told.next and not over:
        yield f"- Next: {command_code(told.next)}"
    yield ""


def _word(one: Present, *, over: bool) -> Iterator[str]:
    said = one.explanation
    if one.result is not None:
        return  # the table of the evidence has it
    yield f"- **{said.word}** ({said.topic}): {said.what}. {said.known} {said.data}"
    if one.seen:
        yield f"  Here: {code(one.seen)}"
    if one.do and not over:
        yield f"  To do: {code(one.do)}"


def _evidence(state: VmState) -> Iterator[str]:
    found = [one for one in present(state) if one.result is not None]
    yield ""
    if not found:
        return
    yield "## Evidence"
    yield ""
    yield "| what | points | seen | what that means |"
    yield "|---|---|---|---|"
    for one in found:
        said = one.explanation
        yield f"| {said.word} | {one.result} | {_cell(one.seen or '-')} | {said.data} |"
    yield ""


def _timeline(log: tuple[LogLine, ...]) -> Iterator[str]:
    yield "## Timeline"
    yield ""
    if not log:
        yield "This console has logged nothing of it yet."
        yield ""
        return
    left_out = log[0].number - 1 + max(len(log) - MOST_LINES, 0)
    if left_out:
        yield f"The oldest {left_out:,} lines are left out."
        yield ""
    yield "| when | since the line before | | what |"
    yield "|---|---|---|---|"
    before: datetime | None = None
    for one in log[-MOST_LINES:]:
        since = "" if before is None else _later(before, one.at)
        before = one.at
        when = one.at.isoformat(sep=" ", timespec="seconds")
        yield f"| {when} | {since} | {one.level} | {_cell(one.text)} |"
    yield ""


def _later(before: datetime, at: datetime) -> str:
    """Return how much later a line came, by the hours that the clock showed."""
    seconds = (at - before).total_seconds()
    return f"{seconds:+.1f} s" if seconds >= 0 else "the clock was set back"


def _past(past: VmHistory | None) -> Iterator[str]:
    if past is None:
        yield "Not known: no journal is kept here, or it could not be read in time."
    elif past.windows:
        yield from _block(_past_lines(past))
    elif past.missing is not None:
        yield f"Not known: {code(past.missing)}"
    else:
        yield "Nothing was frozen or thawed before."


def _past_lines(past: VmHistory) -> Iterator[Line]:
    yield from past_head(past)
    shown = past.windows[:MOST_WINDOWS]
    longest = longest_answer(shown)
    for one in shown:
        yield past_line(one, longest, _PLAIN)


def _block(lines: Iterable[Line]) -> Iterator[str]:
    """Yield lines as they are, in code."""
    texts = ["".join(piece.text for piece in line).rstrip() for line in lines]
    fence = "`" * max(3, *(_longest_run(text) + 1 for text in texts), 0)
    yield from (fence, *texts, fence)
