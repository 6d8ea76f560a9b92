"""From what was gathered of a case to its row in the report, with its exceptions and verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from leaver.domain.catalogue import CATALOGUE
from leaver.domain.words import CaseOutcome, Outcome, Phase
from leaver.evidence.errors import UnreadableRecordsError
from leaver.evidence.records import Chain
from leaver.evidence.reports.figures import judge_action, judge_case
from leaver.evidence.reports.gather import Gathered, Raised, StreamedRecord, enter
from leaver.evidence.reports.model import Action, ControlException, Leaver

_ORDER: Final = {name: place for place, name in enumerate(CATALOGUE)}


def settled(found: Gathered, as_of: datetime) -> tuple[Leaver, tuple[ControlException, ...]]:
    """The case as a row, and its exceptions: those raised, and those that only results show.

    Raises:
        UnreadableRecordsError: the case was opened without a cut-off, or its plan names an unknown step.
    """
    if found.cutoff is None or found.received_at is None:
        raise UnreadableRecordsError(f"{found.case}: case.opened holds no cut-off or no time of receipt")
    actions = _actions(found, as_of)
    exceptions = exceptions_of(found, actions, as_of)
    standing = sum(exception.standing for exception in exceptions)
    outcome = found.outcome or (CaseOutcome.HELD if found.held else CaseOutcome.RUNNING)
    clock = found.received_at if found.immediate else max(found.cutoff, found.received_at)
    leaver = Leaver(
        case=found.case,
        person_ref=found.person_ref,
        source=found.source,
        event_type=found.event_type,
        immediate=found.immediate,
        mode=found.mode,
        policy=found.policy,
        hr_time=found.hr_time,
        received_at=found.received_at,
        cutoff=found.cutoff,
        clock_starts=clock,
        contained_at=found.contained_at if found.outcome else contained_at(actions),
        closed_at=found.closed_at,
        outcome=outcome,
        actions=actions,
        standing=standing,
        first_seq=found.first_seq,
        judged=judge_case(
            outcome=outcome,
            mode=found.mode,
            cutoff=found.cutoff,
            as_of=as_of,
            actions=actions,
            standing=standing,
        ),
    )
    return leaver, exceptions


def _actions(found: Gathered, as_of: datetime) -> tuple[Action, ...]:
    rows = dict(found.results)
    for step, (account, due) in found.planned.items():
        if step not in rows:
            rows[step] = _pending(step, account, due, as_of)
    return tuple(sorted(rows.values(), key=lambda action: _ORDER.get(action.step, len(_ORDER))))


def _pending(step: str, account: str | None, due: datetime | None, as_of: datetime) -> Action:
    definition = CATALOGUE.get(step)
    if definition is None:
        raise UnreadableRecordsError(f"the plan names {step}, which this version does not know")
    return Action(
        step=step,
        system=definition.system,
        phase=definition.phase,
        account=account,
        outcome=Outcome.PENDING,
        finished_at=None,
        due=due,
        late=False,
        reason="",
        controls=definition.controls,
        seq=None,
        judged=judge_action(Outcome.PENDING, late=False, due=due, as_of=as_of),
    )


def contained_at(actions: tuple[Action, ...]) -> datetime | None:
    """When the last containment action was read back; None while one is missing."""
    wanted = [action for action in actions if action.phase is Phase.CONTAIN]
    times = [a.finished_at for a in wanted if a.outcome.effective and a.finished_at]
    return max(times) if wanted and len(times) == len(wanted) else None


def exceptions_of(
    found: Gathered, actions: tuple[Action, ...], as_of: datetime
) -> tuple[ControlException, ...]:
    """Every exception of the case. A step that a later result proved in time has ended the case's own."""
    now = {action.step: action for action in actions}
    told = [_told(found, known, now.get(known.step or "")) for known in found.raised]
    standing = {exception.step for exception in told if exception.standing}
    shown = [
        _shown(found, action)
        for action in actions
        if action.step not in standing and _is_exception(action, found, as_of)
    ]
    return (*told, *shown)


def _told(found: Gathered, known: Raised, action: Action | None) -> ControlException:
    closed_at, closed_by, closure = known.closed_at, known.closed_by, known.closure
    if (
        closed_by is None
        and known.chain == Chain.CASE
        and action is not None
        and action.seq is not None
        and action.seq > known.last_seq
        and action.outcome.proven
        and not action.late
    ):
        closed_at, closed_by, closure = action.finished_at, action.seq, "a later result proved it in time"
    return ControlException(
        case=known.case,
        person_ref=found.person_ref,
        step=known.step,
        cause=known.cause,
        detail=known.detail,
        owner=known.owner,
        due=known.due,
        raised_at=known.at,
        seq=known.seq,
        times=known.times,
        closed_at=closed_at,
        closed_by=closed_by,
        closure=closure,
    )


def _is_exception(action: Action, found: Gathered, as_of: datetime) -> bool:
    if action.outcome is Outcome.PENDING:
        return found.outcome is not None or (action.due is not None and action.due < as_of)
    return action.outcome is not Outcome.PLANNED and (action.late or not action.outcome.proven)


def _shown(found: Gathered, action: Action) -> ControlException:
    return ControlException(
        case=found.case,
        person_ref=found.person_ref,
        step=action.step,
        cause="late" if action.outcome.proven else action.outcome.value,
        detail=action.reason,
        owner="",
        due=action.due,
        raised_at=action.finished_at,
        seq=action.seq,
        times=1,
        closed_at=None,
        closed_by=None,
        closure="",
        recorded=False,
    )


def leaver_of(
    records: Iterable[StreamedRecord], as_of: datetime
) -> tuple[Leaver, tuple[ControlException, ...]]:
    """A single case's row and exceptions, from its records of whatever chains are at hand, in log order.

    Raises:
        UnreadableRecordsError: the records do not tell a case.
    """
    found: Gathered | None = None
    for record in records:
        found = found or Gathered(record.case)
        enter(found, record, as_of)
    if found is None or not found.opened:
        raise UnreadableRecordsError("the records hold no case.opened")
    return settled(found, as_of)
