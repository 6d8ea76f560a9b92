"""A case: what the workflow is given, what it tells, and how it ends."""

from __future__ import annotations

from pydantic import Field

from leaver.domain.base import Instant, Message
from leaver.domain.event import LeaverEvent
from leaver.domain.plan import Omission
from leaver.domain.policy import Policy
from leaver.domain.words import CaseOutcome, Outcome, Phase, Reason, System


class CaseInput(Message):
    """Everything a case starts from; the policy is frozen into it.

    ``site`` names the on-premises site whose workers serve this person (empty: the only one).
    ``received_at`` is when HR's message reached us (UTC).
    """

    case: str
    person_ref: str
    event: LeaverEvent
    policy: Policy
    received_at: Instant
    site: str = ""
    on_prem: bool = True
    """Whether an Active Directory takes part at all in this installation."""


class StepStatus(Message):
    """One step as operators see it."""

    step: str
    title: str
    system: System
    phase: Phase
    outcome: Outcome
    reason: Reason | None = None
    detail: str = ""
    started_at: Instant | None = None
    finished_at: Instant | None = None
    due: Instant | None = None
    late: bool = False
    attempts: int = 0
    writes: int = 0


class CaseStatus(Message):
    """The answer of the ``status`` query: complete, and without names or addresses."""

    case: str
    person_ref: str
    phase: Phase
    outcome: CaseOutcome
    mode: str
    hr_time: Instant
    cutoff: Instant
    contained_at: Instant | None = None
    closed_at: Instant | None = None
    plan_digest: str | None = None
    policy_digest: str = ""
    waiting_for: str = ""
    held_because: str = ""
    approvers: tuple[str, ...] = ()
    decision: str = ""
    steps: tuple[StepStatus, ...] = ()
    omitted: tuple[Omission, ...] = ()
    records: int = 0


class CaseResult(Message):
    """How a case ended."""

    case: str
    outcome: CaseOutcome
    contained_at: Instant | None = None
    closed_at: Instant
    steps: dict[str, Outcome] = Field(default_factory=dict)
    records: int


class UpdateAnswer(Message):
    """What an operator's verb is answered with."""

    accepted: bool
    message: str
