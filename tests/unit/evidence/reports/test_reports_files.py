"""The files of the period report: the same every time, safe to open, formulas computed anew."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import openpyxl
import pytest

from leaver.domain.words import System
from leaver.evidence.reports import tables
from leaver.evidence.reports.csvs import csv_bytes
from leaver.evidence.reports.files import period_csvs, period_files
from leaver.evidence.reports.model import Change, PeriodInput, Run
from leaver.evidence.reports.period import count_period, issued
from leaver.evidence.reports.tables import SYSTEMS, Field, Kind, Sheet
from leaver.evidence.reports.xlsx import period_xlsx
from tests.support.period_world import MIXED, START, period
from tests.support.period_world import Kind as Leaving
from tests.support.sheet_formulas import Sheets

SHEETS = [
    "ReadMe+IPE",
    "Population",
    "Results",
    "Systems",
    "Actions",
    "Exceptions",
    "Completeness",
    "Approvals",
    "Lookback",
    "Policy",
    "Anchors",
]


def book(given: PeriodInput, **how: Any) -> openpyxl.Workbook:
    return openpyxl.load_workbook(io.BytesIO(period_xlsx(count_period(given))), **how)


@pytest.fixture(scope="module")
def mixed() -> PeriodInput:
    return period(MIXED)


def test_the_same_report_gives_the_same_bytes(mixed: PeriodInput) -> None:
    first = period_files(count_period(mixed))
    again = period_files(count_period(period(MIXED)))
    assert {name for name in first if first[name] != again[name]} == set()
    assert {name.rpartition(".")[2] for name in first} == {"html", "pdf", "xlsx", "csv"}


def test_a_run_that_is_named_is_printed_and_nothing_else_changes(mixed: PeriodInput) -> None:
    ran = replace(mixed, run=Run("A. Uditor", START + timedelta(days=40)))
    plain, named = (period_csvs(count_period(given)) for given in (mixed, ran))
    assert {name for name in plain if plain[name] != named[name]} == {"ipe.csv"}
    assert b"A. Uditor" in named["ipe.csv"]
    assert b"2026-12-11T00:00:00Z" in named["ipe.csv"]


def test_the_control_hash_is_that_of_the_population_file(mixed: PeriodInput) -> None:
    report = count_period(mixed)
    files = period_files(report)
    digest = hashlib.sha256(files["population.csv"]).hexdigest()
    assert report.control_hash == digest
    for name in ("report.html", "ipe.csv"):
        assert digest in files[name].decode()
    noted = issued(report, files)
    assert noted["control_hash"] == digest
    assert noted["files"]["report.pdf"] == hashlib.sha256(files["report.pdf"]).hexdigest()


# ------------------------------------------------------------------------------------------- CSV


def test_csv_is_rfc_4180_in_utf_8_with_iso_times(mixed: PeriodInput) -> None:
    raw = period_csvs(count_period(mixed))["population.csv"]
    assert raw.count(b"\r\n") == raw.count(b"\n") == len(mixed.leavers) + 1
    rows = list(csv.DictReader(io.StringIO(raw.decode(), newline="")))
    assert [row["Case"] for row in rows] == [one.case for one in mixed.leavers]
    assert all(re.fullmatch(r"2026-11-\d\dT\d\d:\d\d:\d\dZ", row["Effective"]) for row in rows)
    assert {row["Verdict"] for row in rows} == {"within", "exception", "not applicable", "not testable"}
    assert min(float(row["Lag effective (s)"] or 0) for row in rows) < -3600, "gone before the date"


@pytest.mark.parametrize("bad", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\n=1", '=cmd|"/c calc"!A1'])
def test_no_cell_is_a_formula_that_somebody_else_wrote(bad: str) -> None:
    changes = (Change("policy", START, bad, bad, 1),)
    report = count_period(period([Leaving()], changes=changes))
    row = list(csv.reader(io.StringIO(period_csvs(report)["policy.csv"].decode(), newline="")))[1]
    assert row[2] == row[3] == "'" + bad
    sheet = openpyxl.load_workbook(io.BytesIO(period_xlsx(report)))["Policy"]
    assert sheet["C2"].data_type == "s"
    # XML cannot hold a carriage return as it is; a spreadsheet shows it as a line break.
    assert str(sheet["C2"].value).replace("_x000D_", "\r") in (bad, bad.replace("\r", "\n"))


def test_numbers_and_times_in_csv_need_no_protection() -> None:
    sheet = Sheet(
        "T", (Field("a", Kind.SECONDS), Field("b", Kind.NUMBER), Field("c")), [(-3.5, -2, 'x,"y"\n')]
    )
    assert csv_bytes(sheet) == b'a,b,c\r\n-3.500,-2,"x,""y""\n"\r\n'


# ------------------------------------------------------------------------------------------ XLSX


def test_the_workbook_has_its_sheets_with_frozen_filtered_heads(mixed: PeriodInput) -> None:
    found = book(mixed)
    assert found.sheetnames == SHEETS
    for name in SHEETS:
        if name not in ("ReadMe+IPE", "Lookback"):
            assert found[name].freeze_panes == "B2", name
            assert found[name].auto_filter.ref, name
    assert found["Lookback"]["B1"].value == "not testable"
    assert found["Population"]["G2"].number_format == "yyyy-mm-dd hh:mm:ss"
    assert found["Population"].max_row == len(mixed.leavers) + 1


@pytest.mark.parametrize("name", ["Population", "Results", "Actions"])
def test_lag_and_verdict_computed_anew_are_ours(mixed: PeriodInput, name: str) -> None:
    formulas = Sheets(book(mixed))
    ours = book(mixed, data_only=True)[name]
    fields = {"Population": tables.POPULATION, "Results": tables.RESULTS, "Actions": tables.ACTIONS}[name]
    live = [place for place, field in enumerate(fields, 1) if field.formula]
    assert {"Lag effective (s)", "Verdict"} <= {fields[place - 1].title for place in live}
    compared = 0
    for row in range(2, ours.max_row + 1):
        for column in live:
            cell = ours.cell(row, column)
            anew = formulas.value(name, cell.coordinate)
            assert same(anew, cell.value), f"{name} {cell.coordinate}: {anew!r}, ours {cell.value!r}"
            compared += 1
    assert compared == (ours.max_row - 1) * len(live) > 20


def test_the_figures_per_system_computed_anew_are_ours(mixed: PeriodInput) -> None:
    formulas = Sheets(book(mixed))
    ours = book(mixed, data_only=True)["Systems"]
    assert [ours.cell(row, 1).value for row in range(2, ours.max_row + 1)] == [one.label for one in System]
    for row in range(2, ours.max_row + 1):
        for column in range(2, len(SYSTEMS) + 1):
            cell = ours.cell(row, column)
            anew = formulas.value("Systems", cell.coordinate)
            assert same(anew, cell.value), f"{cell.coordinate}: {anew!r}, ours {cell.value!r}"


def test_a_changed_time_changes_the_verdict(mixed: PeriodInput) -> None:
    found = book(mixed)
    sheet = found["Actions"]
    columns = {cell.value: cell.column_letter for cell in sheet[1]}
    row = next(n for n in range(2, sheet.max_row) if sheet[f"{columns['Outcome']}{n}"].value == "verified")
    assert Sheets(found).value("Actions", f"{columns['Verdict']}{row}") == "within"
    sheet[f"{columns['Finished']}{row}"].value += timedelta(days=30)
    assert Sheets(found).value("Actions", f"{columns['Verdict']}{row}") == "exception"


def test_the_difference_is_a_formula(mixed: PeriodInput) -> None:
    sheet = book(mixed)["Completeness"]
    row = next(n for n in range(2, 20) if sheet[f"A{n}"].value == "Difference")
    assert str(sheet[f"B{row}"].value).startswith("=")
    assert Sheets(book(mixed)).value("Completeness", f"B{row}") == 0


def test_too_many_actions_for_a_sheet_are_in_the_csv(
    mixed: PeriodInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leaver.evidence.reports.xlsx.ACTIONS_LIMIT", 10)
    assert "actions.csv" in str(book(mixed)["Actions"]["B1"].value)
    lines = period_csvs(count_period(mixed))["actions.csv"].count(b"\r\n")
    assert lines == sum(len(one.actions) for one in mixed.leavers) + 1


@pytest.mark.parametrize("kinds", [[], [Leaving()], [Leaving(open_step="entra.block_sign_in")] * 3])
def test_empty_single_and_all_bad_periods_make_every_file(kinds: list[Leaving]) -> None:
    files = period_files(count_period(period(kinds)))
    assert files["report.pdf"].startswith(b"%PDF-1.7")
    found = openpyxl.load_workbook(io.BytesIO(files["report.xlsx"]))
    assert found["Population"].max_row == len(kinds) + 1
    values = Sheets(found)
    for row in range(2, len(kinds) + 2):
        assert values.value("Population", f"V{row}") == ("exception" if len(kinds) == 3 else "within")


def same(anew: Any, ours: Any) -> bool:
    if isinstance(anew, int | float) and not isinstance(ours, str | None):
        return math.isclose(anew, ours, abs_tol=0.002)
    return (anew or None) == (ours or None)
