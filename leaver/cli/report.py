"""``leaver report``: the period report and the leaver one-pager, made from the ledger, which is only read."""

from __future__ import annotations

import functools
import getpass
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import typer

from leaver.cli.output import BAD_INPUT, NO, ConfigOption, JsonOption, command, console, fail, print_json
from leaver.config import Config, load
from leaver.domain.base import Facts
from leaver.domain.cutoff import CutoffError, zone
from leaver.domain.ids import CASE_ID
from leaver.domain.words import Mode
from leaver.evidence.case_view import case_view
from leaver.evidence.errors import ReportError
from leaver.evidence.formats.controls import controls
from leaver.evidence.ledger.model import AnchorKind
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.population.bundled import bundled_cases
from leaver.evidence.population.model import Completeness, Period
from leaver.evidence.population.observed import load_seen
from leaver.evidence.population.reconcile import reconcile
from leaver.evidence.reports.files import period_files
from leaver.evidence.reports.load import Frame, load_period
from leaver.evidence.reports.model import CheckpointLine, ControlText, Run, Verdict
from leaver.evidence.reports.onepager import leaver_html, leaver_pdf
from leaver.evidence.reports.period import PeriodReport, claim, count_period, issued
from leaver.evidence.reports.sources import (
    Outsiders,
    checkpoint_lines,
    completeness_table,
    covering,
    members,
    since,
    uncased,
)

app = typer.Typer(no_args_is_help=True, help="Reports for auditors, made from the ledger.")

_DAY: Final = "%Y-%m-%d"


@app.command("period")
@command
def period(  # noqa: PLR0913, PLR0917 - the options of a command
    first: Annotated[datetime, typer.Option("--from", formats=[_DAY], help="First day of the period.")],
    last: Annotated[datetime, typer.Option("--to", formats=[_DAY], help="Last day, included.")],
    target: Annotated[Path, typer.Option("-o", "--output", help="The folder to write; new or empty.")],
    time_zone: Annotated[
        str | None, typer.Option("--time-zone", help="Whose days; default: [evidence] time_zone.")
    ] = None,
    mode: Annotated[
        Mode | None, typer.Option("--mode", help="Real cases or rehearsals; default: as HR's newest list.")
    ] = None,
    checkpoint: Annotated[
        int | None,
        typer.Option("--checkpoint", help="Size of the checkpoint to report as of; default: the last."),
    ] = None,
    run_by: Annotated[
        str | None,
        typer.Option("--run-by", help="Who runs it, to be printed; the files then carry the time."),
    ] = None,
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Write the period report: HTML, PDF, XLSX, CSV. Exit code 1 when it shows a gap or an open exception.

    The same checkpoint gives the same files, byte for byte; issued.json beside them says who ran it and when.
    """
    loaded = load(config)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        fail(f"{target}: is not an empty folder; name a new one", BAD_INPUT)
    wanted = _Wanted(
        first, last, time_zone, mode, checkpoint, Run(run_by, datetime.now(UTC)) if run_by else None
    )
    try:
        report = _period_report(loaded, wanted)
    except ReportError as err:
        fail(str(err), BAD_INPUT)
    files = period_files(report)
    written = issued(report, files)
    ran = {"run_by": run_by or getpass.getuser(), "run_at": datetime.now(UTC).isoformat(timespec="seconds")}
    files["issued.json"] = (json.dumps({**written, **ran}, indent=2) + "\n").encode()
    target.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (target / name).write_bytes(content)
    answer = told(report, written)
    if as_json:
        print_json({**answer, "folder": str(target)})
    else:
        _print(target, report, answer)
    if not answer["ok"]:
        raise typer.Exit(NO)


@app.command("leaver")
@command
def leaver(
    case: Annotated[str, typer.Argument(help="The case id, c-….")],
    target: Annotated[Path, typer.Option("-o", "--output", help="The file to write: .html or .pdf.")],
    label: Annotated[
        str | None, typer.Option("--label", help="What the person is known by; printed on this page only.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Write the one-pager of a case, open or closed, as HTML or PDF."""
    loaded = load(config)
    if not CASE_ID.match(case):
        fail(f"{case!r} is not a case id; it looks like c-…", BAD_INPUT)
    if target.suffix not in (".html", ".pdf"):
        fail(f"{target}: name a file that ends in .html or .pdf", BAD_INPUT)
    with Ledger.open(_ledger(loaded), read_only=True) as ledger:
        records = ledger.records(case)
        if not records:
            fail(f"{case}: the ledger has no record of this case", BAD_INPUT)
        lines = checkpoint_lines(ledger, outsiders(loaded)) if ledger.latest_checkpoint() else ()
    anchors = covering(lines, records[-1].seq)
    view = case_view(records)
    if target.suffix == ".pdf":
        target.write_bytes(leaver_pdf(view, anchors, label))
    else:
        target.write_text(leaver_html(view, anchors, label), encoding="utf-8")
    console.print(f"{case}: {target}", highlight=False)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the command was asked for."""

    first: datetime
    last: datetime
    time_zone: str | None
    mode: Mode | None
    checkpoint: int | None
    run: Run | None


def _period_report(config: Config, wanted: _Wanted) -> PeriodReport:
    tz = _zone(wanted.time_zone or config.settings.evidence.time_zone)
    try:
        days = Period.days(wanted.first.date(), wanted.last.date(), tz)
    except ValueError as err:
        raise ReportError(str(err)) from None
    with Ledger.open(_ledger(config), read_only=True) as ledger:
        lines = checkpoint_lines(ledger, outsiders(config), up_to=wanted.checkpoint)
        last = lines[-1]
        seen = load_seen(ledger, until_seq=last.size)
        bundles = bundled_cases(config.path(config.settings.evidence.bundles))
        found = reconcile(days, seen, now=_at(last), bundles=bundles, mode=wanted.mode)
        start, end = found.period.start, found.period.end
        if start is None or end is None:
            raise ReportError("a period report needs a first and a last day")
        frame = _frame(found, since(lines, start), tz, wanted.run)
        return count_period(load_period(ledger, start, end, last, frame))


def _frame(found: Completeness, lines: tuple[CheckpointLine, ...], tz: ZoneInfo, run: Run | None) -> Frame:
    return Frame(
        zone=tz.key,
        mode=found.mode,
        completeness=completeness_table(found),
        members=members(found),
        uncased=tuple(uncased(found)),
        anchors=lines,
        controls=control_texts(),
        run=run,
    )


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


def outsiders(config: Config) -> Outsiders:
    """The anchors that somebody else than the operator runs, as the configuration says."""
    section = config.settings.evidence
    found = {
        (AnchorKind.WITNESS, each.vkey.split("+", 1)[0]) for each in section.witnesses if each.independent
    }
    if section.timestamp is not None and section.timestamp.independent:
        found.add((AnchorKind.TIMESTAMP, section.timestamp.name))
    return frozenset(found)


def _at(line: CheckpointLine) -> datetime:
    if line.at is None:
        raise ReportError("the checkpoint does not say when it was signed")
    return line.at


def _ledger(config: Config) -> str | Path:
    section = config.settings.evidence
    if section.database is not None:
        return config.secret("evidence.database", section.database).get_secret_value()
    return config.path(section.ledger)


def _zone(name: str) -> ZoneInfo:
    try:
        return zone(name)
    except CutoffError as err:
        raise ReportError(f"{name}: {err.reason}") from err


def told(report: PeriodReport, written: Facts) -> Facts:
    """The report in figures. ``ok``: nothing is missing and no exception stands."""
    counted, verdicts = report.given.completeness, report.verdicts
    return {
        "ok": not (counted.difference or counted.alarms or report.standing or verdicts[Verdict.EXCEPTION]),
        "claim": claim(report),
        "leavers": len(report.given.leavers),
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
        **written,
    }


def _print(target: Path, report: PeriodReport, answer: Facts) -> None:
    say = functools.partial(console.print, highlight=False, markup=False, soft_wrap=True)
    within, tested = report.verdicts[Verdict.WITHIN], report.tested
    say(f"{answer['leavers']} leavers, {tested} tested, {within} within their limits")
    say(f"{answer['exceptions_open']} exceptions open of {answer['exceptions']}")
    say(claim(report))
    say(f"{target}/report.html, report.pdf, report.xlsx and the CSV files")
