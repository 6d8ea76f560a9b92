"""The runs of our workflows as a Temporal server lists, describes and serves them. Changes nothing there.

Every call is one of the service's reads: ``ListWorkflowExecutions``, ``DescribeWorkflowExecution``,
``GetWorkflowExecutionHistory``, ``DescribeNamespace``. The identity behind the client needs no more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.history.v1 import History
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeWorkflowExecutionRequest,
    ListWorkflowExecutionsRequest,
)
from temporalio.client import Client

from leaver.temporal.history_errors import HistoryError, HistoryForbiddenError, NoListError, translated
from leaver.temporal.run_facts import CLOSING, settled_events

CASE_TYPES: Final = ("LeaverWorkflow", "WatchWorkflow")
"""The workflow types whose histories are evidence."""

MIN_RETENTION: Final = timedelta(days=7)
"""A shorter retention leaves too little time to repair a sealer before histories are lost."""

_PAGE: Final = 1000
_ANSWER_WITHIN: Final = timedelta(seconds=20)
_OPEN_STATES: Final = frozenset(
    {
        WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_UNSPECIFIED,
        WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING,
        WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED,
    }
)


@dataclass(frozen=True, slots=True)
class Run:
    """A run as the server tells it now.

    ``closed_at`` is None while the run is open. ``first_run_id`` and ``reset_run_id`` (the run that the
    latest reset of this one made) are told by ``describe`` alone and empty in lists.
    """

    workflow_id: str
    run_id: str
    closed_at: datetime | None
    first_run_id: str = ""
    reset_run_id: str = ""


class RunSource(Protocol):
    """Where runs come from. All methods raise ``HistoryError`` and nothing else."""

    def open_runs(self) -> AsyncIterator[Run]:
        """Every open run of our types. Eventually consistent.

        Raises:
            NoListError: the server keeps no list.
        """
        ...

    def closed_runs(self, after: datetime | None) -> AsyncIterator[Run]:
        """Runs of our types that closed after that moment (None: ever). Eventually consistent.

        Raises:
            NoListError: the server keeps no list.
        """
        ...

    async def runs_of(self, workflow_id: str) -> tuple[Run, ...]:
        """A workflow's runs of every chain, oldest first; empty where the server keeps no list."""
        ...

    async def describe(self, workflow_id: str, run_id: str = "") -> Run:
        """One run, or the newest one, by the server's own database.

        Raises:
            HistoryMissingError: the server does not know it.
        """
        ...

    async def history(self, workflow_id: str, run_id: str) -> bytes:
        """The run's events up to now as a serialised ``temporal.api.history.v1.History``.

        Of an open run, events that could still vanish are left out.

        Raises:
            HistoryMissingError: the server does not know the run.
        """
        ...

    async def retention(self) -> timedelta | None:
        """How long the namespace keeps closed runs; None when it may not be told."""
        ...


class TemporalRuns:
    """The runs on a Temporal server.

    Args:
        client: connected; only reads are sent through it.
        types: the workflow types that ``open_runs`` and ``closed_runs`` list.
    """

    def __init__(self, client: Client, types: tuple[str, ...] = CASE_TYPES) -> None:
        self._client = client
        self._types = ", ".join(f"'{name}'" for name in types)

    async def open_runs(self) -> AsyncIterator[Run]:
        """See ``RunSource``."""
        async for info in self._list(f"WorkflowType IN ({self._types}) AND ExecutionStatus = 'Running'"):
            yield _run(info)

    async def closed_runs(self, after: datetime | None) -> AsyncIterator[Run]:
        """See ``RunSource``."""
        since = after or datetime(1970, 1, 1, tzinfo=UTC)
        # A list without a limit would hold the open runs as well: they have no close time.
        query = f"WorkflowType IN ({self._types}) AND CloseTime > '{since.isoformat()}'"
        async for info in self._list(query):
            yield _run(info)

    async def runs_of(self, workflow_id: str) -> tuple[Run, ...]:
        """See ``RunSource``."""
        try:
            found = [info async for info in self._list(f"WorkflowId = '{workflow_id}'")]
        except NoListError:
            return ()
        found.sort(key=lambda info: (info.start_time.ToNanoseconds(), info.execution.run_id))
        return tuple(_run(info) for info in found)

    async def describe(self, workflow_id: str, run_id: str = "") -> Run:
        """See ``RunSource``."""
        request = DescribeWorkflowExecutionRequest(
            namespace=self._client.namespace,
            execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
        )
        with translated(f"run {run_id or '(latest)'} of {workflow_id}", self._missing(workflow_id, run_id)):
            answer = await self._client.workflow_service.describe_workflow_execution(
                request, timeout=_ANSWER_WITHIN
            )
        return _run(answer.workflow_execution_info, answer.workflow_extended_info.reset_run_id)

    async def history(self, workflow_id: str, run_id: str) -> bytes:
        """See ``RunSource``."""
        handle = self._client.get_workflow_handle(workflow_id, run_id=run_id)
        with translated(f"the history of run {run_id}", self._missing(workflow_id, run_id)):
            events = [event async for event in handle.fetch_history_events(rpc_timeout=_ANSWER_WITHIN)]
        if not events or events[-1].event_type not in CLOSING:
            events = list(settled_events(events))
        # The library hands map fields over in random order, hence the sorted form.
        return History(events=events).SerializeToString(deterministic=True)

    async def retention(self) -> timedelta | None:
        """See ``RunSource``."""
        request = DescribeNamespaceRequest(namespace=self._client.namespace)
        try:
            with translated(f"namespace {self._client.namespace!r}"):
                answer = await self._client.workflow_service.describe_namespace(
                    request, timeout=_ANSWER_WITHIN
                )
        except (HistoryForbiddenError, NoListError):
            return None
        return answer.config.workflow_execution_retention_ttl.ToTimedelta() or None

    async def _list(self, query: str) -> AsyncIterator[WorkflowExecutionInfo]:
        token = b""
        while True:
            request = ListWorkflowExecutionsRequest(
                namespace=self._client.namespace, page_size=_PAGE, next_page_token=token, query=query
            )
            with translated("the list of workflows"):
                page = await self._client.workflow_service.list_workflow_executions(
                    request, timeout=_ANSWER_WITHIN
                )
            for info in page.executions:
                yield info
            token = page.next_page_token
            if not token:
                return

    def _missing(self, workflow_id: str, run_id: str) -> str:
        return (
            f"Temporal has no run {run_id or '(latest)'} of {workflow_id}: never started, or deleted after "
            f"the retention of namespace {self._client.namespace!r}"
        )


async def check_retention(client: Client) -> str:
    """Why the namespace's retention is too short for sealing to be safe; empty when it is long enough.

    Asks the server once; an answer that may not be given is a warning as well, not an error.
    """
    try:
        kept = await TemporalRuns(client).retention()
    except HistoryError as err:
        return f"how long Temporal keeps closed histories is not known: {err}"
    name = client.namespace
    if kept is None:
        return (
            f"how long namespace {name!r} keeps closed histories is not known (DescribeNamespace is not "
            f"allowed to us); make sure that it is at least {MIN_RETENTION.days} days"
        )
    if kept >= MIN_RETENTION:
        return ""
    return (
        f"namespace {name!r} keeps closed histories for {_words(kept)}; a sealer that is down for longer "
        f"loses evidence. Set at least {MIN_RETENTION.days} days: temporal operator namespace update "
        f"--namespace {name} --retention {MIN_RETENTION.days}d"
    )


def _words(span: timedelta) -> str:
    hours = span / timedelta(hours=1)
    return f"{hours / 24:g} days" if hours % 24 == 0 else f"{hours:g} hours"


def _run(info: WorkflowExecutionInfo, reset_run_id: str = "") -> Run:
    is_open = info.status in _OPEN_STATES
    return Run(
        workflow_id=info.execution.workflow_id,
        run_id=info.execution.run_id,
        closed_at=None if is_open else info.close_time.ToDatetime(tzinfo=UTC),
        first_run_id=info.first_run_id,
        reset_run_id=reset_run_id,
    )
