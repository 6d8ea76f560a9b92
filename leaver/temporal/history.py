"""A closed workflow's full history, run by run, as it lies on the Temporal server.

Payloads stay encrypted: what is exported is what the server stored. Temporal deletes closed histories after
the namespace's retention, so an export is the only lasting copy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import temporalio
from google.protobuf.json_format import MessageToJson
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.client import Client

from leaver.temporal.history_errors import (
    HistoryError,
    HistoryForbiddenError,
    HistoryGapError,
    HistoryMissingError,
    HistoryUnavailableError,
    NoListError,
    NotClosedError,
)
from leaver.temporal.run_facts import CLOSING, continued_as, parse_events, run_facts
from leaver.temporal.runs import Run, RunSource, TemporalRuns

__all__ = [
    "LIBRARY",
    "MAX_RUNS",
    "HistoryError",
    "HistoryFile",
    "HistoryForbiddenError",
    "HistoryGapError",
    "HistoryMissingError",
    "HistorySource",
    "HistoryUnavailableError",
    "NoListError",
    "NotClosedError",
    "Run",
    "RunSource",
    "TemporalHistorySource",
    "TemporalRuns",
    "check_numbers",
    "fetch_chain",
    "history_file",
]

LIBRARY: Final = f"temporalio {temporalio.__version__}"
"""What reads histories. It drops fields of an event that its version does not know."""

MAX_RUNS: Final = 1000
"""More runs than any workflow of ours can have; a longer chain is a mistake, not a history."""


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
        self._runs = TemporalRuns(client)

    async def fetch(self, workflow_id: str, first_run_id: str) -> tuple[HistoryFile, ...]:
        """All runs from ``first_run_id`` on, following continue-as-new, retry and reset.

        Raises:
            NotClosedError: one of the runs is still running.
            HistoryMissingError: a run is unknown to the server.
            HistoryGapError: event ids are not 1 to N, or the newest run was not found by links or list.
            HistoryUnavailableError: the server does not answer.
            HistoryForbiddenError: it refuses our identity.
        """
        return await fetch_chain(self._runs, workflow_id, first_run_id)


async def fetch_chain(
    source: RunSource, workflow_id: str, first_run_id: str, held: Mapping[str, HistoryFile] | None = None
) -> tuple[HistoryFile, ...]:
    """All closed runs of one chain, following continue-as-new, retry and reset.

    Args:
        source: the server.
        workflow_id: the workflow.
        first_run_id: the chain's first run.
        held: runs of this chain that were exported before, by run id. They are not fetched again, and the
            server need not know them any more.

    Raises:
        NotClosedError: one of the runs is still running.
        HistoryMissingError: a run that is not held is unknown to the server.
        HistoryGapError: event ids are not 1 to N, or the newest run was not found by links or list.
        HistoryError: the server gives no answer.
    """
    export = _Export(source, workflow_id, held or {})
    await export.follow(first_run_id)
    # A run that is reset twice keeps a link to the second reset only; the run of the first one is found in
    # the visibility store alone.
    for listed in await source.runs_of(workflow_id):
        if listed.run_id not in export.files and await export.first_run_of(listed.run_id) == first_run_id:
            await export.follow(listed.run_id)
    for run_id in export.held:
        await export.follow(run_id)
    await export.check_newest()
    return tuple(export.files.values())


def history_file(workflow_id: str, run_id: str, raw: bytes) -> HistoryFile:
    """A closed run's history, checked.

    Raises:
        HistoryGapError: the bytes are no history, or the events are not numbered 1 to N.
        NotClosedError: there is no closing event.
    """
    events = parse_events(raw)
    check_numbers(workflow_id, run_id, events)
    if events[-1].event_type not in CLOSING:
        raise NotClosedError(f"run {run_id} of {workflow_id} has no closing event yet; export again later")
    return HistoryFile(
        run_id=run_id,
        json=MessageToJson(History(events=events), sort_keys=True).encode(),
        proto=raw,
        event_count=len(events),
    )


def check_numbers(workflow_id: str, run_id: str, events: Sequence[HistoryEvent]) -> None:
    """Refuse events that are not numbered 1 to N.

    Raises:
        HistoryGapError: an event is missing, added or out of order.
    """
    if not events or any(event.event_id != number for number, event in enumerate(events, start=1)):
        raise HistoryGapError(
            f"the events of run {run_id} of {workflow_id} are not numbered 1 to {len(events)}"
        )


class _Export:
    """The runs of one chain, gathered link by link."""

    def __init__(self, source: RunSource, workflow_id: str, held: Mapping[str, HistoryFile]) -> None:
        self._source = source
        self._workflow_id = workflow_id
        self.held = held
        self.files: dict[str, HistoryFile] = {}

    async def follow(self, run_id: str) -> None:
        """Gather a run and all that it links to."""
        waiting = [run_id]
        while waiting:
            run_id = waiting.pop(0)
            if not run_id or run_id in self.files:
                continue
            if len(self.files) >= MAX_RUNS:
                raise HistoryGapError(f"{self._workflow_id} has more than {MAX_RUNS} runs; exported nothing")
            waiting += await self._take(run_id)

    async def first_run_of(self, run_id: str) -> str:
        """The first run of the chain that a run belongs to."""
        if held := self.held.get(run_id):
            return run_facts(run_id, parse_events(held.proto)).first_run_id
        return (await self._source.describe(self._workflow_id, run_id)).first_run_id

    async def check_newest(self) -> None:
        """Refuse an export without the newest run, in case there is a link that this code does not know.

        The newest run may belong to another chain: a workflow id may be used again later.
        """
        try:
            newest = await self._source.describe(self._workflow_id)
        except HistoryMissingError:
            if self.files.keys() <= self.held.keys():
                return
            raise
        if newest.first_run_id in self.files and newest.run_id not in self.files:
            raise HistoryGapError(
                f"run {newest.run_id} of {self._workflow_id} is not linked from its first run; "
                "exported nothing"
            )

    async def _take(self, run_id: str) -> list[str]:
        """Add a run; the runs it links to."""
        held, reset_run_id = self.held.get(run_id), ""
        try:
            run = await self._source.describe(self._workflow_id, run_id)
        except HistoryMissingError:
            if held is None:
                raise
        else:
            reset_run_id = run.reset_run_id
            if run.closed_at is None:
                raise NotClosedError(
                    f"run {run_id} of {self._workflow_id} still runs; export it when it has closed"
                )
        file = held or history_file(
            self._workflow_id, run_id, await self._source.history(self._workflow_id, run_id)
        )
        self.files[run_id] = file
        return [continued_as(parse_events(file.proto)[-1]), reset_run_id]
