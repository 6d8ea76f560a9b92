"""A made-up period: leavers of every kind, with their exceptions, anchors and count."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from leaver.domain.catalogue import CATALOGUE
from leaver.domain.words import CaseOutcome, Mode, Outcome, Phase
from leaver.evidence.ledger.model import AnchorKind
from leaver.evidence.reports.figures import judge_action, judge_case
from leaver.evidence.reports.model import (
    Action,
    AnchorLine,
    Change,
    CheckpointLine,
    CompletenessTable,
    ControlException,
    Decision,
    Finding,
    Leaver,
    PeriodInput,
)

START = datetime(2026, 11, 1, tzinfo=UTC)
END = datetime(2026, 12, 1, tzinfo=UTC)
AS_OF = END + timedelta(hours=2)
ACCOUNT = "8f3a1c52-77aa-4c0e-9d55-0b1f2e3d4c5b"
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
LIMITS = {Phase.INTAKE: 1, Phase.CONTAIN: 1}


@dataclass(frozen=True)
class Kind:
    """How a leaver fares. Times are hours."""

    open_step: str = ""
    late_step: str = ""
    told_after: float = -48.0
    mode: Mode = Mode.ENFORCE
    outcome: CaseOutcome | None = None
    immediate: bool = False


def leaver_at(cutoff: datetime, kind: Kind, seed: int) -> tuple[Leaver, list[ControlException]]:
    chance = random.Random(seed)  # noqa: S311 - the same world every time
    case = "c-" + "".join(chance.choices(ALPHABET, k=26))
    told = cutoff + timedelta(hours=kind.told_after)
    clock = told if kind.immediate else max(cutoff, told)
    steps = () if kind.outcome is CaseOutcome.RESCINDED else tuple(CATALOGUE.values())
    actions = tuple(_action(step.name, clock, kind, chance, seed * 100 + n) for n, step in enumerate(steps))
    exceptions = [_exception(case, a) for a in actions if a.judged.verdict.value == "exception"]
    contain = [a.finished_at for a in actions if a.phase is Phase.CONTAIN and a.finished_at]
    standing = len(exceptions)
    outcome = kind.outcome or (CaseOutcome.COMPLETED_WITH_EXCEPTIONS if standing else CaseOutcome.COMPLETED)
    ends = [a.finished_at for a in actions if a.finished_at]
    still_open = outcome in (CaseOutcome.RUNNING, CaseOutcome.HELD)
    return (
        Leaver(
            case=case,
            person_ref="p-" + case[2:],
            source="hris/bamboohr/demo",
            event_type="leaver.scheduled.v1",
            immediate=kind.immediate,
            mode=kind.mode,
            policy="standard 3",
            hr_time=told,
            received_at=told,
            cutoff=cutoff,
            clock_starts=clock,
            contained_at=max(contain) if contain else None,
            closed_at=None if still_open else max(ends, default=told),
            outcome=outcome,
            actions=actions,
            standing=standing,
            first_seq=seed * 100,
            judged=judge_case(
                outcome=outcome,
                mode=kind.mode,
                cutoff=cutoff,
                as_of=AS_OF,
                actions=actions,
                standing=standing,
            ),
        ),
        exceptions,
    )


def _action(name: str, clock: datetime, kind: Kind, chance: random.Random, seq: int) -> Action:
    step = CATALOGUE[name]
    hours = LIMITS.get(step.phase, 48)
    due = clock + timedelta(hours=hours)
    done = clock + timedelta(seconds=min(chance.lognormvariate(3 if hours == 1 else 8, 1), hours * 3500))
    if name == kind.late_step:
        done = due + timedelta(minutes=7)
    outcome = Outcome.OPEN if name == kind.open_step else Outcome.VERIFIED
    if kind.mode is Mode.NOTIFICATION_ONLY:
        outcome = Outcome.PLANNED
    return Action(
        step=name,
        system=step.system,
        phase=step.phase,
        account=ACCOUNT,
        outcome=outcome,
        finished_at=done,
        due=due,
        late=done > due,
        reason="needs Sites.FullControl.All" if outcome is Outcome.OPEN else "",
        controls=step.controls,
        seq=seq,
        judged=judge_action(outcome, late=done > due, due=due, as_of=AS_OF),
    )


def _exception(case: str, action: Action) -> ControlException:
    return ControlException(
        case=case,
        person_ref="p-" + case[2:],
        step=action.step,
        cause="late" if action.outcome.proven else "access_denied",
        detail=action.reason,
        owner="",
        due=action.due,
        raised_at=action.finished_at,
        seq=action.seq,
        times=1,
        closed_at=None,
        closed_by=None,
        closure="",
    )


def checkpoint(size: int = 100_000, *, outside: bool = True) -> CheckpointLine:
    names = ("tsa.example.org", "audit.example.org/w1") if outside else ("local", "local-witness")
    kinds = (AnchorKind.TIMESTAMP, AnchorKind.WITNESS)
    anchors = tuple(
        AnchorLine(kind, name, AS_OF + timedelta(seconds=n + 1), outside)
        for n, (kind, name) in enumerate(zip(kinds, names, strict=True))
    )
    return CheckpointLine(size, "ab" * 32, AS_OF, anchors)


def period(kinds: list[Kind], *, outside: bool = True, **changes: Any) -> PeriodInput:
    """One leaver per kind, a few hours after each other."""
    made = [leaver_at(START + timedelta(hours=5 * n, minutes=n), kind, n + 1) for n, kind in enumerate(kinds)]
    leavers = tuple(sorted((one for one, _ in made), key=lambda one: (one.cutoff, one.case)))
    exceptions = tuple(told for _, own in made for told in own)
    decisions = tuple(
        Decision(one.case, one.person_ref, "approve", "p-boss", one.clock_starts, True, "", n, False, False)
        for n, one in enumerate(leavers)
    )
    last = checkpoint(outside=outside)
    closed = sum(one.closed_at is not None for one in leavers)
    whole = PeriodInput(
        start=START,
        end=END,
        zone="UTC",
        as_of=AS_OF,
        checkpoint=last,
        leavers=leavers,
        exceptions=exceptions,
        decisions=decisions,
        changes=(Change("policy", START, "standard 3", "digest: sha256:cd", 7),),
        completeness=counted(len(leavers), closed),
        anchors=(last,),
        records=1000,
    )
    return replace(whole, **changes)


def counted(cases: int, closed: int, *, missing: int = 0) -> CompletenessTable:
    gap = Finding("leaver_without_case", "c-" + "z" * 26, "in HR's list, no case was opened", START)
    return CompletenessTable(
        hr_leavers=cases + 3 + missing,
        cases=cases,
        with_case=cases,
        exclusions=(("later_employment", 1), ("rescinded", 2)),
        missing=missing,
        closed=closed,
        sealed=closed,
        bundles=closed,
        findings=(gap,) * missing,
        pulled_at=END + timedelta(hours=1),
        pull_seq=99_000,
        pulls=30,
        source="hris/bamboohr/demo",
        query="GET /employees/directory",
        source_rows=5120,
    )


MIXED = [
    Kind(),
    Kind(told_after=30.0),
    Kind(open_step="onedrive.grant_successor"),
    Kind(late_step="ad.disable_account"),
    Kind(mode=Mode.NOTIFICATION_ONLY, outcome=CaseOutcome.PLANNED),
    Kind(outcome=CaseOutcome.RESCINDED),
    Kind(outcome=CaseOutcome.RUNNING),
    Kind(told_after=-5.0, immediate=True),
]
"""One of each: in time, told late, not proven, late, rehearsed, rescinded, open, before the date."""
