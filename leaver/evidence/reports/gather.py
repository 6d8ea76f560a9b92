"""One case's records gathered while the ledger streams by: only what a period report needs of them.

A period has hundreds of thousands of records. Reading each as a full model would take minutes, so bodies are
read as plain JSON here; a test holds the rows against those of ``case_view``, which reads everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from pydantic import JsonValue
from pydantic_core import from_json

from leaver.domain.words import CaseOutcome, Mode, Outcome, Phase, RecordType, System
from leaver.evidence.errors import UnreadableRecordsError
from leaver.evidence.reports.figures import judge_action
from leaver.evidence.reports.model import Action

DRIFT: Final = "drift"
"""Why the watch raises an exception: a proven state is not as it was left."""


class StreamedRecord(Protocol):
    """A record as the ledger streams it: its place, whose it is, and its exact bytes."""

    @property
    def seq(self) -> int:
        """Its place in the ledger."""
        ...

    @property
    def case(self) -> str:
        """The case, or the word ``log``."""
        ...

    @property
    def chain(self) -> str:
        """Its chain."""
        ...

    @property
    def type(self) -> str:
        """Its type."""
        ...

    @property
    def raw(self) -> bytes:
        """Its exact bytes."""
        ...


@dataclass(slots=True)
class Raised:
    """An exception while it may still be raised again or end."""

    case: str
    step: str | None
    cause: str
    detail: str
    owner: str
    due: datetime | None
    at: datetime
    seq: int
    chain: str
    run_id: str
    last_seq: int
    times: int = 1
    closed_at: datetime | None = None
    closed_by: int | None = None
    closure: str = ""


@dataclass(slots=True)
class Gathered:
    """What is known of a case so far."""

    case: str
    person_ref: str = ""
    source: str = ""
    event_type: str = ""
    immediate: bool = False
    mode: Mode = Mode.ENFORCE
    policy: str = ""
    hr_time: datetime | None = None
    received_at: datetime | None = None
    cutoff: datetime | None = None
    first_seq: int = 0
    opened: bool = False
    held: bool = False
    planned: dict[str, tuple[str | None, datetime | None]] = field(default_factory=dict)
    results: dict[str, Action] = field(default_factory=dict)
    raised: list[Raised] = field(default_factory=list)
    closed_at: datetime | None = None
    contained_at: datetime | None = None
    outcome: CaseOutcome | None = None
    closing_seq: int | None = None
    sealed: bool = False


Body = dict[str, JsonValue]


def body_of(record: StreamedRecord) -> tuple[Body, datetime]:
    """The body and the time of a record.

    Raises:
        UnreadableRecordsError: the bytes are no record.
    """
    try:
        whole = from_json(record.raw)
        return whole["body"], datetime.fromisoformat(whole["at"])
    except (ValueError, KeyError, TypeError):
        raise unreadable(record) from None


def unreadable(record: StreamedRecord) -> UnreadableRecordsError:
    """The error that names the record."""
    return UnreadableRecordsError(f"record {record.seq} ({record.type}) has another body than its type says")


def text(body: Body, key: str) -> str:
    """A text of a body; empty when there is none."""
    value = body.get(key)
    return value if isinstance(value, str) else ""


def instant(body: Body, key: str) -> datetime | None:
    """A time of a body."""
    value = body.get(key)
    return datetime.fromisoformat(value) if isinstance(value, str) and value else None


def enter(found: Gathered, record: StreamedRecord, as_of: datetime) -> None:
    """Enter a record into its case.

    Raises:
        UnreadableRecordsError: the body has another shape than its type says.
    """
    entry = _ENTRIES.get(record.type)
    if entry is None:
        return
    body, at = body_of(record)
    try:
        entry(found, record, body, at, as_of)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise unreadable(record) from None


def _opened(found: Gathered, record: StreamedRecord, body: Body, _at: datetime, _as_of: datetime) -> None:
    found.opened = True
    found.person_ref = str(body["person_ref"])
    found.source = text(body, "source")
    found.event_type = text(body, "event_type")
    found.immediate = body.get("immediate") in (True, "true")
    found.mode = Mode(text(body, "mode"))
    found.policy = f"{text(body, 'policy_name')} {text(body, 'policy_version')}"
    found.hr_time = instant(body, "hr_time")
    found.received_at = instant(body, "received_at")
    found.cutoff = instant(body, "cutoff")
    found.first_seq = record.seq


def _hr_event(found: Gathered, _record: StreamedRecord, body: Body, _at: datetime, _as_of: datetime) -> None:
    if body["applied"] is True:
        found.cutoff = instant(body, "cutoff")


def _plan(found: Gathered, _record: StreamedRecord, body: Body, _at: datetime, _as_of: datetime) -> None:
    steps = body.get("steps")
    rows = [row for row in steps if isinstance(row, dict)] if isinstance(steps, list) else []
    found.planned = {str(row["step"]): (text(row, "account") or None, instant(row, "due")) for row in rows}


def _result(found: Gathered, record: StreamedRecord, body: Body, _at: datetime, as_of: datetime) -> None:
    step, outcome = str(body["step"]), Outcome(text(body, "outcome"))
    due, finished = instant(body, "due"), instant(body, "finished_at")
    late = body.get("late") is True or (due is not None and finished is not None and finished > due)
    controls = body.get("controls")
    found.results[step] = Action(
        step=step,
        system=System(text(body, "system")),
        phase=Phase(text(body, "phase")),
        account=text(body, "account") or None,
        outcome=outcome,
        finished_at=finished,
        due=due,
        late=late,
        reason=text(body, "detail") or text(body, "reason").replace("_", " "),
        controls=tuple(map(str, controls)) if isinstance(controls, list) else (),
        seq=record.seq,
        judged=judge_action(outcome, late=late, due=due, as_of=as_of),
    )


def _change(found: Gathered, _record: StreamedRecord, body: Body, _at: datetime, _as_of: datetime) -> None:
    change = text(body, "change")
    if change in ("held", "released"):
        found.held = change == "held"


def _closed(found: Gathered, record: StreamedRecord, body: Body, at: datetime, _as_of: datetime) -> None:
    found.outcome = CaseOutcome(text(body, "outcome"))
    found.contained_at = instant(body, "contained_at")
    found.closed_at = instant(body, "closed_at") or at
    found.closing_seq = record.seq


def _final(found: Gathered, _record: StreamedRecord, _body: Body, _at: datetime, _as_of: datetime) -> None:
    found.sealed = True


def _raise(found: Gathered, record: StreamedRecord, body: Body, at: datetime, _as_of: datetime) -> None:
    step, cause, run_id = text(body, "step") or None, str(body["cause"]), text(body, "run_id")
    for known in found.raised:
        same = (known.chain, known.step, known.cause, known.run_id)
        if known.closed_by is None and same == (record.chain, step, cause, run_id):
            known.times += 1
            known.last_seq, known.detail = record.seq, text(body, "detail")
            return
    found.raised.append(
        Raised(
            case=found.case,
            step=step,
            cause=cause,
            detail=text(body, "detail"),
            owner=text(body, "owner"),
            due=instant(body, "due"),
            at=at,
            seq=record.seq,
            chain=record.chain,
            run_id=run_id,
            last_seq=record.seq,
        )
    )


def _end(found: Gathered, record: StreamedRecord, body: Body, at: datetime, _as_of: datetime) -> None:
    step, cause = text(body, "step") or None, text(body, "cause")
    for known in found.raised:
        if known.closed_by is None and (known.step, known.cause) == (step, cause):
            known.closed_at, known.closed_by = at, record.seq
            known.closure = text(body, "why") or text(body, "detail") or "closed"


def _read_again(found: Gathered, record: StreamedRecord, body: Body, at: datetime, _as_of: datetime) -> None:
    if text(body, "outcome") != Outcome.VERIFIED:
        return
    for known in found.raised:
        about = known.cause == DRIFT and known.step == text(body, "step")
        if about and known.closed_by is None and known.last_seq < record.seq:
            known.closed_at, known.closed_by = at, record.seq
            known.closure = "a later read-back proved the state again"


_Entry = Callable[[Gathered, StreamedRecord, Body, datetime, datetime], None]
_ENTRIES: Final[dict[str, _Entry]] = {
    RecordType.CASE_OPENED: _opened,
    RecordType.HR_EVENT: _hr_event,
    RecordType.PLAN: _plan,
    RecordType.RESULT: _result,
    RecordType.CHANGE: _change,
    RecordType.CASE_CLOSED: _closed,
    RecordType.HISTORY_FINAL: _final,
    RecordType.EXCEPTION_RAISED: _raise,
    RecordType.EXCEPTION_CLOSED: _end,
    RecordType.READBACK: _read_again,
}
