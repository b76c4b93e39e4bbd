"""The command line as scripts use it: a process of its own, on a real guest."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guests.command import Frostwatch, ended, kill_holder_and_console
from tests.guests.lab import PATIENCE_S, Guest
from tests.guests.lab.shell import wait_until


@pytest.fixture
def frostwatch(calm: Guest) -> Iterator[Frostwatch]:
    started = Frostwatch(calm)
    yield started
    started.close()


def test_freeze_certify_thaw(calm: Guest, frostwatch: Frostwatch) -> None:
    code, lines, err = frostwatch.run("freeze", calm.name)
    assert (code, err) == (0, "")
    assert [line["event"] for line in lines].count("outcome") == 1
    (verdict,) = [line for line in lines if line["event"] == "verdict"]
    last = lines[-1]
    assert verdict["outcome"] == last["outcome"] == "verified"
    assert verdict["thawed"] is None
    assert (last["event"], last["frozen"], last["thawed"]) == ("outcome", 2, 2)
    assert last["certified"]
    assert last["coverage"] == "2 of 3"
    assert [one["kind"] for one in last["not_covered"]] == ["vfat"]
    assert {line["vm"] for line in lines} == {frostwatch.vm}
    calm.assert_thawed()


def test_one_row_for_a_vm_that_is_named_and_found(calm: Guest) -> None:
    frostwatch = Frostwatch(calm, named_only=False)
    code, lines, _ = frostwatch.run("list")
    frostwatch.close()
    assert code == 0
    (here,) = [line for line in lines if line["name"] == calm.name]
    assert here["id"] == frostwatch.vm
    assert (here["agent"]["state"], here["agent"]["how"]) == ("alive", "reply")
    freeze = here["freeze"]
    assert (freeze["state"], freeze["foreign"], freeze["left_by"]) == ("thawed", False, None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_thaws_first(calm: Guest, frostwatch: Frostwatch, number: signal.Signals) -> None:
    child = frostwatch.freeze_until("held", "--hold", "100")
    assert calm.frozen_mounts()
    child.send_signal(number)
    code, lines, err = ended(child)
    assert code == 1
    assert (lines[-1]["event"], lines[-1]["thawed"]) == ("outcome", 2)
    assert number.name in err
    calm.assert_thawed()


def test_a_reader_that_leaves_is_no_reason_to_leave_a_guest_frozen(
    calm: Guest, frostwatch: Frostwatch
) -> None:
    calm.slow_hook(2)
    child = frostwatch.freeze_until("sent", "--hold", "100")
    assert child.stdout is not None
    child.stdout.close()
    assert child.wait(PATIENCE_S) == 1
    calm.assert_thawed()


def test_leaving_a_pending_freeze_leaves_it_to_the_holder(
    calm: Guest, frostwatch: Frostwatch
) -> None:
    calm.held_hook()
    child = frostwatch.freeze_until("sent")
    child.send_signal(signal.SIGTERM)
    time.sleep(0.6)
    child.send_signal(signal.SIGTERM)
    code, lines, err = ended(child)
    assert code == 1
    assert (lines[-1]["event"], lines[-1]["thawed"]) == ("outcome", None)
    assert lines[-1]["next"].startswith("wait for its holder")
    assert "holder" in err
    calm.release_hook()
    wait_until(lambda: calm.hook_log()[-1:] == ["thaw"], PATIENCE_S, "the holder's thaw")
    calm.assert_thawed()
    log = calm.hook_log()
    assert log[log.index("freeze") :][:2] == ["freeze", "thaw"]


def test_what_no_journal_proves_to_be_ours_is_foreign_and_thawed_on_request_alone(
    calm: Guest, frostwatch: Frostwatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed console and holder leave; with their journal see `test_recovery`."""
    child = frostwatch.freeze_until("held", "--hold", "100")
    kill_holder_and_console(child.pid)
    child.wait()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "somebody-else"))
    code, lines, _ = frostwatch.run("list", "--state", "foreign", "--exit-code")
    assert code == 1
    assert calm.name in [line["name"] for line in lines]

    code, lines, _ = frostwatch.run("freeze", calm.name)
    assert code == 1
    assert (lines[-1]["outcome"], lines[-1]["refusal"]) == ("refused", "already-frozen")
    code, lines, _ = frostwatch.run("thaw", calm.name)
    assert code == 1
    assert lines[-1]["refused"]
    assert calm.frozen_mounts()

    code, lines, _ = frostwatch.run("thaw", calm.name, "--foreign")
    assert code == 0
    assert (lines[-1]["ok"], lines[-1]["thawed"], lines[-1]["state"]) == (True, 2, "thawed")
    calm.assert_thawed()


def test_thawing_what_is_thawed_is_no_failure(calm: Guest, frostwatch: Frostwatch) -> None:
    code, lines, _ = frostwatch.run("thaw", calm.name)
    assert code == 0
    assert lines[-1]["ok"]


def test_read_only_sends_nothing(calm: Guest, frostwatch: Frostwatch) -> None:
    before = calm.hook_log()
    for command in (["freeze", calm.name], ["thaw", calm.name, "--foreign"]):
        code, lines, _ = ended(frostwatch.start("--read-only", *command, "--json"))
        assert code == 1
        assert lines[-1].get("refusal", "read-only") == "read-only"
    assert calm.hook_log() == before
