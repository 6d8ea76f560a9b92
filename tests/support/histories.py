"""Runs of workflows in memory, served as a Temporal server does, with its lists lagging where told to."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import History, HistoryEvent

from leaver.temporal.history import HistoryMissingError, HistoryUnavailableError, Run
from leaver.temporal.run_facts import CLOSING

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
_TYPES = {word: number for number, word in CLOSING.items()}


def event(number: int, kind: int, at: datetime) -> HistoryEvent:
    made = HistoryEvent(event_id=number, event_type=EventType.ValueType(kind))
    made.event_time.FromDatetime(at)
    return made


@dataclass
class Recorded:
    """A run on the server. ``listed`` is whether the lists have caught up with it."""

    workflow_id: str
    run_id: str
    first_run_id: str
    events: list[HistoryEvent]
    closed_at: datetime | None = None
    reset_run_id: str = ""
    listed: bool = True

    def add(self, kind: int, at: datetime) -> HistoryEvent:
        made = event(len(self.events) + 1, kind, at)
        self.events.append(made)
        return made

    def signalled(self, at: datetime, count: int = 1) -> None:
        for _ in range(count):
            made = self.add(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED, at)
            made.workflow_execution_signaled_event_attributes.signal_name = uuid.uuid4().hex

    def close(self, at: datetime, how: str = "completed") -> HistoryEvent:
        self.closed_at = at
        return self.add(_TYPES[how], at)


@dataclass
class MemoryServer:
    """A ``RunSource``. ``calls`` counts what it was asked; ``busiest`` is the most questions at one time."""

    runs: dict[str, Recorded] = field(default_factory=dict)
    keeps: timedelta | None = timedelta(days=30)
    down: bool = False
    calls: Counter[str] = field(default_factory=Counter)
    busiest: int = 0
    after: datetime | None = None
    _busy: int = 0

    def start(self, workflow_id: str, at: datetime = START, *, first_run_id: str = "") -> Recorded:
        run_id = str(uuid.uuid4())
        run = Recorded(workflow_id, run_id, first_run_id or run_id, [])
        started = run.add(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, at)
        attributes = started.workflow_execution_started_event_attributes
        attributes.workflow_type.name = "LeaverWorkflow"
        attributes.original_execution_run_id = run_id
        attributes.first_execution_run_id = run.first_run_id
        self.runs[run_id] = run
        return run

    def reset(self, base: Recorded, at: datetime) -> Recorded:
        run_id = str(uuid.uuid4())
        run = replace(base, run_id=run_id, events=list(base.events[:1]), closed_at=None)
        failed = run.add(EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED, at)
        attributes = failed.workflow_task_failed_event_attributes
        attributes.cause = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW
        attributes.base_run_id, attributes.new_run_id = base.run_id, run_id
        run.signalled(at)
        base.reset_run_id = run_id
        self.runs[run_id] = run
        return run

    def delete(self, run: Recorded) -> None:
        del self.runs[run.run_id]

    async def open_runs(self) -> AsyncIterator[Run]:
        self._asked("open")
        for run in list(self.runs.values()):
            if run.listed and run.closed_at is None:
                yield Run(run.workflow_id, run.run_id, None)

    async def closed_runs(self, after: datetime | None) -> AsyncIterator[Run]:
        self._asked("closed")
        self.after = after
        for run in list(self.runs.values()):
            if run.listed and run.closed_at and (after is None or run.closed_at > after):
                yield Run(run.workflow_id, run.run_id, run.closed_at)

    async def runs_of(self, workflow_id: str) -> tuple[Run, ...]:
        self._asked("list")
        mine = [run for run in self.runs.values() if run.workflow_id == workflow_id and run.listed]
        return tuple(_told(run) for run in mine)

    async def describe(self, workflow_id: str, run_id: str = "") -> Run:
        async with self._one("describe"):
            mine = [run for run in self.runs.values() if run.workflow_id == workflow_id]
            found = [run for run in mine if run_id in ("", run.run_id)]
            if not found:
                raise HistoryMissingError(f"no run {run_id}")
            return _told(found[-1])

    async def history(self, workflow_id: str, run_id: str) -> bytes:
        async with self._one("history"):
            if run_id not in self.runs:
                raise HistoryMissingError(f"no run {run_id}")
            return self.serve(self.runs[run_id])

    def serve(self, run: Recorded) -> bytes:
        return History(events=run.events).SerializeToString(deterministic=True)

    async def retention(self) -> timedelta | None:
        self._asked("retention")
        return self.keeps

    def _asked(self, what: str) -> None:
        if self.down:
            raise HistoryUnavailableError("the server does not answer")
        self.calls[what] += 1

    def _one(self, what: str) -> _Asking:
        self._asked(what)
        return _Asking(self)


class _Asking:
    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    async def __aenter__(self) -> None:
        self._server._busy += 1
        self._server.busiest = max(self._server.busiest, self._server._busy)
        await asyncio.sleep(0)

    async def __aexit__(self, *_: object) -> None:
        self._server._busy -= 1


def _told(run: Recorded) -> Run:
    return Run(run.workflow_id, run.run_id, run.closed_at, run.first_run_id, run.reset_run_id)
