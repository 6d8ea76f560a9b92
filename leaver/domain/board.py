"""The board of a case: every step with its standing, and what follows from it. Pure bookkeeping."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from leaver.domain.case import StepStatus
from leaver.domain.catalogue import CATALOGUE, IDENTITY_SYSTEMS, StepDefinition, identify_step
from leaver.domain.effect import Effect
from leaver.domain.plan import Plan
from leaver.domain.policy import Policy
from leaver.domain.words import CaseOutcome, Outcome, Phase, Reason, System


class Board:
    """The steps of one case. Steps are added by intake and by the plan and are never removed."""

    def __init__(self, policy: Policy, clock_starts: datetime) -> None:
        self._policy = policy
        self._clock_starts = clock_starts
        self._steps: dict[str, StepStatus] = {}
        self._runs: dict[str, int] = {}
        self._order: dict[str, int] = {}

    def restart_clock(self, clock_starts: datetime) -> None:
        """The cut-off moved before anything ran: time limits count from the new one."""
        self._clock_starts = clock_starts

    @property
    def steps(self) -> tuple[StepStatus, ...]:
        """All steps in catalogue order."""
        return tuple(self._steps[name] for name in CATALOGUE if name in self._steps)

    def __contains__(self, step: object) -> bool:
        return step in self._steps

    def __getitem__(self, step: str) -> StepStatus:
        return self._steps[step]

    def expect(self, system: System) -> None:
        """The case will look for an account in this system."""
        self._add(CATALOGUE[identify_step(system)])

    def follow(self, plan: Plan) -> None:
        """Add the plan's steps; those already there keep their standing."""
        for planned in plan.steps:
            self._add(planned.definition)

    def _add(self, definition: StepDefinition) -> None:
        if definition.name not in self._steps:
            self._steps[definition.name] = StepStatus(
                step=definition.name,
                title=definition.title,
                system=definition.system,
                phase=definition.phase,
                outcome=Outcome.PENDING,
                due=self.due(definition),
            )

    def due(self, definition: StepDefinition) -> datetime:
        """Until when the step must be done, by policy."""
        rules = self._policy.system(definition.system)
        if definition.phase in (Phase.INTAKE, Phase.CONTAIN):
            return self._clock_starts + timedelta(minutes=rules.contain_within_minutes)
        return self._clock_starts + timedelta(hours=rules.complete_within_hours)

    def settle(self, effect: Effect) -> StepStatus:
        """Write an effect into its step and return the step's new standing."""
        step = self._steps[effect.step]
        late = step.due is not None and effect.finished_at > step.due
        settled = step.model_copy(
            update={
                "outcome": effect.outcome,
                "reason": effect.reason,
                "detail": effect.detail,
                "started_at": step.started_at or effect.started_at,
                "finished_at": effect.finished_at,
                "late": late,
                "attempts": step.attempts + effect.attempts,
                "writes": step.writes + effect.writes,
            }
        )
        self._steps[effect.step] = settled
        self._order[effect.step] = max(self._order.values(), default=0) + 1
        return settled

    def next_run(self, unit: str) -> int:
        """Count a run of the unit: 1 for the first, more where it is run again."""
        self._runs[unit] = self._runs.get(unit, 0) + 1
        return self._runs[unit]

    def blockers(self, step: str) -> tuple[str, ...]:
        """Steps that must be effective before this one may run, and are not."""
        return tuple(
            name
            for name in CATALOGUE[step].after
            if name in self._steps and not self._steps[name].outcome.effective
        )

    def runnable(self, phase: Phase, *, asked: Iterable[str] = ()) -> dict[str, tuple[str, ...]]:
        """The units of a phase with the steps to run now: pending ones, asked-for ones, unblocked ones."""
        wanted = frozenset(asked)
        units: dict[str, list[str]] = {}
        for status in self.steps:
            if status.phase is not phase:
                continue
            unblocked = status.reason is Reason.BLOCKED_BY_STEP and not self.blockers(status.step)
            if status.outcome is Outcome.PENDING or status.step in wanted or unblocked:
                units.setdefault(CATALOGUE[status.step].unit, []).append(status.step)
        return {unit: tuple(steps) for unit, steps in units.items()}

    @property
    def needing_person(self) -> tuple[StepStatus, ...]:
        """Steps that wait for somebody."""
        return tuple(status for status in self.steps if status.outcome.needs_person)

    @property
    def unblocked(self) -> tuple[str, ...]:
        """Steps that waited for another one which is effective now."""
        return tuple(
            status.step
            for status in self.steps
            if status.reason is Reason.BLOCKED_BY_STEP
            and status.outcome.needs_person
            and not self.blockers(status.step)
        )

    @property
    def stale(self) -> tuple[str, ...]:
        """Steps that were done before something they must follow was: they have to be done again.

        Sessions revoked while sign-in was still open, for one (trap T15). Within one system only. What came
        later is told by the order of the results here: the clocks of two workers are never compared.
        """
        return tuple(
            status.step
            for status in self.steps
            if status.outcome.effective
            and any(self._later(name, status) for name in CATALOGUE[status.step].after)
        )

    def _later(self, forerunner: str, status: StepStatus) -> bool:
        before = self._steps.get(forerunner)
        if before is None or before.system is not status.system or not before.outcome.effective:
            return False
        return self._order[forerunner] > self._order[status.step]

    def reopen(self, steps: Iterable[str]) -> None:
        """Make open steps pending again, to be run with the next plan."""
        for step in steps:
            self._steps[step] = self._steps[step].model_copy(
                update={"outcome": Outcome.PENDING, "reason": None, "detail": ""}
            )

    @property
    def contained(self) -> bool:
        """Whether every containment step that the plan has is effective. No step at all is not contained."""
        wanted = [status for status in self.steps if status.phase is Phase.CONTAIN]
        found = [s for s in self.steps if s.phase is Phase.INTAKE and s.system in IDENTITY_SYSTEMS]
        return (
            bool(wanted)
            and all(s.outcome.effective and s.outcome is not Outcome.PLANNED for s in wanted)
            and all(status.outcome.effective for status in found)
        )

    @property
    def contained_at(self) -> datetime | None:
        """When the last containment effect was read back (UTC)."""
        if not self.contained:
            return None
        return max(s.finished_at for s in self.steps if s.phase is Phase.CONTAIN and s.finished_at)

    def pending(self, phase: Phase) -> bool:
        """Whether a phase has steps that nobody has tried yet."""
        return any(s.phase is phase and s.outcome is Outcome.PENDING for s in self.steps)

    @property
    def exceptions(self) -> tuple[StepStatus, ...]:
        """Control exceptions: not proven, or proven too late."""
        return tuple(status for status in self.steps if not status.outcome.proven or status.late)

    def outcome(self, *, notification_only: bool) -> CaseOutcome:
        """How the case ends with these steps. An empty board is never a success (trap T12)."""
        if notification_only:
            return CaseOutcome.PLANNED
        acted = [status for status in self.steps if status.phase is not Phase.INTAKE]
        if not acted or self.exceptions:
            return CaseOutcome.COMPLETED_WITH_EXCEPTIONS
        return CaseOutcome.COMPLETED
