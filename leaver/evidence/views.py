"""What a case looks like to reports, bundles and the command line. All times are UTC."""

from __future__ import annotations

from pydantic import Field

from leaver.domain.base import Facts, Instant, Message
from leaver.domain.effect import Receipt
from leaver.domain.plan import Omission
from leaver.domain.words import CaseOutcome, Mode, Outcome, Phase, Reason, System
from leaver.evidence.bodies import Approval, Attempted, Changed, HrEvent


class Noted(Message):
    """Something a record says. ``record`` is that record's number in the case (``case_seq``)."""

    record: int
    at: Instant


class ApprovalView(Noted):
    """A person's statement and what came of it."""

    statement: Approval


class AttemptView(Noted):
    """An attempt that failed or was lost."""

    attempt: Attempted


class ChangeView(Noted):
    """A change of the case's course."""

    change: Changed


class HrView(Noted):
    """A later message from HR."""

    event: HrEvent


class ExceptionView(Message):
    """A control exception, told once however often it was raised (``times``).

    ``record`` is the number of its first record. ``resolved`` is the number of the later result that proved
    the step within its time, None while the exception stands. ``recorded`` is false where there is no
    exception record and only the step's result shows it.
    """

    step: str | None
    cause: str
    detail: str
    due: Instant | None
    record: int | None
    times: int = 1
    resolved: int | None = None
    recorded: bool = True


class StepView(Message):
    """One step on one account, as its last result tells it.

    ``record`` is the number of that result's record, None while there is none; ``earlier`` are the numbers of
    results that a re-run replaced. ``lag_seconds`` counts from the cut-off to the read-back.
    """

    step: str
    title: str
    system: System
    phase: Phase
    account: str | None
    outcome: Outcome
    reason: Reason | None = None
    detail: str = ""
    before: Facts = Field(default_factory=dict)
    after: Facts = Field(default_factory=dict)
    started_at: Instant | None = None
    finished_at: Instant | None = None
    due: Instant | None = None
    late: bool = False
    lag_seconds: float | None = None
    attempts: int = 0
    writes: int = 0
    run: int = 0
    controls: tuple[str, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    record: int | None = None
    earlier: tuple[int, ...] = ()


class CaseView(Message):
    """The whole case. ``head`` is the leaf hash (hex) of its last record.

    ``places`` are the records' places in the ledger, by their number in the case: the names of their files in
    a bundle.
    """

    case: str
    person_ref: str
    outcome: CaseOutcome
    phase: Phase
    mode: Mode
    immediate: bool
    legal_hold: str
    source: str
    event_id: str
    event_type: str
    raw_sha256: str
    workflow_id: str
    run_id: str
    hr_time: Instant
    cutoff: Instant
    received_at: Instant
    clock_starts: Instant
    contained_at: Instant | None
    closed_at: Instant | None
    lag_effective_seconds: float | None
    lag_notice_seconds: float | None
    policy_name: str
    policy_version: str
    policy_digest: str
    plan_digest: str | None
    successor_id: str | None
    steps: tuple[StepView, ...]
    omitted: tuple[Omission, ...]
    approvals: tuple[ApprovalView, ...]
    exceptions: tuple[ExceptionView, ...]
    failed_attempts: tuple[AttemptView, ...]
    changes: tuple[ChangeView, ...]
    hr_events: tuple[HrView, ...]
    records: int
    first_seq: int
    last_seq: int
    places: tuple[int, ...] = ()
    head: str

    @property
    def closed(self) -> bool:
        """Whether the case has ended."""
        return self.phase is Phase.CLOSED

    @property
    def open_exceptions(self) -> tuple[ExceptionView, ...]:
        """The exceptions that stand."""
        return tuple(exception for exception in self.exceptions if exception.resolved is None)
