"""The scenario *hung*: an agent hangs while its guest is frozen, and can't thaw it."""

from __future__ import annotations

from collections.abc import Iterator

from agentclient.backends.drill.plan import make_guest
from agentclient.backends.drill.troubles import Trouble
from agentclient.model.durations import in_words
from tui.shared.training.diary import Diary, Fact, What
from tui.shared.training.rules import after, held_s, left_frozen, others_frozen, reset
from tui.shared.training.scenario import Command, Goal, Mark, Scenario

VM = "files1"
_COPY_S = 10.0
_ABOUT_S = 1.5  # as the trainee counts
_LONG_S = 30.0
_INSTEAD = "SysRq (rung by key) thaws its disks, and loses nothing."


def _held(diary: Diary, _: Fact | None) -> Fact | None:
    """Return that it is held: once more, if it was thawed again before its agent hung."""
    return diary.first(What.HELD, VM, diary.last(What.CERTIFIED, VM))


def _sysrq(diary: Diary, _: Fact | None) -> Fact | None:
    """Return what has freed it: SysRq, or else a reset; too soon or not is judged apart."""
    held = diary.last(What.HELD, VM)
    found = [diary.first(what, VM, held) for what in (What.RUNG_SYSRQ, What.RUNG_RESET)]
    return min((one for one in found if one is not None), key=lambda one: one.at, default=None)


def _wrong(diary: Diary) -> Iterator[Mark]:
    yield from others_frozen(diary, VM)
    yield from reset(diary, VM, _INSTEAD)
    yield from _window(diary)
    yield from left_frozen(diary, VM)


def _window(diary: Diary) -> Iterator[Mark]:
    """Yield that the window was too short for the copy, or longer than it, or cut by a rung."""
    held = diary.last(What.HELD, VM)
    window = held_s(diary, VM)
    if window is not None:
        seconds, ended_at = window
        text = f"you held {VM} for {in_words(round(seconds))}, and its copy takes 10 s"
        if seconds < _COPY_S - _ABOUT_S:
            yield Mark(False, f"{text}: it was not made within the window", ended_at)
        elif seconds > _LONG_S:
            yield Mark(False, f"{text}: its users waited", ended_at)
    deed = diary.first(What.RUNG_SYSRQ, VM, held)
    thaw = diary.first(What.THAW_SENT, VM, held)
    if deed is not None and (thaw is None or deed.at < thaw.at):
        text = f"you pressed SysRq in {VM} while its copy was being made: that ended the window"
        yield Mark(False, text, deed.at)


HUNG = Scenario(
    name="hung",
    title="an agent hangs while its guest is frozen, and can't thaw it",
    story=(
        "files1 is to be copied, which takes ten seconds. Its users wait meanwhile.",
        "Freeze files1 for that long, and see to it that it writes again afterwards.",
        "Lose nothing that runs in it.",
    ),
    guests=(
        make_guest("files", 1, Trouble.HUNG),
        make_guest("web", 1, Trouble.FAST),
        make_guest("dns", 1, Trouble.FAST),
    ),
    goals=(
        Goal(
            "freeze files1, and hold it for about 10 s",
            "Put the cursor on files1, press {freeze}, choose how long it is held, and Enter.",
            _held,
        ),
        Goal(
            "the copy is being made: thaw files1 when it is done",
            "{thaw} thaws it; or the end of its hold does.",
            after(What.THAW_SENT, VM),
            "you held it, and thawed it",
        ),
        Goal(
            "its agent does not answer the thaw: free files1 without it",
            "{rescue} shows the rescue ladder. The agent hangs, so what needs it is in vain. "
            "SysRq by key thaws the disks from outside, and loses nothing.",
            _sysrq,
            "you went round the agent",
            90.0,
            "you took long to go round the agent: its users waited",
        ),
        Goal(
            "see that files1 writes again, and is settled",
            "The rung looks at the guest's writes. Its agent is started again a moment later, and "
            "acknowledges the thaw.",
            after(What.WRITES, VM),
            "you saw to it that it writes again",
        ),
    ),
    wrong=_wrong,
    lesson=(
        "An agent can hang while its guest is frozen. Its port is open, and no command is read: "
        "neither a thaw nor a status can be asked for.",
        "Its window is not certified: the thaw counted nothing any more. Make the copy again.",
        "SysRq-J has the guest's kernel thaw all file systems. Only if that is not allowed there "
        "is a reset the last rung, and it loses what runs in the guest.",
    ),
    commands=(
        Command("frostwatch rescue files1 --rung sysrq --yes", "presses the keys, and looks"),
        Command("virsh send-key files1 KEY_LEFTALT KEY_SYSRQ KEY_J", "the same, under libvirt"),
        Command("echo j > /proc/sysrq-trigger", "the same, inside the guest"),
    ),
)
