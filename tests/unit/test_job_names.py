"""The names of a copy's parts in QEMU: short enough, and read back by the next frostwatch."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.model.vm import Process
from agentclient.protocol.job_names import CopyKey, JobId

TOKENS = st.text("0123456789abcdef", min_size=8, max_size=8)
NAMES = st.builds(
    JobId,
    st.sampled_from(["backup", "mirror", "snapshot", "command"]),
    st.builds(Process, st.integers(1, 2**22), st.integers(0, 2**40)),
    TOKENS,
)


@given(name=NAMES, part=st.integers(0, 99))
def test_the_next_one_reads_who_has_made_what(name: JobId, part: int) -> None:
    assert JobId.parse(name.job(part)) == name
    for node in (name.node(f"t{part}"), name.node(f"t{part}-f")):
        assert len(node) <= 31
        assert re.fullmatch(r"[a-z][a-z0-9.-]*", node)  # what QEMU takes for an id
        assert CopyKey.of_node(node) == name.key


@pytest.mark.parametrize(
    "text",
    ["", "drive0", "frostwatch.", "frostwatch.backup.x.1.abcd.0", "frostwatch.a.1.2.3", "fw-",
     "fw-x-y",
     "fw-$-1-abcd-t0", "fw-1-1", "#block123"],
)  # fmt: skip
def test_what_others_have_named_is_nobodys_of_us(text: str) -> None:
    assert JobId.parse(text) is None
    assert CopyKey.of_node(text) is None


@given(st.text())
def test_no_name_is_too_odd(text: str) -> None:
    JobId.parse(text)
    CopyKey.of_node(text)
    JobId.parse(f"frostwatch.{text}")
    CopyKey.of_node(f"fw-{text}")
