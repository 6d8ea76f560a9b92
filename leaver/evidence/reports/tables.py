"""The tables of the period report as plain values, the same for CSV and for the workbook.

A column may carry a formula. CSV has its value; the workbook has the formula, with our value beside it, so
that an auditor re-performs the test in place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from leaver.domain.catalogue import CATALOGUE
from leaver.evidence.reports.figures import Removal, SystemFigures, removals, worst
from leaver.evidence.reports.model import (
    Action,
    Change,
    CheckpointLine,
    ControlException,
    Decision,
    Judged,
    Leaver,
    Verdict,
    seconds,
)

Value = str | int | float | datetime | None


class Kind(StrEnum):
    """What a column holds. Times are UTC, durations are seconds."""

    TEXT = "text"
    NUMBER = "number"
    SHARE = "share"
    SECONDS = "seconds"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Field:
    """A column. In a formula, ``{Title}`` stands for the cell of that column in the same row."""

    title: str
    kind: Kind = Kind.TEXT
    width: int = 14
    formula: str = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table with a name: the sheet of the workbook, and in lower case the file of the CSV twin."""

    name: str
    fields: tuple[Field, ...]
    rows: Sequence[tuple[Value, ...]]

    @property
    def file(self) -> str:
        """The name of the CSV file."""
        return f"{self.name.lower()}.csv"


_CASE = Field("Case", width=30)
_PERSON = Field("Person", width=30)
_EFFECTIVE = Field("Effective", Kind.TIME, 20)
_CLOCK = Field("Clock starts", Kind.TIME, 20)
_RECORD = Field("Record", Kind.NUMBER, 9)
_WHY = Field("Why", width=34)
_SET_ASIDE = Field("Set aside", width=14)


def _lag(title: str, of: str, start: str) -> Field:
    formula = f'=IF({{{of}}}="","",ROUND(({{{of}}}-{{{start}}})*86400,3))'
    return Field(title, Kind.SECONDS, 15, formula)


def _verdict(test: str) -> Field:
    formula = f'=IF({{Set aside}}<>"",{{Set aside}},IF({test},"within","exception"))'
    return Field("Verdict", Kind.TEXT, 14, formula)


POPULATION = (
    _CASE,
    _PERSON,
    Field("HR source", width=24),
    Field("Event", width=22),
    Field("Immediate", width=10),
    Field("Policy", width=18),
    _EFFECTIVE,
    Field("HR entered", Kind.TIME, 20),
    Field("Received", Kind.TIME, 20),
    _CLOCK,
    Field("Contained", Kind.TIME, 20),
    Field("Closed", Kind.TIME, 20),
    Field("Outcome", width=24),
    Field("Systems", Kind.NUMBER, 9),
    Field("Actions", Kind.NUMBER, 9),
    Field("In time", Kind.NUMBER, 9),
    Field("Standing exceptions", Kind.NUMBER, 10),
    _SET_ASIDE,
    _lag("Lag effective (s)", "Contained", "Effective"),
    _lag("Lag notice (s)", "Contained", "Clock starts"),
    Field("Worst system", width=18),
    _verdict("AND({In time}={Actions},{Standing exceptions}=0)"),
    _WHY,
    _RECORD,
)

RESULTS = (
    _CASE,
    Field("System", width=18),
    Field("Account", width=38),
    Field("Measured on", width=20),
    _EFFECTIVE,
    _CLOCK,
    Field("Removed", Kind.TIME, 20),
    Field("Limit", Kind.TIME, 20),
    Field("Actions", Kind.NUMBER, 9),
    Field("In time", Kind.NUMBER, 9),
    _SET_ASIDE,
    _lag("Lag effective (s)", "Removed", "Effective"),
    _lag("Lag notice (s)", "Removed", "Clock starts"),
    Field(
        "In time from effective",
        Kind.TEXT,
        12,
        '=IF({Removed}="","no",IF({Limit}="","yes",'
        'IF(ROUND(({Removed}-{Effective}-({Limit}-{Clock starts}))*86400,3)<=0,"yes","no")))',
    ),
    _verdict('AND({In time}={Actions},{Removed}<>"",OR({Limit}="",{Removed}<={Limit}))'),
    _WHY,
    _RECORD,
)

ACTIONS = (
    _CASE,
    Field("System", width=18),
    Field("Step", width=36),
    Field("Action", width=44),
    Field("Phase", width=13),
    Field("Account", width=38),
    _EFFECTIVE,
    Field("Limit", Kind.TIME, 20),
    Field("Finished", Kind.TIME, 20),
    Field("Outcome", width=13),
    Field("Marked late", width=10),
    _SET_ASIDE,
    _lag("Lag effective (s)", "Finished", "Effective"),
    _verdict(
        'AND(OR({Outcome}="verified",{Outcome}="already",{Outcome}="absent"),{Marked late}="no",'
        'OR({Limit}="",{Finished}<={Limit}))'
    ),
    _WHY,
    _RECORD,
)

EXCEPTIONS = (
    _CASE,
    _PERSON,
    Field("System", width=18),
    Field("Step", width=36),
    Field("Cause", width=22),
    Field("Detail", width=50),
    Field("Owner", width=20),
    Field("Limit", Kind.TIME, 20),
    Field("Raised", Kind.TIME, 20),
    Field("Times", Kind.NUMBER, 7),
    Field("Standing", width=10),
    Field("Closed", Kind.TIME, 20),
    Field("Closure", width=36),
    _RECORD,
    Field("Closing record", Kind.NUMBER, 9),
    Field("Recorded as", width=16),
)

APPROVALS = (
    _CASE,
    _PERSON,
    Field("Statement", width=12),
    Field("By", width=30),
    Field("At", Kind.TIME, 20),
    Field("Counted", width=9),
    Field("Refusal", width=40),
    Field("By the leaver", width=10),
    Field("By somebody who had left", width=12),
    Field("Duties kept apart", width=12),
    _RECORD,
)

POLICY = (
    Field("Kind", width=14),
    Field("At", Kind.TIME, 20),
    Field("What", width=30),
    Field("Detail", width=80),
    _RECORD,
)

ANCHORS = (
    Field("Checkpoint", Kind.NUMBER, 12),
    Field("Root", width=66),
    Field("Signed", Kind.TIME, 20),
    Field("Anchor", width=12),
    Field("By", width=40),
    Field("Anchored", Kind.TIME, 20),
    Field("Independent", width=12),
    Field("Trouble", width=50),
)

SYSTEMS = (
    Field("System", width=18),
    Field("Leavers", Kind.NUMBER, 10),
    Field("Tested", Kind.NUMBER, 10),
    Field("Within", Kind.NUMBER, 10),
    Field("Share within", Kind.SHARE, 10),
    Field("Within from effective", Kind.NUMBER, 10),
    Field("Median (s)", Kind.SECONDS, 14),
    Field("95th percentile (s)", Kind.SECONDS, 14),
    Field("Longest (s)", Kind.SECONDS, 14),
)


def population(leavers: Sequence[Leaver]) -> Sheet:
    """One row per leaver, whole and in the order of the effective time."""
    return Sheet("Population", POPULATION, [_leaver(leaver) for leaver in leavers])


def _leaver(leaver: Leaver) -> tuple[Value, ...]:
    rows = removals(leaver)
    slowest = worst(rows)
    return (
        leaver.case,
        leaver.person_ref,
        leaver.source,
        leaver.event_type,
        _yes(leaver.immediate),
        leaver.policy,
        leaver.cutoff,
        leaver.hr_time,
        leaver.received_at,
        leaver.clock_starts,
        leaver.contained_at,
        leaver.closed_at,
        leaver.outcome.value if leaver.outcome else "no case",
        len(rows),
        len(leaver.actions),
        leaver.proven,
        leaver.standing,
        set_aside(leaver.judged),
        leaver.lag_effective,
        leaver.lag_notice,
        slowest.system.label if slowest else "",
        leaver.judged.verdict.value,
        leaver.judged.why,
        leaver.first_seq,
    )


def results(rows: Sequence[Removal]) -> Sheet:
    """One row per leaver and system with an account."""
    return Sheet("Results", RESULTS, [_removal(row) for row in rows])


def _removal(row: Removal) -> tuple[Value, ...]:
    return (
        row.leaver.case,
        row.system.label,
        row.account,
        "containment" if row.contained else "last action",
        row.leaver.cutoff,
        row.leaver.clock_starts,
        row.removed_at,
        row.limit,
        row.actions,
        row.proven,
        set_aside(row.judged),
        row.lag,
        row.lag_notice,
        _yes(row.in_time_from_effective),
        row.judged.verdict.value,
        row.judged.why,
        row.seq,
    )


def actions(leavers: Sequence[Leaver]) -> Sheet:
    """One row per leaver and action."""
    rows = [_action(leaver, action) for leaver in leavers for action in leaver.actions]
    return Sheet("Actions", ACTIONS, rows)


def _action(leaver: Leaver, action: Action) -> tuple[Value, ...]:
    definition = CATALOGUE.get(action.step)
    return (
        leaver.case,
        action.system.label,
        action.step,
        definition.title if definition else action.step,
        action.phase.value,
        action.account,
        leaver.cutoff,
        action.due,
        action.finished_at,
        action.outcome.value,
        _yes(action.late),
        set_aside(action.judged),
        seconds(leaver.cutoff, action.finished_at),
        action.judged.verdict.value,
        action.judged.why or action.reason,
        action.seq,
    )


def exceptions(rows: Sequence[ControlException]) -> Sheet:
    """One row per control exception, standing ones first."""
    return Sheet("Exceptions", EXCEPTIONS, [_exception(row) for row in rows])


def _exception(row: ControlException) -> tuple[Value, ...]:
    return (
        row.case,
        row.person_ref,
        system_of(row.step),
        row.step or "the whole case",
        row.cause.replace("_", " "),
        row.detail,
        row.owner,
        row.due,
        row.raised_at,
        row.times,
        "open" if row.standing else "closed",
        row.closed_at,
        row.closure,
        row.seq,
        row.closed_by,
        "exception" if row.recorded else "result only",
    )


def approvals(rows: Sequence[Decision]) -> Sheet:
    """One row per statement of a person, with the tests of segregation of duties."""
    return Sheet(
        "Approvals",
        APPROVALS,
        [
            (
                row.case,
                row.person_ref,
                row.verb,
                row.by_ref or "not proven",
                row.at,
                _yes(row.accepted),
                row.refusal,
                _yes(row.about_self),
                _yes(row.by_leaver),
                _yes(not row.conflict),
                row.seq,
            )
            for row in rows
        ],
    )


def policy(rows: Sequence[Change]) -> Sheet:
    """One row per change of what decides."""
    return Sheet("Policy", POLICY, [(row.kind, row.at, row.what, row.detail, row.seq) for row in rows])


def anchors(lines: Sequence[CheckpointLine]) -> Sheet:
    """One row per checkpoint and anchor; a checkpoint without anchors has one row that says so."""
    return Sheet("Anchors", ANCHORS, [row for line in lines for row in _anchors(line)])


def _anchors(line: CheckpointLine) -> Iterator[tuple[Value, ...]]:
    trouble = "; ".join(line.troubles)
    for anchor in line.anchors:
        yield (
            line.size,
            line.root,
            line.at,
            anchor.kind.value,
            anchor.name,
            anchor.at,
            _yes(anchor.independent),
            trouble,
        )
    if not line.anchors:
        yield (line.size, line.root, line.at, "none", "", None, "no", trouble)


def systems(rows: Sequence[SystemFigures]) -> Sheet:
    """One row per system."""
    return Sheet(
        "Systems",
        SYSTEMS,
        [
            (
                row.system.label,
                row.leavers,
                row.tested,
                row.within,
                row.within / row.tested if row.tested else None,
                row.within_effective,
                row.median,
                row.p95,
                row.longest,
            )
            for row in rows
        ],
    )


def set_aside(judged: Judged) -> str:
    """The verdict where no test was made; empty where the figures of the row decide."""
    return judged.verdict.value if judged.verdict in (Verdict.NOT_APPLICABLE, Verdict.NOT_TESTABLE) else ""


def system_of(step: str | None) -> str:
    """The system of a step as people call it; empty for the whole case."""
    definition = CATALOGUE.get(step or "")
    return definition.system.label if definition else ""


def _yes(value: bool) -> str:
    return "yes" if value else "no"
