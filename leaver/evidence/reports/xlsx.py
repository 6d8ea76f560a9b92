"""The workbook: every table as a sheet, with lag and verdict as formulas that an auditor tests in place."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.utility import xl_col_to_name
from xlsxwriter.workbook import Workbook
from xlsxwriter.worksheet import Worksheet

from leaver.evidence.reports import tables
from leaver.evidence.reports.completeness_part import count_lines
from leaver.evidence.reports.period import PeriodReport, claim, ipe
from leaver.evidence.reports.tables import Field, Kind, Sheet, Value

ACTIONS_LIMIT: Final = 50_000
"""Rows of the sheet Actions; longer lists are in actions.csv only, which the workbook then says."""

_EPOCH: Final = datetime(1899, 12, 30, tzinfo=UTC)
"""Day 0 of the 1900 date system, as spreadsheets count it."""
_LONGEST: Final = 32_767
"""Characters in a cell (Excel specifications and limits)."""
_PLACE: Final = re.compile(r"\{([^{}]+)\}")
_FORMATS: Final = {
    Kind.TEXT: {},
    Kind.NUMBER: {"num_format": "0"},
    Kind.SHARE: {"num_format": "0.0%"},
    Kind.SECONDS: {"num_format": "#,##0.000"},
    Kind.TIME: {"num_format": "yyyy-mm-dd hh:mm:ss", "align": "left"},
}


@dataclass(frozen=True, slots=True)
class _Book:
    workbook: Workbook
    formats: dict[Kind, Format]
    head: Format
    wrap: Format
    strong: Format


class _PlainWorksheet(Worksheet):
    """A worksheet whose formulas need no preparing: they use no function younger than Excel 2007.

    XlsxWriter looks through every formula for some 150 younger names, which takes longer than all the rest.
    """

    def _prepare_formula(self, formula: str, expand_future_functions: bool = False) -> str:
        del expand_future_functions
        return formula.removeprefix("{").removeprefix("=").removesuffix("}")


def period_xlsx(report: PeriodReport) -> bytes:
    """The workbook. The same report gives the same bytes; its date is the checkpoint's."""
    given = report.given
    out = io.BytesIO()
    workbook = xlsxwriter.Workbook(
        out,
        {
            "in_memory": True,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
        },
    )
    workbook.set_properties(
        {
            "title": "Leaver period report",
            "author": "leaver",
            "created": given.as_of.replace(tzinfo=None),
        }
    )
    book = _Book(
        workbook,
        {kind: workbook.add_format(form) for kind, form in _FORMATS.items()},
        workbook.add_format(
            {"bold": True, "bg_color": "#E3E7ED", "bottom": 1, "text_wrap": True, "valign": "top"}
        ),
        workbook.add_format({"text_wrap": True, "valign": "top"}),
        workbook.add_format({"bold": True, "valign": "top"}),
    )
    _readme(book, report)
    results = tables.results(report.rows)
    _table(book, tables.population(given.leavers))
    _table(book, results)
    _systems(book, report, results)
    steps = sum(len(leaver.actions) for leaver in given.leavers)
    if steps <= ACTIONS_LIMIT:
        _table(book, tables.actions(given.leavers))
    else:
        _words(book, "Actions", [("Actions", f"{steps} rows: see actions.csv, which holds all of them.")])
    _table(book, tables.exceptions(given.exceptions))
    _completeness(book, report)
    _table(book, tables.approvals(given.decisions))
    _words(book, "Lookback", _LOOKBACK)
    _table(book, tables.policy(given.changes))
    _table(book, tables.anchors(given.anchors))
    workbook.close()
    return out.getvalue()


_LOOKBACK: Final = (
    ("Verdict", "not testable"),
    ("Why", "Sign-in logs are not read, so sign-ins after the effective time cannot be counted."),
    (
        "What it would show",
        "A sign-in after access was removed. It cures nothing: a late removal stays late.",
    ),
)
_ABOUT: Final = (
    (
        "How to use it",
        (
            "Lag and Verdict are formulas over the columns beside them: change a time and see them change. "
            "'Set aside' holds a verdict that no figure decides, with the reason in 'Why'."
        ),
    ),
    ("Times", "UTC, as numbers of days that spreadsheets count. Lags and limits are in seconds."),
    (
        "Record",
        "The record's place in the ledger; in the bundle of the case it is the file records/<place>.json.",
    ),
    (
        "Verdicts",
        (
            "within: every required action read back before its limit. exception: an action late, not "
            "proven or missing, or a control exception standing. not applicable, not testable: with "
            "the reason."
        ),
    ),
)


def _readme(book: _Book, report: PeriodReport) -> None:
    lines = [("Claim", claim(report)), *_ABOUT, *ipe(report)]
    _words(book, "ReadMe+IPE", lines)


def _words(book: _Book, name: str, lines: Sequence[tuple[str, str]]) -> None:
    sheet = book.workbook.add_worksheet(name)
    sheet.set_column(0, 0, 24)
    sheet.set_column(1, 1, 110)
    for row, (title, text) in enumerate(lines):
        sheet.write_string(row, 0, title, book.strong)
        sheet.write_string(row, 1, text, book.wrap)


def _table(book: _Book, table: Sheet) -> Worksheet:
    sheet = book.workbook.add_worksheet(table.name, _PlainWorksheet)
    _head(book, sheet, table.fields, len(table.rows))
    writers = [_writer(book, sheet, table.fields, column) for column in range(len(table.fields))]
    for number, row in enumerate(table.rows, 1):
        for writer, value in zip(writers, row, strict=True):
            writer(number, value)
    return sheet


def _head(book: _Book, sheet: Worksheet, fields: Sequence[Field], rows: int) -> None:
    for column, field in enumerate(fields):
        sheet.set_column(column, column, field.width)
        sheet.write_string(0, column, field.title, book.head)
    sheet.freeze_panes(1, 1)
    sheet.autofilter(0, 0, max(rows, 1), len(fields) - 1)


def _writer(
    book: _Book, sheet: Worksheet, fields: Sequence[Field], column: int
) -> Callable[[int, Value], None]:
    """How the cells of a column are written: text never as a formula, formulas with our value beside them."""
    field = fields[column]
    form = book.formats[field.kind]
    if field.formula:
        pattern = formula_pattern(field, fields)

        def formula(row: int, value: Value) -> None:
            shown = "" if value is None else value if isinstance(value, int | float) else str(value)
            sheet.write_formula(row, column, pattern.replace("#", str(row + 1)), form, shown)

        return formula

    def plain(row: int, value: Value) -> None:
        if isinstance(value, str):
            if value:
                sheet.write_string(row, column, value[:_LONGEST])
        elif isinstance(value, datetime):
            sheet.write_number(row, column, serial(value), form)
        elif value is not None:
            sheet.write_number(row, column, value, form)

    return plain


def formula_pattern(field: Field, fields: Sequence[Field]) -> str:
    """The formula with the columns' letters; ``#`` stands for the row."""
    columns = {each.title: xl_col_to_name(place) for place, each in enumerate(fields)}
    return _PLACE.sub(lambda found: f"{columns[found.group(1)]}#", field.formula)


def serial(instant: datetime) -> float:
    """An instant as spreadsheets count: days since the end of 1899, UTC."""
    return (instant - _EPOCH).total_seconds() / 86_400


def _systems(book: _Book, report: PeriodReport, results: Sheet) -> None:
    """Figures per system, computed in place from the sheet Results."""
    table = tables.systems(report.systems)
    sheet = book.workbook.add_worksheet(table.name, _PlainWorksheet)
    _head(book, sheet, table.fields, len(table.rows))
    span = _Span(results)
    for row, values in enumerate(table.rows, 1):
        sheet.write_string(row, 0, str(values[0]))
        for column, formula in enumerate(_system_formulas(span, row + 1), 1):
            field = table.fields[column]
            value = values[column]
            shown = "" if value is None or isinstance(value, datetime) else value
            if formula.startswith("{"):
                sheet.write_array_formula(row, column, row, column, formula, book.formats[field.kind], shown)
            else:
                sheet.write_formula(row, column, formula, book.formats[field.kind], shown)


class _Span:
    """The columns of the sheet Results as ranges."""

    def __init__(self, results: Sheet) -> None:
        self._last = max(len(results.rows), 1) + 1
        self._columns = {field.title: xl_col_to_name(place) for place, field in enumerate(results.fields)}

    def __getitem__(self, title: str) -> str:
        letter = self._columns[title]
        return f"Results!${letter}$2:${letter}${self._last}"


def _system_formulas(span: _Span, row: int) -> Iterator[str]:
    name, system, verdict, lag = f"$A{row}", span["System"], span["Verdict"], span["Lag effective (s)"]
    yield f"=COUNTIFS({system},{name})"
    yield (f'=COUNTIFS({system},{name},{verdict},"within")+COUNTIFS({system},{name},{verdict},"exception")')
    yield f'=COUNTIFS({system},{name},{verdict},"within")'
    yield f'=IF(C{row}=0,"",D{row}/C{row})'
    yield f'=COUNTIFS({system},{name},{verdict},"within",{span["In time from effective"]},"yes")'
    chosen = (
        f'IF({system}={name},IF(({verdict}="within")+({verdict}="exception")>0,IF(ISNUMBER({lag}),{lag})))'
    )
    for figure in (f"PERCENTILE({chosen},0.5)", f"PERCENTILE({chosen},0.95)", f"MAX({chosen})"):
        yield f'{{=IFERROR(ROUND({figure},3),"")}}'


def _completeness(book: _Book, report: PeriodReport) -> None:
    """The count, with the difference as a formula, and every finding."""
    counted = report.given.completeness
    sheet = book.workbook.add_worksheet("Completeness")
    fields = (Field("Count", width=36), Field("Leavers", Kind.NUMBER, 12), Field("What it is", width=90))
    lines = list(count_lines(counted))
    _head(book, sheet, fields, len(lines))
    places: dict[str, int] = {}
    for row, (name, value, meaning, _) in enumerate(lines, 1):
        places[name] = row + 1
        sheet.write_string(row, 0, name, book.strong if name[:1].isupper() else None)
        sheet.write_string(row, 2, meaning)
        if value is not None:
            sheet.write_number(row, 1, value, book.formats[Kind.NUMBER])
    if counted.difference is not None:
        _difference(book, sheet, places, counted.difference)
    start = len(lines) + 2
    for column, title in enumerate(("Finding", "Standing", "Detail", "Case", "Since (UTC)")):
        sheet.write_string(start, column, title, book.head)
    sheet.set_column(3, 4, 30)
    for row, found in enumerate(counted.findings, start + 1):
        sheet.write_string(row, 0, found.kind.replace("_", " "))
        sheet.write_string(row, 1, "gap" if found.alarm else "may close")
        sheet.write_string(row, 2, found.detail[:_LONGEST])
        sheet.write_string(row, 3, found.case)
        if found.since:
            sheet.write_number(row, 4, serial(found.since), book.formats[Kind.TIME])


def _difference(book: _Book, sheet: Worksheet, places: dict[str, int], value: int) -> None:
    """HR's leavers less those with a case and those excluded, plus the cases that HR does not know."""
    taken = [
        f"B{row}" for name, row in places.items() if name == "with a case" or name.startswith("excluded")
    ]
    formula = f"=B{places[_HR]}-{'-'.join(taken)}+B{places[_UNKNOWN]}"
    sheet.write_formula(places["Difference"] - 1, 1, formula, book.formats[Kind.NUMBER], value)


_HR: Final = "Leavers in HR's list"
_UNKNOWN: Final = "not in HR's list"
