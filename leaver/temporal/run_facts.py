"""What a run's history says about the run itself: where it comes from, how it ended, what it started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import History, HistoryEvent

from leaver.temporal.history_errors import HistoryGapError

CLOSING: Final = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: "completed",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: "failed",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: "timed_out",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: "cancelled",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: "terminated",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: "continued_as_new",
}
"""How a run may end, and the word for it."""

_VANISHING: Final = frozenset(
    {EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED}
)
_RESET: Final = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW
_RESETTER: Final = "history-resetter"
"""Who ends a run that is reset while it runs, by the server's word. Anybody may call themselves so."""


@dataclass(frozen=True, slots=True)
class ChildRun:
    """A workflow that the run started."""

    workflow_id: str
    run_id: str


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One run, by its own history. Empty texts mean "none".

    ``first_run_id`` is the first run of the chain that continue-as-new, retry and reset make.
    ``continued_from`` and ``continued_as`` are its neighbours; ``reset_of`` is the run it was forked from by
    a reset. ``close_status`` is empty while the run is open. ``claims_reset`` says that the closing event
    names the server's resetter, which is to be confirmed: a caller chooses the name it gives.
    """

    workflow_type: str
    first_run_id: str
    continued_from: str
    continued_as: str
    reset_of: str
    started_at: datetime
    close_status: str
    closed_at: datetime | None
    claims_reset: bool
    children: tuple[ChildRun, ...]


def parse_events(raw: bytes) -> Sequence[HistoryEvent]:
    """The events of a serialised history.

    Raises:
        HistoryGapError: the bytes are not a history.
    """
    try:
        return History.FromString(raw).events
    except DecodeError as err:
        raise HistoryGapError("the bytes are not a Temporal history") from err


def settled_events(events: Sequence[HistoryEvent]) -> Sequence[HistoryEvent]:
    """The events that can no longer vanish, of a run that may be open.

    The server serves workflow tasks that are not stored yet at the end of an open run's history: a task that
    is being retried gets new events, and one that served only a refused update disappears with its numbers
    (observed on server 1.32).
    """
    end = len(events)
    while end and events[end - 1].event_type in _VANISHING:
        end -= 1
    return events[:end]


def run_facts(run_id: str, events: Sequence[HistoryEvent]) -> RunFacts:
    """Read a run's events, the first of which must be there.

    Raises:
        HistoryGapError: the first event is not that of a started workflow.
    """
    if not events or events[0].event_type != EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
        raise HistoryGapError(f"the history of run {run_id} does not begin with the workflow's start")
    started, last = events[0].workflow_execution_started_event_attributes, events[-1]
    status = CLOSING.get(last.event_type, "")
    terminated = last.workflow_execution_terminated_event_attributes
    return RunFacts(
        workflow_type=started.workflow_type.name,
        first_run_id=started.first_execution_run_id or run_id,
        continued_from=started.continued_execution_run_id,
        continued_as=continued_as(last),
        reset_of=_reset_of(run_id, events),
        started_at=_instant(events[0].event_time),
        close_status=status,
        closed_at=_instant(last.event_time) if status else None,
        claims_reset=status == "terminated" and terminated.identity == _RESETTER,
        children=tuple(_children(events)),
    )


def continued_as(closing: HistoryEvent) -> str:
    """The run that continues this one: by continue-as-new, or by a retry or cron of a finished run."""
    attributes = _attributes(closing)
    return getattr(attributes, "new_execution_run_id", "") if attributes is not None else ""


def _attributes(event: HistoryEvent) -> Message | None:
    name = event.WhichOneof("attributes")
    found = getattr(event, name) if name else None
    return found if isinstance(found, Message) else None


def _reset_of(run_id: str, events: Sequence[HistoryEvent]) -> str:
    """The run this one was forked from.

    A fork copies the events of its base, the first one included, so that its start names another run as the
    original one; the failed task at the fork names base and fork.
    """
    original = events[0].workflow_execution_started_event_attributes.original_execution_run_id
    base = original if original != run_id else ""
    for event in events:
        failed = event.workflow_task_failed_event_attributes
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED and failed.cause == _RESET:
            base = failed.base_run_id or base
    return base


def _children(events: Sequence[HistoryEvent]) -> list[ChildRun]:
    return [
        ChildRun(started.workflow_execution.workflow_id, started.workflow_execution.run_id)
        for event in events
        if event.event_type == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED
        for started in (event.child_workflow_execution_started_event_attributes,)
    ]


def _instant(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)
