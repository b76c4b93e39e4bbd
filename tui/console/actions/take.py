"""Takes something of a VM away: an error or a log into the clipboard, a report into a file."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from pathlib import Path
from typing import Final

from agentclient.journal.history import VmHistory
from agentclient.late import load
from agentclient.model.errors import FrostwatchError
from agentclient.model.guest_report import GuestReport
from agentclient.model.snapshot import LogLine, VmState
from agentclient.model.states import Level
from tui.console.actions.context import ActionContext
from tui.console.clipboard import clipboard_sequence
from tui.console.dialogs.save import SaveDialog, why_no_file
from tui.console.dialogs.take import Take, TakeDialog
from tui.console.model.explained import explained
from tui.console.model.incident_report import (
    MOST_WINDOWS,
    Incident,
    file_name,
    incident_report,
    log_text,
)
from tui.console.model.next_command import next_of
from tui.console.terminal import TerminalApp
from tui.shared.fit import safe
from tui.shared.new_file import current_folder
from tui.shared.verdict import verdict_of

# How long a report waits for the journal, in the thread that writes it.
JOURNAL_S = 5.0
FILES: Final = frozenset({Take.SAVE_LOG, Take.REPORT, Take.PICTURE})

Say = Callable[[Level, str], None]


class TakePrompt:
    """Asks what is to be taken away, and takes it.

    Args:
        context: what is shared.
        say: tells what came of it.
    """

    def __init__(self, context: ActionContext, say: Say) -> None:
        self._context = context
        self._say = say

    def ask(self, state: VmState, report: GuestReport | None = None) -> None:
        """Ask about one VM.

        Args:
            state: the VM, as it was when the key was pressed.
            report: what its agent has told, if it was asked.
        """
        outcome, command = outcome_text(state), _command(state)
        count = len(self._context.fleet.log_since(state.id))
        offers = {
            Take.OUTCOME: outcome.partition("\n")[0] if outcome is not None else None,
            Take.COMMAND: command,
            Take.LOG: f"{count} lines" if count else None,
            Take.SAVE_LOG: f"{count} lines, as text" if count else None,
            Take.REPORT: "states, evidence, timeline and past, as Markdown",
            Take.PICTURE: "this screen, as SVG",
        }

        def answered(take: Take | None) -> None:
            if take is not None:
                self._take(take, state, report)

        title = f"Take away: {safe(str(state.id), 60)}"
        self._context.app.push_screen(TakeDialog(title, offers), answered)

    def _take(self, take: Take, state: VmState, report: GuestReport | None) -> None:
        log = self._context.fleet.log_since(state.id)
        why_not = why_no_file() if take in FILES else None
        if why_not is not None:
            self._say(Level.WARNING, why_not)
            return
        match take:
            case Take.OUTCOME:
                self._copy("What came out", outcome_text(state) or "")
            case Take.COMMAND:
                self._copy("The next command", _command(state) or "")
            case Take.LOG:
                self._copy("The log", log_text(state.id, log))
            case Take.SAVE_LOG:
                text = log_text(state.id, log)
                self._save("the log", "log", "txt", state, lambda _: text)
            case Take.REPORT:
                self._save_report(state, log, report)
            case Take.PICTURE:
                self._save_picture(state)

    def _save_report(
        self, state: VmState, log: tuple[LogLine, ...], guest: GuestReport | None
    ) -> None:
        past = self._context.operations.history(state.vm, MOST_WINDOWS)
        moment, host = self._context.clock.moment(), platform.node()
        incident = Incident(state, log, moment, host, guest, replayed=self._context.replayed)

        def written(_: Path) -> str:
            return incident_report(incident._replace(past=_known(past)))

        self._save("the report", "incident", "md", state, written)

    def _save_picture(self, state: VmState) -> None:
        title = f"frostwatch: {safe(str(state.id), 120)}"  # an SVG takes no control character
        picture = self._context.app.export_screenshot(title=title)
        self._save("the picture", "screen", "svg", state, lambda _: picture)

    def _copy(self, title: str, text: str) -> None:
        sequence = clipboard_sequence(text, os.environ)
        if isinstance(self._context.app, TerminalApp):
            self._context.app.write_to_terminal(sequence)
        page = load("tui.console.pages.plain", "PlainPage")
        self._context.app.push_screen(page(self._context, text, title, sent=bool(sequence)))

    def _save(
        self, what: str, kind: str, ending: str, state: VmState, text: Callable[[Path], str]
    ) -> None:
        name = file_name(state.id, kind, self._context.clock.wall(), ending)

        def saved(path: str | None) -> None:
            if path is not None:
                self._say(Level.GOOD, f"{what} is in {safe(path, 300)}")

        hint = "a new file, for you alone to read"
        self._context.app.push_screen(
            SaveDialog(f"Save {what}", current_folder() / name, text, hint), saved
        )


def outcome_text(state: VmState) -> str | None:
    """Return what came out of the last freeze, in a few plain lines; None if nothing was frozen."""
    found = verdict_of(state)
    if found is None:
        return state.trouble
    told = explained(found, state)
    why = told.refusal or told.cause
    lines = [f"{state.id}: {told.word}{f' ({why})' if why else ''}: {told.reason}"]
    if told.meaning is not None:
        lines += [told.meaning.copy, told.meaning.guest]
    lines += [f"NEXT: {told.next}"] if told.next else []
    return "\n".join(safe(line, 2000) for line in lines)


def _command(state: VmState) -> str | None:
    """Return the command that comes next for a VM; None if there is none."""
    found = next_of(state)
    return found.command if found is not None else None


def _known(past: Future[VmHistory | None]) -> VmHistory | None:
    """Return what the journal knows; None if it does not tell it in time."""
    with suppress(FrostwatchError, FutureTimeout):
        return past.result(JOURNAL_S)
    return None
