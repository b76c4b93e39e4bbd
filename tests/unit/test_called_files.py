"""The files of a copy that a VM's manager makes: complete once QEMU has closed them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentclient.access.host.process import process_of
from agentclient.jobs.called import files as files_module
from agentclient.jobs.called.files import CalledFiles
from agentclient.jobs.control import JobControl

WRITER = "import sys; file = open(sys.argv[1]); print(); sys.stdin.readline(); file.close()"
WRITER += "; print(); sys.stdin.readline()"


def made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> CalledFiles:
    """Return files of which one is made, of a process that is not known yet."""
    monkeypatch.setattr(files_module, "make_image", lambda *_: None)
    files = CalledFiles(JobControl(), None)
    files.make(folder / "a.qcow2", 1 << 20, "vda")
    return files


@contextmanager
def opened(files: CalledFiles, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Have a process be the VM's QEMU, which has the file open until it is told a line."""
    words = [sys.executable, "-c", WRITER, str(folder / "a.qcow2")]
    child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.readline()
    files.process = process_of(child.pid)
    assert files.process is not None
    yield child
    child.kill()
    child.communicate()


def test_it_is_closed_when_qemu_has_it_open_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = made(tmp_path, monkeypatch)
    with opened(files, tmp_path) as writer:
        told = threading.Timer(0.3, lambda: print(file=writer.stdin, flush=True))
        told.start()
        assert files.close() == []
        assert told.finished.is_set(), "it was waited for"


def test_one_that_stays_open_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = made(tmp_path, monkeypatch)
    monkeypatch.setattr(files_module, "CLOSED_WITHIN_S", 0.2)
    with opened(files, tmp_path):
        assert files.close() == [f"the VM's QEMU has {tmp_path}/a.qcow2 open"]


def test_where_it_can_not_be_seen_nothing_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert made(tmp_path, monkeypatch).close() == []
