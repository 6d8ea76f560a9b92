"""Reading a case from its records, and from nothing else: whoever has the records can make the view again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeVar

from pydantic import ValidationError

from leaver.domain.base import Message
from leaver.domain.catalogue import CATALOGUE
from leaver.domain.words import CaseOutcome, Outcome, Phase, RecordType
from leaver.evidence.bodies import (
    Approval,
    Attempted,
    Changed,
    Closed,
    Due,
    HrEvent,
    Opened,
    Planned,
    Raised,
    Result,
)
from leaver.evidence.errors import UnreadableRecordsError
from leaver.evidence.records import Record
from leaver.evidence.views import (
    ApprovalView,
    AttemptView,
    CaseView,
    ChangeView,
    ExceptionView,
    HrView,
    StepView,
)

Body = TypeVar("Body", bound=Message)


def case_view(records: Sequence[Record]) -> CaseView:
    """Read a case from the records of its ``case`` chain, in order.

    Raises:
        UnreadableRecordsError: there is no ``case.opened``, or a body has another shape than its type says.
    """
    opened = next((body for _, body in _bodies(records, RecordType.CASE_OPENED, Opened)), None)
    if opened is None:
        raise UnreadableRecordsError("the records hold no case.opened")
    closed = next((body for _, body in _bodies(records, RecordType.CASE_CLOSED, Closed)), None)
    plan = _last(body for _, body in _bodies(records, RecordType.PLAN, Planned))
    hr_events = tuple(
        HrView(record=r.case_seq, at=r.at, event=b) for r, b in _bodies(records, RecordType.HR_EVENT, HrEvent)
    )
    changes = tuple(
        ChangeView(record=r.case_seq, at=r.at, change=b)
        for r, b in _bodies(records, RecordType.CHANGE, Changed)
    )
    cutoff = _last(view.event.cutoff for view in hr_events if view.event.applied) or opened.cutoff
    clock = opened.received_at if opened.immediate else max(cutoff, opened.received_at)
    steps = _steps(records, plan, cutoff)
    contained_at = closed.contained_at if closed else _contained_at(steps)
    return CaseView(
        **opened.model_dump(exclude={"cutoff", "legal_hold"}),
        legal_hold=str(opened.legal_hold),
        case=records[0].case,
        outcome=closed.outcome if closed else _standing(changes),
        phase=Phase.CLOSED if closed else _phase(records),
        cutoff=cutoff,
        clock_starts=clock,
        contained_at=contained_at,
        closed_at=(closed.closed_at or records[-1].at) if closed else None,
        lag_effective_seconds=_seconds(cutoff, contained_at),
        lag_notice_seconds=_seconds(clock, contained_at),
        plan_digest=plan.plan_digest if plan else None,
        successor_id=plan.successor_id if plan else None,
        steps=steps,
        omitted=plan.omitted if plan else (),
        approvals=tuple(
            ApprovalView(record=r.case_seq, at=r.at, statement=b)
            for r, b in _bodies(records, RecordType.APPROVAL, Approval)
        ),
        exceptions=_exceptions(records, steps, closed=closed is not None),
        failed_attempts=_failed_attempts(records),
        changes=changes,
        hr_events=hr_events,
        records=len(records),
        first_seq=records[0].seq,
        last_seq=records[-1].seq,
        places=tuple(record.seq for record in records),
        head=records[-1].leaf,
    )


def _bodies(records: Sequence[Record], kind: RecordType, shape: type[Body]) -> Iterable[tuple[Record, Body]]:
    for record in records:
        if record.type is kind:
            try:
                yield record, shape.model_validate(record.body)
            except ValidationError as err:
                problem = err.errors(include_input=False, include_url=False)[0]
                where = ".".join(str(part) for part in problem["loc"])
                raise UnreadableRecordsError(
                    f"record {record.case_seq} ({kind.value}): {where}: {problem['msg']}"
                ) from None


def _steps(records: Sequence[Record], plan: Planned | None, cutoff: datetime) -> tuple[StepView, ...]:
    """Every step with its last result, in the catalogue's order. A case has one account per system."""
    found: dict[str, list[tuple[Record, Result]]] = {}
    for record, result in _bodies(records, RecordType.RESULT, Result):
        found.setdefault(result.step, []).append((record, result))
    planned = {due.step: due for due in plan.steps} if plan else {}
    order = {name: place for place, name in enumerate(CATALOGUE)}
    names = sorted({**found, **planned}, key=lambda name: order.get(name, len(order)))
    return tuple(
        _settled(found[name], cutoff) if name in found else _pending(planned[name]) for name in names
    )


def _settled(results: list[tuple[Record, Result]], cutoff: datetime) -> StepView:
    record, last = results[-1]
    return StepView(
        **last.model_dump(),
        title=_title(last.step),
        lag_seconds=_seconds(cutoff, last.finished_at),
        record=record.case_seq,
        earlier=tuple(earlier.case_seq for earlier, _ in results[:-1]),
    )


def _pending(due: Due) -> StepView:
    definition = CATALOGUE.get(due.step)
    if definition is None:
        raise UnreadableRecordsError(f"the plan names {due.step}, which this version does not know")
    return StepView(
        step=due.step,
        title=definition.title,
        system=definition.system,
        phase=definition.phase,
        account=due.account,
        outcome=Outcome.PENDING,
        due=due.due,
        controls=definition.controls,
    )


def _title(step: str) -> str:
    definition = CATALOGUE.get(step)
    return definition.title if definition else step


def _contained_at(steps: Sequence[StepView]) -> datetime | None:
    wanted = [step for step in steps if step.phase is Phase.CONTAIN]
    times = [step.finished_at for step in wanted if step.outcome.effective and step.finished_at]
    return max(times) if wanted and len(times) == len(wanted) else None


def _exceptions(
    records: Sequence[Record], steps: Sequence[StepView], *, closed: bool
) -> tuple[ExceptionView, ...]:
    """What was recorded as an exception, and what the results show to be one all the same."""
    now = {step.step: step for step in steps}
    raised: dict[tuple[str | None, str], list[tuple[Record, Raised]]] = {}
    for record, body in _bodies(records, RecordType.EXCEPTION_RAISED, Raised):
        raised.setdefault((body.step, body.cause), []).append((record, body))
    recorded = [
        ExceptionView(
            **entries[-1][1].model_dump(),
            record=entries[0][0].case_seq,
            times=len(entries),
            resolved=_resolved(now.get(step or ""), after=entries[-1][0].case_seq),
        )
        for (step, _), entries in raised.items()
    ]
    standing = {exception.step for exception in recorded if exception.resolved is None}
    shown = [
        ExceptionView(
            step=step.step,
            cause="late" if step.outcome.proven else step.outcome.value,
            detail=step.detail,
            due=step.due,
            record=step.record,
            recorded=False,
        )
        for step in steps
        if step.step not in standing and _is_exception(step, closed=closed)
    ]
    return (*recorded, *shown)


def _resolved(step: StepView | None, *, after: int) -> int | None:
    if step is None or step.record is None or step.record <= after:
        return None
    return step.record if step.outcome.proven and not step.late else None


def _is_exception(step: StepView, *, closed: bool) -> bool:
    if step.outcome is Outcome.PENDING:
        return closed
    if step.outcome is Outcome.PLANNED:
        return False
    return step.late or not step.outcome.proven


def _failed_attempts(records: Sequence[Record]) -> tuple[AttemptView, ...]:
    return tuple(
        AttemptView(record=record.case_seq, at=record.at, attempt=body)
        for record, body in _bodies(records, RecordType.ATTEMPT, Attempted)
        if body.error is not None or body.lost
    )


def _standing(changes: Sequence[ChangeView]) -> CaseOutcome:
    last = _last(view.change.change for view in changes if view.change.change in ("held", "released"))
    return CaseOutcome.HELD if last == "held" else CaseOutcome.RUNNING


def _phase(records: Sequence[Record]) -> Phase:
    """Where the work stands: the phase of the last result."""
    return _last(body.phase for _, body in _bodies(records, RecordType.RESULT, Result)) or Phase.SCHEDULED


def _seconds(start: datetime, end: datetime | None) -> float | None:
    return round((end - start).total_seconds(), 3) if end else None


Thing = TypeVar("Thing")


def _last(things: Iterable[Thing]) -> Thing | None:
    last = None
    for thing in things:
        last = thing
    return last
