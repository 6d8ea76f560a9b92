"""What somebody does to a running case with Temporal's own program is in the next report."""

from __future__ import annotations

import asyncio
import csv
import io
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from leaver.domain.ids import workflow_id
from leaver.domain.words import RecordType
from leaver.embedded.dev_server import find_binary
from leaver.evidence.ledger.store import Ledger
from tests.support.command import leaver
from tests.support.stack import Running, stack

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow, pytest.mark.timeout(200)]

DEEDS = {
    "E1001": ("run_terminated", ["terminate", "--reason", "somebody was in the way"]),
    "E1002": ("run_reset", ["reset", "--type", "FirstWorkflowTask", "--reason", "try again", "--yes"]),
    "E1003": ("run_deleted", ["delete", "--yes"]),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A stack with three people who leave next week, each with an open case."""
    async with stack(tmp_path_factory.mktemp("stands")) as running:
        later = {"last_working_day": str(datetime.now(UTC).date() + timedelta(days=7))}
        await running.deliver(*DEEDS, **later)
        yield running


async def temporal(run: Running, workflow: str, *words: str) -> None:
    """The program of Temporal's, as an operator types it."""
    child = await asyncio.create_subprocess_exec(
        *(find_binary(), "workflow", *words, "--workflow-id", workflow),
        *("--address", run.stack.temporal.address),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await child.communicate()
    assert child.returncode == 0, said.decode()


def causes(folder: Path) -> set[tuple[str, str]]:
    """Per case the exceptions that the sealer has noted."""
    with Ledger.open(folder / "ledger.db", read_only=True) as ledger:
        found = ledger.stream((RecordType.EXCEPTION_RAISED,))
        return {(each.case, cause) for each in found for cause in DEED_CAUSES if cause.encode() in each.raw}


DEED_CAUSES = frozenset(cause for cause, _ in DEEDS.values())


async def test_terminated_reset_and_deleted_cases_are_in_the_period_report(
    run: Running, tmp_path: Path
) -> None:
    await asyncio.sleep(6)  # the sealer has seen the runs
    for number, (_, words) in DEEDS.items():
        await temporal(run, workflow_id(run.case(number)), *words)
    wanted = {(run.case(number), cause) for number, (cause, _) in DEEDS.items()}
    async with asyncio.timeout(60):
        while not wanted <= await asyncio.to_thread(causes, run.folder):  # noqa: ASYNC110
            await asyncio.sleep(0.5)
    now, target = datetime.now(UTC), tmp_path
    told: set[tuple[str, str]] = set()
    async with asyncio.timeout(60):
        while not wanted <= told:  # the next checkpoint
            target = tmp_path / f"period-{secrets.token_hex(4)}"
            days = ["--from", f"{now:%Y-%m-%d}", "--to", f"{now + timedelta(days=9):%Y-%m-%d}"]
            said = await leaver("report", "period", *days, "-o", target, "--config", run.stack.config_file)
            assert said.code == 1
            rows = csv.DictReader(io.StringIO((target / "exceptions.csv").read_text("utf-8")))
            told = {(row["Case"], row["Cause"].replace(" ", "_")) for row in rows}
    page = (target / "report.html").read_text("utf-8")
    assert all(cause.replace("_", " ") in page for cause, _ in DEEDS.values())
