"""``frostwatch explain``: what a word of the screen means, how it is known, and what to do."""

from __future__ import annotations

import click

from agentclient.model.explanation.by_hand import by_any_hand
from agentclient.model.explanation.entry import Explanation, Topic
from agentclient.model.explanation.table import explanation_object, find, step_of_any, table
from agentclient.model.json_contract import dumps
from tui.cli import tell
from tui.cli.options import json_option


@click.command("explain")
@click.argument(
    "words",
    metavar="[STATE|OUTCOME|EVIDENCE]",
    nargs=-1,
    shell_complete=lambda _ctx, _param, typed: [
        word for word in sorted({one.word for one in table()}) if word.startswith(typed)
    ],
)
@json_option
def explain_command(words: tuple[str, ...], as_json: bool) -> int:
    """Explain a word of the screen: how it is known, what it means for the data, what to do.

    Without a word it lists all of them. In the console, i explains what is true of one VM.
    """
    found = find(" ".join(words)) if words else table()
    if as_json:
        tell.whole("\n".join(dumps(explanation_object(one)) for one in found))
    elif not words:
        _list(found)
    else:
        for number, one in enumerate(found):
            _explain(one, first=number == 0)
    return 0


def _list(found: tuple[Explanation, ...]) -> None:
    """Tell all words, below what they are about."""
    for topic in Topic:
        words = [one for one in found if one.topic is topic]
        width = max(len(one.word) for one in words)
        tell.out(f"{topic}:")
        for one in words:
            tell.out(f"  {one.word:<{width}}  {one.what}", below=width + 2)
        tell.out("")
    tell.out("frostwatch explain WORD tells how it is known, what it means, and what to do.")


def _explain(one: Explanation, *, first: bool) -> None:
    """Tell all that is known of a word; commands are never broken, so that they can be copied."""
    if not first:
        tell.out("")
    tell.out(f"{one.word} ({one.topic}): {one.what}")
    tell.out(f"  How it is known: {one.known}")
    if one.data:
        tell.out(f"  For the data: {one.data}")
    for result, text in one.results.items():
        tell.out(f"  {result}: {text}")
    step = step_of_any(one)
    if step:
        tell.out(f"  What to do: {step}")
    for hand in one.by_hand:
        tell.out(f"  By hand: {hand}")
        for manager, command in by_any_hand(hand).items():
            tell.whole(f"    {command}" if manager == "any" else f"    {manager}: {command}")
