"""What is compared, and what comes of it. Plain data: everything here can be made by hand in a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum

from leaver.domain.delivery import Exclusion
from leaver.domain.words import CaseOutcome, Mode


@dataclass(frozen=True, slots=True)
class Period:
    """From ``start`` up to, not including, ``end``; None is without limit. Aware instants."""

    start: datetime | None = None
    end: datetime | None = None

    @classmethod
    def days(cls, first: date, last: date, tz: tzinfo = UTC) -> Period:
        """Whole calendar days, the last one included, as they are counted in ``tz``.

        Raises:
            ValueError: the last day is before the first.
        """
        if last < first:
            raise ValueError(f"the period ends ({last}) before it begins ({first})")
        after = datetime.combine(last + timedelta(days=1), time(), tz)
        return cls(datetime.combine(first, time(), tz).astimezone(UTC), after.astimezone(UTC))

    def has(self, moment: datetime) -> bool:
        """Whether the moment lies in the period."""
        return (self.start is None or moment >= self.start) and (self.end is None or moment < self.end)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One complete pull of HR's list, as recorded."""

    id: str
    source: str
    query: str
    mode: Mode
    pulled_at: datetime
    raw_sha256: str
    rows: int
    leavers: int
    unreadable: int
    root: str
    seq: int
    cases: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Listed:
    """What HR's list says about one employment that ends; the newest pull that said something new counts."""

    case: str
    person_ref: str
    source: str
    mode: Mode
    effective_at: datetime
    first_listed_at: datetime
    entered_at: datetime | None = None
    leaving: bool = True
    set_aside: Exclusion | None = None
    event_id: str = ""
    commit: str = ""


@dataclass(frozen=True, slots=True)
class Expected:
    """The ``case.expected`` records of a case: the first one's time and place, the newest one's cut-off."""

    case: str
    person_ref: str
    source: str
    mode: Mode
    cutoff: datetime
    at: datetime
    seq: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class Excluded:
    """The newest ``case.excluded`` record of a case.

    ``approver`` is a person's pseudonym, ``hr``, ``rule``, or empty: nobody.
    ``first_at`` and ``first_seq`` are of the first one since a case was last expected: an exclusion that is
    told anew is not a new one.
    """

    case: str
    person_ref: str
    mode: Mode
    reason: Exclusion
    why: str
    approver: str
    at: datetime
    seq: int
    first_at: datetime
    first_seq: int


@dataclass(frozen=True, slots=True)
class Opened:
    """A ``case.opened`` record."""

    case: str
    person_ref: str
    source: str
    mode: Mode
    cutoff: datetime
    at: datetime
    seq: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A ``case.closed`` record."""

    at: datetime
    outcome: CaseOutcome


@dataclass(frozen=True, slots=True)
class Unread:
    """A row of the newest pull that nobody can read: a leaver may be behind it."""

    source: str
    person_ref: str
    line: int
    why: str
    at: datetime


@dataclass(slots=True)
class Seen:
    """Everything the comparison needs, by case id."""

    snapshots: list[Snapshot] = field(default_factory=list)
    listed: dict[str, Listed] = field(default_factory=dict)
    expected: dict[str, Expected] = field(default_factory=dict)
    exclusions: dict[str, Excluded] = field(default_factory=dict)
    opened: dict[str, Opened] = field(default_factory=dict)
    closed: dict[str, Ended] = field(default_factory=dict)
    sealed: dict[str, datetime] = field(default_factory=dict)
    """Case to the time of its ``history.final``."""
    unread: list[Unread] = field(default_factory=list)
    pull_trouble: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    """Source to when and why the newest pull failed; empty once one succeeds."""


class GapKind(StrEnum):
    """What can be missing, in which direction."""

    LEAVER_WITHOUT_CASE = "leaver_without_case"
    EXPECTED_WITHOUT_CASE = "expected_without_case"
    EXCLUSION_UNDECIDED = "exclusion_undecided"
    EXCLUSION_NOT_CONFIRMED = "exclusion_not_confirmed"
    CASE_WITHOUT_HR_ROW = "case_without_hr_row"
    WITHDRAWN_BY_HR = "withdrawn_by_hr"
    RESCINDED_BUT_LISTED = "rescinded_but_listed"
    EXPECTED_LATE = "expected_late"
    CASE_NOT_EXPECTED = "case_not_expected"
    OPEN_TOO_LONG = "open_too_long"
    CLOSED_NOT_SEALED = "closed_not_sealed"
    SEALED_NOT_CLOSED = "sealed_not_closed"
    CLOSED_WITHOUT_BUNDLE = "closed_without_bundle"
    BUNDLE_WITHOUT_CASE = "bundle_without_case"
    ROW_UNREADABLE = "row_unreadable"
    PULL_MISSING = "pull_missing"
    PULL_FAILED = "pull_failed"
    PULL_SHRANK = "pull_shrank"


NOTES = frozenset({GapKind.EXPECTED_LATE})
"""Said once and true for ever: a leaf that came late is not missing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One gap. ``case`` is empty where it is about no case; ``subject`` then tells two of a kind apart.

    ``alarm`` is False while the gap may close by itself within the rules' patience.
    """

    kind: GapKind
    case: str
    detail: str
    since: datetime
    alarm: bool = True
    subject: str = ""

    @property
    def key(self) -> str:
        """The same gap has the same key from one comparison to the next."""
        return f"{self.kind.value}:{self.case or self.subject}"

    @property
    def note(self) -> bool:
        """Whether it is said once and true for ever, rather than missing."""
        return self.kind in NOTES

    def age(self, now: datetime) -> timedelta:
        """How long it has been so."""
        return now - self.since


@dataclass(frozen=True, slots=True)
class Line:
    """One leaver of the period: HR's view, and what became of it. Times are UTC, None where not yet."""

    case: str
    person_ref: str
    effective_at: datetime
    entered_at: datetime | None = None
    listed_at: datetime | None = None
    expected_at: datetime | None = None
    excluded: Exclusion | None = None
    why: str = ""
    approver: str = ""
    opened_at: datetime | None = None
    closed_at: datetime | None = None
    outcome: CaseOutcome | None = None
    sealed_at: datetime | None = None
    bundled: bool | None = None
    compared: bool = True
    """Whether HR's list was pulled after the case opened."""

    @property
    def standing(self) -> str:
        """One word for tables: missing, excluded, unlisted, unconfirmed, open, closed, sealed."""
        if self.opened_at is None:
            return "excluded" if self.excluded else "missing"
        if self.listed_at is None:
            return "unlisted" if self.compared else "unconfirmed"
        if self.closed_at is None:
            return "open"
        return "sealed" if self.sealed_at and self.bundled is not False else "closed"


@dataclass(frozen=True, slots=True)
class Rules:
    """How patient the comparison is before a gap becomes an alarm."""

    grace: timedelta = timedelta(minutes=15)
    """After HR's row was first listed or expected, for the case to open."""
    sealing: timedelta = timedelta(hours=1)
    """After the case closed, for its history to be sealed and its bundle to be made."""
    open_limit: timedelta = timedelta(days=30)
    """After the cut-off, for the case to close."""
    pull_every: timedelta = timedelta(days=1)
    shrink_percent: int = 10
    """Fewer rows than this much below the pull before is a finding."""


@dataclass(frozen=True, slots=True)
class Completeness:
    """The first table of a period report, with everything that does not add up.

    ``hr_leavers = with_case + excluded + missing`` and
    ``cases = with_case + withdrawn + unlisted + unconfirmed``; ``bundles`` is None where nobody asked the
    store of bundles.
    """

    period: Period
    as_of: datetime
    mode: Mode
    pulls: int
    last_pull: Snapshot | None
    covered: bool
    """Whether HR's list was pulled in the period or after it."""
    hr_leavers: int
    with_case: int
    excluded: int
    missing: int
    withdrawn: int
    """Cases whose separation HR took back."""
    unlisted: int
    """Cases that HR's list, pulled after they opened, does not know."""
    unconfirmed: int
    """Cases opened since the last pull: HR's list was not compared with them yet."""
    closed: int
    sealed: int
    bundles: int | None
    exclusions: Mapping[Exclusion, int]
    lines: tuple[Line, ...]
    findings: tuple[Finding, ...]
    other_mode: int = 0
    """Cases of the other mode (rehearsals, or the real ones), which this table leaves out."""
    told: int = 0
    """Exclusions that were told for whom no pull of HR's list ever named: nobody compared them."""

    @property
    def cases(self) -> int:
        """Cases of the period, with and without a row of HR's."""
        return self.with_case + self.withdrawn + self.unlisted + self.unconfirmed

    @property
    def difference(self) -> int:
        """HR's leavers without a case and without an explained exclusion, plus cases that HR knows not of."""
        return self.missing + self.unlisted

    @property
    def unsealed(self) -> int:
        """Closed cases whose history is not sealed."""
        return self.closed - self.sealed

    @property
    def gaps(self) -> tuple[Finding, ...]:
        """The findings that are something missing: all but mere notes."""
        return tuple(found for found in self.findings if found.kind not in NOTES)

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """The findings that somebody has to look at."""
        return tuple(found for found in self.findings if found.alarm)

    @property
    def complete(self) -> bool:
        """Whether HR was asked, and everything adds up."""
        return self.covered and self.difference == 0 and not any(found.alarm for found in self.gaps)
