"""Effects: what one step did, read before and after, with receipts."""

from __future__ import annotations

from pydantic import Field

from leaver.domain.account import Account
from leaver.domain.base import Facts, Instant, Message
from leaver.domain.words import ErrorType, Mode, Outcome, Reason, System


class Receipt(Message):
    """One call to a vendor, as evidence: nothing of it names a person (paths carry ids only)."""

    method: str
    path: str
    status: int
    mutating: bool
    request_id: str | None = None
    client_request_id: str | None = None
    server_date: Instant | None = None
    """The vendor's own clock, from the answer's Date header."""
    at: Instant


class Attempt(Message):
    """One try of a unit of work. Temporal keeps only the last failure, so we carry all of them."""

    number: int
    started_at: Instant | None = None
    ended_at: Instant | None = None
    error: ErrorType | None = None
    lost: bool = False
    """The worker died in this attempt: what it did is only known from reading the system."""
    detail: str = ""


class Effect(Message):
    """One step's effect on one account."""

    step: str
    outcome: Outcome
    before: Facts = Field(default_factory=dict)
    after: Facts = Field(default_factory=dict)
    reason: Reason | None = None
    detail: str = ""
    started_at: Instant
    finished_at: Instant
    writes: int = 0
    attempts: int = 1
    receipts: tuple[Receipt, ...] = ()


class UnitInput(Message):
    """One activity call: some steps on one account, in the given order.

    ``not_before`` is when the workflow first scheduled the unit (UTC): a change that the system dates at or
    after it was made by this unit, also if the attempt that made it was lost. ``run`` counts the
    re-runs that operators asked for.
    """

    case: str
    unit: str
    mode: Mode
    account: Account
    successor: Account | None = None
    steps: tuple[str, ...]
    not_before: Instant
    run: int = 1
    parameters: Facts = Field(default_factory=dict)


class UnitResult(Message):
    """What came of it: one effect per step, and every attempt it took."""

    system: System
    effects: tuple[Effect, ...]
    attempts: tuple[Attempt, ...]


class MailboxFacts(Message):
    """What the licence gate needs to know, read from Exchange and from Graph independently."""

    exists: bool
    recipient_type: str | None = None
    user_purpose: str | None = None
    size_bytes: int | None = None
    archive: bool = False
    litigation_hold: bool = False
    in_place_holds: int = 0
    forwarding: bool = False
    receipts: tuple[Receipt, ...] = ()

    @property
    def proven_shared(self) -> bool:
        """Both systems say so; one alone is not enough (trap T30)."""
        return self.recipient_type == "SharedMailbox" and self.user_purpose == "shared"
