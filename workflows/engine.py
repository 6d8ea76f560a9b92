"""Running steps: who may run now, on which account, and what becomes of a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from activities.contracts import ExchangeContract
from leaver.domain.account import Account, ResolveInput, ResolveResult
from leaver.domain.base import Facts
from leaver.domain.catalogue import CATALOGUE, DEPENDENT_SYSTEMS, Gate, identify_step
from leaver.domain.effect import Effect, UnitInput, UnitResult
from leaver.domain.gates import mailbox_gate, passes_by_itself
from leaver.domain.words import Outcome, Phase, Reason, System, Verb
from workflows.case import Case
from workflows.failures import so_far, why
from workflows.policies import CONTAIN_WINDOW, GATE_POLL, WORK_WINDOW, ConfigMaker, read_config, unit_config
from workflows.units import RESOLVERS, UNITS

HANDOVER_STEPS = ("exchange.delegate_to_successor", "onedrive.grant_successor")


class Engine:
    """Runs the steps of one case. A unit never runs twice at the same time."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._busy: dict[str, asyncio.Lock] = {}

    async def resolve(self, system: System) -> None:
        """Find the account in this system and enter what was found."""
        case, step = self._case, identify_step(system)
        async with self._lock(step):
            if blockers := case.board.blockers(step):
                self.open_step(step, Reason.BLOCKED_BY_STEP, f"waits for {', '.join(blockers)}")
                return
            run = case.board.next_run(step)
            started = workflow.now()
            result = await self._look(system)
            self._found(result)
            case.enter(_identified(result, started_at=started), run)
            if result.reason is not None:
                case.raise_exception(step, result.reason.value, result.detail)

    async def _look(self, system: System) -> ResolveResult:
        if system in DEPENDENT_SYSTEMS and System.ENTRA not in self._case.accounts:
            return ResolveResult(system=system, detail="there is no account in Entra ID that could have one")
        config = self._config(f"{system.value}.resolve", Phase.INTAKE, read_config)
        try:
            return await workflow.execute_activity_method(RESOLVERS[system], self._who(), **config)
        except ActivityError as err:
            if is_cancelled_exception(err):
                raise
            reason, detail = why(err)
            return ResolveResult(system=system, reason=reason, detail=detail)

    def _who(self) -> ResolveInput:
        case = self._case
        manager = case.event.data.person.manager
        return ResolveInput(
            case=case.id,
            person=case.event.data.person,
            mode=case.policy.mode,
            linked=tuple(case.accounts.values()),
            successor_email=manager.email if manager else None,
        )

    def _found(self, result: ResolveResult) -> None:
        case = self._case
        if result.account is not None and result.reason is None:
            case.accounts[result.system] = result.account
            if (about := result.account.id.casefold()) in case.policy.protected.account_ids:
                case.protect(f"the account in {result.system.value} is protected by the policy", about=about)
            case.protect(_disagreement(case.accounts))
        if result.system is System.ENTRA and result.reason is None:
            # Also when there is none (any more): files must not go to a manager of yesterday.
            case.successor = result.successor

    async def unprotected(self) -> None:
        """Wait while somebody or something protected stops the case (traps T6, T44)."""
        case = self._case
        await workflow.wait_condition(lambda: not case.protected_because or case.stopped)

    async def run_phase(self, phase: Phase, *, only: System | None = None, asked: Sequence[str] = ()) -> None:
        """Run every unit of a phase that may run now, side by side."""
        units = self._case.board.runnable(phase, asked=asked)
        if only is not None:
            units = {unit: steps for unit, steps in units.items() if System(unit.split(".")[0]) is only}
        await asyncio.gather(*(self._run_unit(unit, phase, steps) for unit, steps in units.items()))

    async def rerun(self, steps: Sequence[str]) -> None:
        """Run these steps again: an operator asked, or what they waited for has come."""
        by_unit: dict[str, list[str]] = {}
        for step in steps:
            by_unit.setdefault(CATALOGUE[step].unit, []).append(step)
        await asyncio.gather(
            *(
                self.resolve(CATALOGUE[names[0]].system)
                if CATALOGUE[names[0]].phase is Phase.INTAKE
                else self._run_unit(unit, CATALOGUE[names[0]].phase, tuple(names))
                for unit, names in by_unit.items()
            )
        )

    async def _run_unit(self, unit: str, phase: Phase, steps: tuple[str, ...]) -> None:
        async with self._lock(unit):
            # An account that was found late may be a protected one, whatever was checked before.
            await self.unprotected()
            # Somebody may have run them while this call waited for its turn.
            board = self._case.board
            left = tuple(step for step in steps if not board[step].outcome.effective or step in board.stale)
            ready = await self._ready(phase, left)
            if ready and not self._case.stopped:
                await self._execute(unit, phase, ready)

    async def _ready(self, phase: Phase, steps: tuple[str, ...]) -> tuple[str, ...]:
        """The steps that may run now; the others are settled as open, with the reason."""
        case = self._case
        ready: list[str] = []
        for step in steps:
            blockers = [name for name in case.board.blockers(step) if name not in ready]
            if blockers:
                self.open_step(step, Reason.BLOCKED_BY_STEP, f"waits for {', '.join(blockers)}")
            elif step in HANDOVER_STEPS and case.decision is Verb.REJECT:
                self.open_step(step, Reason.HANDOVER_REFUSED, "the hand-over was refused")
            else:
                ready.append(step)
        if phase in (Phase.INTAKE, Phase.CONTAIN) or case.notification_only:
            return tuple(ready)
        left = tuple(ready)
        while True:
            # Nothing that follows containment runs ahead of its evidence or under a hold.
            await case.log.flushed()
            await workflow.wait_condition(lambda: not case.held_because or case.stopped)
            left = await self._through_gates(left)
            if not case.held_because or case.stopped:
                # The plan may have changed since it was approved; its new form is asked for beside this.
                return () if phase is Phase.PRESERVE and case.unapproved else left
            # A hold came while the gate was read; it counts for what the gate let through.

    async def _through_gates(self, steps: tuple[str, ...]) -> tuple[str, ...]:
        if self._case.legal_hold:
            risky = [step for step in steps if CATALOGUE[step].destructive]
            steps = self._shut_out(steps, risky, "the person is, or may be, under a legal hold")
        gated = [step for step in steps if CATALOGUE[step].gate is Gate.MAILBOX_SAFE]
        closed = await self._mailbox_gate() if gated else ""
        return self._shut_out(steps, gated, closed) if closed else steps

    def _shut_out(self, steps: tuple[str, ...], which: Sequence[str], why_not: str) -> tuple[str, ...]:
        for step in which:
            self.open_step(step, Reason.GATE_CLOSED, why_not)
        return tuple(step for step in steps if step not in which)

    async def _mailbox_gate(self) -> str:
        """Why licences must stay, or an empty string. Waits a while for a conversion to arrive."""
        case = self._case
        for system in DEPENDENT_SYSTEMS:
            step = identify_step(system)
            if step not in case.board or not case.board[step].outcome.effective:
                return f"it is not known whether there is anything to save in {system.value}"
        mailbox = case.accounts.get(System.EXCHANGE)
        if mailbox is None:
            return ""
        closed = ""
        for pause in (timedelta(), *GATE_POLL):
            await workflow.sleep(pause) if pause else None
            try:
                facts = await workflow.execute_activity_method(
                    ExchangeContract.mailbox_facts,
                    self._input("exchange.mailbox_facts", mailbox, (), 1),
                    **self._config("exchange.mailbox_facts", Phase.LICENCES, read_config),
                )
            except ActivityError as err:
                if is_cancelled_exception(err):
                    raise
                return f"the mailbox could not be read: {why(err)[1]}"
            closed = mailbox_gate(facts, case.policy)
            if not closed or not passes_by_itself(facts):
                break
        return closed

    async def _execute(self, unit: str, phase: Phase, steps: tuple[str, ...]) -> None:
        case = self._case
        account = case.accounts[CATALOGUE[steps[0]].system]
        run = case.board.next_run(unit)
        arg = self._input(unit, account, steps, run)
        case.acted = case.acted or not case.notification_only
        try:
            result = await workflow.execute_activity_method(
                UNITS[unit], arg, **self._config(unit, phase, unit_config)
            )
        except ActivityError as err:
            if is_cancelled_exception(err):
                raise
            before = so_far(err, account.system)
            case.settle(unit, run, before)
            self._report_open(before)
            reason, detail = why(err)
            done = {effect.step for effect in before.effects}
            for step in steps:
                if step not in done:
                    self.open_step(step, reason, detail, run)
            return
        case.settle(unit, run, result)
        self._report_open(result)

    def _input(self, unit: str, account: Account, steps: tuple[str, ...], run: int) -> UnitInput:
        case = self._case
        parameters: Facts = dict(case.plan.parameters.get(unit, {})) if case.plan else {}
        return UnitInput(
            case=case.id,
            unit=unit,
            mode=case.policy.mode,
            account=account,
            successor=case.successor,
            steps=steps,
            not_before=workflow.now(),
            run=run,
            parameters=parameters,
        )

    def _config(self, unit: str, phase: Phase, kind: ConfigMaker) -> workflow.ActivityConfig:
        case = self._case
        urgent = phase in (Phase.INTAKE, Phase.CONTAIN)
        config = kind(
            unit,
            phase,
            site=case.given.site,
            immediate=case.event.data.separation.immediate,
            window=CONTAIN_WINDOW if urgent else WORK_WINDOW,
        )
        config["summary"] = unit.replace(".", ": ")
        return config

    def open_step(self, step: str, reason: Reason, detail: str, run: int = 1) -> None:
        """Settle a step as one that needs a person, and record the control exception."""
        now = workflow.now()
        effect = Effect(
            step=step,
            outcome=Outcome.OPEN,
            reason=reason,
            detail=detail,
            started_at=now,
            finished_at=now,
            attempts=0,
        )
        self._case.enter(effect, run)
        self._case.raise_exception(step, reason.value, detail)

    def _report_open(self, result: UnitResult) -> None:
        for effect in result.effects:
            if effect.outcome.needs_person:
                cause = effect.reason.value if effect.reason else effect.outcome.value
                self._case.raise_exception(effect.step, cause, effect.detail)

    def _lock(self, name: str) -> asyncio.Lock:
        return self._busy.setdefault(name, asyncio.Lock())


def _disagreement(accounts: dict[System, Account]) -> str:
    """Why the accounts found cannot be of one person, or an empty string."""
    entra, directory = accounts.get(System.ENTRA), accounts.get(System.AD)
    if entra is None or directory is None or entra.linked_id is None:
        return ""
    if entra.linked_id.casefold() == directory.id.casefold():
        return ""
    return "Entra ID says that its account is mastered by another Active Directory object than the one found"


def _identified(result: ResolveResult, *, started_at: datetime) -> Effect:
    outcome = Outcome.VERIFIED if result.account else Outcome.ABSENT
    after: Facts = {"account": result.account.id, "rule": result.account.rule.value} if result.account else {}
    return Effect(
        step=identify_step(result.system),
        outcome=Outcome.OPEN if result.reason else outcome,
        after=after,
        reason=result.reason,
        detail=result.detail,
        started_at=started_at,
        finished_at=workflow.now(),
    )
