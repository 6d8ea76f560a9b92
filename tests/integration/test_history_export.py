from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.history.v1 import History
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowHistory
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer, Worker

from leaver.embedded.dev_server import DevServer
from leaver.temporal.converter import data_converter
from leaver.temporal.history import (
    HistoryFile,
    HistoryMissingError,
    NotClosedError,
    TemporalHistorySource,
)
from leaver.temporal.keyring import Keyring

CANARY = "canary.person@example.test"


@activity.defn(name="test.fail_about")
async def fail_about(who: str) -> None:
    raise ApplicationError(f"no luck with {who}", type="rejected", non_retryable=True)


@workflow.defn(name="TestRuns", sandboxed=False)
class Runs:
    """Continues as new ``left`` times, then waits for the signal, then fails where it is told to."""

    def __init__(self) -> None:
        self.done = False

    @workflow.run
    async def run(self, left: int, who: str, fail: bool) -> str:
        if left:
            workflow.continue_as_new(args=[left - 1, who, fail])
        await workflow.wait_condition(lambda: self.done)
        if fail:
            await workflow.execute_activity(fail_about, who, start_to_close_timeout=timedelta(seconds=5))
        return who

    @workflow.signal
    def finish(self) -> None:
        self.done = True


@pytest.fixture
async def queue(temporal_client: Client) -> AsyncIterator[str]:
    name = f"history-{uuid.uuid4()}"
    async with Worker(temporal_client, task_queue=name, workflows=[Runs], activities=[fail_about]):
        yield name


async def start(
    client: Client, queue: str, *, left: int = 0, fail: bool = False, retries: int = 1
) -> WorkflowHandle[Runs, str]:
    return await client.start_workflow(
        Runs.run,
        args=[left, CANARY, fail],
        id=f"history-{uuid.uuid4()}",
        task_queue=queue,
        retry_policy=RetryPolicy(maximum_attempts=retries, initial_interval=timedelta(milliseconds=10)),
    )


async def fetch(client: Client, handle: WorkflowHandle[Runs, str]) -> tuple[HistoryFile, ...]:
    first = handle.first_execution_run_id or handle.result_run_id
    assert first is not None
    return await TemporalHistorySource(client).fetch(handle.id, first)


async def test_a_running_workflow_is_not_exported(temporal_client: Client, queue: str) -> None:
    handle = await start(temporal_client, queue)
    with pytest.raises(NotClosedError, match="still runs"):
        await fetch(temporal_client, handle)
    await handle.signal(Runs.finish)
    await handle.result()
    assert len(await fetch(temporal_client, handle)) == 1


async def test_a_closed_run_is_exported_exactly_and_repeatably(temporal_client: Client, queue: str) -> None:
    handle = await start(temporal_client, queue)
    await handle.signal(Runs.finish)
    await handle.result()
    (file,) = await fetch(temporal_client, handle)
    events = [event async for event in handle.fetch_history_events()]
    assert History.FromString(file.proto).events == events
    assert WorkflowHistory.from_json(handle.id, file.json.decode()).events == events
    assert file.event_count == len(events) == events[-1].event_id
    assert await fetch(temporal_client, handle) == (file,)


async def test_every_run_of_a_chain_is_exported_in_order(temporal_client: Client, queue: str) -> None:
    handle = await start(temporal_client, queue, left=2)
    await until_runs(temporal_client, handle.id, 3)
    with pytest.raises(NotClosedError):
        await fetch(temporal_client, handle)
    await handle.signal(Runs.finish)
    await handle.result()
    files = await fetch(temporal_client, handle)
    assert [run_inputs(file) for file in files] == [
        ("", files[0].run_id),
        (files[0].run_id, files[0].run_id),
        (files[1].run_id, files[0].run_id),
    ]
    assert files[0].run_id == handle.first_execution_run_id


async def test_runs_after_a_retry_are_exported(temporal_client: Client, queue: str) -> None:
    handle = await start(temporal_client, queue, fail=True, retries=2)
    await handle.signal(Runs.finish)
    await until_runs(temporal_client, handle.id, 2)
    await temporal_client.get_workflow_handle(handle.id).signal(Runs.finish)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert len(await fetch(temporal_client, handle)) == 2


async def test_runs_after_resets_are_exported(temporal_client: Client, queue: str) -> None:
    handle = await start(temporal_client, queue)
    await handle.signal(Runs.finish)
    await handle.result()
    first = handle.first_execution_run_id
    assert first is not None
    once = await reset(temporal_client, handle.id, first)
    twice = await reset(temporal_client, handle.id, once)
    await temporal_client.get_workflow_handle(handle.id, run_id=twice).result()
    files = await fetch(temporal_client, handle)
    assert [file.run_id for file in files] == [first, once, twice]


async def test_a_run_reset_twice_is_exported_with_both_resets(temporal_client: Client, queue: str) -> None:
    handle = await start(temporal_client, queue)
    await handle.signal(Runs.finish)
    await handle.result()
    first = handle.first_execution_run_id
    assert first is not None
    once = await reset(temporal_client, handle.id, first)
    twice = await reset(temporal_client, handle.id, first)
    await temporal_client.get_workflow_handle(handle.id, run_id=twice).result()
    files = await fetch(temporal_client, handle)
    assert {file.run_id for file in files} == {first, once, twice}


async def test_a_later_workflow_of_the_same_id_is_left_out(temporal_client: Client, queue: str) -> None:
    handle = await start(temporal_client, queue)
    await handle.signal(Runs.finish)
    await handle.result()
    later = await temporal_client.start_workflow(
        Runs.run, args=[0, CANARY, False], id=handle.id, task_queue=queue
    )
    await until_runs(temporal_client, handle.id, 2)
    assert [file.run_id for file in await fetch(temporal_client, handle)] == [handle.first_execution_run_id]
    with pytest.raises(NotClosedError):
        await fetch(temporal_client, later)
    await later.terminate()


async def test_the_export_is_ciphertext_in_payloads_and_failures(temporal_client: Client, queue: str) -> None:
    handle = await start(temporal_client, queue, fail=True)
    await handle.signal(Runs.finish)
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert CANARY in str(caught.value.cause.__cause__)  # we can read it
    (file,) = await fetch(temporal_client, handle)
    assert CANARY.encode() not in file.proto
    assert b"Encoded failure" in file.proto
    assert b"rejected" in file.proto  # the type stays in plain text


async def test_without_the_codec_the_export_is_readable(temporal_server: DevServer, queue: str) -> None:
    client = await Client.connect(temporal_server.address, data_converter=data_converter(None))
    bare_queue = f"{queue}-bare"
    async with Worker(client, task_queue=bare_queue, workflows=[Runs], activities=[fail_about]):
        handle = await start(client, bare_queue, fail=True)
        await handle.signal(Runs.finish)
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    (file,) = await fetch(client, handle)
    assert CANARY.encode() in file.proto


async def test_an_exported_history_replays(
    temporal_client: Client, queue: str, payload_keyring: Keyring
) -> None:
    handle = await start(temporal_client, queue, fail=True)
    await handle.signal(Runs.finish)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    (file,) = await fetch(temporal_client, handle)
    replayer = Replayer(workflows=[Runs], data_converter=data_converter(payload_keyring))
    await replayer.replay_workflow(WorkflowHistory.from_json(handle.id, file.json.decode()))


async def test_an_unknown_workflow_is_named(temporal_client: Client) -> None:
    with pytest.raises(HistoryMissingError, match="never started, or deleted"):
        await TemporalHistorySource(temporal_client).fetch("nobody", str(uuid.uuid4()))


async def until_runs(client: Client, workflow_id: str, wanted: int) -> None:
    for _ in range(500):
        if (await client.count_workflows(f"WorkflowId = '{workflow_id}'")).count == wanted:
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"the workflow never had {wanted} runs")


async def reset(client: Client, workflow_id: str, run_id: str) -> str:
    answer = await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
            reason="test",
            workflow_task_finish_event_id=4,
            request_id=str(uuid.uuid4()),
        )
    )
    return answer.run_id


def run_inputs(file: HistoryFile) -> tuple[str, str]:
    started = History.FromString(file.proto).events[0].workflow_execution_started_event_attributes
    return started.continued_execution_run_id, started.first_execution_run_id
