"""The calls to one start of a domain and its agent; what a holder thaws it by is here as well.

Each call is one command with the whole of its bound (protocol §5.2): libvirt passes the reply on
whenever it comes within that. Commands are raw ones, since libvirt's own have no bound, and none of
them tells the freeze state; they taint the domain.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Final

from agentclient.access.agent_probe import ProbeResult
from agentclient.access.call_session import AgentBusy, AgentGone, CallFailed, CallTimedOut
from agentclient.access.guest_access import ThawRecipe
from agentclient.backends.libvirt.binding import Binding
from agentclient.backends.libvirt.buttons import LibvirtButtons
from agentclient.backends.libvirt.connections import Connections, connections_to
from agentclient.backends.libvirt.daemon import Daemon
from agentclient.backends.libvirt.disk_calls import LibvirtDisks
from agentclient.backends.libvirt.end_watch import EndWatch, end_watch_of
from agentclient.backends.libvirt.ends import End, Ends, end_of_reason
from agentclient.backends.libvirt.error_codes import Trouble, trouble_of
from agentclient.backends.libvirt.generation import number_of
from agentclient.backends.libvirt.probe import NotPassedOn, Probes
from agentclient.backends.libvirt.uris import Uri
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Cause
from agentclient.model.text import printable
from agentclient.model.vm import Vm
from agentclient.protocol.qga_commands import FREEZE, FREEZE_LIST, STATUS
from agentclient.protocol.qga_lines import DEFAULT_MAX_DEPTH, decoded

_FREEZES: Final = frozenset({FREEZE, FREEZE_LIST})
# A freeze is not sent where to connect took longer than that; there mostly is a connection.
FREEZE_CONNECT_S: Final = 2.0
# A call that ended so much before its bound, or later, had no answer within it.
_SLACK_S: Final = 0.25
_SHUT_OFF: Final = 5  # virDomainState
# Seconds in which an agent that has just answered does so again.
_PROOF_S: Final = 5
ANOTHERS: Final = "another caller's command (libvirt tells whose after half a minute)"
# What libvirt puts before an agent's own words.
_BEFORE: Final = "unable to execute QEMU agent command"


class DomainCalls:
    """The calls to the agent of one start of a domain (see `ThawCalls`).

    Args:
        connections: leads to its daemon.
        uuid: the domain's.
        generation: which start of it.
        ends: knows how starts have ended.
    """

    def __init__(self, connections: Connections, uuid: str, generation: str, ends: Ends) -> None:
        self._connections = connections
        self._uuid = uuid
        self._generation = generation
        self._ends = ends
        self._gone: bool | None = None

    def call(
        self, command: str, arguments: Mapping[str, object] | None, timeout_s: float
    ) -> object:
        """Send one command to the agent, and return the value of its reply (see `AgentCalls`)."""
        place = self._connections.freeze(self._uuid) if command in _FREEZES else nullcontext()
        began = time.monotonic()
        body = {"execute": command} | ({"arguments": dict(arguments)} if arguments else {})
        with place, self._connections.one() as (connection, binding):
            return self._ask(connection, binding, body, timeout_s, began)

    def is_gone(self) -> bool | None:
        """Return whether the guest of this start has ended; None if that is not proven."""
        return self._gone or (self._end() is End.GONE) or None

    def _end(self) -> End | None:
        return self._ends.end_of(self._uuid, self._generation)

    def _ended(self, text: str, end: End | None = None) -> AgentGone:
        """Return that this start of the domain is over; its guest may go on all the same.

        Args:
            text: how that has shown, as a clause.
            end: what libvirt says has become of its guest; None if it does not.
        """
        end = end or self._end()
        if end is End.MOVED:
            return _moved(text)
        if end is None:  # such as a transient domain, which leaves nothing to be asked about
            return AgentGone(f"{text}; whether its guest has ended is not known yet")
        self._gone = True
        return AgentGone(text, Cause.VM_GONE)

    def _ask(
        self,
        connection: Any,
        binding: Binding,
        body: Mapping[str, object],
        timeout_s: float,
        began: float,
    ) -> object:
        bound_s = timeout_s
        try:
            domain = self._domain(connection)
            took_s = time.monotonic() - began
            if body["execute"] in _FREEZES and took_s > FREEZE_CONNECT_S:
                # Whoever has asked for it may have given up, and have thawed (P4).
                raise AgentGone(f"it took {took_s:.0f} s to connect: the freeze was not sent")
            began, bound_s = began + took_s, max(1, int(timeout_s - took_s))
            text = binding.qemu.qemuAgentCommand(domain, json.dumps(body), bound_s, 0)
        except binding.libvirt.libvirtError as error:
            late = time.monotonic() - began > bound_s - _SLACK_S
            raise self._meaning(error, connection, binding, late=late) from error
        return _value(text)

    def _domain(self, connection: Any) -> Any:
        """Return the domain.

        Raises:
            AgentGone: it is another start of it that runs now.
            libvirtError: it can't be found.
        """
        domain = connection.lookupByUUIDString(self._uuid)
        number = domain.ID()
        if number not in (-1, number_of(self._generation)):
            raise self._ended("the domain was started anew")
        return domain

    def _meaning(self, error: Any, connection: Any, binding: Binding, *, late: bool) -> Exception:
        """Return what an error of libvirt's means for a call.

        Args:
            error: the error.
            connection: where it came from.
            binding: the binding.
            late: the call's bound was over.
        """
        said = printable(error, 300)
        connected = _is_alive(connection, binding)
        trouble = trouble_of(error.get_error_code(), connected=connected)
        if trouble is Trouble.UNSURE:
            trouble = self._answered_or_gone(connection, binding)
        if trouble is Trouble.DAEMON:
            return AgentGone(self._link_cut(said))
        if trouble is Trouble.DOMAIN:
            return self._ended(f"the domain does not run any more: {said}")
        if trouble is Trouble.NOT_RUNNING:
            return self._not_running(connection, binding, said)
        if trouble is Trouble.BUSY:
            return AgentBusy(f"libvirt runs another caller's command: {said}")
        if trouble is Trouble.AGENT:
            return CallTimedOut(said) if late else AgentGone(said, Cause.AGENT_GONE)
        if trouble is Trouble.ANSWERED:
            return CallFailed("", _agents_words(str(error)))
        return NotPassedOn(said)

    def _link_cut(self, said: str) -> str:
        """Return what it means that the connection to the daemon has ended, as one clause."""
        uri = Uri(self._connections.uri, named=True)
        goes_on = "; what was sent goes on there" if uri.host else ""
        return f"{uri.broken}{goes_on} ({said})"

    def _answered_or_gone(self, connection: Any, binding: Binding) -> Trouble:
        """Return whether an error was the agent's own answer, or the end of its channel.

        Until libvirt 11.2 both are *internal errors*. An agent that has answered is still there,
        and answers again.
        """
        try:
            domain = self._domain(connection)
            binding.qemu.qemuAgentCommand(domain, json.dumps({"execute": STATUS}), _PROOF_S, 0)
        except AgentGone:
            return Trouble.DOMAIN
        except binding.libvirt.libvirtError as error:
            connected = _is_alive(connection, binding)
            trouble = trouble_of(error.get_error_code(), connected=connected)
            # Twice the same is an agent that refuses even that.
            return Trouble.ANSWERED if trouble is Trouble.UNSURE else trouble
        return Trouble.ANSWERED

    def _not_running(self, connection: Any, binding: Binding, said: str) -> Exception:
        """Return what it means that a domain does not run: it is paused, or this start is over."""
        paused = AgentBusy(f"libvirt asks no agent of a VM that does not run: {said}")
        try:
            state, reason = connection.lookupByUUIDString(self._uuid).state()[:2]
        except binding.libvirt.libvirtError as error:
            connected = _is_alive(connection, binding)
            found = trouble_of(error.get_error_code(), connected=connected)
            return self._ended(said) if found is Trouble.DOMAIN else paused
        return self._ended(said, end_of_reason(reason)) if state == _SHUT_OFF else paused


class HeldCalls(DomainCalls):
    """The calls of a holder: no list shows it how a domain ends, so it hears that by itself.

    Args:
        connections: leads to its daemon.
        uuid: the domain's.
        generation: which start of it.
        ends: hears how starts end.
    """

    def __init__(
        self, connections: Connections, uuid: str, generation: str, ends: EndWatch
    ) -> None:
        super().__init__(connections, uuid, generation, ends)
        self._watch = ends

    def _domain(self, connection: Any) -> Any:
        self._watch.listen()  # first, so that no end is missed
        domain = super()._domain(connection)
        if domain.ID() == number_of(self._generation):
            self._watch.runs(self._generation)
        return domain


class LibvirtCalls(DomainCalls):
    """The calls about one start of a domain (see `GuestCalls`).

    Args:
        daemon: what runs on its host.
        uuid: the domain's.
        generation: which start of it.
    """

    shows_port = True

    def __init__(self, daemon: Daemon, uuid: str, generation: str) -> None:
        super().__init__(connections_to(daemon.uri.text), uuid, generation, daemon)
        self._daemon = daemon
        self._probes = Probes(self, lambda sure: self.suspect(sure=sure))

    @property
    def buttons(self) -> LibvirtButtons | None:
        """What can be pressed at the domain; None where libvirt lets us look alone."""
        if self._daemon.read_only is not None:
            return None
        return LibvirtButtons(self._connections, self._uuid, self._generation)

    def observe(self, timeout_s: float) -> MonitorView:
        """Return what libvirt shows of the domain now."""
        return self._with_busy(self._daemon.look(self._uuid, self._generation, timeout_s))

    def glance(self) -> MonitorView:
        """Return what was seen of the domain last, at once."""
        self._probes.ask_again()
        return self._with_busy(self._daemon.glance(self._uuid, self._generation))

    def _with_busy(self, view: MonitorView) -> MonitorView:
        return view if self.busy is None or not view.port_open else view._replace(client=True)

    def is_gone(self) -> bool | None:
        """Return whether this start has ended; None if that is not proven."""
        return self._gone or self._daemon.is_gone(self._uuid, self._generation)

    @property
    def busy(self) -> str | None:
        """Whose command keeps the agent, as a clause; None if nobody's is known to."""
        return self._probes.busy

    def suspect(self, *, sure: bool = False) -> str | None:
        """Return whose command may keep the agent (see `GuestCalls`).

        Args:
            sure: some other caller's does for sure.
        """
        if self._daemon.problem is not None:
            return None
        names = (self._uuid, str(number_of(self._generation)), self._daemon.name_of(self._uuid))
        caller = self._daemon.callers.likely(names)
        if caller is not None:
            return f"by its looks {caller}"
        return ANOTHERS if sure else None

    def ask(self, *, first: bool, timeout_s: float) -> ProbeResult:
        """Ask the agent for its freeze state (see `GuestCalls`)."""
        if self._daemon.problem is not None:
            return ProbeResult()  # it would hang as well
        return self._probes.ask(first=first, timeout_s=timeout_s)

    @property
    def disk_calls(self) -> LibvirtDisks | None:
        """The calls about its disks; None on another host, or where nothing may be done."""
        if self._daemon.uri.host or self._daemon.read_only is not None:
            return None
        return LibvirtDisks(self._connections, self._uuid, self._generation)

    def thaw_recipe(self, vm: Vm) -> ThawRecipe:
        """Return what another process needs to thaw the guest without us."""
        uri = self._connections.uri
        details = {"uri": uri, "uuid": self._uuid, "generation": self._generation}
        return ThawRecipe(vm, f"{DomainCalls.__module__}:thaw_calls", details)


def thaw_calls(details: Mapping[str, str]) -> DomainCalls:
    """Return the calls of a recipe, for a process of its own; nothing is connected yet."""
    generation = details["generation"]
    uri = details["uri"]
    return HeldCalls(connections_to(uri), details["uuid"], generation, end_watch_of(uri))


def _moved(text: str) -> AgentGone:
    return AgentGone(f"the guest has migrated, or was saved: {text}", Cause.MIGRATED)


def _is_alive(connection: Any, binding: Binding) -> bool:
    try:
        return bool(connection.isAlive())
    except binding.libvirt.libvirtError:
        return False


def _value(text: object) -> object:
    """Return the value of an agent's reply.

    Raises:
        CallFailed: it is no reply.
    """
    problem, body = decoded(str(text).encode("utf-8", "replace"), DEFAULT_MAX_DEPTH)
    if problem is not None:
        raise CallFailed("", f"its reply can't be read: {problem}")
    if "return" not in body:
        raise CallFailed("", "its reply has no value")
    return body["return"]


def _agents_words(text: str) -> str:
    """Return an agent's own words out of libvirt's; they are only shown."""
    _, found, rest = text.partition(_BEFORE)
    words = rest.partition(": ")[2] if found else text
    return printable(words or text, 300)
