"""The bodies of the records that this package writes, as models: written and read back by the same class."""

from __future__ import annotations

from leaver.domain.base import Facts, Instant, Message
from leaver.domain.delivery import DeliveryCounts, Exclusion, UnreadableRow
from leaver.domain.event import Knowledge
from leaver.domain.words import Mode


class _Body(Message):
    def facts(self) -> Facts:
        """The body as a record holds it."""
        return self.model_dump(mode="json")


class ExpectedBody(_Body):
    """``case.expected``: HR named this leaver, and a case is about to start. ``person_commit`` is added."""

    case: str
    person_ref: str
    source: str
    event_id: str
    raw_sha256: str
    cutoff: Instant
    entered_at: Instant | None = None
    immediate: bool
    legal_hold: Knowledge = Knowledge.UNKNOWN
    mode: Mode
    received_at: Instant
    delivery: str


class ExcludedBody(ExpectedBody):
    """``case.excluded``: HR named this leaver, and no case starts.

    ``reason`` is a closed word, ``why`` its explanation for people, without names. ``approver`` is ``hr``,
    ``rule``, or empty: nobody has decided.
    """

    reason: Exclusion
    why: str
    approver: str


class DecidedBody(_Body):
    """``case.excluded`` by a person: ``approver`` is their pseudonym, the statement was signed by them."""

    case: str
    person_ref: str = ""
    mode: Mode
    reason: Exclusion = Exclusion.DECIDED
    why: str
    approver: str
    statement_sha256: str
    received_at: Instant


class DeliveryBody(_Body):
    """``hr.delivery``: one part of a delivery of HR's, counted. ``counts`` are of the whole delivery."""

    delivery: str
    part: int
    parts: int
    mode: Mode
    received_at: Instant
    raw_sha256: str
    counts: DeliveryCounts
    expected: int
    excluded: int
    unreadable: tuple[UnreadableRow, ...] = ()


class RowBody(_Body):
    """``hr.population.row``: what the sealer's own pull says about one leaver, when it says something new."""

    case: str
    person_ref: str
    source: str
    event_id: str
    effective_at: Instant
    entered_at: Instant | None = None
    leaving: bool
    set_aside: Exclusion | None = None
    mode: Mode
    snapshot: str
    pulled_at: Instant


class SnapshotBody(_Body):
    """``hr.population.snapshot``: one part of a pull of HR's list.

    ``cases`` are the leavers' case ids, this part's share; ``root`` is the Merkle root (RFC 6962) over the
    ``person_commit`` of all leavers in the order of their case ids, of which there are ``committed``. The
    first part's own ``person_commit`` is about the names of the files that were read.
    """

    snapshot: str
    source: str
    query: str
    mode: Mode
    pulled_at: Instant
    raw_sha256: str
    rows: int
    leavers: int
    committed: int
    root: str
    part: int
    parts: int
    cases: tuple[str, ...]
    unreadable: int = 0
    unreadable_rows: tuple[UnreadableRow, ...] = ()
    problems: tuple[str, ...] = ()


class RunBody(_Body):
    """``recon.run``: the completeness table of all leavers known at that moment."""

    as_of: Instant
    since: Instant | None = None
    mode: Mode
    snapshot: str
    hr_leavers: int
    with_case: int
    excluded: int
    missing: int
    withdrawn: int
    unlisted: int
    unconfirmed: int
    cases: int
    difference: int
    closed: int
    sealed: int
    bundles: int | None
    exclusions: dict[str, int]
    alarms: dict[str, int]


class FindingBody(_Body):
    """``recon.finding``: a gap. ``finding`` is its key, ``number`` counts how often it came up."""

    finding: str
    number: int
    kind: str
    about: str
    """The case id, or what the gap is about where it is no case."""
    detail: str
    since: Instant


class FoundClosedBody(_Body):
    """``exception.closed`` for a finding: the gap is there no more."""

    finding: str
    number: int
    cause: str
    why: str
    since: Instant


class ErasureBody(_Body):
    """``erasure``: openings and key of a case are gone. ``reason`` was checked to name nobody."""

    case: str
    person_ref: str
    reason: str
    by_ref: str
    statement_sha256: str
    forced: bool
    openings: tuple[int, ...]
    """The places in the log of the records whose openings were erased."""
    key: bool
    """Whether the case had a key, which is gone too."""
    open: bool
    legal_hold: Knowledge
