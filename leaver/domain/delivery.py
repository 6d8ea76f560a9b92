"""One HR delivery as the sealer notes it before any case starts: who is expected, who is left out and why."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from leaver.domain.base import Facts, Instant, Message
from leaver.domain.event import Knowledge, LeaverEvent
from leaver.domain.statement import Statement
from leaver.domain.words import Mode


class Exclusion(StrEnum):
    """Why somebody whom HR names as leaving has no case. Every one is counted in the completeness table."""

    MASS_BRAKE = "mass_brake"
    """The delivery named more leavers than the policy's brake allows; a person has to look."""
    RESCINDED = "rescinded"
    """HR took the separation back."""
    OTHER_EMPLOYMENT = "other_employment"
    """Another employment of the same person goes on: a move, not a leaver."""
    LATER_EMPLOYMENT = "later_employment"
    """Another employment of the same person ends later; that one has the case."""
    SAME_END = "same_end"
    """Another employment of the same person ends together with it; one case serves both."""
    CONTRADICTION = "contradiction"
    """HR's rows about this employment contradict each other."""
    SHARED_ACCOUNT = "shared_account"
    """Another worker has the same user name or address; it is not clear whose account it is."""
    UNREADABLE = "unreadable"
    """A row about this person cannot be read."""
    DECIDED = "decided"
    """A named person decided it, with a reason."""

    @property
    def settled(self) -> bool:
        """Whether nobody has to look any more: HR itself, a rule of the policy or a person answered."""
        return self in _SETTLED


_SETTLED = frozenset(
    {
        Exclusion.RESCINDED,
        Exclusion.OTHER_EMPLOYMENT,
        Exclusion.LATER_EMPLOYMENT,
        Exclusion.SAME_END,
        Exclusion.DECIDED,
    }
)


class DeliveredRow(Message):
    """One employment that HR says ends. ``excluded`` is None where a case is about to start.

    ``about`` (number, name, addresses) goes into an opening, never into a record. ``cutoff`` is UTC.
    """

    case: str
    person_ref: str
    source: str
    event_id: str
    raw_sha256: str
    cutoff: Instant
    entered_at: Instant | None = None
    immediate: bool = False
    legal_hold: Knowledge = Knowledge.UNKNOWN
    excluded: Exclusion | None = None
    why: str = ""
    about: Facts = Field(default_factory=dict)


class UnreadableRow(Message):
    """A row that nobody could read: whose it is (a pseudonym, or empty), where, and why."""

    person_ref: str = ""
    line: int
    why: str


class DeliveryCounts(Message):
    """What the delivery held: ``read`` = events + refused + duplicates + staying + former."""

    read: int = 0
    events: int = 0
    refused: int = 0
    duplicates: int = 0
    staying: int = 0
    former: int = 0


class ExpectInput(Message):
    """A part of a delivery, small enough for one payload. The same content has the same ``delivery`` id."""

    delivery: str
    part: int = 1
    parts: int = 1
    mode: Mode
    received_at: Instant
    raw_sha256: str = ""
    counts: DeliveryCounts = DeliveryCounts()
    rows: tuple[DeliveredRow, ...] = ()
    unreadable: tuple[UnreadableRow, ...] = ()


class ExpectResult(Message):
    """How many the ledger holds of this part, and the ledger's place of its last record."""

    expected: int
    excluded: int
    last_seq: int


class ExcludeInput(Message):
    """A signed decision that a leaver needs no case."""

    statement: Statement


class ExcludeResult(Message):
    """The record that explains it; ``refusal`` is empty when it was written."""

    seq: int = -1
    refusal: str = ""


class EraseInput(Message):
    """A signed order to erase what names a case's person.

    ``force`` erases although the case is open or a legal hold is not ruled out; ``whole_person`` takes every
    case of the same person.
    """

    statement: Statement
    force: bool = False
    whole_person: bool = False


class EraseResult(Message):
    """What was erased; ``refusal`` is empty when it was."""

    cases: tuple[str, ...] = ()
    openings: int = 0
    keys: int = 0
    seqs: tuple[int, ...] = ()
    refusal: str = ""


class PullInput(Message):
    """Ask the sealer for a population snapshot now."""


class PullResult(Message):
    """What the sealer pulled, and how many gaps the comparison shows; ``problem`` is empty on success."""

    snapshot: str = ""
    source: str = ""
    rows: int = 0
    leavers: int = 0
    unreadable: int = 0
    gaps: int = 0
    problem: str = ""


def about(event: LeaverEvent) -> Facts:
    """What names the person of an event: for an opening, and nowhere else."""
    person = event.data.person
    facts: Facts = {"employee_number": person.external_id, "worker": event.subject}
    if person.display_name:
        facts["display_name"] = person.display_name
    if person.user_name:
        facts["user_name"] = person.user_name
    if person.emails:
        facts["emails"] = list(person.emails)
    return facts
