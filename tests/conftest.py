"""What every kind of test needs."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

# Python ignores these two by itself, and lets its children have them.
_PYTHONS_OWN = {signal.SIGPIPE, signal.SIGXFSZ}


def pytest_configure() -> None:
    """Start the tests' children with their signals as usual, whoever has started the tests.

    Under nohup, from cron or behind a shell's `&` some signals are ignored, and a child would
    inherit that. A handler that does nothing keeps them from this process all the same, and ends
    with the next program that is started.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - _PYTHONS_OWN:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.fixture(autouse=True)
def no_state_of_a_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what frostwatch remembers between runs away from the person who runs the tests."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
