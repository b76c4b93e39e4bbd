"""Drives a freeze against a virtual guest in virtual time, as the real driver does."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from agentclient.freeze.coverage import Coverage
from agentclient.freeze.effects import Effect, ReportEvent, Resync, Send
from agentclient.freeze.freeze_plan import FreezePlan
from agentclient.freeze.procedure import FreezeProcedure
from agentclient.model.events import EventKind
from agentclient.model.instruction import Instruction
from agentclient.model.outcome import FileSystem, Outcome
from agentclient.model.request import Schedule
from agentclient.model.snapshot import MonitorView
from agentclient.model.vm import Vm, VmId
from agentclient.protocol.qga import AgentWire
from tests.unit.virtual_guest import VirtualGuest

FILE_SYSTEMS = (
    FileSystem("vda", "/a", "ext4"),
    FileSystem("vdb", "/b", "ext4"),
    FileSystem("vdc", "/boot/efi", "vfat"),
)


@dataclass
class VirtualFreeze:
    """One freeze of one virtual guest, with everything that was told."""

    guest: VirtualGuest
    schedule: Schedule = field(default_factory=Schedule)
    strict: bool = False
    file_systems: tuple[FileSystem, ...] = FILE_SYSTEMS
    monitor: bool = True
    look_every_s: float = 0.25
    told: list[tuple[float, ReportEvent]] = field(default_factory=list)
    sent: list[tuple[float, str]] = field(default_factory=list)
    ended: bool = False
    port_seen: bool = True
    follows: bool = False
    back_at: float = 0.0
    tries: list[float] = field(default_factory=list)
    closed_when_looked_at: bool = False
    closed_at_verdict: bool = False
    frozen_at_verdict: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.wire = AgentWire(new_id=itertools.count(1000).__next__)
        self._tickets = itertools.count(1)
        self._own_channel()
        plan = FreezePlan(
            schedule=self.schedule,
            baseline=self._view(),
            strict=self.strict,
            coverage=Coverage(self.file_systems),
            covered_at=self.guest.now,
        )
        vm = Vm(VmId("socket", "db1"))
        self.procedure = FreezeProcedure(
            vm, plan, self._tickets.__next__, self.guest.now, follows=self.follows
        )
        self._looked_at = self.guest.now
        self.perform(self.procedure.start(self.guest.now))

    # -- what a test asks -----------------------------------------------------------------

    @property
    def outcome(self) -> Outcome | None:
        """The outcome, once there is one."""
        return self.procedure.outcome

    @property
    def verdict(self) -> Outcome:
        """The verdict, which there must be."""
        verdict = self.procedure.freeze.judgement.verdict
        assert verdict is not None
        return verdict

    def kinds(self) -> list[EventKind]:
        """What was told, in order."""
        return [tell.kind for _, tell in self.told]

    def texts(self, kind: EventKind) -> list[str]:
        """The sentences of one kind."""
        return [tell.text for _, tell in self.told if tell.kind is kind]

    def at(self, kind: EventKind) -> float:
        """When something of that kind was told first."""
        return next(at for at, tell in self.told if tell.kind is kind)

    def asked(self, command: str) -> list[float]:
        """When a command was sent."""
        return [at for at, name in self.sent if name == command]

    # -- what a test does -----------------------------------------------------------------

    def run(self, seconds: float, step_s: float = 0.05) -> None:
        """Let time pass in small steps, as long as there is no outcome."""
        end = self.guest.now + seconds
        while self.guest.now < end - 1e-9 and self.outcome is None:
            self.step(min(step_s, end - self.guest.now))

    def run_out(self, step_s: float = 0.25, most_s: float = 100_000.0) -> Outcome:
        """Let time pass until there is an outcome."""
        self.run(most_s, step_s)
        assert self.outcome is not None, "the freeze never ended"
        return self.outcome

    def step(self, seconds: float) -> None:
        """Let a little time pass, and hand over what it brought."""
        self.guest.advance(seconds)
        now = self.guest.now
        self.pump()
        freeze = self.procedure.freeze
        due = now >= self._looked_at + min(freeze.watch_every_s, self.look_every_s)
        if self.monitor and (due or freeze.wants_look):
            self.look()
        if self.procedure.wants_connection(now):
            self.connect()
        self.perform(self.procedure.on_tick(now))

    def pump(self) -> None:
        """Hand over what the guest has said."""
        data = self.guest.read()
        if self.guest.gone and not self.ended:
            self.ended = True
            if self.monitor:
                self.look()
            self.perform(self.procedure.on_stream_ended(self.guest.now, "closed", gone=True))
        elif data and not self.ended:
            for event in self.wire.feed(data):
                self.perform(self.procedure.on_reply(self.guest.now, event))

    def break_channel(self, away_s: float = 0.0) -> None:
        """QEMU drops us, and lives on; what the agent had not read is gone with the channel.

        Args:
            away_s: for so long nobody can connect.
        """
        if self.ended:
            return
        self.guest.inbox.clear()
        self.guest.read()
        self.ended = True
        self.back_at = self.guest.now + away_s
        self.perform(self.procedure.on_stream_ended(self.guest.now, "closed", gone=None))

    def connect(self) -> None:
        """Try to connect again."""
        now = self.guest.now
        self.tries.append(now)
        if self.guest.gone or now < self.back_at:
            gone = True if self.guest.gone else None
            self.perform(self.procedure.on_connect_failed(now, "nobody listens", gone=gone))
            return
        self.ended = False
        self.wire = AgentWire(new_id=itertools.count(5000 + 100 * len(self.tries)).__next__)
        self.perform(self.procedure.on_connected(now))

    def look(self) -> None:
        """Look at the monitor."""
        self._looked_at = self.guest.now
        self.closed_when_looked_at = self.guest.ever_closed_since_freeze
        self.perform(self.procedure.on_look(self.guest.now, self._view()))

    def instruction(self, instruction: Instruction) -> None:
        """Ask for something, as an operator does."""
        self.perform(self.procedure.on_instruction(self.guest.now, instruction))

    def perform(self, effects: list[Effect]) -> None:
        """Do what the machines ask."""
        for effect in effects:
            match effect:
                case ReportEvent():
                    self.told.append((self.guest.now, effect))
                    if effect.kind is EventKind.VERDICT:
                        self.closed_at_verdict = self.closed_when_looked_at
                        self.frozen_at_verdict = set(self.guest.frozen)
                case Send(ticket, command, arguments):
                    self.sent.append((self.guest.now, command))
                    if not self.ended:
                        self.guest.take(self.wire.request(ticket, command, arguments))
                case Resync(ticket):
                    self.sent.append((self.guest.now, "sync"))
                    if not self.ended:
                        self.guest.take(self.wire.sync(ticket))

    # -- before the freeze ----------------------------------------------------------------

    def _own_channel(self) -> None:
        self.guest.take(self.wire.sync(next(self._tickets)))
        self._exchange()
        self.guest.take(self.wire.request(next(self._tickets), "guest-fsfreeze-status", tag=True))
        self._exchange()
        assert self.wire.tags

    def _exchange(self) -> None:
        self.guest.advance(0.0)
        self.wire.feed(self.guest.read())

    def _view(self) -> MonitorView:
        if not self.monitor:
            return MonitorView(problem="no monitor")
        view = self.guest.view()
        return view if self.port_seen else view._replace(port_open=None, openings=None)
