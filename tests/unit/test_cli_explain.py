"""``frostwatch explain``: a word of the screen, all that is known of it, and what to do."""

from __future__ import annotations

import json

import pytest

from agentclient.model.explanation.table import table
from tui.main import run


def test_a_word_is_explained_with_the_commands_of_every_manager(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["explain", "lost"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("lost (outcome): the freeze will never be answered\n")
    for words in (
        "How it is known: ",
        "For the data: Not consistent: ",
        "What to do: see what frostwatch doctor VM says, then: frostwatch freeze VM",
        "libvirt: virsh domfsthaw DOMAIN",
        "Proxmox: qm guest cmd VMID fsfreeze-thaw",
        "socat -T60 -,ignoreeof UNIX-CONNECT:AGENT_SOCKET",
    ):
        assert words in said


def test_evidence_is_explained_in_each_direction(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "status-at-thaw"]) == 0
    said = capsys.readouterr().out
    assert all(f"\n  {result}: " in said for result in ("for", "against", "unknown"))


def test_without_a_word_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for one in table():
        assert any(line.split()[0:1] == one.word.split()[0:1] for line in lines), one.word


@pytest.mark.parametrize("words", [["at", "risk"], ["at risk"], ["AT RISK"]])
def test_a_word_of_two_needs_no_quotes(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", *words]) == 0
    assert capsys.readouterr().out.startswith("at risk (step)")


def test_json_has_one_line_for_each_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "unknown", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["topic"] for one in found] == ["vm", "agent", "file systems", "cause"]
    assert all(one["schema"] == 1 and one["evidence"] is None for one in found)
    assert run(["explain", "reply", "--json"]) == 0
    (reply,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert set(reply["evidence"]) == {"for", "against", "unknown"}
    assert reply["data"] is None


def test_a_mistyped_word_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "frozzen"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "did you mean frozen" in line
