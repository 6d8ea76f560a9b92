"""The period report from the ledger, as the command and the sealer both make it. Reads only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from leaver.domain.base import Facts
from leaver.domain.cutoff import CutoffError, zone
from leaver.domain.report import ReportInput
from leaver.evidence.errors import ReportError
from leaver.evidence.formats.controls import controls
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.population.bundled import bundled_cases
from leaver.evidence.population.model import Completeness, Period
from leaver.evidence.population.observed import load_seen
from leaver.evidence.population.reconcile import reconcile
from leaver.evidence.reports.files import period_files
from leaver.evidence.reports.load import Frame, load_period
from leaver.evidence.reports.model import CheckpointLine, ControlText, Run, Verdict
from leaver.evidence.reports.period import PeriodReport, claim, count_period, issued
from leaver.evidence.reports.sources import (
    Outsiders,
    checkpoint_lines,
    completeness_table,
    members,
    since,
    uncased,
)

ISSUED: Final = "issued.json"
"""The file beside the report that says who ran it, when, its figures, and the SHA-256 of every other file."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The state to report on: the checkpoints up to it, the newest last, and what HR's list shows."""

    zone: str
    start: datetime
    end: datetime
    lines: tuple[CheckpointLine, ...]
    found: Completeness

    @property
    def last(self) -> CheckpointLine:
        """The checkpoint that the report is as of."""
        return self.lines[-1]


def days_of(wanted: ReportInput) -> tuple[datetime, datetime]:
    """The period as two instants, the first included, the second not.

    Raises:
        ReportError: there is no such time zone, or the days make no period.
    """
    try:
        days = Period.days(wanted.first, wanted.last, zone(wanted.zone))
    except CutoffError as err:
        raise ReportError(f"{wanted.zone}: {err.reason}") from err
    except (ValueError, OverflowError) as err:
        raise ReportError(str(err)) from None
    if days.start is None or days.end is None:
        raise ReportError("a period report needs a first and a last day")
    return days.start, days.end


def compare(ledger: Ledger, wanted: ReportInput, *, outsiders: Outsiders, bundles: Path) -> Compared:
    """Compare HR's list with the cases of the period, as of the checkpoint.

    Args:
        ledger: read only.
        wanted: the period; without a checkpoint the last one published.
        outsiders: the anchors that the operator does not run.
        bundles: the folder of bundles.

    Raises:
        ReportError: the period or the checkpoint cannot be reported on; it says why.
        LedgerError: as the ledger's own reading.
        OSError: the folder of bundles cannot be read.
    """
    start, end = days_of(wanted)
    lines = checkpoint_lines(ledger, outsiders, up_to=wanted.checkpoint)
    last = lines[-1]
    if last.at is None:
        raise ReportError("the checkpoint does not say when it was signed")
    seen = load_seen(ledger, until_seq=last.size)
    cases = bundled_cases(bundles)
    found = reconcile(Period(start, end), seen, now=last.at, bundles=cases, mode=wanted.mode)
    return Compared(wanted.zone, start, end, lines, found)


def count(ledger: Ledger, compared: Compared, run: Run | None = None) -> PeriodReport:
    """Read the period's cases whole and count everything that the files show.

    Args:
        ledger: read only.
        compared: of the same ledger.
        run: who runs it, to be printed; the files then carry the time.

    Raises:
        LedgerError: as the ledger's own reading.
    """
    frame = Frame(
        zone=compared.zone,
        mode=compared.found.mode,
        completeness=completeness_table(compared.found),
        members=members(compared.found),
        uncased=tuple(uncased(compared.found)),
        anchors=since(compared.lines, compared.start),
        controls=control_texts(),
        run=run,
    )
    return count_period(load_period(ledger, compared.start, compared.end, compared.last, frame))


def control_texts() -> tuple[ControlText, ...]:
    """The control map in the shape of the report."""
    return tuple(
        ControlText(
            name=control.ref,
            framework=control.framework,
            number=control.number,
            control=control.subject,
            test=control.test,
            limits=control.limits,
            coverage=control.coverage.value,
            steps=control.steps,
        )
        for control in controls()
    )


def written(report: PeriodReport, *, run_by: str, run_at: datetime) -> tuple[dict[str, bytes], Facts]:
    """Every file of the report, ``issued.json`` included, and the report in figures.

    Raises:
        ReportError: a package of the extra ``evidence`` is not installed.
    """
    files = period_files(report)
    figures = told(report, issued(report, files))
    ran: Facts = {"run_by": run_by, "run_at": run_at.isoformat(timespec="seconds")}
    files[ISSUED] = (json.dumps({**figures, **ran}, indent=2) + "\n").encode()
    return files, figures


def told(report: PeriodReport, noted: Facts) -> Facts:
    """The report in figures. ``ok``: nothing is missing and no exception stands."""
    counted, verdicts = report.given.completeness, report.verdicts
    return {
        "ok": not (counted.difference or counted.alarms or report.standing or verdicts[Verdict.EXCEPTION]),
        "claim": claim(report),
        "leavers": len(report.given.leavers),
        "tested": report.tested,
        "verdicts": {verdict.value: verdicts[verdict] for verdict in Verdict},
        "median_seconds": report.median,
        "p95_seconds": report.p95,
        "longest_seconds": report.longest,
        "exceptions_open": len(report.standing),
        "exceptions": len(report.given.exceptions),
        "hr_leavers": counted.hr_leavers,
        "cases": counted.cases,
        "difference": counted.difference,
        "anchored_outside": report.anchored is not None,
        **noted,
    }
