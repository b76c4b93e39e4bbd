"""Asks another frostwatch's holder to thaw a guest now, or to hold it for longer; blocking.

The holder passes it on to its own console, which does it as if its operator had asked. Where the
console has left the window, the holder does it itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from agentclient.freeze.thaw_plan import ThawReport
from agentclient.holder.messages import HolderMessage, HolderRequest
from agentclient.holder.other_holder import NotAsked, OtherHolder, reach, window_of
from agentclient.holder.thaw_message import report_of
from agentclient.model.clock import now
from agentclient.model.durations import in_words
from agentclient.model.instruction import Instruction
from agentclient.model.next_step import step_while_held
from agentclient.model.outcome import ExtendOutcome
from agentclient.model.snapshot import HeldBy
from agentclient.model.vm import Vm
from agentclient.operations.context import OperationContext
from agentclient.operations.ownership import held_by

# The longest single wait for a holder's message, in seconds.
_LOOK_S: Final = 1.0


def extend(context: OperationContext, longer: float | datetime) -> ExtendOutcome:
    """Hold a window of another frostwatch for longer.

    Args:
        context: the VM, and what is known of it.
        longer: for how many seconds more, or until when.
    """
    why_not = context.why_read_only
    held = held_by(context)
    if why_not is not None:
        return _not_extended(context, why_not, None)
    if held is None:
        return _not_extended(context, "no other frostwatch is known to hold it", None)
    try:
        with reach(held, context.vm) as holder:
            return _extended(context, held, holder, longer)
    except NotAsked as error:
        step = step_while_held(held, context.vm, asked=True)
        return _not_extended(context, f"{held}; it is not held for longer: {error}", step)


def _extended(
    context: OperationContext, held: HeldBy, holder: OtherHolder, longer: float | datetime
) -> ExtendOutcome:
    before = holder.look()
    if before.ends_at is None:
        raise NotAsked("its window is not open yet, or is over")
    seconds = longer if isinstance(longer, float | int) else _seconds_until(longer, before.ends_at)
    if seconds <= 0:
        raise NotAsked("it is held until then already")
    after = window_of(holder.ask(HolderRequest.EXTEND, seconds=seconds))
    ends_at = before.ends_at if after.ends_at is None else after.ends_at
    # Both ends were told as seconds from then; what is left to extend by is told exactly.
    more_s = round(max(0.0, before.room_s - after.room_s), 1)
    until = now() + timedelta(seconds=ends_at - time.monotonic())
    most = "" if more_s > seconds - 1 else ", for as long as a window may be"
    reason = f"held by {held.who} for {in_words(more_s)} more, until {until:%H:%M:%S}{most}"
    return ExtendOutcome(context.vm.id, True, more_s, until, reason)


def _seconds_until(moment: datetime, ends_at: float) -> float:
    return (moment - now()).total_seconds() - (ends_at - time.monotonic())


def _not_extended(context: OperationContext, reason: str, step: str | None) -> ExtendOutcome:
    return ExtendOutcome(context.vm.id, False, 0.0, None, reason, step)


def looked_at(held: HeldBy, vm: Vm) -> HeldBy:
    """Return what a holder that goes on alone says of its guest; `held` where it can't be asked.

    The journal of another user tells us nothing, and no journal tells who has attached.
    """
    if not held.ended:
        return held
    with suppress(NotAsked), reach(held, vm) as holder:
        seen = holder.look()
        return held._replace(kept=seen.kept, attached=seen.attached)
    return held


def thaw_through_holder(
    context: OperationContext, held: HeldBy, until: float, waiting: Callable[[str], None]
) -> tuple[ThawReport | None, int | None]:
    """Have another frostwatch thaw a guest now, and wait for that.

    Args:
        context: the VM, and the operator's instructions meanwhile.
        held: that frostwatch.
        until: how long to wait (seconds of the monotonic clock).
        waiting: is called with what is waited for.

    Returns:
        The report of the holder's own thaw, None if its console has thawed; and that one's count.

    Raises:
        NotAsked: the holder could not be asked, or has not said in time what came of it.
    """
    with reach(held, context.vm) as holder:
        holder.ask(HolderRequest.THAW)
        while time.monotonic() < until:
            waiting(f"the thaw by {held.who}, which was asked")
            body = holder.receive(_LOOK_S, context.control.fileno())
            if body is not None and body.get("say") == HolderMessage.DONE:
                count = body.get("count")
                if body.get("own") is True:
                    return report_of(body), None
                return None, count if isinstance(count, int) else None
            asked = context.control.take()
            if Instruction.CANCEL in asked or Instruction.GIVE_UP in asked:
                raise NotAsked("it was asked to thaw it, and is not waited for any more")
    raise NotAsked("it was asked to thaw it, and has not done it yet")
