"""Words of a shell's line are read by the shell as what they were, and have nothing unseen."""

from __future__ import annotations

import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from agentclient.model.shell_words import joined, quoted

WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0")
    | st.sampled_from("'\"\\$`!\n\r\t\x1b\x15\u202e"),
    max_size=20,
)


@given(st.lists(WORDS, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_shell_reads_what_was_written(words: list[str]) -> None:
    line = joined(words)
    assert line.isprintable()
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == words


def test_names_as_people_give_them_stay_as_they_are() -> None:
    assert joined(["frostwatch", "thaw", "qemu:db-1.a", "qemu:a b", "qemu:größe"]) == (
        "frostwatch thaw qemu:db-1.a 'qemu:a b' 'qemu:größe'"
    )


def test_a_name_that_is_no_text_is_its_bytes() -> None:
    assert quoted("caf\udce9") == "$'caf\\351'"
    assert quoted("\ud800") == "$'?'"
