"""The certificate of a past freeze: everything that the journal knows of it, on one page.

It says *certified* of what is certified alone. The page, the text file and the JSON are made from
the same window of the journal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from agentclient.journal.json_contract import window_object
from agentclient.model.durations import in_words
from agentclient.model.sizes import size_text
from agentclient.model.states import (
    EvidenceName,
    EvidenceResult,
    OutcomeKind,
    WindowKind,
    WindowState,
)
from agentclient.model.text import uncut
from agentclient.model.timeline import Usual
from agentclient.model.version import VERSION
from tui.console.model.past_tracks import group_size, group_tracks, is_certified, shown_word
from tui.shared.fit import safe, wrap
from tui.shared.glyphs import EVIDENCE, OUTCOME, Signs
from tui.shared.history_text import counts, notes
from tui.shared.timeline import common_span
from tui.shared.timeline_picture import briefly, picture, skew_in_words
from tui.shared.tone import Line, Piece, Tone

if TYPE_CHECKING:
    from agentclient.journal.window_row import WindowRow

LABEL = 10
_TEXT_WIDTH = 100
_MOMENTS = {
    "asked": "asked for",
    "armed": "about to be sent",
    "sent": "freeze sent",
    "replied": "freeze answered",
    "verdict": "verdict",
    "held": "window open",
    "thaw_sent": "thaw sent",
    "thawed": "thaw acknowledged",
    "ended": "over",
}
_APART = "copies of them are not consistent with each other"
_COPY_TONES = {"consistent": Tone.GOOD, "not": Tone.BAD}


class Entry(NamedTuple):
    """One thing on the page.

    Attributes:
        label: what it is; empty for a further line of the same.
        text: safe to show.
        line: drawn as it is, in the place of the text; None for text.
    """

    label: str
    text: str
    tone: Tone = Tone.NORMAL
    line: Line | None = None


class Page(NamedTuple):
    """What a certificate is made from.

    Attributes:
        row: the window in the journal.
        members: the windows of its group; empty if it belongs to none.
        usual: how long its VM's freezes take otherwise; None if that isn't known.
        now: the wall clock.
    """

    row: WindowRow
    members: Sequence[WindowRow]
    usual: Usual | None
    now: datetime


def headline(page: Page, signs: Signs) -> Piece:
    """Return what the page says above everything; it can't be taken for a better one."""
    row = page.row
    if is_certified(row):
        return Piece(f"{signs.of(OUTCOME[OutcomeKind.VERIFIED])} CERTIFIED", Tone.GOOD)
    if row.kind is not WindowKind.FREEZE:
        return Piece(f"A RECORD, no freeze of frostwatch: {row.kind.value}", Tone.WARN)
    if row.state is WindowState.OPEN:
        return Piece("NOT OVER YET: nothing is certified before the thaw", Tone.WARN)
    cause = (row.outcome or {}).get("refusal") or (row.outcome or {}).get("cause")
    why = f" ({safe(str(cause), 40)})" if cause else ""
    return Piece(f"NOT CERTIFIED: {shown_word(row)}{why}", Tone.BAD)


def entries(page: Page, width: int, signs: Signs) -> Iterator[Entry]:
    """Yield what is on the page, below its headline.

    Args:
        page: what it is made from.
        width: cells for the picture.
        signs: the set of signs that can be shown.
    """
    row = page.row
    process = f", QEMU's pid {row.process.pid}" if row.process is not None else ""
    yield Entry("vm", f"{safe(row.vm, 120)}{process}; window {row.window} of the journal")
    yield from _meaning(row.outcome or row.thaw or row.rescue or {})
    yield from _figures(row)
    yield from _group(page)
    tracks = group_tracks(row, page.members, signs, page.now, page.usual)
    drawn = picture(tracks, width, signs, height=12, size=group_size(row))
    for number, line in enumerate(drawn):
        yield Entry("" if number else "time", "", line=line)
    yield from _times(row)
    yield from _evidence(row, signs)
    yield from _who(row)
    for number, text in enumerate(notes(row)):
        yield Entry("" if number else "note", safe(text, 400), Tone.WARN)


def _meaning(found: Mapping[str, Any]) -> Iterator[Entry]:
    reason, meaning = found.get("reason"), found.get("meaning")
    if isinstance(reason, str) and reason:
        yield Entry("because", safe(reason, 600))
    if not isinstance(meaning, Mapping):
        return
    if meaning.get("copy"):
        tone = _COPY_TONES.get(str(meaning.get("copy_is")), Tone.WARN)
        yield Entry("copy", safe(str(meaning["copy"]), 400), tone)
    if meaning.get("guest"):
        yield Entry("guest", safe(str(meaning["guest"]), 400))
    if found.get("next"):
        yield Entry("next", uncut(str(found["next"])))


def _figures(row: WindowRow) -> Iterator[Entry]:
    if row.kind is not WindowKind.FREEZE:
        return
    outcome = row.outcome or {}
    parts = [f"{counts(row)} file systems frozen/thawed"]
    if outcome.get("coverage"):
        parts.append(f"coverage {safe(str(outcome['coverage']), 40)}")
    if row.held_s is not None:
        parts.append(f"held {in_words(row.held_s)}")
    yield Entry("counts", "; ".join(parts))
    outside = outcome.get("not_covered")
    if isinstance(outside, list) and outside:
        yield Entry("outside", f"could take writes all the time: {_devices(outside)}", Tone.WARN)
    yield Entry("wrote", *_written(row))


def _devices(found: Sequence[Any]) -> str:
    known = [one for one in found if isinstance(one, Mapping)]
    named = [f"{one.get('device')} ({one.get('kind')} at {one.get('mountpoint')})" for one in known]
    return safe(", ".join(named), 400)


def _written(row: WindowRow) -> tuple[str, Tone]:
    """Return how much the guest wrote before its answer, and while it was frozen."""
    replied = row.times["replied"]
    if not row.writes and row.state is WindowState.OPEN:
        return "what it wrote is told at its end", Tone.DIM
    if not row.writes:
        return "its writes were not seen", Tone.DIM
    whole = row.writes[-1][1]
    if replied is None or replied.seconds is None:
        return f"{size_text(whole)} since the freeze was sent", Tone.NORMAL
    held = _while_held(row, replied.seconds)
    seen = "nobody looked while it was frozen"
    if held is not None:
        seen = f"{size_text(held)} while it was frozen" if held else "nothing while it was frozen"
    before = size_text(whole - (held or 0))
    return f"{before} until the answer; {seen}", Tone.BAD if held else Tone.NORMAL


def _while_held(row: WindowRow, replied_s: float) -> int | None:
    """Return the bytes that were written while it was frozen; None if nobody looked.

    The outcome's evidence counts from the first look after the answer. By the samples alone, which
    stand some tenths of a second apart, what was flushed just before the answer would be among it.
    """
    for one in (row.outcome or {}).get("evidence") or ():
        if isinstance(one, Mapping) and one.get("name") == EvidenceName.WRITES:
            value = one.get("value")
            if isinstance(value, int) and not isinstance(value, bool):
                return value
    since = [size for s, size in row.writes if s > replied_s]
    return since[-1] - since[0] if since else None


def _group(page: Page) -> Iterator[Entry]:
    size = group_size(page.row)
    if size is None:
        return
    if page.row.not_together:
        yield Entry("group", f"{size} VMs, NOT frozen together: {_APART}", Tone.BAD)
        return
    tracks = group_tracks(page.row, page.members, Signs(), page.now)
    if len(tracks) < size:
        text = f"{size} VMs, of which {len(tracks)} are known here: what they had in common is not"
        yield Entry("group", text, Tone.WARN)
        return
    span = common_span(tracks, size)
    answers = [one.replied for one in tracks if one.replied is not None]
    if span is None:
        yield Entry("group", f"{size} VMs, never all frozen and verified together", Tone.BAD)
        return
    skew = skew_in_words(max(answers) - min(answers))
    text = f"{size} VMs, frozen within {skew}, together for {briefly(span.seconds)}"
    yield Entry("group", text, Tone.FROZEN)


def _times(row: WindowRow) -> Iterator[Entry]:
    asked = row.times["asked"]
    if asked is None:
        return
    day = datetime.fromisoformat(asked.at)
    yield Entry("times", f"{day:%Y-%m-%d}, UTC{day.isoformat()[-6:] if day.utcoffset() else ''}")
    for name, words in _MOMENTS.items():
        moment = row.times.get(name)
        if moment is None:
            continue
        at = datetime.fromisoformat(moment.at).time().isoformat("milliseconds")
        since = f"+{moment.seconds:.3f} s" if moment.seconds is not None else ""
        yield Entry("", f"{at} {since:>12}  {words}")


def _evidence(row: WindowRow, signs: Signs) -> Iterator[Entry]:
    found = (row.outcome or {}).get("evidence")
    pieces = [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []
    for number, piece in enumerate(pieces):
        result = next((one for one in EvidenceResult if one == piece.get("result")), None)
        look = EVIDENCE[result or EvidenceResult.UNKNOWN]
        value = "" if piece.get("value") is None else f": {safe(str(piece['value']), 200)}"
        text = f"{signs.of(look)} {look.word:<8} {safe(str(piece.get('name')), 60)}{value}"
        yield Entry("" if number else "evidence", text, look.tone)
    if not pieces and row.kind is WindowKind.FREEZE:
        yield Entry("evidence", "none is known", Tone.DIM)


def _who(row: WindowRow) -> Iterator[Entry]:
    yield Entry("who", safe(f"{row.user} (uid {row.uid}), pid {row.pid}: {row.command}", 600))
    yield Entry("host", safe(row.host, 120) or "not known")
    known = row.versions or {}
    names = (("frostwatch", "frostwatch"), ("agent", "agent"), ("qemu", "QEMU"))
    each = [f"{word} {safe(str(known.get(key) or 'not known'), 40)}" for key, word in names]
    yield Entry("versions", "; ".join(each) if known else "not written down in this window")


# -- to be taken away ----------------------------------------------------------------------------


def as_text(page: Page) -> str:
    """Return the page as plain text, for a file."""
    signs = Signs()
    room = _TEXT_WIDTH - LABEL
    row = page.row
    title = "Certificate of a freeze" if is_certified(row) else "Record of a window"
    lines = [f"{title}: {safe(row.vm, 120)}", "", headline(page, signs).text, ""]
    for entry in entries(page, room, signs):
        texts = wrap(entry.text, room)
        if entry.line is not None:
            texts = ("".join(piece.text for piece in entry.line).rstrip(),)
        for number, text in enumerate(texts):
            lines.append(f"{entry.label if not number else '':<{LABEL}}{text}".rstrip())
    events = [f"{one.when.at}  {one.level:<7}  {safe(one.text, 1000)}" for one in row.events]
    lines += ["", "What was told:", *events] if events else []
    written = page.now.isoformat(sep=" ", timespec="seconds")
    lines += ["", f"Written by frostwatch {VERSION} at {written} from its journal."]
    return "\n".join(lines) + "\n"


def as_json(page: Page) -> str:
    """Return the window as JSON, as ``frostwatch history --json`` has it, with those of its group.

    ``certified`` is what the page says, and ``members`` the windows of the others.
    """
    body = window_object(page.row) | {
        "certified": is_certified(page.row),
        "members": [window_object(one) for one in page.members if one is not page.row],
        "written_by": f"frostwatch {VERSION}",
    }
    return json.dumps(body, ensure_ascii=True, allow_nan=False, indent=2) + "\n"


def file_name(row: WindowRow) -> str:
    """Return the name of a file for it, of letters that any file system takes."""
    asked = row.times["asked"]
    when = f"{datetime.fromisoformat(asked.at):%Y%m%d-%H%M%S}" if asked else "unknown"
    plain = "".join(
        one if one.isascii() and (one.isalnum() or one in "-_") else "-" for one in row.vm
    )
    word = "certificate" if is_certified(row) else "record"
    return f"{word}-{plain[:80].strip('-') or 'vm'}-{when}.txt"
