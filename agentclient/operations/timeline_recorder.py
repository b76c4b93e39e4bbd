"""Records when each thing of a freeze happens, from what its operation reports."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from agentclient.model.events import EventKind, moment_of
from agentclient.model.timeline import Group, Sample, Timeline, Usual, with_sample

if TYPE_CHECKING:
    from agentclient.freeze.effects import ReportEvent
    from agentclient.model.snapshot import Progress


class TimelineRecorder:
    """The timeline of one freeze while it runs; used by its operation's thread alone.

    Args:
        group: the group that it belongs to; None if it belongs to none.

    Attributes:
        timeline: as far as it has come.
    """

    def __init__(self, group: Group | None = None) -> None:
        self.timeline = Timeline(time.monotonic(), group=group)
        self._thaw_sent = False
        self._before_window: int | None = None

    def on_event(self, report: ReportEvent) -> None:
        """Take an event."""
        moment = moment_of(report.kind, report.details, thaw_sent=self._thaw_sent)
        self._thaw_sent = self._thaw_sent or report.kind is EventKind.THAW_SENT
        if moment is not None:
            self.timeline = self.timeline.marked(moment, time.monotonic())

    def on_progress(self, progress: Progress, usual: Usual | None) -> None:
        """Take how far it is.

        Args:
            progress: its progress.
            usual: how long the VM's last freezes took; None if that isn't known.
        """
        found = self.timeline
        if progress.sent_at is not None:
            found = found._replace(sent=progress.sent_at)
        if progress.held_since is not None:  # the very moment, not that of its report
            found = found._replace(replied=progress.held_since)
        if progress.written_bytes is not None and progress.sent_at is not None:
            found = found._replace(writes=with_sample(found.writes, self._sample(progress)))
        self.timeline = found._replace(usual=usual or found.usual)

    def end(self) -> Timeline:
        """Return the whole of it, once everything has ended."""
        self.timeline = self.timeline.marked("ended", time.monotonic())
        return self.timeline

    def _sample(self, progress: Progress) -> Sample:
        """Return what was written by now; the count of the window begins with the window."""
        written = progress.written_bytes or 0
        if progress.held_since is None:
            return Sample(time.monotonic(), written)
        if self._before_window is None:
            writes = self.timeline.writes
            self._before_window = writes[-1].size if writes else 0
        return Sample(time.monotonic(), self._before_window + written)
