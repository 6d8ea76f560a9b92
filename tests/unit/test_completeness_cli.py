"""``leaver evidence completeness``, ``exclude``, ``erase`` and ``population pull`` from the outside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from leaver.cli import completeness as commands
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.statements import new_person_key
from tests.support.population import Company, row

CASE = "c-" + "a" * 26


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    (tmp_path / "leaver.toml").write_text(
        'case_id_key = "file:case-id.key"\n'
        '[encryption]\ncurrent = "k"\nkeys = { k = "file:payload.key" }\n'
        '[temporal]\naddress = "127.0.0.1:1"\nconnect_timeout_seconds = 0.2\n'
        '[evidence]\nledger = "ledger.db"\nbundles = "bundles"\ntime_zone = "Europe/Berlin"\n'
    )
    (tmp_path / "case-id.key").write_text("0123456789abcdef")
    (tmp_path / "payload.key").write_text("hex:" + "00" * 32)
    (tmp_path / "bundles").mkdir()
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        now = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)
        yield Company(tmp_path, ledger, now=now)


def run(company: Company, *words: str) -> Result:
    app = typer.Typer()
    app.command("completeness")(commands.completeness)
    app.command("exclude")(commands.exclude)
    app.command("erase")(commands.erase)
    app.add_typer(commands.population_app, name="population")
    config = ["--config", str(company.folder / "leaver.toml")]
    return CliRunner().invoke(app, [*words, *config], env={"COLUMNS": "200"})


def day(company: Company, days: int = 0) -> str:
    return (company.now + timedelta(days=days)).date().isoformat()


async def whole(company: Company, *, lose: str = "") -> list[str]:
    company.write(row("E1", day(company, -3)), row("E2", day(company, -3)), row("E3", day(company, 90)))
    cases = company.deliver(without=[lose])
    for case in cases:
        company.finish(case)
        (company.folder / "bundles" / case).mkdir()
    company.later(minutes=1)
    await company.keeper().tick(company.now)
    return cases


async def test_a_complete_company_is_said_to_be_one(company: Company) -> None:
    await whole(company)
    said = run(company, "completeness")
    assert said.exit_code == 0, said.output
    assert "Complete against the HR pull of" in said.output
    table = json.loads(run(company, "completeness", "--json").output)
    counts = {name: table[name] for name in ("hr_leavers", "with_case", "difference", "bundles", "complete")}
    assert counts == {"hr_leavers": 3, "with_case": 3, "difference": 0, "bundles": 3, "complete": True}
    assert {line["standing"] for line in table["lines"]} == {"sealed"}


async def test_a_lost_leaver_ends_with_exit_code_1(company: Company) -> None:
    await whole(company, lose="E2")
    said = run(company, "completeness", "--json")
    assert said.exit_code == 1
    table = json.loads(said.output)
    lost = company.case("E2")
    assert (table["difference"], table["complete"]) == (1, False)
    assert [(gap["kind"], gap["case"]) for gap in table["findings"]] == [("expected_without_case", lost)]
    for_people = run(company, "completeness")
    assert for_people.exit_code == 1
    assert f"missing: {lost} p-" in for_people.output
    assert "E2" not in for_people.output.replace(lost, "")


async def test_periods_are_days_of_the_companys_zone(company: Company) -> None:
    await whole(company)
    berlin = json.loads(run(company, "completeness", "--day", day(company, -2), "--json").output)
    # The end of the last day, in UTC, is one or two o'clock of the next day in Berlin.
    assert berlin["hr_leavers"] == 2
    assert datetime.fromisoformat(berlin["period"]["start"]).hour in {22, 23}
    later = ("--from", day(company, 1), "--to", day(company, 365))
    assert json.loads(run(company, "completeness", *later, "--json").output)["hr_leavers"] == 1


async def test_a_missing_bundle_is_a_gap(company: Company) -> None:
    cases = await whole(company)
    (company.folder / "bundles" / f"{cases[0]}.watch").mkdir()
    (company.folder / "bundles" / "period.2026").mkdir()
    (company.folder / "bundles" / cases[0]).rmdir()
    table = json.loads(run(company, "completeness", "--json").output)
    assert [(gap["kind"], gap["case"]) for gap in table["findings"]] == [("closed_without_bundle", cases[0])]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("completeness", "--day", "2026-01-01", "--from", "2026-01-01"), "stands alone"),
        (("completeness", "--from", "2026-01-02", "--to", "2026-01-01"), "before --from"),
        (("erase", "E1001", "--reason", "x"), "not a case id"),
        (("erase", CASE), "--reason"),
        (("erase", CASE, "--reason", "ticket 1"), "who says it"),
        (("exclude", CASE, "--reason", "ticket 1", "--as", "sec-1"), "sign with"),
    ],
)
def test_bad_input_changes_nothing_and_says_so(company: Company, words: tuple[str, ...], why: str) -> None:
    said = run(company, *words)
    assert said.exit_code == 2
    assert why in said.output


def test_without_a_ledger_there_is_one_message(company: Company) -> None:
    (company.folder / "leaver.toml").write_text(
        (company.folder / "leaver.toml").read_text().replace("ledger.db", "other.db")
    )
    said = run(company, "completeness")
    assert said.exit_code == 1
    assert "there is no ledger at" in said.output


def test_what_writes_needs_temporal(company: Company) -> None:
    key = company.folder / "me.pem"
    new_person_key(key)
    who = ("--as", "sec-1", "--key", str(key), "--reason", "ticket 1")
    for words in (("population", "pull"), ("erase", CASE, *who), ("exclude", CASE, *who)):
        said = run(company, *words)
        assert said.exit_code == 2, said.output
        assert "127.0.0.1:1" in said.output
