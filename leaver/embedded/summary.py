"""``summary.json``: what became of a delivery, stable and documented in docs/demo.md."""

from __future__ import annotations

from datetime import datetime

from leaver.client.intake import Intake
from leaver.domain.base import Instant, Message
from leaver.domain.case import CaseStatus


class StepSummary(Message):
    """One step; times are when the work began and when the effect was read back (UTC)."""

    step: str
    system: str
    phase: str
    outcome: str
    started_at: Instant | None
    finished_at: Instant | None
    attempts: int


class CaseSummary(Message):
    """One case. ``person`` is the employee number.

    ``lag_seconds`` runs from the moment we could act (the cut-off, or HR's notice if that came later) to the
    last containment effect read back; ``lag_effective_seconds`` from the cut-off itself.
    """

    case: str
    person: str
    phase: str
    outcome: str
    hr_time: Instant
    cutoff: Instant
    contained_at: Instant | None
    lag_seconds: float | None
    lag_effective_seconds: float | None
    bundle: str | None
    steps: tuple[StepSummary, ...]


class RejectedSummary(Message):
    """A row that HR must correct."""

    source: str
    line: int
    field: str
    reason: str


class HeldSummary(Message):
    """A person who waits for a release."""

    person: str
    reason: str
    case: str | None = None


class Summary(Message):
    """The whole file."""

    cases: tuple[CaseSummary, ...]
    rejected: tuple[RejectedSummary, ...]
    held: tuple[HeldSummary, ...]


def summarise_case(person: str, status: CaseStatus, bundle: str | None) -> CaseSummary:
    """One case's part of the summary."""
    return CaseSummary(
        case=status.case,
        person=person,
        phase=status.phase.value,
        outcome=status.outcome.value,
        hr_time=status.hr_time,
        cutoff=status.cutoff,
        contained_at=status.contained_at,
        lag_seconds=_seconds(max(status.cutoff, status.hr_time), status.contained_at),
        lag_effective_seconds=_seconds(status.cutoff, status.contained_at),
        bundle=bundle,
        steps=tuple(
            StepSummary(
                step=step.step,
                system=step.system.value,
                phase=step.phase.value,
                outcome=step.outcome.value,
                started_at=step.started_at,
                finished_at=step.finished_at,
                attempts=step.attempts,
            )
            for step in status.steps
        ),
    )


def summarise(intake: Intake, cases: list[CaseSummary]) -> Summary:
    """The summary of a delivery and its cases."""
    return Summary(
        cases=tuple(cases),
        rejected=tuple(
            RejectedSummary(source=row.source, line=row.line, field=row.field, reason=row.reason)
            for row in intake.rejected
        ),
        held=tuple(
            HeldSummary(person=row.person, reason=row.why, case=row.case or None) for row in intake.held
        ),
    )


def _seconds(start: datetime, end: datetime | None) -> float | None:
    return round((end - start).total_seconds(), 3) if end else None
