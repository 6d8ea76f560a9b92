"""The period report as files: HTML, PDF, XLSX and the CSV twins of every sheet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from leaver.evidence.errors import ReportError
from leaver.evidence.reports import tables
from leaver.evidence.reports.completeness_part import count_lines
from leaver.evidence.reports.csvs import csv_bytes
from leaver.evidence.reports.html import page_html
from leaver.evidence.reports.pdf import page_pdf
from leaver.evidence.reports.period import PeriodReport, ipe
from leaver.evidence.reports.period_page import period_page
from leaver.evidence.reports.tables import Field, Kind, Sheet

_FINDINGS: Final = (
    Field("Finding"),
    Field("Case"),
    Field("Detail"),
    Field("Since", Kind.TIME),
    Field("Standing"),
)


def period_files(report: PeriodReport) -> dict[str, bytes]:
    """Every file of the report by its name. The same report gives the same bytes.

    Raises:
        ReportError: a package of the extra ``evidence`` is not installed.
    """
    try:
        from leaver.evidence.reports.xlsx import period_xlsx  # noqa: PLC0415 - needs the extra `evidence`
    except ImportError:
        raise ReportError("XLSX needs the package xlsxwriter: install leaver[evidence]") from None
    page = period_page(report)
    return {
        "report.html": page_html(page).encode(),
        "report.pdf": page_pdf(page),
        "report.xlsx": period_xlsx(report),
        **period_csvs(report),
    }


def period_csvs(report: PeriodReport) -> dict[str, bytes]:
    """The tables as CSV; ``population.csv`` is what the control hash is of."""
    given = report.given
    sheets: tuple[Callable[[], Sheet], ...] = (
        lambda: tables.results(report.rows),
        lambda: tables.actions(given.leavers),
        lambda: tables.systems(report.systems),
        lambda: tables.exceptions(given.exceptions),
        lambda: tables.approvals(given.decisions),
        lambda: tables.policy(given.changes),
        lambda: tables.anchors(given.anchors),
        lambda: _completeness(report),
        lambda: _findings(report),
        lambda: Sheet("IPE", (Field("Field"), Field("Value")), ipe(report)),
    )
    made = {"population.csv": report.population}
    for make in sheets:
        sheet = make()
        made[sheet.file] = csv_bytes(sheet)
    return made


def _completeness(report: PeriodReport) -> Sheet:
    fields = (Field("Count"), Field("Leavers", Kind.NUMBER), Field("What it is"))
    lines = count_lines(report.given.completeness)
    return Sheet("Completeness", fields, [(name, value, meaning) for name, value, meaning, _ in lines])


def _findings(report: PeriodReport) -> Sheet:
    rows = [
        (
            found.kind.replace("_", " "),
            found.case,
            found.detail,
            found.since,
            "gap" if found.alarm else "may close",
        )
        for found in report.given.completeness.findings
    ]
    return Sheet("Findings", _FINDINGS, rows)
