"""What the page of one VM says of its guest, as its agent has told it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.cells import cell_len

from agentclient.freeze.coverage import Coverage
from agentclient.model.durations import in_words
from agentclient.model.guest_report import GuestReport, MountedFileSystem
from agentclient.model.outcome import FileSystem
from agentclient.model.sizes import size_text
from agentclient.model.snapshot import VmState
from tui.console.model.vm_lines import EMPTY, row
from tui.shared.clocks import Moment, age
from tui.shared.fit import fit, fit_middle, safe
from tui.shared.glyphs import Signs
from tui.shared.job_words import bar
from tui.shared.tone import Line, Piece, Tone

# What matters for a freeze, and what else an agent may let others do in its guest.
_FREEZES = (
    ("freeze", "guest-fsfreeze-freeze"),
    ("thaw", "guest-fsfreeze-thaw"),
    ("status", "guest-fsfreeze-status"),
    ("some only", "guest-fsfreeze-freeze-list"),
    ("file systems", "guest-get-fsinfo"),
    ("disks", "guest-get-disks"),
)
_POWERS = (
    ("run programs", "guest-exec"),
    ("read files", "guest-file-read"),
    ("write files", "guest-file-write"),
    ("set passwords", "guest-set-user-password"),
    ("shut down", "guest-shutdown"),
)
_MOST = 200  # file systems
_BAR = 10
_LABEL = 11
_KIND, _SIZE, _USED = 8, 9, 5


def guest_lines(
    state: VmState, report: GuestReport | None, moment: Moment, signs: Signs, room: int
) -> Iterator[Line]:
    """Yield what is known of a guest.

    Args:
        state: what is known of its VM.
        report: what its agent has told; None while it is asked.
        moment: the time, for ages.
        signs: the set of signs that the terminal can show.
        room: cells for a line.
    """
    if report is None:
        yield (Piece("its agent is being asked …", Tone.DIM),)
        report = GuestReport(moment.wall)
    elif report.problem is not None:
        yield (Piece(f"Not asked: {safe(report.problem, 300)}.", Tone.WARN),)
        yield (Piece("What follows is what was known before (r: ask again).", Tone.DIM),)
    else:
        asked = in_words(age(report.at, moment))
        yield (Piece(f"asked {asked} ago (r: ask again)", Tone.DIM),)
    yield EMPTY
    yield from _system(state, report)
    yield EMPTY
    yield from _allowed(report, signs, room)
    yield from _file_systems(state, report, moment, signs, room)


def _system(state: VmState, report: GuestReport) -> Iterator[Line]:
    told = report.system
    name = told.get("pretty-name") or told.get("name") or told.get("id")
    kernel = " ".join(part for part in (told.get("kernel-release"), told.get("machine")) if part)
    yield row("system", safe(name, 120) if name else _missing(report, "guest-get-osinfo"))
    if kernel:
        yield row("kernel", safe(kernel, 120))
    version = report.version or state.agent.version
    many = f", {len(report.enabled)} of its {len(report.known)} commands allowed"
    text = f"version {safe(version, 40)}{many if report.known else ''}" if version else "not known"
    yield row("agent", text)


def _missing(report: GuestReport, command: str) -> str:
    why = report.not_told.get(command)
    return f"not told: {safe(why, 200)}" if why else "not known"


def _allowed(report: GuestReport, signs: Signs, room: int) -> Iterator[Line]:
    """Yield what an agent allows: what does not fit a line stands below what does."""
    if not report.known:
        return
    for label, commands, bad in (("freezes", _FREEZES, Tone.BAD), ("also", _POWERS, Tone.DIM)):
        pieces, used = [Piece(fit(label, _LABEL), Tone.DIM)], _LABEL
        for name, command in commands:
            allowed = command in report.enabled
            text = f"{signs.yes if allowed else signs.no} {name}"
            tone = Tone.GOOD if allowed and bad is Tone.BAD else Tone.NORMAL if allowed else bad
            if used + 2 + cell_len(text) > room:
                yield tuple(pieces)
                pieces, used = [Piece(" " * _LABEL)], _LABEL
            gap = "  " if used > _LABEL else ""
            pieces.append(Piece(f"{gap}{text}", tone))
            used += cell_len(gap) + cell_len(text)
        yield tuple(pieces)
    yield EMPTY


def _file_systems(
    state: VmState, report: GuestReport, moment: Moment, signs: Signs, room: int
) -> Iterator[Line]:
    found: Iterable[MountedFileSystem] = report.file_systems
    title = "File systems"
    if not report.file_systems:
        found = tuple(MountedFileSystem(*one) for one in state.file_systems)
        if state.file_systems_at is not None:
            title += f" (as of {in_words(age(state.file_systems_at, moment))} ago)"
    listed = tuple(found)
    if not listed:
        yield row("mounts", _missing(report, "guest-get-fsinfo"), Tone.DIM)
        return
    coverage = Coverage(tuple(FileSystem(*one[:3]) for one in listed))
    covered = {one.device for one in coverage.covered}
    yield (Piece(title, Tone.HEAD), Piece(f"  {coverage.text} can freeze", Tone.DIM))
    longest = max(cell_len(one.mountpoint) for one in listed)
    mount = min(max(longest, 5), max(room - _KIND - _SIZE - _USED - _BAR - 12, 8))
    head = f"  {fit('MOUNT', mount)} {fit('KIND', _KIND)}{'SIZE':>{_SIZE}} {'USED':>{_USED}}"
    yield (Piece(f"{head}  {fit('', _BAR)} ON", Tone.DIM),)
    for one in listed[:_MOST]:
        yield _mounted(one, one.device in covered, mount, signs)
    if len(listed) > _MOST:
        yield (Piece(f"  and {len(listed) - _MOST} more", Tone.DIM),)
    if coverage.gaps:
        yield EMPTY
        yield row("beware", safe(coverage.gaps, 400), Tone.WARN)


def _mounted(one: MountedFileSystem, freezes: bool, mount: int, signs: Signs) -> Line:
    used, chart, size = "", " " * _BAR, "-" if one.total is None else size_text(one.total)
    tone = Tone.NORMAL
    if one.total and one.used is not None:
        part = min(one.used / one.total, 1.0)
        used, chart = f"{part:.0%}", bar(part, _BAR, ascii_only=signs.ascii)
        tone = Tone.BAD if part >= 0.95 else Tone.WARN if part >= 0.85 else Tone.ACTIVE
    sign = signs.freezes if freezes else signs.no
    where = fit(fit_middle(safe(one.mountpoint, 120), mount), mount)
    return (
        Piece(f"{sign} ", Tone.FROZEN if freezes else Tone.DIM),
        Piece(f"{where} {fit(safe(one.kind, 40), _KIND)}"),
        Piece(f"{size:>{_SIZE}} {used:>{_USED}}  "),
        Piece(chart, tone),
        Piece(f" {_on(one)}", Tone.DIM),
    )


def _on(one: MountedFileSystem) -> str:
    """Return what a file system is on: its device, and the disks behind that."""
    disks = [
        " ".join(
            part for part in (disk.bus, disk.device, disk.serial and f"#{disk.serial}") if part
        )
        or disk.address
        or "?"
        for disk in one.disks
    ]
    behind = f": {', '.join(disks)}" if disks else ""
    return safe(f"{one.device}{behind}", 200)
