"""Sealed period reports: what is issued is what the log says, once, and no edit of it verifies."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from datetime import date
from hashlib import sha256
from pathlib import Path

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from typer.testing import CliRunner

from activities.reports import ReportActivities
from leaver.cli.evidence import app
from leaver.domain.report import ReportInput, ReportResult
from leaver.domain.words import ErrorType, Mode
from leaver.evidence.bundle import export_bundle
from leaver.evidence.bundle.issuing import Issued, period_subject
from leaver.evidence.bundle.period import compare, count, written
from leaver.evidence.errors import BundleError, LedgerUnavailableError, ReportError
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.verify import FindingKind, load_trust, verify_bundle
from tests.support.bundle_world import World, write_trust
from tests.support.population import START, Company
from tests.support.reporting import MONTH, Office, alone, hashes, resign


@pytest.fixture
def office(tmp_path: Path, sealed_world: World) -> Iterator[Office]:
    (tmp_path / "office").mkdir()
    with Ledger.open(tmp_path / "office" / "ledger.db") as ledger:
        yield Office(Company(tmp_path / "office", ledger), sealed_world.keys)


@pytest.fixture(scope="module")
def issued_folder(tmp_path_factory: pytest.TempPathFactory, sealed_world: World) -> Path:
    """An honest bundle; tests copy it before they touch it."""
    folder = tmp_path_factory.mktemp("office")

    async def made(office: Office) -> Path:
        await office.month()
        return (await office.issuing.issue(MONTH)).bundle.path

    with Ledger.open(folder / "ledger.db") as ledger:
        return asyncio.run(made(Office(Company(folder, ledger), sealed_world.keys)))


@pytest.fixture
def bundle(issued_folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(issued_folder, tmp_path / "bundle")
    return tmp_path / "bundle"


def size_of(office: Office) -> int:
    last = office.ledger.latest_checkpoint()
    assert last is not None
    return last.size


# --------------------------------------------------------------------- issuing


async def test_a_report_is_noted_covered_and_sealed(office: Office, tmp_path: Path) -> None:
    await office.month()
    before = size_of(office)
    done = await office.issuing.issue(MONTH)
    assert (done.bundle.name, done.bundle.records) == (f"period.2026-11-01.2026-11-30.{before}", 1)
    body = done.record.body
    told = {name: body[name] for name in ("bundle", "checkpoint_size", "from", "to", "zone", "mode")}
    assert told == {
        "bundle": done.bundle.name,
        "checkpoint_size": before,
        "from": "2026-11-01",
        "to": "2026-11-30",
        "zone": "UTC",
        "mode": "enforce",
    }
    assert before <= done.record.seq < done.bundle.size == size_of(office)
    assert body["files"] == hashes(done.bundle.path, body["files"])
    assert {"report.html", "report.pdf", "report.xlsx", "population.csv", "issued.json"} <= {
        *told_files(done)
    }
    report = verify_bundle(done.bundle.path, load_trust(write_trust(tmp_path / "trust", office.keys)))
    assert (report.findings, report.caveats, len(report.anchors)) == ((), (), 2)
    assert alone(done.bundle.path)[0] == 0
    assert office.ledger.check() == ()
    check_figures(office, done)


def told_files(done: Issued) -> list[str]:
    files = done.record.body["files"]
    assert isinstance(files, dict)
    return list(files)


def check_figures(office: Office, done: Issued) -> None:
    """They are those of the issued file."""
    assert done.figures == json.loads((done.bundle.path / "issued.json").read_text())
    assert (done.figures["leavers"], done.figures["hr_leavers"], done.figures["cases"]) == (2, 2, 2)
    assert (done.figures["run_by"], done.figures["run_at"]) == (
        "the sealer",
        office.company.now.isoformat(timespec="seconds"),
    )
    assert "complete against the HR pull" in str(done.figures["claim"])


async def test_the_same_checkpoint_is_the_same_report_and_a_later_one_another(office: Office) -> None:
    await office.month()
    fixed = MONTH.model_copy(update={"checkpoint": size_of(office)})
    first = await office.issuing.issue(fixed)
    size = office.ledger.size()
    check_made_again(office, first)
    office.company.later(hours=3)
    again = await office.started().issue(fixed)
    assert (again, office.ledger.size()) == (first, size)
    later = await office.issuing.issue(MONTH)
    assert later.bundle.name == f"period.2026-11-01.2026-11-30.{first.bundle.size}"
    assert later.record.seq > first.record.seq
    assert verify_bundle(later.bundle.path).ok
    assert len(office.issued()) == 2


def check_made_again(office: Office, done: Issued) -> None:
    """Anybody with the ledger makes the same files; only who ran it and when is another."""
    wanted = MONTH.model_copy(update={"checkpoint": done.record.body["checkpoint_size"]})
    compared = compare(office.ledger, wanted, outsiders=office.outsiders, bundles=office.bundles)
    files, _ = written(count(office.ledger, compared), run_by="somebody", run_at=START)
    told = done.record.body["files"]
    assert isinstance(told, dict)
    assert [name for name, raw in files.items() if told[name] != sha256(raw).hexdigest()] == ["issued.json"]


async def test_asked_for_twice_at_once_it_is_one_and_holds_up_nobody(office: Office) -> None:
    await office.month()
    fixed = MONTH.model_copy(update={"checkpoint": size_of(office)})
    both, beats = asyncio.gather(office.issuing.issue(fixed), office.issuing.issue(fixed)), 0
    while not both.done():
        await asyncio.sleep(0.02)
        beats += 1
    one, two = both.result()
    assert one == two
    assert len(office.issued()) == 1
    assert beats > 3


async def test_killed_after_it_was_noted_it_is_sealed_with_the_files_that_were_noted(office: Office) -> None:
    """What lies beside the ledger has changed since: made anew, the files would be others."""
    cases = await office.month()
    fixed = MONTH.model_copy(update={"checkpoint": size_of(office)})
    office.fail = [OSError("killed")]
    with pytest.raises(OSError, match="killed"):
        await office.issuing.issue(fixed)
    assert len(office.issued()) == 1
    assert not (office.bundles / f"period.2026-11-01.2026-11-30.{size_of(office)}").exists()
    (office.bundles / cases[0]).mkdir(parents=True)
    compared = compare(office.ledger, fixed, outsiders=(), bundles=office.bundles)
    assert compared.found.bundles == 1
    office.company.later(hours=1)
    done = await office.started().issue(fixed)
    assert done.record.body["files"] == hashes(done.bundle.path, done.record.body["files"])
    assert "2026-11-21T05:00:00" in str(done.figures["run_at"])
    assert verify_bundle(done.bundle.path).ok
    assert len(office.issued()) == 1


async def test_another_bundle_of_that_name_is_left_alone(office: Office, issued_folder: Path) -> None:
    await office.month()
    place = office.bundles / f"period.2026-11-01.2026-11-30.{size_of(office)}"
    shutil.copytree(issued_folder, place)
    with pytest.raises(BundleError, match="holds another record"):
        await office.issuing.issue(MONTH)
    assert verify_bundle(place).ok


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"checkpoint": 3}, "no checkpoint of size 3"),
        ({"zone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"last": date(2026, 10, 1)}, "before it begins"),
        ({"last": date.max}, "out of range"),
    ],
)
async def test_what_cannot_be_reported_on_is_refused_and_not_noted(
    office: Office, change: dict[str, object], text: str
) -> None:
    with pytest.raises(ReportError, match="no checkpoint is published yet"):
        await office.issuing.issue(MONTH)
    assert office.issuing.newest() == 0
    await office.month()
    with pytest.raises(ReportError, match=text):
        await office.issuing.issue(MONTH.model_copy(update=change))
    assert office.issued() == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({}, "2026-11-01.2026-11-30.{size}"),
        ({"zone": "Europe/Berlin"}, "2026-11-01.2026-11-30.{size}.europe.berlin"),
        ({"zone": "Etc/GMT+5"}, "2026-11-01.2026-11-30.{size}.etc.gmtplus5"),
        ({"mode": Mode.NOTIFICATION_ONLY}, "2026-11-01.2026-11-30.{size}.rehearsal"),
        (
            {"mode": Mode.NOTIFICATION_ONLY, "zone": "America/Argentina/ComodRivadavia"},
            "2026-11-01.2026-11-30.{size}.rehearsal.074b16e5e16629ae",
        ),
    ],
)
async def test_a_report_of_other_days_zone_or_mode_has_another_name(
    office: Office, change: dict[str, object], name: str
) -> None:
    await office.month()
    wanted = MONTH.model_copy(update=change)
    compared = compare(office.ledger, wanted, outsiders=(), bundles=office.bundles)
    assert period_subject(wanted, compared) == name.format(size=size_of(office))
    ids = {wanted.request, MONTH.request}
    assert len(ids) == (2 if change else 1)


# --------------------------------------------------------------------- attacks


@pytest.mark.parametrize("name", ["report.pdf", "population.csv", "report.xlsx", "issued.json"])
def test_an_edited_file_is_caught_even_when_the_manifest_is_signed_again(
    bundle: Path, sealed_world: World, name: str
) -> None:
    (bundle / name).write_bytes((bundle / name).read_bytes() + b" ")
    assert [(found.file, found.kind) for found in verify_bundle(bundle).findings] == [
        (name, FindingKind.CHANGED),
        (name, FindingKind.REPORT),
    ]
    resign(bundle, sealed_world.keys.signer)
    assert [(found.file, found.kind) for found in verify_bundle(bundle).findings] == [
        (name, FindingKind.REPORT)
    ]
    code, text = alone(bundle)
    assert (code, f"{name}: it is not the file that was issued" in text) == (1, True)
    assert CliRunner().invoke(app, ["verify", str(bundle)]).exit_code == 1


def test_a_dropped_file_is_caught(bundle: Path, sealed_world: World) -> None:
    assert alone(bundle)[0] == 0
    (bundle / "exceptions.csv").unlink()
    resign(bundle, sealed_world.keys.signer)
    assert [found.kind for found in verify_bundle(bundle).findings] == [FindingKind.REPORT]
    assert alone(bundle)[0] == 1


def test_a_record_that_tells_of_the_edited_file_is_not_in_the_log(bundle: Path, sealed_world: World) -> None:
    """With the key of the manifests one may also rewrite the record; its proof does not follow."""
    [record] = bundle.glob("records/*.json")
    old = hashes(bundle, {"report.pdf": ""})["report.pdf"]
    (bundle / "report.pdf").write_bytes(b"%PDF-1.7 nothing is open")
    new = hashes(bundle, {"report.pdf": ""})["report.pdf"]
    record.write_bytes(record.read_bytes().replace(old.encode(), new.encode()))
    resign(bundle, sealed_world.keys.signer)
    assert [found.kind for found in verify_bundle(bundle).findings] == [FindingKind.PROOF]
    assert alone(bundle)[0] == 1


# --------------------------------------------------------------------- the activity


async def test_the_activity_answers_with_the_bundle(office: Office, tmp_path: Path) -> None:
    does = ReportActivities(office.issuing)
    await office.month()
    size = await ActivityEnvironment().run(does.choose_checkpoint, MONTH)
    assert size == size_of(office)
    wanted = MONTH.model_copy(update={"checkpoint": size})
    assert await ActivityEnvironment().run(does.choose_checkpoint, wanted) == size
    answer = await ActivityEnvironment().run(does.issue_report, wanted)
    assert isinstance(answer, ReportResult)
    assert (answer.problem, answer.figures["leavers"]) == ("", 2)
    assert answer.size > answer.seq >= size
    export_bundle(office.bundles / answer.bundle, tmp_path / "out")
    assert verify_bundle(tmp_path / "out").ok


async def test_what_cannot_be_reported_on_is_an_answer(office: Office) -> None:
    does = ReportActivities(office.issuing)
    assert await ActivityEnvironment().run(does.choose_checkpoint, MONTH) == 0
    answer = await ActivityEnvironment().run(does.issue_report, MONTH)
    assert isinstance(answer, ReportResult)
    assert "no checkpoint is published yet" in answer.problem


async def test_what_passes_is_tried_again_and_what_does_not_is_refused(office: Office) -> None:
    await office.month()
    wanted = MONTH.model_copy(update={"checkpoint": size_of(office)})
    for error, kind, final in (
        (LedgerUnavailableError("the database is away"), ErrorType.UNAVAILABLE, False),
        (OSError("the disk is full"), ErrorType.UNAVAILABLE, False),
        (BundleError("another one lies there"), ErrorType.REJECTED, True),
    ):
        office.fail = [error]
        with pytest.raises(ApplicationError, match=str(error)) as raised:
            await ActivityEnvironment().run(ReportActivities(office.issuing).issue_report, wanted)
        assert (raised.value.type, raised.value.non_retryable) == (kind.value, final)
    assert len(office.issued()) == 1


def test_a_request_is_the_same_text_for_the_same_request() -> None:
    assert MONTH.request == "2026-11-01-2026-11-30-UTC-newest-last"
    other = ReportInput(
        first=MONTH.first, last=MONTH.last, zone="Europe/Berlin", checkpoint=7, mode=Mode.ENFORCE
    )
    assert other.request == "2026-11-01-2026-11-30-Europe.Berlin-enforce-7"
