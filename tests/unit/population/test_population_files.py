"""HR's list from files: which file counts, what of it, and when nothing may be believed."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from leaver.domain.delivery import Exclusion
from leaver.domain.ids import case_id, person_ref
from leaver.domain.population import PullFailedError
from leaver.domain.words import Mode
from leaver.hr.model import IngestContext, SourceKind
from leaver.hr.population import FilePopulation, same_context
from tests.support.population import HEADER, ID_KEY, START, row

EXAMPLES = Path(__file__).parents[3] / "examples" / "hr"


def source(files: Path, kind: SourceKind = SourceKind.CSV, **more: object) -> FilePopulation:
    context = IngestContext(tenant="northwind", file="x", observed_at=START)
    return FilePopulation(files, kind, same_context(context), ID_KEY, Mode.ENFORCE, **more)


def write(path: Path, *rows: str, age: timedelta = timedelta(hours=1)) -> Path:
    path.write_text("\n".join((HEADER, *rows)) + "\n", encoding="utf-8")
    moment = (START - age).timestamp()
    os.utime(path, (moment, moment))
    return path


async def test_the_newest_file_of_a_pattern_counts(tmp_path: Path) -> None:
    write(tmp_path / "b-old.csv", row("E1"), age=timedelta(days=2))
    newest = write(tmp_path / "a-new.csv", row("E2"), row("E3"))
    write(tmp_path / "other.txt", row("E4"), age=timedelta())
    pull = await source(tmp_path / "*.csv").pull(START)
    assert {row.about["employee_number"] for row in pull.leavers} == {"E2", "E3"}
    assert pull.raw_sha256 == hashlib.sha256(newest.read_bytes()).hexdigest()
    assert pull.query == f"newest of {tmp_path}/*.csv read as csv: SHA-256 {pull.raw_sha256}"
    assert pull.files == ("a-new.csv",)
    assert (pull.source, pull.rows, pull.pulled_at) == ("hris/csv/northwind", 2, START)


async def test_all_files_of_a_folder_together_and_the_later_one_counts(tmp_path: Path) -> None:
    write(tmp_path / "1.csv", row("E1"), row("E2"), age=timedelta(days=2))
    write(tmp_path / "2.csv", row("E2", "2026-12-31"), row("E3"))
    pull = await source(tmp_path, take="all").pull(START)
    days = {row.about["employee_number"]: row.effective_at.date().isoformat() for row in pull.leavers}
    assert days == {"E1": "2026-11-21", "E2": "2027-01-01", "E3": "2026-11-21"}
    assert pull.rows == 4


async def test_a_file_that_does_not_have_its_hash_is_passed_over(tmp_path: Path) -> None:
    good = write(tmp_path / "1.csv", row("E1"), age=timedelta(days=1))
    bad = write(tmp_path / "2.csv", row("E2"))
    for file in (good, bad):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        (tmp_path / f"{file.name}.sha256").write_text(f"{digest}  {file.name}\n")
    bad.write_text(HEADER + "\n")
    pull = await source(tmp_path / "*.csv").pull(START)
    assert [row.about["employee_number"] for row in pull.leavers] == ["E1"]
    [problem] = pull.problems
    digest = hashlib.sha256(bad.read_bytes()).hexdigest()
    assert problem.startswith(f"file 1, counted from the newest: SHA-256 {digest}, does not have the hash")


async def test_a_companion_can_be_demanded(tmp_path: Path) -> None:
    write(tmp_path / "1.csv", row("E1"))
    with pytest.raises(PullFailedError, match=r"has no \.sha256 beside it"):
        await source(tmp_path / "1.csv", companion=True).pull(START)


async def test_a_file_that_is_still_being_written_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "1.csv", row("E1"), age=timedelta(seconds=1))

    def meanwhile(_: float) -> None:
        with file.open("a") as more:
            more.write(row("E2") + "\n")

    monkeypatch.setattr("leaver.hr.population.time.sleep", meanwhile)
    with pytest.raises(PullFailedError, match="is being written right now"):
        await source(file).pull(START)
    monkeypatch.setattr("leaver.hr.population.time.sleep", lambda _: None)
    os.utime(file, (START.timestamp(), START.timestamp()))
    assert len((await source(file).pull(START)).leavers) == 2


@pytest.mark.parametrize(
    ("content", "why"),
    [("", "is empty"), ("a,b\n1,2\n", "no header"), ('employee_number,last_working_day\n"E1,x\n', "quoting")],
)
async def test_a_file_that_cannot_be_read_as_a_whole_gives_nothing(
    tmp_path: Path, content: str, why: str
) -> None:
    (tmp_path / "hr.csv").write_text(content)
    with pytest.raises(PullFailedError, match=why):
        await source(tmp_path / "hr.csv").pull(START)


async def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(PullFailedError, match="there is no file"):
        await source(tmp_path / "*.csv").pull(START)
    with pytest.raises(PullFailedError, match=r"there is no file|cannot be listed"):
        await source(tmp_path / "hr.csv").pull(START)


async def test_whoever_is_set_aside_is_listed_all_the_same(tmp_path: Path) -> None:
    """Whether a rule was right to start no case is what the comparison shows; the list holds everybody."""
    write(
        tmp_path / "hr.csv",
        row("E1", spell="1"),
        row("E1", "", spell="2", status="active"),
        row("E2", "2026-11-20"),
        row("E2", "2026-11-21"),
        row("E3", "2026-02-31"),
        row("E4", status="rescinded"),
    )
    pull = await source(tmp_path / "hr.csv").pull(START)
    found = {(row.about["employee_number"], row.leaving, row.set_aside) for row in pull.leavers}
    assert found == {
        ("E1", True, Exclusion.OTHER_EMPLOYMENT),
        ("E2", True, Exclusion.CONTRADICTION),
        ("E4", False, None),
    }
    [unread] = pull.unreadable
    assert unread.person_ref == person_ref(ID_KEY, source="hris/csv/northwind", worker="E3")
    stays = case_id(ID_KEY, source="hris/csv/northwind", worker="E1", spell="E1-2")
    assert pull.staying == {stays}


async def test_bamboohrs_table_is_read_as_ingest_reads_it() -> None:
    pull = await source(EXAMPLES / "bamboohr-employment-status.json", SourceKind.BAMBOOHR).pull(START)
    assert pull.source == "hris/bamboohr/northwind"
    assert pull.rows >= len(pull.leavers) > 0
    table = json.loads((EXAMPLES / "bamboohr-employment-status.json").read_text())
    ids = {each["employeeId"] for each in table["employmentStatus"]}
    assert {str(row.about["worker"]) for row in pull.leavers} <= ids


async def test_an_immediate_leaver_is_no_news_every_day(tmp_path: Path) -> None:
    header = "employee_number,last_working_day,immediate"
    (tmp_path / "hr.csv").write_text(f"{header}\nE1,2026-12-31,yes\n")
    pulls = [await source(tmp_path / "hr.csv").pull(at) for at in (START, START + timedelta(days=1))]
    [first], [second] = (pull.leavers for pull in pulls)
    assert first.effective_at != second.effective_at, "it takes effect on receipt"
    assert first.event_id == second.event_id


def test_the_reading_moment_must_be_aware(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="aware"):
        source(tmp_path).context("x", datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", f"{HEADER}\nE1\n", '"E1', "\x00"])
async def test_what_is_told_of_a_file_is_not_what_people_called_it(tmp_path: Path, content: str) -> None:
    """Texts about a pull become records: for ever, and nobody can erase a name from them."""
    (tmp_path / "Austritt Erika Mustermann.csv").write_text(content)
    write(tmp_path / "Erika Mustermann.csv", row("E1"), age=timedelta(days=1))
    (tmp_path / "Erika Mustermann.csv.sha256").write_text("0" * 64)
    told = ""
    for take in ("newest", "all"):
        try:
            pull = await source(tmp_path / "*.csv", take=take).pull(START)
            told += pull.model_dump_json(exclude={"files"})
        except PullFailedError as err:
            told += str(err)
    assert "SHA-256" in told
    assert "Mustermann" not in told
