"""What others have pending, in the console: lost is trouble, told once, and said in the pane."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentclient.model.snapshot import ChannelClient, Others, VmState
from agentclient.model.states import Cause, OthersState
from agentclient.model.vm import AgentChannel, Vm, VmId
from tui.console.model.notices import notice_of_change
from tui.console.model.order import needs_attention

AT = datetime(2026, 3, 1, 2, 13, tzinfo=UTC)
DB = VmState(Vm(VmId("qemu", "db"), agent=AgentChannel(Path("/run/db.qga"))))
PENDING = Others(OthersState.PENDING, AT, ChannelClient("vzdump", 4711))
LOST = PENDING._replace(state=OthersState.LOST, cause=Cause.AGENT_GONE)


@pytest.mark.parametrize(
    ("others", "grave"),
    [
        (None, False),
        (PENDING, False),
        (LOST, True),
        (PENDING._replace(state=OthersState.LEFT), True),
        (PENDING._replace(state=OthersState.IDLE), False),
    ],
)
def test_what_is_lost_needs_somebody(others: Others | None, grave: bool) -> None:
    assert needs_attention(DB._replace(others=others)) is grave


def test_it_is_told_once() -> None:
    pending, lost = DB._replace(others=PENDING), DB._replace(others=LOST)
    (notice,) = notice_of_change(pending, lost, AT)
    assert notice.text == (
        "db: held by vzdump (pid 4711): their command of 02:13:00 is lost (agent-gone), "
        "and they wait on"
    )
    assert list(notice_of_change(lost, lost, AT)) == []
    assert list(notice_of_change(DB, pending, AT)) == []
