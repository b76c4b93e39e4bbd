"""A command that a person pastes is never cut: what has lost its end may be another command."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentclient.journal import rows
from agentclient.journal.writer import Journal
from agentclient.model.clock import now
from agentclient.model.next_command import thaw_command
from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import FreezeInfo, VmState
from agentclient.model.states import FreezeState, OutcomeKind
from agentclient.model.text import LONGEST_COMMAND, TOO_LONG, uncut
from agentclient.model.vm import AgentChannel, Vm, VmId
from tests.unit.journals import VERIFIED, whole
from tests.unit.journals import rows as windows
from tests.unit.journals import vm as vm_in
from tui.console.dialogs.copied import CopiedDialog
from tui.console.model.incident_report import command_code
from tui.console.widgets.pane.outcome_facts import outcome_facts
from tui.console.widgets.table.cells import Paint
from tui.shared.clocks import Moment
from tui.shared.glyphs import Signs

NAME = "a name of many letters " * 60
END = "--foreign"
VM = Vm(VmId("qemu", NAME), AgentChannel(Path("/x")))


@pytest.mark.parametrize("length", [1, 600, 5_000, LONGEST_COMMAND])
def test_a_text_with_a_command_is_whole(length: int) -> None:
    assert uncut("x" * length) == "x" * length
    assert uncut("\x1b" * length).count("\\x1b") == length


def test_what_is_too_long_is_not_shown_at_all() -> None:
    assert uncut("x" * (LONGEST_COMMAND + 1)) == TOO_LONG


def test_the_journal_keeps_a_next_step_whole_or_not_at_all(
    tmp_path: Path,
) -> None:
    step = f"look first, then: frostwatch thaw {NAME} {END}"
    journal = Journal(tmp_path / "journal.db")
    try:
        whole(journal, vm_in(tmp_path), VERIFIED._replace(next=step))
        (row,) = windows(journal)
    finally:
        journal.close(5.0)
    assert row.outcome is not None
    assert row.outcome["next"] == step
    assert '"next":null' in rows.as_json({"next": "x" * (LONGEST_COMMAND + 1)})
    assert len(rows.as_json({"reason": "x" * 9_999})) < 1_000


def test_pane_report_and_dialog_show_it_to_its_end() -> None:
    command = thaw_command(VM, foreign=True)
    assert len(command) > 1_000
    last = Outcome(OutcomeKind.LOST, "no answer", next=f"thaw it with: {command}", settled=False)
    state = VmState(VM, freeze=FreezeInfo(FreezeState.FREEZING), last=last)
    paint = Paint(Moment(0.0, now()), Signs())
    told = [fact.text for fact in outcome_facts(state, paint) if fact.label == "next"]
    assert told[0].endswith(command)
    assert command_code(f"{command} `x` ``").startswith("``` ")
    assert command in command_code(command)
    dialog = CopiedDialog("It", command, sent=True, step=command)
    shown = "".join(piece.text for line in dialog.lines() for piece in line)
    assert shown.replace(" ", "").count(command.replace(" ", "")) == 2
