"""Copies in the console: the form, what is shown while they run and after them, and the end."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import pytest

from agentclient.fleet.store import Fleet
from agentclient.jobs.left import LeftCopy
from agentclient.jobs.mirror import MirrorRequest
from agentclient.jobs.request import BackupRequest
from agentclient.jobs.snapshots.create import SnapshotRequest
from agentclient.jobs.survey import CopySurvey, FolderSurvey
from agentclient.model.job import FreezePolicy, JobKind, JobStage
from agentclient.model.states import AgentState, KnownBy, RunState
from agentclient.model.vm import Process
from agentclient.protocol.job_names import CopyKey
from tests.console.console_session import LARGE, SMALL, ConsoleSession, console_session, qemu
from tests.console.copying import (
    FOLDER,
    LEFT,
    MIB,
    OTHERS,
    SURVEY,
    WITH_CARD_AND_LUKS,
    WITH_READ_ONLY,
    crash_consistent,
    ended,
    failed,
    outcome,
    progress,
    refused,
    unended,
)
from tests.console.fakes import FakeJobs, FakeOperations, StillClock
from tests.console.fleets import agent, fleet_of, make_vm, pending, put, state_of, verified
from tui.console.model.exit_kind import ExitKind
from tui.shared.glyphs import Signs


@pytest.fixture
def fleet(still: StillClock) -> Fleet:
    return fleet_of(["db-1", "web-1"], still)


@pytest.fixture
def jobs() -> FakeJobs:
    made = FakeJobs()
    made.found = SURVEY
    return made


async def opened(session: ConsoleSession) -> None:
    """Press c, and wait until the disks and the folder are known."""
    await session.press("c")
    await session.until(lambda: "GiB free" in session.text or "but" in session.text)


# -- the form -----------------------------------------------------------------------------------


async def test_enter_enter_copies_all_disks_to_where_one_is(
    still: StillClock, fleet: Fleet, jobs: FakeJobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with console_session(fleet, still, jobs=jobs) as session:
        await session.press("c", "enter")
        await session.until(lambda: bool(jobs.begun))
    (job,) = jobs.begun
    assert isinstance(job.request, BackupRequest)
    assert (job.vm.name, job.request.folder, job.limit) == ("db-1", tmp_path, 0)
    assert (job.request.policy, job.request.disks) == (FreezePolicy.REQUIRE, ())


async def test_the_form_begins_with_the_folder_that_is_set(
    still: StillClock, fleet: Fleet, jobs: FakeJobs
) -> None:
    async with console_session(fleet, still, jobs=jobs, copy_to=Path("/somewhere")) as session:
        await session.press("c", "enter")
        await session.until(lambda: bool(jobs.begun))
        request = jobs.begun[0].request
        assert isinstance(request, BackupRequest)
        assert request.folder == Path("/somewhere")


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x50"])
async def test_the_form_says_all_of_it_without_scrolling(
    still: StillClock, fleet: Fleet, jobs: FakeJobs, size: tuple[int, int]
) -> None:
    async with console_session(fleet, still, jobs=jobs, size=size) as session:
        await opened(session)
        for words in (
            "Copy the disks of db-1?",
            "qemu:db-1 · pid 4000",
            "◂ backup ▸",
            "[x] drive-scsi0  384 MiB, 192 MiB used, qcow2",
            "[x] drive-scsi1  640 MiB",
            "50 GiB free",
            "◂ require ▸",
            "no limit",
            "Copy (Enter)",
        ):
            assert words in session.text, words


async def test_what_is_chosen_is_what_is_asked_for(
    still: StillClock, fleet: Fleet, jobs: FakeJobs
) -> None:
    async with console_session(fleet, still, jobs=jobs) as session:
        await opened(session)
        await session.press("down", "down", "space")  # the second disk
        await session.press("down", "ctrl+u", *"/mnt/nas")
        await session.press("down", "right", "down", *"10M")
        assert "◂ prefer ▸" in session.text
        assert "10 MiB/s at the most" in session.text
        await session.press("enter")
        await session.until(lambda: bool(jobs.begun))
        assert "db-1: backup begun" in session.notice
        (job,) = jobs.begun
        assert isinstance(job.request, BackupRequest)
        assert job.request.folder == Path("/mnt/nas")
        assert (job.request.disks, job.limit) == (("drive-scsi0",), 10 * MIB)
        assert job.request.policy is FreezePolicy.PREFER
        job.outcome = outcome(still)
        await opened(session)  # within the session it is remembered
        assert "/mnt/nas" in session.text
        assert "◂ prefer ▸" in session.text
        assert "10M" in session.text


@pytest.mark.parametrize(
    ("steps", "request_type", "kind"),
    [
        (1, BackupRequest, JobKind.BACKUP),
        (2, MirrorRequest, JobKind.MIRROR),
        (3, SnapshotRequest, JobKind.SNAPSHOT),
        (4, SnapshotRequest, JobKind.SNAPSHOT),
    ],
)
async def test_each_kind_is_begun_as_what_it_is(
    still: StillClock,
    fleet: Fleet,
    jobs: FakeJobs,
    steps: int,
    request_type: type[object],
    kind: JobKind,
) -> None:
    async with console_session(fleet, still, jobs=jobs) as session:
        await opened(session)
        await session.press(*["right"] * steps, "enter")
        await session.until(lambda: bool(jobs.begun))
    (job,) = jobs.begun
    assert job.kind is kind
    assert isinstance(job.request, request_type)
    if isinstance(job.request, BackupRequest):
        assert job.request.incremental
    if isinstance(job.request, SnapshotRequest):
        assert job.request.name == "frostwatch-20250909-120000"
        assert job.request.external is (steps == 4)


@pytest.mark.parametrize(
    ("keys", "room", "words"),
    [
        ((*["down"] * 3, "ctrl+u", *"backups"), FolderSurvey(1 << 40), "from / on"),
        ((), FolderSurvey(why_not="there is no such folder"), "there is no such folder"),
        ((), FolderSurvey(100 * MIB), "100 MiB are free there, and 512 MiB are needed"),
        ((*["down"] * 5, *"fast"), FolderSurvey(1 << 40), "is no rate"),
        (("down", "space", "down", "space"), FolderSurvey(1 << 40), "no disk is chosen"),
        (("right",) * 3 + ("down", "ctrl+u"), FolderSurvey(1 << 40), "a snapshot needs a name"),
    ],
)
async def test_it_does_not_close_on_what_can_not_be(
    still: StillClock,
    fleet: Fleet,
    jobs: FakeJobs,
    keys: tuple[str, ...],
    room: FolderSurvey,
    words: str,
) -> None:
    jobs.room = room
    async with console_session(fleet, still, jobs=jobs) as session:
        await session.press("c")
        await session.until(lambda: "drive-scsi1" in session.text)
        await session.press(*keys, "enter")
        await session.until(lambda: words in session.text)
        assert session.dialog == "CopyDialog"
    assert jobs.begun == []


async def test_a_folder_whose_storage_hangs_holds_up_nobody(
    still: StillClock, fleet: Fleet, jobs: FakeJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging: Future[FolderSurvey] = Future()
    monkeypatch.setattr(
        FakeJobs, "survey_folder", lambda _, __: hanging.result(timeout=60), raising=True
    )
    async with console_session(fleet, still, jobs=jobs) as session:
        await session.press("c")
        await session.until(lambda: "drive-scsi1" in session.text)
        await session.press("enter")
        assert "looking at the disks and the folder" in session.text
        assert session.dialog == "CopyDialog"
        hanging.set_result(FolderSurvey(1 << 40))
        await session.until(lambda: bool(jobs.begun))


async def test_a_disk_that_can_not_be_copied_is_not_chosen(
    still: StillClock, fleet: Fleet, jobs: FakeJobs
) -> None:
    jobs.found = WITH_READ_ONLY
    async with console_session(fleet, still, jobs=jobs) as session:
        await opened(session)
        assert "[ ] drive-scsi2  it is read-only" in session.text
        await session.press("enter")
        await session.until(lambda: bool(jobs.begun))
    request = jobs.begun[0].request
    assert isinstance(request, BackupRequest)
    assert request.disks == (), "all, so that one that comes meanwhile is missed by no copy of all"


async def test_what_a_copy_lacks_and_what_is_in_the_clear_is_told_before(
    still: StillClock, fleet: Fleet, jobs: FakeJobs
) -> None:
    jobs.found = WITH_CARD_AND_LUKS
    async with console_session(fleet, still, jobs=jobs) as session:
        await opened(session)
        assert "[ ] sd0  30 MiB: its medium can be changed; left out" in session.text
        assert "[x] vault  20 MiB, encrypted: its copy is in the clear" in session.text
        await session.press("enter")
        await session.until(lambda: bool(jobs.begun))
    request = jobs.begun[0].request
    assert isinstance(request, BackupRequest)
    assert request.disks == ()


async def test_what_would_be_refused_is_foreseen(
    still: StillClock, fleet: Fleet, jobs: FakeJobs
) -> None:
    closed = agent(AgentState.CLOSED, KnownBy.PORT, still)
    put(fleet, qemu("db-1"), agent=closed)
    put(fleet, qemu("web-1"), block_jobs=(OTHERS,))
    async with console_session(fleet, still, jobs=jobs, size=LARGE) as session:
        await opened(session)
        assert "its agent is closed: refused. Policy suspend pauses the VM" in session.text
        await session.press(*["down"] * 4, *["right"] * 3)
        assert "the VM is paused, and the copy is crash-consistent" in session.text
        await session.press("escape", "down")
        jobs.found = CopySurvey((), "the VM is Proxmox's", "let Proxmox's own tool do it: vzdump 1")
        await opened(session)
        await session.until(lambda: "let Proxmox's own tool do it: vzdump 1" in session.flat)
        assert "it looks as if this will be refused" in session.text
    without = fleet_of(["a"], still)
    put(without, qemu("a"), vm=make_vm("a", 4000)._replace(monitor=None))
    async with console_session(without, still, jobs=FakeJobs()) as session:
        await session.press("c")
        await session.until(lambda: "it has no monitor: its disks can't be reached" in session.text)


async def test_a_guest_of_libvirts_is_offered_what_libvirt_can_do(
    still: StillClock, jobs: FakeJobs
) -> None:
    fleet = Fleet(wall=still.wall)
    vm = make_vm("db1", source="libvirt")._replace(agent=None, monitor=None, by_call=True)
    fleet.set_vms("libvirt", [vm])
    closed = agent(AgentState.CLOSED, KnownBy.PORT, still)
    put(fleet, vm.id, agent=closed, run_state=RunState.RUNNING)
    async with console_session(fleet, still, jobs=jobs, size=LARGE) as session:
        await opened(session)
        assert "its agent is closed: refused. Policy prefer goes without" in session.text
        seen = []
        for _ in range(3):
            seen.append(session.text)
            await session.press("right")
        assert not any("mirror" in text or "inside of the disks' images" in text for text in seen)
        assert "overlays beside the images" in seen[2]
        assert seen[0] == session.text, "there are three of them"
        await session.press(*["down"] * 4, *["right"] * 3)
        assert "require" in session.text
        assert "suspend" not in session.text


async def test_several_are_copied_and_those_in_flight_left_out(
    still: StillClock, jobs: FakeJobs
) -> None:
    fleet = fleet_of(["a", "b", "c"], still)
    jobs.add(state_of(fleet, "c").vm, JobKind.BACKUP)
    async with console_session(fleet, still, jobs=jobs) as session:
        session.copies_are_known()
        await session.press("a", "c")
        await session.until(lambda: "GiB free" in session.text)
        assert "Copy the disks of 2 VMs?" in session.text
        assert "left out" in session.text
        assert "[x]" not in session.text
        await session.press("right", "right")
        assert "◂ mirror ▸" in session.text
        await session.press("left", "left", "enter")
        await session.until(lambda: len(jobs.begun) == 3)
        assert [job.vm.name for job in jobs.begun[1:]] == ["a", "b"]
        assert "backup of 2 VMs begun" in session.notice


async def test_the_vm_of_the_key_press_is_checked_again(
    still: StillClock, fleet: Fleet, jobs: FakeJobs
) -> None:
    async with console_session(fleet, still, jobs=jobs) as session:
        await opened(session)
        fleet.set_vms("qemu", [make_vm("db-1", 9999), make_vm("web-1", 4001)])
        await session.press("enter")
        await session.until(lambda: "refused" in session.notice)
        assert "is another process now" in session.notice
    assert jobs.begun == []


async def test_read_only_copies_nothing(still: StillClock, fleet: Fleet, jobs: FakeJobs) -> None:
    async with console_session(fleet, still, jobs=jobs, read_only=True) as session:
        await session.press("c")
        assert session.dialog == ""
        assert "read-only" in session.notice


async def test_keys_of_the_pane_copy_nothing(
    still: StillClock, fleet: Fleet, jobs: FakeJobs
) -> None:
    async with console_session(fleet, still, jobs=jobs) as session:
        await session.press("tab", "c")
        assert session.dialog == ""
        assert "Esc, then c" in session.notice


# -- a copy that runs ---------------------------------------------------------------------------


async def test_a_copy_is_a_row_with_its_share_and_its_time(still: StillClock, fleet: Fleet) -> None:
    put(fleet, qemu("db-1"), job=progress(still), last=verified())
    async with console_session(fleet, still) as session:
        row = session.line_of("db-1")
        assert "⇣ backup 42%" in row
        assert "0:48" in row
        assert "1 copying" in session.lines[0]
        for words in (
            "⇣ backup ████░░░░░░ 42 % · 440 MiB of 1.0 GiB · 12 MiB/s · 0:48 left",
            "asked 11:59:20 ▏frozen after 3.0 s, for 39 ms ▏thawed ▏copying 0:37",
            "no limit",
            "x stops it, and undoes what was begun; c limits its speed",
        ):
            assert words in session.text, words
        assert "consistent" not in session.text, "nothing is copied yet"


async def test_a_copy_that_stands_still_says_so(still: StillClock, fleet: Fleet) -> None:
    job = progress(still, speed=0.0, eta_s=None, still_s=35.0)
    put(fleet, qemu("db-1"), job=job, last=verified())
    async with console_session(fleet, still) as session:
        assert "stalled" in session.line_of("db-1")
        assert "stalled for 35 s: the storage of the copy" in session.text
        assert "have its storage answer again; or x stops it" in session.text
        put(fleet, qemu("db-1"), job=job._replace(still_s=0.3))
        await session.settle()
        assert "stalled" not in session.text


async def test_where_a_copy_is_before_its_window_and_in_it(still: StillClock, fleet: Fleet) -> None:
    before = {"disks": (), "frozen_at": None, "thawed_at": None, "speed": None, "eta_s": None}
    async with console_session(fleet, still) as session:
        job = progress(still, stage=JobStage.PREPARING, text="checking the disks", **before)
        put(fleet, qemu("db-1"), job=job)
        await session.settle()
        assert "⇣ preparing" in session.text
        put(fleet, qemu("db-1"), job=job._replace(stage=JobStage.FREEZING), progress=pending(still))
        await session.settle()
        assert "2/6" in session.line_of("db-1"), "the freeze's own step is what is waited for"
        frozen = job._replace(stage=JobStage.STARTING, frozen_at=still.mono - 0.01)
        put(fleet, qemu("db-1"), job=frozen, progress=None)
        await session.settle()
        assert "FROZEN NOW, after 40.0 s, starting" in session.text
        queued = job._replace(stage=JobStage.QUEUED, text="its turn: 2 at once")
        put(fleet, qemu("db-1"), job=queued)
        await session.settle()
        assert "⋮ queued" in session.line_of("db-1")
        assert "x takes it out of the queue" in session.text


async def test_a_copy_is_stopped_after_a_question(
    still: StillClock, fleet: Fleet, jobs: FakeJobs
) -> None:
    put(fleet, qemu("db-1"), job=progress(still))
    job = jobs.add(state_of(fleet, "db-1").vm, JobKind.BACKUP)
    async with console_session(fleet, still, jobs=jobs, size=LARGE) as session:
        session.copies_are_known()
        await session.press("x")
        assert session.dialog == "StopCopyDialog"
        assert "the incomplete files are deleted" in session.flat
        assert "it was thawed before, and notices nothing" in session.flat
        await session.press("escape")
        assert job.calls == []
        await session.press("x", "enter")
        assert job.calls == ["cancel"]


async def test_its_limit_is_changed_while_it_runs(
    still: StillClock, fleet: Fleet, jobs: FakeJobs
) -> None:
    put(fleet, qemu("db-1"), job=progress(still, limit=10 * MIB))
    job = jobs.add(state_of(fleet, "db-1").vm, JobKind.BACKUP)
    async with console_session(fleet, still, jobs=jobs) as session:
        session.copies_are_known()
        assert "limit 10 MiB/s for each disk" in session.flat
        await session.press("c")
        assert session.dialog == "LimitDialog"
        assert "10M_" in session.text
        await session.press("ctrl+u", *"x", "enter")
        assert session.dialog == "LimitDialog"
        await session.pilot.pause(0.3)  # a button can't be pressed again at once
        await session.press("ctrl+u", *"5M", "enter")
        await session.until(lambda: job.calls == [f"limit {5 * MIB}"])
        await session.press("c", "ctrl+u", "enter")
        await session.until(lambda: job.calls[-1] == "limit 0")


# -- what came of it ----------------------------------------------------------------------------


async def test_a_consistent_copy_is_said_to_be_one(still: StillClock, fleet: Fleet) -> None:
    async with console_session(fleet, still) as session:
        put(fleet, qemu("db-1"), job=progress(still))
        await session.settle()
        ended(fleet, qemu("db-1"), outcome(still))
        await session.settle()
        assert "✓ consistent" in session.line_of("db-1 ")
        assert "crash" not in session.text
        assert "db-1: backup complete, consistent" in session.notice
        for words in (
            "✓ backup CONSISTENT: it was taken within a certified freeze window",
            "asked 11:59:13 ▏frozen after 3.0 s, for 39 ms",
            str(FOLDER),
        ):
            assert words in session.text, words


async def test_a_crash_consistent_copy_is_never_said_to_be_consistent(
    still: StillClock, fleet: Fleet
) -> None:
    async with console_session(fleet, still, size=LARGE) as session:
        ended(fleet, qemu("db-1"), crash_consistent(still))
        await session.settle()
        text = session.text
        assert text.count("consistent") == text.count("crash-consistent") > 0
        assert "✓ consistent" not in text
        assert "≈ backup CRASH-CONSISTENT: the guest was not frozen" in text
        await session.press("right_square_bracket")
        assert session.cursor == "db-1", "somebody should know that"


async def test_a_failed_copy_says_what_to_do(still: StillClock, fleet: Fleet) -> None:
    async with console_session(fleet, still) as session:
        ended(fleet, qemu("db-1"), failed(still))
        await session.settle()
        assert "■ failed" in session.line_of("db-1 ")
        assert "failed: No space left on device" in session.flat
        assert "make room, or name another folder" in session.text
        assert "consistent" not in session.line_of("copy  ")
        assert "db-1: backup failed" in session.notice
        left = failed(still)._replace(left=("the incomplete file /x (busy)",))
        ended(fleet, qemu("db-1"), left)
        await session.settle()
        assert "LEFT BEHIND: the incomplete file /x (busy)" in session.text


async def test_a_refused_copy_names_its_reason(still: StillClock, fleet: Fleet) -> None:
    async with console_session(fleet, still) as session:
        ended(fleet, qemu("db-1"), refused(still))
        await session.settle()
        assert "⊘ refused" in session.line_of("db-1 ")
        assert "backup refused (job-running): a block job runs on the VM" in session.flat


async def test_a_later_freeze_is_what_is_told_then(still: StillClock, fleet: Fleet) -> None:
    async with console_session(fleet, still) as session:
        ended(fleet, qemu("db-1"), failed(still))
        put(fleet, qemu("db-1"), job_is_newest=False, last=verified())
        await session.settle()
        assert "✓ certified" in session.line_of("db-1 ")


async def test_a_filter_finds_copies(still: StillClock, fleet: Fleet) -> None:
    put(fleet, qemu("web-1"), job=progress(still))
    ended(fleet, qemu("db-1"), crash_consistent(still))
    async with console_session(fleet, still) as session:
        await session.press("slash", *"copying", "enter")
        assert session.cursor == "web-1"
        await session.press("escape", "slash", *"crash-", "enter")
        assert session.cursor == "db-1"


# -- what was left ------------------------------------------------------------------------------


async def test_a_left_copy_is_trouble_and_is_ended_after_a_question(
    still: StillClock, fleet: Fleet, jobs: FakeJobs
) -> None:
    process = Process(812, 9)
    left = LeftCopy(CopyKey(process, "cafe"), "backup", (), {"n": "/to/a.qcow2"}, False)
    runs = LeftCopy(CopyKey(Process(900, 1), "beef"), "backup", (), {}, True)
    jobs.left = (left, runs)
    async with console_session(fleet, still, jobs=jobs) as session:
        put(fleet, qemu("web-1"), block_jobs=(LEFT,))
        await session.settle(3.0)
        assert "web-1: left copy; c asks whether to end it: " in session.notice
        assert session.lines[2].startswith("▌  web-1"), "it stands on top"
        assert "↧ left copy" in session.lines[2]
        assert "1 left copy" in session.lines[0]
        assert "nobody follows it, and nothing certifies it" in session.text
        await session.press("c")
        await session.until(lambda: "/to/a.qcow2" in session.text)
        assert session.dialog == "LeftCopyDialog"
        await session.press("enter")
        assert jobs.cleared == [], "the safe answer is chosen at first"
        await session.press("c")
        await session.until(lambda: "/to/a.qcow2" in session.text)
        await session.press("right", "enter")
        await session.until(lambda: jobs.cleared == [left])
        await session.until(lambda: "deleted, since incomplete" in session.notice)


async def test_a_copy_that_can_not_be_ended_is_trouble_until_it_has(
    still: StillClock, fleet: Fleet, jobs: FakeJobs
) -> None:
    async with console_session(fleet, still, jobs=jobs) as session:
        before = failed(still)._replace(left=("QEMU may go on with frostwatch.mirror",))
        ended(fleet, qemu("web-1"), before)
        put(fleet, qemu("web-1"), unended=unended(still))
        await session.settle(3.0)
        assert "web-1: a mirror can't be ended since" in session.notice
        assert session.lines[2].startswith("▌  web-1"), "it stands on top"
        assert "∞ not ended" in session.lines[2]
        assert "1 not ended" in session.lines[0]
        assert "it is tried again, and its end is told" in session.text
        await session.press("c")
        assert "no copy is made until the last one has ended" in session.notice
        put(fleet, qemu("web-1"), unended=None, last_job=before._replace(left=()))
        await session.until(lambda: "its copy has ended at last, and is undone" in session.notice)
        assert "not ended" not in session.lines[0]


async def test_somebody_elses_job_is_shown_and_is_no_trouble(
    still: StillClock, fleet: Fleet
) -> None:
    put(fleet, qemu("db-1"), block_jobs=(OTHERS,))
    async with console_session(fleet, still) as session:
        assert "a block job of others: backup (drive-scsi0) runs, 4 %" in session.text
        await session.press("right_square_bracket")
        assert "no VM is in trouble" in session.notice


# -- the end of the console ---------------------------------------------------------------------


async def test_quitting_says_which_copies_run_and_cancels_or_leaves_them(
    still: StillClock, fleet: Fleet, jobs: FakeJobs
) -> None:
    put(fleet, qemu("db-1"), job=progress(still))
    job = jobs.add(state_of(fleet, "db-1").vm, JobKind.BACKUP)
    job.on_cancel = lambda one: setattr(one, "outcome", failed(still))
    async with console_session(fleet, still, jobs=jobs, size=LARGE) as session:
        session.copies_are_known()
        await session.press("q")
        assert session.dialog == "QuitDialog"
        assert "Quit while disks are copied?" in session.text
        assert "backup: copying, 42 %, 440 MiB of 1.0 GiB, 0:48 left" in session.flat
        assert "the next frostwatch finds it" in session.text
        await session.press("escape")
        assert job.calls == []
        await session.press("q", "d")
        assert session.app.return_value is ExitKind.DETACHED
        assert job.calls == [], "it is left when the screen has been left"
    async with console_session(fleet, still, jobs=jobs) as session:
        session.copies_are_known()
        await session.press("q", "enter")
        assert job.calls == ["cancel"]
        await session.until(lambda: session.app.return_value is ExitKind.CLEAN)


async def test_quitting_with_a_copy_in_its_freeze_tells_of_both(
    still: StillClock, fleet: Fleet, jobs: FakeJobs
) -> None:
    put(fleet, qemu("db-1"), job=progress(still), progress=pending(still))
    operations = FakeOperations()
    operations.add(state_of(fleet, "db-1").vm)
    jobs.add(state_of(fleet, "db-1").vm, JobKind.BACKUP)
    async with console_session(fleet, still, jobs=jobs, operations=operations) as session:
        session.copies_are_known()
        await session.press("q")
        assert "Quit while guests are frozen" in session.text
        assert "Thaw, cancel, quit" in session.text
        assert "QEMU's jobs are ended" in session.text


# -- without Unicode ----------------------------------------------------------------------------


async def test_it_reads_in_ascii(still: StillClock, fleet: Fleet, jobs: FakeJobs) -> None:
    put(fleet, qemu("db-1"), job=progress(still))
    ended(fleet, qemu("web-1"), crash_consistent(still))
    async with console_session(fleet, still, jobs=jobs, signs=Signs(ascii=True)) as session:
        assert "d backup 42%" in session.line_of("db-1")
        assert "####......" in session.text
        assert "k crash-co" in session.line_of("web-1")
        assert session.text.isascii()
