"""VMs' freezes, in flight or ended, as lines of a picture (`tui.shared.timeline`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from agentclient.model.durations import clock
from agentclient.model.others_freeze import OthersFreeze, others_freeze
from agentclient.model.snapshot import Progress, VmState
from agentclient.model.states import FreezeState, OutcomeKind, Phase
from agentclient.model.timeline import Timeline
from tui.shared.clocks import Moment, age, elapsed
from tui.shared.fit import safe
from tui.shared.glyphs import FOREIGN, FREEZE, OTHERS_LOST, OTHERS_PENDING, PHASE, Signs
from tui.shared.timeline import Track
from tui.shared.tone import Piece
from tui.shared.verdict import look_of, verdict_of

_LONGEST_NAME = 60


class Tracks(NamedTuple):
    """What is drawn of a VM: its own freeze first, then those of its group.

    Attributes:
        each: the freezes; empty if there is nothing to draw.
        size: how many members its group has; None for no group.
    """

    each: tuple[Track, ...] = ()
    size: int | None = None


def tracks_of(state: VmState, states: Iterable[VmState], moment: Moment, signs: Signs) -> Tracks:
    """Return what is drawn of a VM's freeze in flight, or of its last one.

    Args:
        state: the VM.
        states: all VMs, among which those of its group are.
        moment: the time.
        signs: the set of signs that the terminal can show.
    """
    own = track_of(state, moment, signs)
    if own is None:
        return Tracks()
    group = state.timeline.group if state.timeline is not None else None
    if group is None:
        return Tracks((own._replace(name=""),))
    members = [one for one in states if _group_key(one) == group.key and one.id != state.id]
    others = [track_of(one, moment, signs) for one in members]
    return Tracks((own, *(one for one in others if one is not None)), group.size)


def _group_key(state: VmState) -> str | None:
    timeline = state.timeline
    return timeline.group.key if timeline is not None and timeline.group is not None else None


def track_of(state: VmState, moment: Moment, signs: Signs) -> Track | None:
    """Return a VM's freeze as a line of the picture; None if nothing is known of one.

    Args:
        state: the VM.
        moment: the time.
        signs: the set of signs that the terminal can show.
    """
    progress = state.progress
    if progress is not None and progress.what == "freeze":
        return _in_flight(state, progress, moment, signs)
    if progress is None and state.held_by is not None:
        return _held_elsewhere(state, moment, signs)
    if progress is None and others_freeze(state) is not None:
        return _of_others(state, moment, signs)
    return _ended(state, signs)


def _named(state: VmState, asked: float) -> Track:
    return Track(safe(state.vm.name, _LONGEST_NAME), asked)


def _in_flight(state: VmState, progress: Progress, moment: Moment, signs: Signs) -> Track:
    timeline = state.timeline
    if timeline is None or timeline.ended is not None:  # attached: another one has begun it
        timeline = Timeline(progress.started_at, progress.sent_at, progress.held_since)
    verdict = progress.verdict
    look = PHASE[progress.phase]
    return _timed(_named(state, timeline.asked), timeline)._replace(
        now=moment.mono,
        ended=None,
        hold_ends=progress.hold_ends_at if progress.phase in (Phase.HELD, Phase.AT_RISK) else None,
        kind=verdict.kind if verdict is not None else None,
        word=Piece(f"{signs.labelled(look)} {_clock(progress, moment)}".rstrip(), look.tone),
    )


def _timed(track: Track, timeline: Timeline) -> Track:
    return track._replace(
        sent=timeline.sent,
        replied=timeline.replied,
        verdict_at=timeline.verdict,
        thaw_sent=timeline.thaw_sent,
        thawed=timeline.thawed,
        ended=timeline.ended,
        writes=timeline.writes,
        usual=timeline.usual,
    )


def _clock(progress: Progress, moment: Moment) -> str:
    """Return how long it has been held, of how long; or how long its answer is waited for."""
    if progress.held_since is None:
        return elapsed(progress.sent_at, moment) if progress.sent_at is not None else ""
    held = elapsed(progress.held_since, moment)
    if progress.hold_ends_at is None:
        return held
    return f"{held}/{clock(progress.hold_ends_at - progress.held_since)}"


def _ended(state: VmState, signs: Signs) -> Track | None:
    timeline, outcome = state.timeline, verdict_of(state)
    if timeline is None or timeline.sent is None or outcome is None:
        return None
    look = look_of(outcome)
    certified = outcome.certified and outcome.kind is OutcomeKind.VERIFIED
    track = _timed(_named(state, timeline.asked), timeline)
    if outcome.kind is OutcomeKind.FAILED and not outcome.frozen:
        track = track._replace(replied=None)  # answered, by an error
    return track._replace(
        ended=timeline.ended if timeline.ended is not None else track.end,
        kind=outcome.kind,
        certified=certified,
        settled=outcome.settled,
        word=Piece(f"{signs.of(look)} {look.word}", look.tone),
    )


# -- what others do: seen, and not verified ------------------------------------------------------


def _held_elsewhere(state: VmState, moment: Moment, signs: Signs) -> Track | None:
    held = state.held_by
    if held is None or held.since is None or held.state is None:
        return None
    since = moment.mono - age(held.since, moment)
    look = FREEZE[held.state]
    track = _named(state, since)._replace(sent=since, now=moment.mono)
    if held.state is FreezeState.THAWING:
        track = track._replace(thaw_sent=since)
    if held.state is FreezeState.FROZEN:
        ends = None
        if held.until is not None:
            ends = moment.mono + (held.until - moment.wall).total_seconds()
        track = track._replace(replied=since, hold_ends=ends)
    return track._replace(word=Piece(f"{signs.labelled(look)} {elapsed(since, moment)}", look.tone))


def _of_others(state: VmState, moment: Moment, signs: Signs) -> Track | None:
    frozen = others_freeze(state) is OthersFreeze.FROZEN
    lost = others_freeze(state) is OthersFreeze.LOST
    look = FOREIGN if frozen else OTHERS_LOST if lost else OTHERS_PENDING
    began = state.freeze.since if frozen else state.others.since if state.others else None
    if began is None:
        return None
    since = moment.mono - age(began, moment)
    word = f"{signs.labelled(look)} {signs.at_least}{elapsed(since, moment)}"
    track = _named(state, since)._replace(
        sent=since, now=moment.mono, word=Piece(word, look.tone), earlier=True
    )
    return track._replace(replied=since) if frozen else track
