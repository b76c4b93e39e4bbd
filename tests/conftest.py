"""What every kind of test needs."""

from __future__ import annotations

import gc
import itertools
import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# Python ignores these two by itself, and lets its children have them.
_PYTHONS_OWN = {signal.SIGPIPE, signal.SIGXFSZ}
_LONG = 200
_TOLD_LINES = 40
_HOMES = itertools.count()


def pytest_configure(config: pytest.Config) -> None:
    """Have the tests do the same on a busy machine, and under whatever they were started."""
    _search(by_chance=str(config.getoption("markexpr")).startswith("soak"))
    _hear_signals()


def _search(*, by_chance: bool) -> None:
    """Search the same few examples each time, however slow the machine is; in a soak, new ones."""
    settings.register_profile(
        "frostwatch",
        deadline=None,
        max_examples=60,
        derandomize=not by_chance,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("frostwatch")


def _hear_signals() -> None:
    """Start the tests' children with their signals as usual, whoever has started the tests.

    Under nohup, from cron or behind a shell's `&` some signals are ignored, and a child would
    inherit that. A handler that does nothing keeps them from this process all the same, and ends
    with the next program that is started.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - _PYTHONS_OWN:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_collection_finish() -> None:
    """Let Python look for garbage among what the tests make, and not among the tests themselves.

    These stay to the end: to search thousands of them again and again takes a fifth of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell why tests were run once more: what fails once in a while fails on a slow machine."""
    for report in terminalreporter.getreports("rerun"):
        terminalreporter.section(f"RERUN {report.nodeid}", sep="_")
        told = report.longreprtext.splitlines()
        terminalreporter.write_line("\n".join(told[-_TOLD_LINES:]))


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a test by the beginning of a long value: each name goes to each worker, and back."""
    if isinstance(val, str | bytes) and len(val) > _LONG:
        return f"{val[:20]!a} and so on: {len(val)}"
    return None


@pytest.fixture(autouse=True)
def no_state_of_a_person(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keep what frostwatch remembers, and what is set, away from the person who runs the tests.

    The folder is not made: for thousands of tests that need none, this took half a minute.
    """
    home = tmp_path_factory.getbasetemp() / f"state-{next(_HOMES)}"
    monkeypatch.setenv("XDG_STATE_HOME", str(home))
    monkeypatch.setenv("FROSTWATCH_CONFIG", os.devnull)
    monkeypatch.delenv("LIBVIRT_DEFAULT_URI", raising=False)
    monkeypatch.setattr("agentclient.backends.choice.LIBVIRT_FOLDER", home / "no-libvirt")
