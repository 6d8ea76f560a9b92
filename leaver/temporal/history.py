"""A closed workflow's full history, run by run, as it lies on the Temporal server.

Payloads stay encrypted: what is exported is what the server stored. Temporal deletes closed histories after
the namespace's retention, so an export is the only lasting copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from google.protobuf.json_format import MessageToJson
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, WorkflowExecutionStatus
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    DescribeWorkflowExecutionResponse,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

MAX_RUNS: Final = 1000
"""More runs than any workflow of ours can have; a longer chain is a mistake, not a history."""

_CLOSING: Final = frozenset(
    {
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
    }
)


class HistoryError(Exception):
    """The history could not be exported as a whole; nothing was returned."""


class NotClosedError(HistoryError):
    """The workflow still runs: its history is not final, so nothing was exported."""


class HistoryMissingError(HistoryError):
    """The server does not know the run: never started, or deleted after the namespace's retention."""


class HistoryGapError(HistoryError):
    """The server's answer is not the events 1 to N of the run that was asked for."""


@dataclass(frozen=True, slots=True)
class HistoryFile:
    """One run's history: the same events once as JSON for people and once as exact protobuf bytes.

    ``proto`` is a serialised ``temporal.api.history.v1.History``; ``json`` is its protobuf JSON (UTF-8),
    which the Temporal UI, CLI and the SDKs' replayers read.
    """

    run_id: str
    json: bytes
    proto: bytes
    event_count: int


class HistorySource(Protocol):
    """Where histories come from; the evidence code needs no more than this."""

    async def fetch(self, workflow_id: str, first_run_id: str) -> tuple[HistoryFile, ...]:
        """All runs of a workflow from ``first_run_id`` on, in the order of their links.

        Raises:
            NotClosedError: one of the runs is still running.
            HistoryError: any other reason why the export would not be whole.
        """
        ...


class TemporalHistorySource:
    """Reads histories from a Temporal server. Changes nothing there.

    Example:
        >>> files = await TemporalHistorySource(client).fetch("leaver-c-…", first_run_id)
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def fetch(self, workflow_id: str, first_run_id: str) -> tuple[HistoryFile, ...]:
        """All runs from ``first_run_id`` on, following continue-as-new, retry and reset.

        Raises:
            NotClosedError: one of the runs is still running.
            HistoryMissingError: a run is unknown to the server.
            HistoryGapError: event ids are not 1 to N, or the newest run was not found by links or list.
        """
        files: dict[str, HistoryFile] = {}
        await self._follow(workflow_id, first_run_id, files)
        for run_id in await self._listed(workflow_id, first_run_id):
            await self._follow(workflow_id, run_id, files)
        await self._check_newest(workflow_id, frozenset(files))
        return tuple(files.values())

    async def _follow(self, workflow_id: str, run_id: str, files: dict[str, HistoryFile]) -> None:
        waiting = [run_id]
        while waiting:
            run_id = waiting.pop(0)
            if not run_id or run_id in files:
                continue
            if len(files) >= MAX_RUNS:
                raise HistoryGapError(f"{workflow_id} has more than {MAX_RUNS} runs; exported nothing")
            described = await self._describe(workflow_id, run_id)
            if described.workflow_execution_info.status in _OPEN_STATES:
                raise NotClosedError(
                    f"run {run_id} of {workflow_id} still runs; export it when it has closed"
                )
            events = await self._events(workflow_id, run_id)
            files[run_id] = _file(workflow_id, run_id, events)
            waiting += [_continued_as(events[-1]), described.workflow_extended_info.reset_run_id]

    async def _listed(self, workflow_id: str, first_run_id: str) -> list[str]:
        # A run that is reset twice keeps a link to the second reset only; the run of the first one is found
        # in the visibility store alone. Test servers have none.
        try:
            runs = [run async for run in self._client.list_workflows(f'WorkflowId = "{workflow_id}"')]
        except RPCError as err:
            if err.status is RPCStatusCode.UNIMPLEMENTED:
                return []
            raise
        mine = []
        for run in sorted(runs, key=lambda each: each.start_time):
            info = (await self._describe(workflow_id, run.run_id)).workflow_execution_info
            mine += [run.run_id] if info.first_run_id == first_run_id else []
        return mine

    async def _describe(self, workflow_id: str, run_id: str) -> DescribeWorkflowExecutionResponse:
        request = DescribeWorkflowExecutionRequest(
            namespace=self._client.namespace,
            execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
        )
        try:
            return await self._client.workflow_service.describe_workflow_execution(request)
        except RPCError as err:
            if err.status is RPCStatusCode.NOT_FOUND:
                raise HistoryMissingError(
                    f"Temporal has no run {run_id or '(latest)'} of {workflow_id}: never started, or deleted "
                    f"after the retention of namespace {self._client.namespace!r}"
                ) from err
            raise

    async def _events(self, workflow_id: str, run_id: str) -> list[HistoryEvent]:
        handle = self._client.get_workflow_handle(workflow_id, run_id=run_id)
        return [event async for event in handle.fetch_history_events()]

    async def _check_newest(self, workflow_id: str, exported: frozenset[str]) -> None:
        # Guards against a link that this code does not know: the newest run must be among those exported, or
        # belong to another chain (the workflow id may be used again later).
        newest = (await self._describe(workflow_id, "")).workflow_execution_info
        if newest.first_run_id in exported and newest.execution.run_id not in exported:
            raise HistoryGapError(
                f"run {newest.execution.run_id} of {workflow_id} is not linked from its first run; "
                "exported nothing"
            )


_OPEN_STATES: Final = frozenset(
    {
        WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_UNSPECIFIED,
        WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING,
        WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED,
    }
)


def _file(workflow_id: str, run_id: str, events: Sequence[HistoryEvent]) -> HistoryFile:
    ids = [event.event_id for event in events]
    if not ids or ids != list(range(1, len(ids) + 1)):
        raise HistoryGapError(f"the events of run {run_id} of {workflow_id} are not numbered 1 to {len(ids)}")
    if events[-1].event_type not in _CLOSING:
        raise NotClosedError(f"run {run_id} of {workflow_id} has no closing event yet; export again later")
    history = History(events=events)
    return HistoryFile(
        run_id=run_id,
        json=MessageToJson(history, sort_keys=True).encode(),
        proto=history.SerializeToString(deterministic=True),
        event_count=len(ids),
    )


def _continued_as(closing: HistoryEvent) -> str:
    """The run that continues this one: by continue-as-new, or by a retry or cron of a finished run."""
    name = closing.WhichOneof("attributes")
    attributes = getattr(closing, name) if name else None
    return getattr(attributes, "new_execution_run_id", "")
