"""What the Temporal server stores of the sample people: nothing that can be read, in payloads or failures.

The control runs one more leaver through the same server with the codec off, and must find all of it.
"""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    GetWorkflowExecutionHistoryRequest,
    ListWorkflowExecutionsRequest,
)
from temporalio.client import Client

from activities.entra_contain import new_password
from leaver.cli.case import signed
from leaver.client.cases import Cases, RefusedError
from leaver.connectors.ad.values import password_octets, random_password
from leaver.domain.ids import watch_workflow_id, workflow_id
from leaver.domain.words import CaseOutcome, Verb
from leaver.embedded.drive import Driver, Progress
from leaver.evidence.ledger.store import Ledger
from leaver.simulators.company import DOMAIN, PEOPLE, SamplePerson, person
from leaver.temporal.connect import connect
from tests.support.stack import SYSTEMS, Running, stack
from workers.roles import all_roles, duties
from workers.runtime import _worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENCODED = "Encoded failure"
BUSY = {"kind": "unavailable", "system": "entra", "method": "PATCH", "path": "/users/"}
FAILURE_WORDS = b"answered 503"
_ENTRA = rb"[A-Za-z0-9_-]{64}aA1!"
_AD = rb"(?:[A-Za-z][0-9][^A-Za-z0-9\s]){20}"
_AD_WIDE = rb"(?:[A-Za-z]\x00[0-9]\x00[^A-Za-z0-9\s]\x00){20}"
PASSWORDS = re.compile(b"|".join((_ENTRA, _AD, _AD_WIDE)))
"""What our generators make: nobody but they writes such words."""


@dataclass(frozen=True)
class Stored:
    """What the server has: histories and descriptions as it answers them, files as they lie on disk."""

    answers: dict[str, bytes]
    files: dict[str, bytes]
    failures: tuple[Failure, ...]

    @property
    def everything(self) -> dict[str, bytes]:
        return self.answers | self.files


def words_of(people: Iterable[SamplePerson]) -> tuple[bytes, ...]:
    """Long enough that ciphertext does not hold them by chance."""
    found: set[str] = set()
    for who in people:
        local = who.user_name.partition("@")[0]
        found |= {who.display_name, who.user_name, local, local.replace(".", "_")}
    return tuple(sorted(word.encode() for word in found))


EVERYBODY = (*words_of(PEOPLE), DOMAIN.encode())


def holding(words: Iterable[bytes], places: dict[str, bytes]) -> dict[str, list[str]]:
    """Which place holds which of the words, without case."""
    wanted = [(word, word.lower()) for word in words]
    lower = {name: content.lower() for name, content in places.items()}
    found = {name: [word.decode() for word, small in wanted if small in text] for name, text in lower.items()}
    return {name: there for name, there in found.items() if there}


def with_passwords(places: dict[str, bytes]) -> list[str]:
    return [name for name, content in places.items() if PASSWORDS.search(content)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """One stack for all; its workers log as much as they can."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LEAVER_LOGGING__LEVEL", "debug")
        async with stack(tmp_path_factory.mktemp("ciphertext")) as running:
            yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def encrypted(run: Running) -> Stored:
    """A hybrid leaver and one whose hand-over is approved, with failures of an activity and of an update."""
    await run.control.faults({**BUSY, "times": 2})
    await run.deliver("E1002", "E1003")
    await refused_update(run, run.case("E1003"))
    async with asyncio.timeout(60):
        await run.driver.follow()
    for number in ("E1002", "E1003"):
        assert run.status(number).outcome is CaseOutcome.COMPLETED
    return await stored(run, [run.case("E1002"), run.case("E1003")])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plain(run: Running, encrypted: Stored) -> Stored:
    """The control: another leaver on the same server, whose client and workers do not encrypt."""
    del encrypted  # first: the database's file must not have seen plain text before it was looked at
    await run.stack.worker.stop()
    await run.control.faults(BUSY)
    config = run.stack.config
    client = await connect(config.temporal(), config.keyring(), encrypt=False)
    progress = Progress()
    driver = Driver(run.stack, Cases(client, config.case_id_key()), progress, 0.1)
    async with working(run, client), asyncio.timeout(60):
        there = Running(run.stack, driver, progress)
        await there.offboard("E1001")
        assert there.status("E1001").outcome is CaseOutcome.COMPLETED
        return await stored(run, [there.case("E1001")])


@asynccontextmanager
async def working(run: Running, client: Client) -> AsyncIterator[None]:
    """Every role, in this process."""
    config = run.stack.config
    async with AsyncExitStack() as entered:
        for duty in await entered.enter_async_context(duties(all_roles(config), config, client)):
            await entered.enter_async_context(_worker(client, duty))
        yield


async def refused_update(run: Running, case: str) -> None:
    """An update that fails for good leaves its failure in the history."""
    cases = run.driver.cases
    while not (await cases.status(case)).approvers:  # noqa: ASYNC110 - a case tells only when asked
        await asyncio.sleep(0.1)
    key = run.stack.person_key_file("E3001")
    with pytest.raises(RefusedError, match="not an open step"):
        await cases.say(signed(case, Verb.RETRY, "E3001", key, step="entra.block_sign_in", reason="a test"))


async def stored(run: Running, cases: list[str]) -> Stored:
    client = await connect(run.stack.config.temporal(), None)
    answers: dict[str, bytes] = {}
    failures: list[Failure] = []
    for case in cases:
        for each in (workflow_id(case), watch_workflow_id(case)):
            described = await client.workflow_service.describe_workflow_execution(
                DescribeWorkflowExecutionRequest(
                    namespace="default", execution=WorkflowExecution(workflow_id=each)
                )
            )
            answers[f"{each} described"] = described.SerializeToString()
            events = await history(client, each)
            answers[f"{each} history"] = b"\n".join(event.SerializeToString() for event in events)
            failures += [found for event in events for found in failures_of(event)]
    listed = await client.workflow_service.list_workflow_executions(
        ListWorkflowExecutionsRequest(namespace="default")
    )
    answers["list"] = b"\n".join(
        info.SerializeToString()
        for info in listed.executions
        if any(c in info.execution.workflow_id for c in cases)
    )
    files = {file.name: file.read_bytes() for file in sorted(run.folder.glob("temporal.db*"))}
    return Stored(answers, files, tuple(failures))


async def history(client: Client, each: str) -> list[HistoryEvent]:
    events: list[HistoryEvent] = []
    token = b""
    while True:
        page = await client.workflow_service.get_workflow_execution_history(
            GetWorkflowExecutionHistoryRequest(
                namespace="default", execution=WorkflowExecution(workflow_id=each), next_page_token=token
            )
        )
        events += page.history.events
        token = page.next_page_token
        if not token:
            return events


def failures_of(event: HistoryEvent) -> list[Failure]:
    started = event.activity_task_started_event_attributes
    updated = event.workflow_execution_update_completed_event_attributes
    found = [started.last_failure] if started.HasField("last_failure") else []
    return [*found, updated.outcome.failure] if updated.outcome.HasField("failure") else found


def secrets_of(run: Running) -> list[bytes]:
    """What this installation's secret files hold; of PEM files the key's own line."""
    found = []
    for file in sorted((run.folder / "secrets").iterdir()):
        if file.name == "last-checkpoint":
            continue  # public: what the log key signed last
        lines = [line for line in file.read_bytes().splitlines() if line and not line.startswith(b"-----")]
        found.append(lines[0].removeprefix(b"base64:"))
    assert len(found) >= 7
    assert all(len(secret) >= 32 for secret in found)
    return found


def without_openings(ledger: Path, copy: Path) -> Path:
    """A copy of the ledger from which everybody's openings are erased, as ``leaver evidence erase`` does."""
    with closing(sqlite3.connect(ledger)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        assert target.execute("SELECT COUNT(*) FROM opening").fetchone()[0] >= 2
    with Ledger.open(copy) as opened:
        cases = {opening.case for opening in opened.opening()}
        for case in cases:
            opened.erase_openings(case)
        assert opened.check() == ()
    return copy


# ---------------------------------------------------------------------------------------- with the codec


async def test_the_server_knows_no_name_and_no_address(encrypted: Stored) -> None:
    assert sum(name.endswith("history") for name in encrypted.answers) == 4
    assert {"temporal.db", "temporal.db-wal"} <= set(encrypted.files)
    assert holding(EVERYBODY, encrypted.everything) == {}


async def test_the_server_knows_no_password_and_no_secret(run: Running, encrypted: Stored) -> None:
    assert with_passwords(encrypted.everything) == []
    assert [
        name for name, text in encrypted.everything.items() if any(s in text for s in secrets_of(run))
    ] == []


async def test_failures_are_there_and_say_nothing(encrypted: Stored) -> None:
    assert len(encrypted.failures) >= 3, "two attempts at blocking, one refused update"
    for failure in encrypted.failures:
        cause: Failure | None = failure
        while cause is not None:
            assert (cause.message, cause.stack_trace) == (ENCODED, "")
            assert cause.encoded_attributes.metadata["encoding"] == b"binary/encrypted"
            cause = cause.cause if cause.HasField("cause") else None
    assert holding([FAILURE_WORDS, b"not an open step"], encrypted.everything) == {}


async def test_our_processes_and_evidence_name_nobody(
    run: Running, encrypted: Stored, tmp_path: Path
) -> None:
    """Names are in the ledger's openings, made to be erased, and nowhere else."""
    folder, bundles = run.folder, run.stack.options.bundles
    ledger = without_openings(folder / "ledger.db", tmp_path / "ledger.db")
    published = (file for file in (folder / "published").rglob("*") if file.is_file())
    kept = [ledger, *published, *(file for file in bundles.rglob("*") if file.is_file())]
    logs = [folder / "logs" / "workers.log"]
    assert len(kept) > 50
    assert b'"level": "debug"' in logs[0].read_bytes()
    places = {str(file): file.read_bytes() for file in (*kept, *logs)}
    assert holding(EVERYBODY, places) == {}
    assert with_passwords(places) == []
    assert [name for name, text in places.items() if any(secret in text for secret in secrets_of(run))] == []


async def test_the_simulators_logs_hold_no_secret_either(run: Running, encrypted: Stored) -> None:
    places = {}
    for system in SYSTEMS:
        file = run.folder / f"requests-{system}.jsonl"
        places[system] = file.read_bytes()
    assert with_passwords(places) == []
    assert [name for name, text in places.items() if any(secret in text for secret in secrets_of(run))] == []
    addresses = [word for word in words_of(PEOPLE) if b"@" in word or b" " in word]
    assert holding(addresses, places) == {}


# ---------------------------------------------------------------------------------------- the controls


async def test_without_the_codec_the_same_search_finds_them(plain: Stored) -> None:
    found = holding(EVERYBODY, plain.everything)
    names = set(words_of([person("E1001")])) - {b"mira_lindqvist"}
    (history_of_the_case,) = [
        place for place in plain.answers if place.endswith("history") and "watch" not in place
    ]
    assert {word.encode() for word in found[history_of_the_case]} >= names
    on_disk = {word for place, there in found.items() if place in plain.files for word in there}
    assert {word.encode() for word in on_disk} >= names


async def test_without_the_codec_failures_can_be_read(plain: Stored) -> None:
    assert plain.failures
    assert holding([FAILURE_WORDS], plain.answers)
    assert holding([FAILURE_WORDS], plain.files)


async def test_passwords_are_in_no_payload_even_in_plain_text(run: Running, plain: Stored) -> None:
    assert with_passwords(plain.everything) == []
    assert [name for name, text in plain.everything.items() if any(s in text for s in secrets_of(run))] == []


async def test_the_search_knows_our_passwords_when_it_sees_them() -> None:
    wide = random_password()
    for made in (new_password().get_secret_value().encode(), wide.encode(), password_octets(wide)):
        assert PASSWORDS.search(b"before " + made + b" after")
        assert PASSWORDS.search(json.dumps({"password": made.decode("latin-1")}).encode()) or b"\x00" in made
