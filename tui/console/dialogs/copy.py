"""Asks what is to be copied, where to, and under which freeze; foresees what would be refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from agentclient.freeze.risks import why_not
from agentclient.model.errors import BadInput
from agentclient.model.job import FreezePolicy
from agentclient.model.sizes import parse_rate, rate_text, size_text
from agentclient.model.states import AgentState
from agentclient.model.vm import VmId
from tui.console.dialogs.copy_kind import CopyAnswer, CopyKind, offered
from tui.console.dialogs.field import Choice, ChoiceField, Field, MarkField, TextField
from tui.console.dialogs.form import Form
from tui.console.dialogs.vm_text import EMPTY, labelled, subject, who
from tui.console.model.targets import Target, Targets
from tui.shared.fit import safe
from tui.shared.glyphs import Signs
from tui.shared.job_words import POLICIES, typed_rate
from tui.shared.tone import Line, Piece, Tone

if TYPE_CHECKING:
    from agentclient.jobs.survey import CopySurvey, FolderSurvey

FEW = 3  # so many VMs leave room on a small screen for what can be chosen
_LOOK_S = 0.1
_HINT = "up, down: another field; left, right and letters change it"
_AGENT_IS_AWAY = (AgentState.CLOSED, AgentState.NONE)

SurveyOf = Callable[[CopyKind], "Future[CopySurvey]"]
FolderOf = Callable[[Path], "Future[FolderSurvey]"]


class CopyDialog(Form[CopyAnswer]):
    """Asks for a copy of the VMs of a key press; answers with what was chosen.

    Args:
        targets: the VMs of the key press.
        before: what was chosen the last time, or is chosen at first.
        hidden: those of them that the filter hides.
        left_out: marked VMs on which something is in flight.
        survey: looks at the disks of one VM; None for several.
        folder: looks at a folder.
        signs: the set of signs that the terminal can show.
    """

    def __init__(
        self,
        targets: Targets,
        before: CopyAnswer,
        hidden: Collection[VmId],
        left_out: Targets,
        *,
        survey: SurveyOf | None,
        folder: FolderOf,
        signs: Signs,
    ) -> None:
        super().__init__(f"Copy the disks of {subject(targets)}?", signs)
        self.targets = targets
        self._hidden = hidden
        self._left_out = left_out
        self._survey_of = survey
        self._folder_of = folder
        offers, rules = offered(one.vm for one in targets)
        kinds = sorted(offers, key=lambda one: one is not before.kind)
        self._kinds = tuple(kinds)
        self._kind = ChoiceField("kind", [Choice(one.name, one.meaning) for one in kinds])
        self._called = TextField("name", before.name)
        self._to = TextField("to", str(before.folder or ""))
        policies = sorted(rules, key=lambda one: one is not before.policy)
        self._policy = ChoiceField("policy", [Choice(one.value, POLICIES[one]) for one in policies])
        self._rate = TextField("rate", typed_rate(before.limit))
        self._disks: tuple[MarkField, ...] = ()
        self._survey: Future[CopySurvey] | None = None
        self._found: CopySurvey | None = None
        self._unseen: str | None = None  # why the disks can't be looked at
        self._folder: Future[FolderSurvey] | None = None
        self._seen: FolderSurvey | None = None
        self._no_folder: str | None = None  # why it can't be looked at
        self._seen_of = ""
        self._problem: str | None = None
        self._wanted = False
        if survey is not None:
            self._survey = survey(self.kind)
        self._take()

    def on_mount(self) -> None:
        """Take what is found over as it comes."""
        super().on_mount()
        self.set_interval(_LOOK_S, self._look)

    @property
    def kind(self) -> CopyKind:
        """The kind that is chosen."""
        return next(one for one in self._kinds if one.name == self._kind.chosen.value)

    @property
    def policy(self) -> FreezePolicy:
        """The policy that is chosen."""
        return FreezePolicy(self._policy.chosen.value)

    def fields(self) -> Sequence[Field]:
        """Return the fields that this kind of copy has."""
        kind = self.kind
        named = (self._called,) if kind.named else ()
        to = (self._to,) if kind.to_folder else ()
        rate = (self._rate,) if kind.limited else ()
        return (self._kind, *named, *self._disks, *to, self._policy, *rate)

    # -- what is found meanwhile ---------------------------------------------------------------

    def _look(self) -> None:
        if self._take():
            self.update_text()
        if self._wanted:
            self._answer()

    def _take(self) -> bool:
        """Take over what was found, and ask for what is not known; return whether it is news."""
        news = False
        if self._survey is not None and self._survey.done():
            error = self._survey.exception()
            self._found = self._survey.result() if error is None else None
            self._unseen = None if error is None else str(error)
            self._survey, news = None, True
            self._offer_disks()
        if self._folder is not None and self._folder.done():
            error = self._folder.exception()
            self._seen = self._folder.result() if error is None else None
            self._no_folder = None if error is None else safe(str(error), 200)
            self._folder, news = None, True
        text = self._to.text
        if self._folder is None and text != self._seen_of and self.kind.to_folder:
            self._seen, self._no_folder, self._seen_of = None, None, text
            if text.startswith("/"):  # one at a time, however slow its storage is
                self._folder = self._folder_of(Path(text))
        return news

    def _offer_disks(self) -> None:
        """Offer the disks of the VM: all that can be copied are chosen, as far as nobody chose."""
        found = self._found
        if found is None or self._disks:
            return
        here = self.field
        labels = ["disks", *[""] * len(found.disks)]
        self._disks = tuple(
            MarkField(
                label,
                safe(one.disk.name, 30),
                marked=one.is_offered,
            )
            for label, one in zip(labels, found.disks, strict=False)
        )
        self.at = self.fields().index(here)

    # -- what is shown -----------------------------------------------------------------------

    def lines(self) -> Iterable[Line]:
        """Return whom it hits, the fields, and what speaks against it."""
        yield from self._target_lines()
        yield EMPTY
        yield from self.field_lines()
        yield EMPTY
        if self._problem is not None:
            yield labelled("but", self._problem, Tone.BAD)
        for text in self._foreseen():
            yield labelled("beware", safe(text, 400), Tone.WARN)
        yield labelled("", _HINT, Tone.DIM)

    def _target_lines(self) -> Iterator[Line]:
        for target in self.targets[:FEW]:
            yield who(target.state, self.signs)
            if target.vm.id in self._hidden:
                yield labelled("", "marked, and hidden by the filter", Tone.WARN)
        if len(self.targets) > FEW:
            names = ", ".join(safe(one.vm.name, 30) for one in self.targets[FEW : FEW + 8])
            yield (Piece(f"and {len(self.targets) - FEW} more: {names}", Tone.DIM),)
        if self._left_out:
            names = ", ".join(safe(one.vm.name, 30) for one in self._left_out[:8])
            yield labelled("left out", f"{names}: something is in flight already", Tone.WARN)

    def meaning_of(self, field: Field) -> tuple[str, Tone]:
        """Return what is said behind a field."""
        if field is self._to:
            return self._room_text()
        if field is self._rate:
            return self._rate_text()
        if isinstance(field, MarkField):
            return self._disk_text(self._disks.index(field))
        if field is self._called:
            return "letters, digits, . _ -", Tone.DIM
        return super().meaning_of(field)

    def _room_text(self) -> tuple[str, Tone]:
        if not self._to.text.startswith("/"):
            return "a folder, from / on", Tone.WARN
        if self._why_no_folder is not None:
            return self._why_no_folder, Tone.BAD
        if self._seen is None:
            return "looking …", Tone.DIM
        return f"{size_text(self._seen.free or 0)} free", Tone.NORMAL

    @property
    def _why_no_folder(self) -> str | None:
        """Why nothing can be copied into the folder; None if it can be, or isn't known."""
        return self._no_folder if self._seen is None else self._seen.why_not

    def _rate_text(self) -> tuple[str, Tone]:
        try:
            limit = parse_rate(self._rate.text) if self._rate.text.strip() else 0
        except BadInput:
            return "bytes a second: 500K, 10M, 1G", Tone.BAD
        return (
            "no limit" if not limit else f"{rate_text(limit)} at the most for each disk"
        ), Tone.NORMAL

    def _disk_text(self, number: int) -> tuple[str, Tone]:
        if self._found is None:
            return "", Tone.NORMAL
        one = self._found.disks[number]
        if one.why_not is not None:
            return one.why_not, Tone.WARN
        size = size_text(one.disk.size)
        if not one.is_offered and not self._disks[number].marked:
            return f"{size}: its medium can be changed; left out", Tone.WARN
        if one.is_encrypted and self.kind.to_folder:
            return f"{size}, encrypted: its copy is in the clear", Tone.WARN
        taken = "" if one.disk.allocated is None else f", {size_text(one.disk.allocated)} used"
        return f"{size}{taken}, {safe(one.disk.format, 20)}", Tone.NORMAL

    def _foreseen(self) -> Iterator[str]:
        """Yield what would probably be refused, and what can be done about it."""
        why, found = self._unseen, self._found
        if found is not None and found.why_not is not None:
            why = f"{found.why_not}. {found.next}" if found.next else found.why_not
        if why is not None:
            yield f"it looks as if this will be refused: {why}"
            return
        if self._survey is not None:
            yield "looking at its disks …"
        told = set()
        for target in self.targets:
            text = self._foreseen_of(target)
            if text is not None and text not in told:
                told.add(text)
                name = f"{safe(target.vm.name, 40)}: " if len(self.targets) > 1 else ""
                yield f"{name}{text}"

    def _foreseen_of(self, target: Target) -> str | None:
        state = target.state
        if state.vm.monitor is None and not state.vm.is_libvirts:
            return "it has no monitor: its disks can't be reached"
        for job in state.block_jobs:
            if not job.ended:
                return f"it will be refused: {job}"
        reason = why_not(state)
        if reason is None or self.policy is FreezePolicy.NEVER:
            return None
        if self.policy is FreezePolicy.PREFER:
            return f"{reason}: the copy will be crash-consistent only"
        if state.agent.state not in _AGENT_IS_AWAY:
            return f"the freeze will be refused, and the copy with it: {reason}"
        if self.policy is FreezePolicy.SUSPEND:
            return f"{reason}: the VM is paused, and the copy is crash-consistent"
        if state.vm.is_libvirts:
            return f"{reason}: refused. Policy prefer goes without"
        return f"{reason}: refused. Policy suspend pauses the VM instead; prefer goes without"

    # -- what can be answered ------------------------------------------------------------------

    def answers(self) -> Sequence[tuple[str, str]]:
        """Copy, or don't."""
        return (("yes", "Copy (Enter)"), ("no", "Leave it (Esc)"))

    def answered(self, answer: str) -> None:
        """Answer with what was chosen, once nothing speaks against it; or None."""
        if answer != "yes":
            self.dismiss(None)
            return
        self._answer()

    def _answer(self) -> None:
        self._wanted = False
        if self._is_looking():
            self._wanted, self._problem = True, "looking at the disks and the folder …"
            self.update_text()
            return
        try:
            answer = self._chosen()
        except BadInput as problem:
            self._problem = str(problem)
            self.update_text()
            return
        self.dismiss(answer)

    def _is_looking(self) -> bool:
        known = self._seen is not None or self._no_folder is not None
        folder = self.kind.to_folder and (self._folder is not None or not known)
        return self._survey is not None or (folder and self._to.text.startswith("/"))

    def _chosen(self) -> CopyAnswer:
        """Return what was chosen.

        Raises:
            BadInput: it can't be done so.
        """
        kind = self.kind
        disks = self._chosen_disks()
        folder = self._chosen_folder(disks) if kind.to_folder else None
        limit = parse_rate(self._rate.text) if kind.limited and self._rate.text.strip() else 0
        if kind.named and not self._called.text.strip():
            raise BadInput("a snapshot needs a name")
        all_of_them = self._found is None or all(
            field.marked is one.is_offered
            for one, field in zip(self._found.disks, self._disks, strict=True)
        )
        name = self._called.text.strip() if kind.named else ""
        return CopyAnswer(kind, self.policy, () if all_of_them else disks, folder, limit, name)

    def _chosen_disks(self) -> tuple[str, ...]:
        if self._found is None:
            return ()
        marked = [
            one.disk
            for one, field in zip(self._found.disks, self._disks, strict=True)
            if field.marked
        ]
        if self._disks and not marked:
            raise BadInput("no disk is chosen: space chooses one")
        return tuple(one.name for one in marked)

    def _chosen_folder(self, disks: tuple[str, ...]) -> Path:
        seen = self._seen
        if not self._to.text.startswith("/"):
            raise BadInput("name the folder from / on")
        if self._why_no_folder is not None:
            raise BadInput(f"the folder {safe(self._to.text, 60)}: {self._why_no_folder}")
        free = seen.free if seen is not None else None
        if self._found is not None and self.kind.is_whole and free is not None:
            needed = sum(
                one.disk.size if one.disk.allocated is None else one.disk.allocated
                for one in self._found.disks
                if one.disk.name in disks
            )
            if needed > free:
                raise BadInput(
                    f"{size_text(free)} are free there, and {size_text(needed)} are needed"
                )
        return Path(self._to.text)

    def changed(self, field: Field) -> None:
        """Look at what a change needs to know."""
        self._problem, self._wanted = None, False
        if field is self._kind and self._survey_of is not None and self._survey is None:
            self._survey = self._survey_of(self.kind)
        self._take()
