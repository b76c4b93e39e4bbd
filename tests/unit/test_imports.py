"""Who may import whom, looked at in fresh processes: what a machine without textual would see."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import agentclient
from tests.unit.unserved import unserved_vm

ROOT = Path(__file__).parents[2]
CONSOLE = {"textual", "tui.console"}
OTHERS = {"textual", "rich", "click", "tui", "pydantic"}

# Run by four drivers, one of them on hosts that have nothing but Python (design: agentclient).
# What the first screen of a console does without: it is imported after it, or when it is wanted.
AFTER_THE_FIRST_SCREEN = {
    *("sqlite3", "ctypes", "tomllib", "multiprocessing"),
    *(
        f"agentclient.{name}"
        for name in (
            *("operations", "jobs", "holder", "replay", "config.settings", "journal.history"),
            *("fleet.poller", "fleet.ages", "fleet.others", "fleet.doctor"),
            *("backends.libvirt", "backends.drill.processes", "access.guest_access"),
            *("model.job", "model.timeline", "model.transition", "model.rescue", "model.meaning"),
        )
    ),
    *(
        f"tui.{name}"
        for name in (
            *("cli.commands", "cli.copy_options", "cli.output", "shared.filter_language"),
            *("console.dialogs", "console.pages", "console.replay", "console.training"),
            *("console.actions.prompts", "console.widgets.banner", "console.widgets.handover"),
            *("console.widgets.pane.timeline", "console.widgets.pane.job_facts"),
            *("console.telling", "console.alarm"),
        )
    ),
}
MOST_OF_OURS = 142  # modules before the first screen; each takes a third of a millisecond

SELF_CONTAINED = (
    "protocol.qga",
    "protocol.qmp",
    "freeze.freeze_machine",
    "freeze.thaw_machine",
)


def _modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules, sep='\\n')"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.splitlines())


def _found(names: set[str], forbidden: set[str]) -> set[str]:
    return {
        name
        for name in names
        if any(name == one or name.startswith(f"{one}.") for one in forbidden)
    }


def _all_of(package: str) -> list[str]:
    path = [str(ROOT / package.replace(".", "/"))]
    return [name for _, name, _ in pkgutil.walk_packages(path, f"{package}.")]


def test_the_command_line_imports_neither_textual_nor_the_console() -> None:
    # Of what is in a browser the packages need not be there.
    others = ("tui.console", "tui.web")
    names = [name for name in _all_of("tui") if not name.startswith(others)]
    assert "tui.cli.commands.freeze" in names
    assert not _found(_modules_after("\n".join(f"import {name}" for name in names)), CONSOLE)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["list"],
        ["doctor"],
        ["thaw", "--all"],
        ["freeze", "x"],
        ["history"],
    ],
)
def test_no_command_imports_the_console_while_it_runs(tmp_path: Path, arguments: list[str]) -> None:
    code = (
        "import contextlib, io\n"
        "from tui.main import run\n"
        "said = io.StringIO()\n"
        "with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):\n"
        f"    run({[*unserved_vm(tmp_path), *arguments]!r})"
    )
    assert not _found(_modules_after(code), CONSOLE)


def test_a_console_imports_only_what_its_first_screen_shows() -> None:
    names = _modules_after(
        "import tui.start, tui.main, tui.cli.look, agentclient.engine, tui.console.run"
    )
    assert "tui.console.app" in names
    assert not _found(names, AFTER_THE_FIRST_SCREEN)
    assert len(_found(names, {"agentclient", "tui"})) <= MOST_OF_OURS


def test_agentclient_knows_nothing_of_the_console_or_the_command_line() -> None:
    names = _all_of(agentclient.__name__)
    assert "agentclient.fleet.store" in names
    assert not _found(_modules_after("\n".join(f"import {name}" for name in names)), OTHERS)


@pytest.mark.parametrize("module", SELF_CONTAINED)
def test_the_files_that_four_drivers_run_use_the_standard_library_alone(module: str) -> None:
    before = _modules_after("")
    new = _modules_after(f"import agentclient.{module}") - before
    foreign = {
        name
        for name in new
        if name.split(".")[0] not in sys.stdlib_module_names and name.split(".")[0] != "agentclient"
    }
    assert not foreign


def test_a_holder_that_only_stands_by_stays_small() -> None:
    names = _modules_after("import agentclient.holder.main")
    assert "agentclient.holder.records" in names
    assert not _found(names, {"sqlite3", "agentclient.journal"})
    assert not _found(names, {"agentclient.holder.called_guest", "agentclient.access.call_session"})
