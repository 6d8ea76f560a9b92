"""The period report counted: every figure that more than one file shows is made here, once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

import leaver
from leaver.domain.base import Facts
from leaver.evidence.reports import tables
from leaver.evidence.reports.csvs import csv_bytes
from leaver.evidence.reports.figures import (
    Bar,
    Removal,
    SystemFigures,
    Week,
    histogram,
    percentile,
    removals,
    system_figures,
    weeks,
)
from leaver.evidence.reports.model import (
    CheckpointLine,
    ControlException,
    ControlText,
    PeriodInput,
    Verdict,
    seconds,
)
from leaver.evidence.reports.show import NOTHING, iso, utc

REPORT_VERSION: Final = "1"
_TESTED: Final = (Verdict.WITHIN, Verdict.EXCEPTION)


@dataclass(frozen=True, slots=True)
class ControlResult:
    """Management's test of one control over the period: actions tested, how many within."""

    text: ControlText
    leavers: int
    actions: int
    within: int


@dataclass(frozen=True, slots=True)
class PeriodReport:
    """The input with its figures. ``verdicts`` counts leavers, ``lags`` are those of the tested ones."""

    given: PeriodInput
    rows: tuple[Removal, ...]
    verdicts: Counter[Verdict]
    systems: tuple[SystemFigures, ...]
    bars: tuple[Bar, ...]
    weeks: tuple[Week, ...]
    limits: tuple[float, ...]
    median: float | None
    p95: float | None
    longest: float | None
    controls: tuple[ControlResult, ...]
    population: bytes
    control_hash: str

    @property
    def tested(self) -> int:
        """Leavers whose test has an answer."""
        return sum(self.verdicts[verdict] for verdict in _TESTED)

    @property
    def standing(self) -> tuple[ControlException, ...]:
        """The exceptions that stand."""
        return tuple(told for told in self.given.exceptions if told.standing)

    @property
    def late_notice(self) -> int:
        """Leavers of whom HR told us only after the effective time."""
        return sum(one.clock_starts > one.cutoff for one in self.given.leavers if not one.immediate)

    @property
    def anchored(self) -> CheckpointLine | None:
        """The newest checkpoint that somebody outside vouches for."""
        return next((line for line in reversed(self.given.anchors) if line.outside), None)


def count_period(given: PeriodInput) -> PeriodReport:
    """Count everything that the files show."""
    rows = tuple(row for one in given.leavers for row in removals(one))
    tested = [one for one in given.leavers if one.judged.verdict in _TESTED]
    lags = sorted(lag for one in tested if (lag := one.lag_effective) is not None)
    population = csv_bytes(tables.population(given.leavers))
    return PeriodReport(
        given=given,
        rows=rows,
        verdicts=Counter(one.judged.verdict for one in given.leavers),
        systems=system_figures(rows),
        bars=histogram(lags),
        weeks=weeks(given.leavers, given.zone, given.as_of),
        limits=_limits(rows),
        median=percentile(lags, 0.5),
        p95=percentile(lags, 0.95),
        longest=lags[-1] if lags else None,
        controls=_controls(given),
        population=population,
        control_hash=hashlib.sha256(population).hexdigest(),
    )


def _limits(rows: Iterable[Removal]) -> tuple[float, ...]:
    """The tolerances of containment in force, for the drawing; none when there are too many to draw."""
    found = {
        round(tolerance)
        for row in rows
        if row.contained and (tolerance := seconds(row.leaver.clock_starts, row.limit)) is not None
    }
    positive = sorted(float(tolerance) for tolerance in found if tolerance >= 1)
    return tuple(positive) if len(positive) <= 3 else ()  # noqa: PLR2004 - more lines hide the bars


def _controls(given: PeriodInput) -> tuple[ControlResult, ...]:
    tested: Counter[str] = Counter()
    within: Counter[str] = Counter()
    people: Counter[str] = Counter()
    for one in given.leavers:
        served: set[str] = set()
        for action in one.actions:
            if action.judged.verdict in _TESTED:
                for name in (*action.controls, action.step):
                    served.add(name)
                    tested[name] += 1
                    within[name] += action.judged.verdict is Verdict.WITHIN
        people.update(served)
    texts = given.controls or tuple(
        ControlText(name, *_split(name), control="", test="")
        for name in sorted({c for one in given.leavers for a in one.actions for c in a.controls})
    )
    return tuple(_control(text, tested, within, people) for text in texts)


def _control(
    text: ControlText, tested: Counter[str], within: Counter[str], people: Counter[str]
) -> ControlResult:
    names = text.steps or (text.name,)
    return ControlResult(
        text,
        leavers=max((people[name] for name in names), default=0),
        actions=sum(tested[name] for name in names),
        within=sum(within[name] for name in names),
    )


def _split(name: str) -> tuple[str, str]:
    framework, _, number = name.rpartition(":")
    return framework, number


def period_name(given: PeriodInput) -> str:
    """The period in its own zone's days, both included: ``2026-11-01 to 2026-11-30``."""
    zone = ZoneInfo(given.zone)
    first = given.start.astimezone(zone)
    last = (given.end - timedelta(microseconds=1)).astimezone(zone)
    return f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"


def claim(report: PeriodReport) -> str:
    """What may be claimed, and no more."""
    anchored, counted = report.anchored, report.given.completeness
    if anchored is None:
        first = "Not tamper-evident against its own operator: no outside anchor"
    else:
        first = f"Tamper-evident since checkpoint {anchored.size}"
    if counted.difference is None or counted.pulled_at is None:
        return f"{first}; completeness against HR not tested."
    pull = f"the HR pull of {utc(counted.pulled_at)} UTC"
    if counted.complete:
        return f"{first}, complete against {pull}."
    return f"{first}, NOT complete against {pull}."


def ipe(report: PeriodReport) -> tuple[tuple[str, str], ...]:
    """Information produced by the entity: how this report was made and how to make it again."""
    given, counted = report.given, report.given.completeness
    zone = f"({given.zone})"
    run = given.run
    return (
        ("Report", f"Leaver period report, version {REPORT_VERSION}"),
        ("Report id", report_id(given)),
        ("Made by", f"leaver {leaver.__version__}"),
        ("Run by", run.by if run else "see issued.json beside this file"),
        ("Run at", iso(run.at) if run else "see issued.json beside this file"),
        (
            "Data as of",
            f"{iso(given.as_of)}, the time of the checkpoint; nothing later is in here",
        ),
        ("Period", f"{period_name(given)} {zone}: {iso(given.start)} <= effective time < {iso(given.end)}"),
        ("Filters", f"effective time in the period; mode = {given.mode.value}; none else"),
        ("Left out", f"{given.other_mode} cases of the other mode" if given.other_mode else "nothing"),
        ("Source", f"the evidence ledger, records 0 to {given.checkpoint.size - 1}"),
        ("Source query", f"all cases, every record type; {given.records} records read"),
        ("HR source", counted.source or NOTHING),
        ("HR query", counted.query or NOTHING),
        ("HR rows", NOTHING if counted.source_rows is None else str(counted.source_rows)),
        ("Rows in population", str(len(given.leavers))),
        ("Control hash", f"{report.control_hash} (SHA-256 of population.csv)"),
        ("Checkpoint size", str(given.checkpoint.size)),
        ("Checkpoint root", given.checkpoint.root),
        ("To perform again", command(given)),
    )


def command(given: PeriodInput) -> str:
    """The command that makes the same files again."""
    first, _, last = period_name(given).partition(" to ")
    mode = f" --mode {given.mode.value}"
    zone = "" if given.zone == "UTC" else f" --time-zone {given.zone}"
    at = f" --checkpoint {given.checkpoint.size}"
    made = f"leaver report period --from {first} --to {last}{zone}{mode}{at} -o DIR"
    return f"{made}; sha256sum DIR/population.csv"


def report_id(given: PeriodInput) -> str:
    """The same for the same period at the same checkpoint."""
    first, _, last = period_name(given).partition(" to ")
    return f"leavers-{first}-{last}-{given.checkpoint.size}"


def issued(report: PeriodReport, files: Mapping[str, bytes]) -> Facts:
    """What is noted when the report is given out: its id, the checkpoint, and the SHA-256 of every file."""
    given = report.given
    hashes: Facts = {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)}
    return {
        "report": report_id(given),
        "version": REPORT_VERSION,
        "checkpoint_size": given.checkpoint.size,
        "checkpoint_root": given.checkpoint.root,
        "control_hash": report.control_hash,
        "files": hashes,
    }
