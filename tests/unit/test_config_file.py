"""Settings files that can't be used: each is told in one sentence that says where and what."""

from __future__ import annotations

import itertools
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.config.document import parse
from agentclient.config.read import MOST_BYTES, read

PATH = Path("/c.toml")


def problem(text: str) -> str:
    (only,) = parse(PATH, text).problems
    return only


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\nhodl = 1", "/c.toml:2: nothing is called 'hodl' (did you mean hold?)"),
        ("zzz = 1", "/c.toml:1: nothing is called 'zzz'; frostwatch config example shows all"),
        ("[defaults]\nhold = 1", "/c.toml:1: nothing is called 'defaults'"),
        ("[a.b]\nhold = 1", "/c.toml:1: nothing is called 'a'"),
        ('"\\u001b[31m" = 1', "/c.toml:1: nothing is called '\\\\x1b[31m'"),
        ("hold = true", "/c.toml:1: hold: true is a yes or no: write a duration such as 90"),
        ("hold = -1", "hold: -1 is no number of seconds between 0 and a year"),
        ("hold = nan", "hold: nan is no number of seconds between 0 and a year"),
        ("hold = 1e400", "hold: inf is no number of seconds between 0 and a year"),
        ("hold = " + "9" * 4000, "hold: that number is no number of seconds"),
        ('hold = "soon"', "hold: 'soon' is no duration: write 90, 90s, 10m, 1h or 1h30m"),
        ("hold = 2020-01-01", "hold: that is a date or a time"),
        ("hold = []", "hold: that is a list: write a duration"),
        ("hold.x = 1", "hold: that is a table: write a duration"),
        ("first_timeout = 0", "first_timeout: 0s is not in 0.001s to 8784h"),
        ("probes = 1.5", "probes: 1.5 is a number: write a whole number"),
        ("probes = -1", "probes: -1 is not in 0 to 1000"),
        ('read_only = "yes"', "read_only: 'yes' is a text: write true or false"),
        ("read_only = 1", "read_only: 1 is a number: write true or false"),
        ('journal = "j.db"', "journal: 'j.db' depends on the current folder: begin it with /"),
        ('journal = "/a\\u0000"', "journal: '/a\\\\x00' is no path"),
        ("match = 'x'", "/c.toml:1: match stands below a [[vm]] alone"),
        ("[vm]\nhold = 1", "/c.toml:1: write [[vm]] with two brackets"),
        ("vm = 3", "/c.toml:1: write [[vm]] with two brackets"),
        ("vm = [3]", "/c.toml:1: a vm is a table: write [[vm]]"),
        (
            "\n[[vm]]\nhold = 1",
            '/c.toml:2: [[vm]] does not say which VMs it is for: write match = "N',
        ),
        ("[[vm]]\nmatch = []", "/c.toml:2: match names no VM"),
        ("[[vm]]\nmatch = ['a', 3]", "/c.toml:2: match names no VM"),
        ("[[vm]]\nmatch = ' '", "/c.toml:2: match names no VM"),
        (
            "[[vm]]\nmatch='a'\nwithin = 3",
            "/c.toml:3: within is for all VMs: it stands above the f",
        ),
        ("[[vm]]\nmatch='a'\nhodl = 3", "/c.toml:3: nothing is called 'hodl' (did you mean hold?)"),
        (
            "[[vm]]\nmtach='a'\nmatch = 'a'",
            "/c.toml:2: nothing is called 'mtach' (did you mean match?)",
        ),
        (
            "hold = 30s",
            "/c.toml:1: no TOML: expected newline or end of document after a statement, at",
        ),
        (
            "a\n= 3",
            "/c.toml:1: no TOML: expected '=' after a key in a key/value pair, at column 2 of",
        ),
        (
            "\nhold = soon",
            "at column 8 of 'hold = soon'; texts and durations stand in quotes, yes is",
        ),
        (
            "hold = 1\nhold = 2",
            "/c.toml:2: no TOML: cannot overwrite a value, at its end of 'hold = 2'",
        ),
        ('x = "', "/c.toml:1: no TOML: unterminated string, at its end of 'x = \"'"),
        ("x = " + "[" * 5000, "/c.toml: no TOML: it is nested too deeply"),
        ("x = " + "9" * 5000, "/c.toml: no TOML: a number has too many digits"),
    ],
    ids=itertools.count(),
)
def test_what_is_wrong_is_named_with_its_line(text: str, said: str) -> None:
    found = problem(text)
    assert said in found
    assert found.isprintable()


def test_all_that_is_wrong_is_told_from_top_to_bottom() -> None:
    found = parse(PATH, "hodl = 1\n[[vm]]\nmatch = 3\n[foo]\n").problems
    assert [each.split(":")[1] for each in found] == ["1", "3", "4"]


def written(folder: Path, data: bytes, mode: int = 0o600) -> Path:
    path = folder / "config.toml"
    path.write_bytes(data)
    path.chmod(mode)
    return path


def told(path: Path) -> str:
    found = read(path)
    assert found is not None
    assert not found.values
    (only,) = found.problems
    return only.removeprefix(str(path))


def test_a_file_that_is_not_there_is_none_unless_somebody_has_named_it(tmp_path: Path) -> None:
    assert read(tmp_path / "none") is None
    (tmp_path / "file").touch()
    assert read(tmp_path / "file" / "below") is None
    found = read(tmp_path / "none", needed=True)
    assert found is not None
    assert found.problems == (f"{tmp_path}/none: there is no such file",)


def test_an_empty_file_and_nothing_at_all_set_nothing(tmp_path: Path) -> None:
    for path in (written(tmp_path, b" \n# no\n"), written(tmp_path, b""), Path(os.devnull)):
        found = read(path)
        assert found is not None
        assert not found.values
        assert not found.problems


def test_what_an_editor_of_another_system_writes_is_read(tmp_path: Path) -> None:
    found = read(written(tmp_path, b"\xef\xbb\xbfhold = 1\r\nprobes = 2\r\n"))
    assert found is not None
    assert not found.problems
    assert str(found.values["probes"].origin).endswith(":2")


def test_what_is_not_utf_8_is_told_with_its_line(tmp_path: Path) -> None:
    said = told(written(tmp_path, b"hold = 1\n# \xff\n"))
    assert said == ":2: not UTF-8: 0xff begins or continues no character"


def test_a_folder_a_pipe_a_socket_and_a_device_are_no_files(tmp_path: Path) -> None:
    assert told(tmp_path) == ": it is a folder, no file"
    os.mkfifo(tmp_path / "pipe")
    assert told(tmp_path / "pipe") == ": it is a device, a pipe or a socket, no file"
    assert told(Path("/dev/zero")) == ": it is a device, a pipe or a socket, no file"
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "s"))
        assert told(tmp_path / "s") == ": it can't be read: no such device or address"


def test_links_that_lead_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert told(tmp_path / "a") == ": it can't be read: too many levels of symbolic links"


def test_a_link_to_a_file_is_as_good_as_it(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(written(tmp_path, b"hold = 1"))
    found = read(tmp_path / "link")
    assert found is not None
    assert found.values["hold"].value == 1.0


def test_a_file_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path, b"")
    os.truncate(path, 1024**3)
    assert told(path) == f": it is too large: settings have {MOST_BYTES} bytes at the most"


def test_a_file_that_grows_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, b"#")
    monkeypatch.setattr(os, "read", lambda _number, size: b"#" * size)
    assert "it is too large" in told(path)


def test_a_file_that_others_could_write_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = told(written(tmp_path, b"", 0o602))
    assert said == ": everybody may write to it, and so set what frostwatch does: chmod o-w it"
    path = written(tmp_path, b"")
    us = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: us + 1)
    if us == 0:
        assert read(path) is not None  # root's own is as good as ours
        os.chown(path, 4711, -1)
    assert "it belongs to another user (uid" in told(path)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    path = written(tmp_path, b"")
    monkeypatch.setattr(os, "open", no)
    assert told(path) == ": it can't be read: permission denied; --no-config goes without it"


def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    path = written(tmp_path, b"")
    monkeypatch.setattr(os, "read", broken)
    assert told(path) == ": it can't be read: input/output error"


@given(st.binary(max_size=400))
def test_no_bytes_crash_it(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    found = read(written(tmp_path_factory.getbasetemp(), data))
    assert found is not None
    assert all(each.isprintable() for each in found.problems)


_NAMES = st.sampled_from(["hold", "probes", "vm", "match", "read_only", "journal", "x", '"\\n"'])
_VALUES = st.sampled_from(
    [
        *("1", "-1", "1.5", "true", '"30s"', '""', "[]", "[1, 'a']", "{}", "1979-05-27", "oops"),
        *("{match = 'a', hold = 1}", "[{match = 'a'}]", "[\n1,\n2\n]", "'''\n]\n'''", '"/a"'),
    ]
)
_LINES = st.one_of(
    st.builds("{} = {}".format, _NAMES, _VALUES),
    st.builds("{}.{} = {}".format, _NAMES, _NAMES, _VALUES),
    st.builds("[[{}]]".format, _NAMES),
    st.builds("[{}]".format, _NAMES),
    st.builds("[{}.{}]".format, _NAMES, _NAMES),
    st.sampled_from(["", "# [x]", "  "]),
)


@given(st.lists(_LINES, max_size=8))
def test_no_document_crashes_it(lines: list[str]) -> None:
    found = parse(PATH, "\n".join(lines))
    for each in found.problems:
        assert each.isprintable()
        assert each.startswith("/c.toml")
    for section in found.sections:
        assert section.patterns
