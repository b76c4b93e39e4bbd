"""What a freeze of a real guest covers: a file system below another one, and a disk without one."""

from __future__ import annotations

from agentclient.model.states import OutcomeKind
from tests.guests.conftest import Boot
from tests.guests.freezing import Operator, evidence
from tests.guests.lab import RawClient


def test_a_file_system_below_another_one_and_a_disk_without_one(boot: Boot) -> None:
    guest = boot(mounts=("a", "b"), swap=True)
    with Operator(guest) as operator:
        outcome = operator.freeze(hold_s=0.5).outcome()
        assert outcome.certified
        assert outcome.coverage == "2 of 2 that the agent knows; vdc is not covered by any"
        strict = operator.freeze(strict=True).outcome()
        assert strict.kind is OutcomeKind.UNVERIFIED
        guest.shell("umount /mnt/b && mount -t ext4 -o strictatime /dev/vdb /mnt/a")
        outcome = operator.freeze(hold_s=0.5).outcome()
        assert (outcome.kind, outcome.frozen, outcome.certified) == (OutcomeKind.VERIFIED, 1, True)
        assert "1 of 2" in (outcome.coverage or "")
        assert [one.device for one in outcome.not_covered] == ["vda"]
        assert "mounted over it: vda (ext4 at /mnt/a)" in outcome.reason
        assert evidence(outcome)["coverage"] == "for"
        with RawClient(guest.agent_socket) as somebody:
            somebody.sync()
            assert somebody.freeze() == 1, "the agent can't reach the lower one"
            assert somebody.thaw() == 1
        running = operator.freeze("//mnt/./a/")
        outcome = running.outcome()
        assert (outcome.kind, outcome.frozen) == (OutcomeKind.VERIFIED, 1)
        guest.shell("umount /mnt/a && touch /run/file && touch /mnt/a/file")
        guest.shell("mount --bind /mnt/a/file /run/file")
        listed = operator.freeze()
        assert listed.outcome().frozen == 1
