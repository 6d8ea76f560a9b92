"""What is wrong with a run, by its history and by what was recorded of it before. Pure functions.

Texts name runs, events and times. Who ended a run and why stands in the sealed history only: both are free
text that may hold names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import zip_longest
from typing import Final

from leaver.domain.words import RecordType
from leaver.evidence.history.bodies import HistoryFinal, HistoryPrefix, RunException
from leaver.evidence.history.chain import prefix_heads
from leaver.evidence.history.wire import after, event_bytes
from leaver.evidence.ledger.model import Note
from leaver.evidence.records import LOG, Chain, Record
from leaver.temporal.event_diff import only_adds
from leaver.temporal.history import LIBRARY
from leaver.temporal.run_facts import RunFacts


class Cause(StrEnum):
    """Why the sealer raises a control exception about a run."""

    RUN_TERMINATED = "run_terminated"
    RUN_CANCELLED = "run_cancelled"
    RUN_FAILED = "run_failed"
    RUN_TIMED_OUT = "run_timed_out"
    RUN_RESET = "run_reset"
    """A run was forked from an earlier one, or a second one was started under the case's id."""
    RUN_DELETED = "run_deleted"
    HISTORY_CHANGED = "history_changed"
    SEALING_LATE = "sealing_late"
    RUN_UNKNOWN = "run_unknown"
    """A workflow of one of our types runs under an id that is no case's."""


_ENDINGS: Final = {
    "terminated": (Cause.RUN_TERMINATED, "was terminated in Temporal: the workflow did not end by itself"),
    "cancelled": (Cause.RUN_CANCELLED, "ended as cancelled in Temporal"),
    "failed": (Cause.RUN_FAILED, "failed"),
    "timed_out": (Cause.RUN_TIMED_OUT, "exceeded a time limit of Temporal"),
}


@dataclass(frozen=True, slots=True)
class Past:
    """What was recorded of a workflow before. ``chains`` are the first runs of all its chains."""

    prefixes: tuple[tuple[HistoryPrefix, datetime], ...]
    chains: frozenset[str]

    @classmethod
    def of(cls, workflow_id: str, records: Sequence[Record], opened: str | None) -> Past:
        """Read the case's records of the chain ``sealer``; ``opened`` is the run that ``case.opened`` names.

        Raises:
            pydantic.ValidationError: a record has another shape.
        """
        prefixes: list[tuple[HistoryPrefix, datetime]] = []
        chains = {opened} if opened else set()
        for record in records:
            if record.body.get("workflow_id") != workflow_id:
                continue
            if record.type is RecordType.HISTORY_PREFIX:
                prefix = HistoryPrefix.model_validate(record.body)
                prefixes.append((prefix, record.at))
                chains.add(prefix.first_run_id)
            elif record.type is RecordType.HISTORY_FINAL:
                chains.add(HistoryFinal.model_validate(record.body).first_run_id)
        return cls(tuple(prefixes), frozenset(chains))


@dataclass(frozen=True, slots=True)
class ClosedRun:
    """A run that closed and whose history is not sealed yet."""

    case: str
    workflow_id: str
    run_id: str
    closed_at: datetime


@dataclass(frozen=True, slots=True)
class Examined:
    """A run with its history as the server serves it now. ``reset_to``: the run that a reset made of it."""

    case: str
    workflow_id: str
    run_id: str
    raw: bytes
    facts: RunFacts
    reset_to: str = ""


def exception(  # noqa: PLR0913 - the parts of one record, all named
    cause: Cause,
    *,
    case: str,
    run_id: str,
    at: datetime,
    detail: str,
    workflow_id: str | None = None,
    lost: bool = False,
    part: str = "",
    events: int | None = None,
) -> Note:
    """The note that raises an exception; the same cause, run and part is noted once for ever."""
    body = RunException(
        cause=cause.value, detail=detail, run_id=run_id, workflow_id=workflow_id, lost=lost, events=events
    )
    return Note(
        chain=Chain.LOG if case == LOG else Chain.SEALER,
        type=RecordType.EXCEPTION_RAISED,
        at=at,
        body=body.model_dump(mode="json"),
        key=":".join(filter(None, (cause.value, run_id, part))),
        case=case,
    )


def findings(
    run: Examined, past: Past, *, now: datetime, late_after: timedelta, content: Callable[[str], bytes | None]
) -> Iterator[Note]:
    """Every exception that the run gives cause for; ``content`` reads the ledger's content store."""
    yield from _changed(run, past, now, content)
    yield from _forked(run, past, now)
    yield from _ended(run, now)
    closed_at = run.facts.closed_at
    if closed_at is not None and now - closed_at > late_after:
        yield late(ClosedRun(run.case, run.workflow_id, run.run_id, closed_at), now)


def late(run: ClosedRun, now: datetime, why: str = "") -> Note:
    """A run that has been closed for too long without being sealed."""
    detail = f"run {run.run_id} closed at {instant(run.closed_at)} and was not sealed before {instant(now)}"
    return exception(
        Cause.SEALING_LATE,
        case=run.case,
        workflow_id=run.workflow_id,
        run_id=run.run_id,
        at=now,
        detail=f"{detail}: {why}"[:500] if why else detail,
    )


def as_recorded(run_id: str, raw: bytes, past: Past, content: Callable[[str], bytes | None]) -> bytes:
    """A run's history with the events that were recorded before as they were recorded.

    Another version of Temporal's library may know fields of an event that the one before dropped. The same
    events then give other bytes; as long as nothing else differs, the recorded ones stand, so that every
    recorded head stays a head of the sealed history.
    """
    mine = [prefix for prefix, _ in past.prefixes if prefix.run_id == run_id and prefix.library != LIBRARY]
    if not mine:
        return raw
    longest = max(mine, key=lambda prefix: prefix.events)
    before = content(longest.sha256)
    if before is None or raw.startswith(before) or not only_adds(before, raw):
        return raw
    return before + after(raw, longest.events)


def _changed(
    run: Examined, past: Past, now: datetime, content: Callable[[str], bytes | None]
) -> Iterator[Note]:
    heads = prefix_heads(run.raw)
    for prefix, at in past.prefixes:
        if prefix.run_id != run.run_id or heads.get(prefix.events) == prefix.head:
            continue
        before = content(prefix.sha256)
        where = f"event {_first_change(before, run.raw)} is another one" if before else "they are others"
        yield exception(
            Cause.HISTORY_CHANGED,
            case=run.case,
            workflow_id=run.workflow_id,
            run_id=run.run_id,
            at=now,
            part=str(prefix.events),
            events=prefix.events,
            detail=f"the first {prefix.events} events of run {run.run_id} were recorded on {instant(at)} "
            f"with the head {prefix.head}; what Temporal serves now does not begin with them: {where}",
        )


def _first_change(before: bytes, now: bytes) -> int:
    pairs = zip_longest(event_bytes(before), event_bytes(now))
    return next((number for number, (old, new) in enumerate(pairs, start=1) if old != new), 0)


def _forked(run: Examined, past: Past, now: datetime) -> Iterator[Note]:
    facts = run.facts
    if facts.reset_of:
        yield _reset(run, run.run_id, facts.reset_of, now)
    elif past.chains and facts.first_run_id not in past.chains:
        yield _reset(run, facts.first_run_id, "", now)


def _ended(run: Examined, now: datetime) -> Iterator[Note]:
    facts = run.facts
    if facts.close_status not in _ENDINGS:
        return
    if facts.claims_reset and run.reset_to:
        yield _reset(run, run.reset_to, run.run_id, now)
        return
    cause, how = _ENDINGS[facts.close_status]
    yield exception(
        cause,
        case=run.case,
        workflow_id=run.workflow_id,
        run_id=run.run_id,
        at=now,
        detail=f"run {run.run_id} {how}, at {instant(facts.closed_at or now)}; the last event of the sealed "
        "history says by whom and why",
    )


def _reset(run: Examined, new_run_id: str, base_run_id: str, now: datetime) -> Note:
    detail = (
        f"run {new_run_id} was forked from run {base_run_id} by a reset"
        if base_run_id
        else f"run {new_run_id} was started under the workflow id of an earlier run and does not continue it"
    )
    return exception(
        Cause.RUN_RESET,
        case=run.case,
        workflow_id=run.workflow_id,
        run_id=new_run_id,
        at=now,
        detail=detail,
    )


def instant(moment: datetime) -> str:
    """A moment as texts show it."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
