"""What the records' bodies say, read back. Unknown fields are ignored: a later version may write more."""

from __future__ import annotations

from pydantic import Field

from leaver.domain.base import Instant, Message
from leaver.domain.effect import Attempt, Effect
from leaver.domain.event import Knowledge
from leaver.domain.plan import Omission
from leaver.domain.words import CaseOutcome, Mode, Outcome, Phase, System, Verb


class Opened(Message):
    """``case.opened``."""

    person_ref: str
    event_id: str
    event_type: str
    source: str
    raw_sha256: str
    hr_time: Instant
    cutoff: Instant
    received_at: Instant
    mode: Mode
    policy_digest: str
    policy_name: str
    policy_version: str
    workflow_id: str
    run_id: str
    immediate: bool = False
    legal_hold: Knowledge | bool = Knowledge.UNKNOWN


class HrEvent(Message):
    """``hr.event``: a message from HR about a case that is already open, and whether it was applied."""

    event_id: str
    event_type: str
    raw_sha256: str
    cutoff: Instant
    applied: bool
    why: str = ""


class Due(Message):
    """A step of a recorded plan."""

    step: str
    account: str | None = None
    due: Instant | None = None


class Planned(Message):
    """``plan``."""

    plan_digest: str
    policy_digest: str
    accounts: tuple[str, ...] = ()
    steps: tuple[Due, ...] = ()
    omitted: tuple[Omission, ...] = ()
    successor_id: str | None = None


class Attempted(Attempt):
    """``action.attempted``: one try of a unit of work."""

    number: int = Field(alias="attempt")
    unit: str
    run: int = 1


class Result(Effect):
    """``action.result`` and ``readback``: what one step did, read before and after."""

    system: System
    phase: Phase
    account: str | None = None
    run: int = 1
    due: Instant | None = None
    late: bool = False
    controls: tuple[str, ...] = ()


class Approval(Message):
    """``approval``: a statement and whether it counted; ``by_ref`` is empty when it is not proven whose."""

    verb: Verb
    by_ref: str = ""
    at: Instant
    plan_digest: str | None = None
    statement_sha256: str = ""
    key_id: str = ""
    accepted: bool
    refusal: str = ""
    reason_given: bool = False


class Changed(Message):
    """``case.changed``: somebody or something changed the course of the case."""

    change: str
    source: str | None = Field(default=None, alias="from")
    target: str | None = Field(default=None, alias="to")
    by_ref: str | None = None
    why: str | None = None


class Raised(Message):
    """``exception.raised``."""

    step: str | None = None
    cause: str
    due: Instant | None = None
    detail: str = ""


class Closed(Message):
    """``case.closed``."""

    outcome: CaseOutcome
    contained_at: Instant | None = None
    closed_at: Instant | None = None
    count: int
    steps: dict[str, Outcome] = Field(default_factory=dict)
