"""What a period report is made of: plain values, read from the ledger once and never changed.

All times are aware and in UTC. ``seq`` is a record's place in the ledger, which is also the name of its file
in a bundle (``records/<seq>.json``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from leaver.domain.words import CaseOutcome, Mode, Outcome, Phase, System
from leaver.evidence.ledger.model import AnchorKind


class Verdict(StrEnum):
    """What the test of a leaver, a system or an action comes to."""

    WITHIN = "within"
    EXCEPTION = "exception"
    NOT_APPLICABLE = "not applicable"
    NOT_TESTABLE = "not testable"


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict; ``why`` is empty where the figures beside it say it all."""

    verdict: Verdict
    why: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """One required action on one account, as its last result tells it."""

    step: str
    system: System
    phase: Phase
    account: str | None
    outcome: Outcome
    finished_at: datetime | None
    due: datetime | None
    late: bool
    reason: str
    controls: tuple[str, ...]
    seq: int | None
    judged: Judged


@dataclass(frozen=True, slots=True)
class Leaver:
    """One leaver: HR's times, ours, the actions and what they come to.

    ``outcome`` is None where HR's list has the leaver and there is no case.

    ``cutoff`` is the effective time of leaving. ``clock_starts`` is when we could act: the later of cut-off
    and receipt, or the receipt when access had to go at once. ``standing`` counts the exceptions that
    no later result proved in time.
    """

    case: str
    person_ref: str
    source: str
    event_type: str
    immediate: bool
    mode: Mode
    policy: str
    hr_time: datetime | None
    received_at: datetime | None
    cutoff: datetime
    clock_starts: datetime
    contained_at: datetime | None
    closed_at: datetime | None
    outcome: CaseOutcome | None
    actions: tuple[Action, ...]
    standing: int
    first_seq: int | None
    judged: Judged

    @property
    def lag_effective(self) -> float | None:
        """Seconds from the effective time to the last containment action read back."""
        return seconds(self.cutoff, self.contained_at)

    @property
    def lag_notice(self) -> float | None:
        """The same from the moment at which we could act."""
        return seconds(self.clock_starts, self.contained_at)

    @property
    def proven(self) -> int:
        """How many actions were read back in time."""
        return sum(action.judged.verdict is Verdict.WITHIN for action in self.actions)


@dataclass(frozen=True, slots=True)
class ControlException:
    """A control exception. ``closed_by`` is the ledger place of what closed it, None while it stands.

    ``recorded`` is false where no exception was raised and only the action's result shows it.
    """

    case: str
    person_ref: str
    step: str | None
    cause: str
    detail: str
    owner: str
    due: datetime | None
    raised_at: datetime | None
    seq: int | None
    times: int
    closed_at: datetime | None
    closed_by: int | None
    closure: str
    recorded: bool = True

    @property
    def standing(self) -> bool:
        """Whether it is still open."""
        return self.closed_by is None


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's statement about a case, and what came of it.

    ``about_self`` and ``by_leaver`` are the tests of segregated duties: is the person the leaver, or gone.
    """

    case: str
    person_ref: str
    verb: str
    by_ref: str
    at: datetime
    accepted: bool
    refusal: str
    seq: int
    about_self: bool
    by_leaver: bool

    @property
    def conflict(self) -> bool:
        """Whether a statement counted that must not have."""
        return self.accepted and (self.about_self or self.by_leaver or not self.by_ref)


@dataclass(frozen=True, slots=True)
class Change:
    """A change of what decides: policy, configuration, keys; an erasure; a report that was issued."""

    kind: str
    at: datetime
    what: str
    detail: str
    seq: int | None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not add up. ``alarm`` is False while it may still come right by itself."""

    kind: str
    case: str
    detail: str
    since: datetime | None = None
    alarm: bool = True


@dataclass(frozen=True, slots=True)
class CompletenessTable:
    """The count that must come out even, in both directions.

    ``hr_leavers = with_case + exclusions + missing`` and
    ``cases = with_case + withdrawn + unlisted + unconfirmed``. ``hr_leavers`` is None when no HR pull of the
    sealer covers the period, ``bundles`` is None when the store of bundles was not asked. ``closed`` cases
    have their last record, ``sealed`` ones their full workflow history as well.
    """

    hr_leavers: int | None
    cases: int
    with_case: int = 0
    exclusions: tuple[tuple[str, int], ...] = ()
    missing: int = 0
    withdrawn: int = 0
    unlisted: int = 0
    unconfirmed: int = 0
    closed: int = 0
    sealed: int = 0
    bundles: int | None = None
    findings: tuple[Finding, ...] = ()
    pulled_at: datetime | None = None
    pull_seq: int | None = None
    pull_sha256: str = ""
    pulls: int = 0
    source: str = ""
    query: str = ""
    source_rows: int | None = None

    @property
    def excluded(self) -> int:
        """Leavers of HR that have no case, with a reason."""
        return sum(number for _, number in self.exclusions)

    @property
    def difference(self) -> int | None:
        """Leavers without case and without reason, plus cases that HR does not know; None without a pull."""
        return None if self.hr_leavers is None else self.missing + self.unlisted

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """The findings that somebody must look at."""
        return tuple(finding for finding in self.findings if finding.alarm)

    @property
    def complete(self) -> bool:
        """Whether HR was asked and everything adds up."""
        return self.difference == 0 and not self.alarms


@dataclass(frozen=True, slots=True)
class AnchorLine:
    """An anchor of a checkpoint. ``at`` is the outsider's own time where the anchor carries one.

    ``independent`` says that the operator of leaver does not run it; the configuration knows.
    """

    kind: AnchorKind
    name: str
    at: datetime | None
    independent: bool


@dataclass(frozen=True, slots=True)
class CheckpointLine:
    """A published checkpoint: size of the log, its root (hex), what anchors it and what failed to.

    ``at`` is when it was signed, None where only the signed note is at hand, which does not say.
    """

    size: int
    root: str
    at: datetime | None
    anchors: tuple[AnchorLine, ...] = ()
    troubles: tuple[str, ...] = ()

    @property
    def outside(self) -> tuple[AnchorLine, ...]:
        """What somebody else than the operator holds or signed."""
        return tuple(
            anchor for anchor in self.anchors if anchor.independent and anchor.kind is not AnchorKind.SINK
        )


@dataclass(frozen=True, slots=True)
class ControlText:
    """A control in our own words; ``name`` is the reference that steps carry, such as ``SOC2:CC6.2``.

    ``test`` is how to check it, ``limits`` what the evidence does not show, ``coverage`` how much of the
    control it answers. ``steps`` are the catalogue's steps that serve it; without them, those that carry its
    name do.
    """

    name: str
    framework: str
    number: str
    control: str
    test: str
    limits: str = ""
    coverage: str = ""
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """Who ran the report and when; only what the caller says, because there is no clock inside."""

    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class PeriodInput:
    """Everything that a period report says, before it is counted.

    The period is ``start <= effective time < end``; nothing after ``as_of``, the checkpoint's time, is in it.
    ``records`` is how many records of the log up to the
    checkpoint were read; ``other_mode`` cases (rehearsals, or real ones) are left out. ``anchors`` are all
    published checkpoints up to this one, oldest first.
    """

    start: datetime
    end: datetime
    zone: str
    as_of: datetime
    checkpoint: CheckpointLine
    leavers: tuple[Leaver, ...]
    exceptions: tuple[ControlException, ...]
    decisions: tuple[Decision, ...]
    changes: tuple[Change, ...]
    completeness: CompletenessTable
    anchors: tuple[CheckpointLine, ...] = ()
    controls: tuple[ControlText, ...] = ()
    records: int = 0
    mode: Mode = Mode.ENFORCE
    other_mode: int = 0
    run: Run | None = None


def seconds(start: datetime, end: datetime | None) -> float | None:
    """The difference in seconds, to the millisecond."""
    return round((end - start).total_seconds(), 3) if end else None
