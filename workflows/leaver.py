"""The case of one leaver, from HR's word to sealed evidence. Reads like the table of a case's life."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from leaver.domain.base import Facts
from leaver.domain.case import CaseInput, CaseResult, CaseStatus, UpdateAnswer
from leaver.domain.catalogue import CATALOGUE, DEPENDENT_SYSTEMS, IDENTITY_SYSTEMS, identify_step
from leaver.domain.event import EventType, LeaverEvent
from leaver.domain.ids import watch_workflow_id
from leaver.domain.protection import why_protected
from leaver.domain.search import DUE, OUTCOME, PHASE, SITE
from leaver.domain.statement import Statement, Verdict
from leaver.domain.words import CaseOutcome, ErrorType, Outcome, Phase, Reason, RecordType, System, Verb
from workflows.case import Case
from workflows.engine import Engine
from workflows.handover import Handover
from workflows.policies import INTAKE_GRACE
from workflows.text import details, instant
from workflows.upkeep import Upkeep
from workflows.watch import WatchInput, WatchWorkflow

_PHASE = SearchAttributeKey.for_keyword(PHASE)
_OUTCOME = SearchAttributeKey.for_keyword(OUTCOME)
_SITE = SearchAttributeKey.for_keyword(SITE)
_DUE = SearchAttributeKey.for_datetime(DUE)


@workflow.defn(name="LeaverWorkflow")
class LeaverWorkflow:
    """One separation of one employment spell."""

    @workflow.init
    def __init__(self, given: CaseInput) -> None:
        self._case = Case(given)
        self._engine = Engine(self._case)
        self._handover = Handover(self._case)
        self._upkeep = Upkeep(self._case, self._engine, self._handover, self._show)
        self._shown: tuple[Phase, CaseOutcome] | None = None
        self._looking: dict[System, asyncio.Task[None]] = {}
        self._hr_spoke = False

    @workflow.run
    async def run(self, given: CaseInput) -> CaseResult:  # noqa: ARG002 - @workflow.init took it
        """Live the case to its end and return how it ended."""
        sealing = self._upkeep.beside(self._case.log.run())
        self._record_opening()
        try:
            await self._scheduled()
            if not self._case.stopped:
                await self._act()
        except (asyncio.CancelledError, ActivityError) as err:
            if not is_cancelled_exception(err):
                raise
            # Containment is never rolled back; what is not done is shown as not done.
            self._case.changed("cancelled", why="the workflow was cancelled in Temporal")
        # Not in a finally: a workflow that leaves the worker's cache is closed there, and must not wait.
        await self._upkeep.end(*self._looking.values())
        result = await self._seal()
        await sealing
        await self._watch()
        return result

    async def _act(self) -> None:
        """Everything between the cut-off and the seal."""
        await self._intake()
        self._upkeep.watch_the_clock()
        await self._contain()
        self._upkeep.start()
        await self._credentials()
        # Access does not wait for the approval of the hand-over: both go side by side.
        await asyncio.gather(self._preserve(), self._entitlements())
        await self._licences()
        await self._settled()

    # ------------------------------------------------------------------ phases

    async def _scheduled(self) -> None:
        """Sleep until the cut-off; HR may move it or take it back meanwhile."""
        case = self._case
        # Whoever started this: a message that somebody stays never takes anything from them.
        case.rescinded = case.rescinded or case.event.type is EventType.RESCINDED
        self._enter(Phase.SCHEDULED)
        while not case.stopped:
            due = case.cutoff - workflow.now()
            if case.event.data.separation.immediate or due.total_seconds() <= 0:
                return
            workflow.upsert_search_attributes([_DUE.value_set(case.cutoff)])
            self._hr_spoke = False
            try:
                await workflow.wait_condition(lambda: self._hr_spoke or case.stopped, timeout=due)
            except TimeoutError:
                return

    async def _intake(self) -> None:
        """Find the accounts in every identity system at once; refuse protected and doubtful ones."""
        case = self._case
        case.board.restart_clock(case.clock_starts)
        self._enter(Phase.INTAKE)
        for system in case.systems():
            case.board.expect(system)
        case.protect(why_protected(case.policy, case.event.data.person, worker=case.event.subject))
        await self._unprotected()
        for system in IDENTITY_SYSTEMS:
            if system in case.systems():
                self._looking[system] = asyncio.create_task(self._engine.resolve(system))
        if self._looking:
            await workflow.wait(self._looking.values(), timeout=INTAKE_GRACE.total_seconds())
        await self._look_where_it_is_mastered()
        await self._unprotected()
        case.replan()

    async def _look_where_it_is_mastered(self) -> None:
        """A synced account is mastered in Active Directory: blocking only the cloud's copy does not last."""
        case = self._case
        entra, step = case.accounts.get(System.ENTRA), identify_step(System.AD)
        if entra is None or not entra.synced:
            return
        if step not in case.board:
            case.board.expect(System.AD)
            why = "the account is mastered in Active Directory, which this installation does not manage"
            self._engine.open_step(step, Reason.MASTERED_ELSEWHERE, why)
        elif case.board[step].outcome is Outcome.ABSENT:
            await self._engine.resolve(System.AD)

    async def _contain(self) -> None:
        """Cut off sign-in in every system, each on its own: a slow one delays no other."""
        self._enter(Phase.CONTAIN)
        await asyncio.gather(*(self._contain_in(system) for system in self._looking))
        self._fail_closed()
        self._show()

    async def _contain_in(self, system: System) -> None:
        case = self._case
        await self._looking[system]
        await self._look_where_it_is_mastered()
        await self._unprotected()
        case.replan()
        if system is System.ENTRA:
            for dependent in DEPENDENT_SYSTEMS:
                if dependent in case.systems():
                    self._looking[dependent] = asyncio.create_task(self._engine.resolve(dependent))
        await self._engine.run_phase(Phase.CONTAIN, only=system)

    async def _credentials(self) -> None:
        """Remove what could sign in again."""
        self._enter(Phase.CREDENTIALS)
        await self._upkeep.run(Phase.CREDENTIALS)

    async def _preserve(self) -> None:
        """Save mailbox and files for the successor, once that is approved."""
        case = self._case
        self._enter(Phase.PRESERVE)
        await asyncio.gather(*self._looking.values())
        case.replan()
        await self._handover.approval()
        await self._upkeep.run(Phase.PRESERVE)

    async def _entitlements(self) -> None:
        """Leave groups, move the account to where leavers are kept."""
        await asyncio.gather(*self._looking.values())
        self._case.replan()
        await self._upkeep.run(Phase.ENTITLEMENTS)

    async def _licences(self) -> None:
        """Reclaim licences, behind the gate."""
        self._enter(Phase.LICENCES)
        await self._upkeep.run(Phase.LICENCES)

    async def _settled(self) -> None:
        """Wait for the people that open steps need; in the end close the case as what it is."""
        case = self._case
        if case.notification_only:
            return
        patience = self._case.policy.seal.close_with_exceptions_after_days * 86_400
        try:
            await workflow.wait_condition(
                lambda: self._upkeep.nothing_left() or case.stopped, timeout=patience
            )
        except TimeoutError:
            case.changed("closed_with_open_steps", why="the policy's patience with open steps ended")

    async def _seal(self) -> CaseResult:
        """Close the case's evidence with its count. Nothing is called done that is not.

        The last record is written when all others are sealed and nobody is being heard: from then on
        messages are refused, because a record after the last one would make the whole chain unfit.
        """
        case = self._case
        self._enter(Phase.SEAL)
        while not self._quiet():
            await workflow.wait_condition(self._quiet)
        case.outcome = self._final_outcome()
        case.closed_at = workflow.now()
        body: Facts = {
            "outcome": case.outcome.value,
            "contained_at": instant(case.board.contained_at),
            "closed_at": instant(case.closed_at),
            "count": case.log.count + 1,
            "steps": {step: outcome.value for step, outcome in case.results().items()},
        }
        case.log.record(RecordType.CASE_CLOSED, body)
        await case.log.close()
        return CaseResult(
            case=case.id,
            outcome=case.outcome,
            contained_at=case.board.contained_at,
            closed_at=case.closed_at,
            steps=case.results(),
            records=case.log.count,
        )

    def _quiet(self) -> bool:
        return workflow.all_handlers_finished() and self._case.log.idle

    async def _watch(self) -> None:
        """Hand over to the re-verification, which outlives the case and exports its history."""
        case = self._case
        self._enter(Phase.WATCH)
        info = workflow.info()
        await workflow.start_child_workflow(
            WatchWorkflow.run,
            WatchInput(
                case=case.id,
                workflow_id=info.workflow_id,
                first_run_id=info.first_execution_run_id,
                mode=case.policy.mode,
                site=case.given.site,
                accounts=tuple(account for system, account in case.accounts.items() if case.acted),
                proofs={
                    step: facts
                    for step, facts in case.proofs.items()
                    if CATALOGUE[step].phase is Phase.CONTAIN
                },
                reverify_after_minutes=case.policy.watch.reverify_after_minutes,
                contained_at=case.board.contained_at,
            ),
            id=watch_workflow_id(case.id),
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            static_summary="evidence bundle and re-verification",
        )

    # ------------------------------------------------------------------ messages

    @workflow.signal
    async def manager_decision(self, statement: Statement) -> None:
        """The manager's decision on the hand-over, as a signed statement."""
        await self._handover.hear(statement)

    @workflow.signal
    def hr_changed(self, event: LeaverEvent) -> None:
        """HR has news of this separation. Old news and repetitions change nothing."""
        case = self._case
        if event.id == case.event.id or case.closed_at is not None:
            return
        newer = event.revision > case.event.revision
        started = case.phase is not Phase.SCHEDULED
        if event.type is EventType.RESCINDED and newer:
            case.changed("rescinded_by_hr", **{"from": case.phase.value})
            case.rescinded = True
        elif newer and not started:
            case.event = event
            self._hr_spoke = True
        elif newer:
            # Another manager and a legal hold still matter; the date does not any more.
            hold = {"legal_hold": event.data.separation.legal_hold}
            separation = case.event.data.separation.model_copy(update=hold)
            kept = event.data.model_copy(update={"separation": separation})
            case.event = event.model_copy(update={"data": kept})
        late = "the cut-off has passed; only the person's data and a legal hold were taken over"
        why = "" if newer and not started else late if newer else "older than what is known"
        provenance = event.data.provenance
        case.log.record(
            RecordType.HR_EVENT,
            {
                "event_id": event.id,
                "event_type": event.type.value,
                "raw_sha256": provenance.raw_sha256,
                "cutoff": instant(event.data.separation.effective_at),
                "applied": newer,
                "why": why,
            },
        )

    @workflow.update
    async def decide(self, statement: Statement) -> UpdateAnswer:
        """Approve or reject the hand-over."""
        refusal, _ = await self._handover.hear(statement)
        _raise_if(refusal)
        return UpdateAnswer(accepted=True, message=f"{statement.body.verb.value}: recorded")

    @workflow.update
    async def retry_step(self, statement: Statement) -> UpdateAnswer:
        """Run an open step again."""
        step, board = statement.body.step or "", self._case.board

        def why_not(_: Verdict) -> str:
            if step in board and board[step].outcome.needs_person:
                return ""
            return f"'{step}' is not an open step of this case; see 'steps' in the case's status"

        refusal, _ = await self._handover.hear(statement, verb=Verb.RETRY, also=why_not)
        _raise_if(refusal)
        self._case.asked_again.append(step)
        return UpdateAnswer(accepted=True, message=f"{step} runs again")

    @workflow.update
    async def hold(self, statement: Statement) -> UpdateAnswer:
        """Stop everything after containment, e.g. for a legal hold."""
        refusal, verdict = await self._handover.hear(statement, verb=Verb.HOLD)
        _raise_if(refusal)
        self._case.held_because = statement.body.reason
        self._case.changed("held", by_ref=verdict.by_ref)
        self._show()
        return UpdateAnswer(accepted=True, message="held; containment goes on, nothing else does")

    @workflow.update
    async def release(self, statement: Statement) -> UpdateAnswer:
        """End a hold, or let a protected person's case go on."""
        case = self._case

        def why_not(verdict: Verdict) -> str:
            if case.protected_because and "security" not in verdict.roles:
                return "a protected person is released by security only"
            return "" if case.protected_because or case.held_because else "the case is not held"

        refusal, verdict = await self._handover.hear(statement, verb=Verb.RELEASE, also=why_not)
        _raise_if(refusal)
        case.changed("released", by_ref=verdict.by_ref, why=case.protected_because or "hold")
        case.release()
        self._show()
        return UpdateAnswer(accepted=True, message="released")

    @workflow.update
    async def rescind(self, statement: Statement) -> UpdateAnswer:
        """The person stays after all: no further step begins."""
        refusal, verdict = await self._handover.hear(statement, verb=Verb.RESCIND)
        _raise_if(refusal)
        self._case.changed("rescinded", by_ref=verdict.by_ref, **{"from": self._case.phase.value})
        self._case.rescinded = True
        return UpdateAnswer(accepted=True, message="rescinded; the status lists what ran already")

    @workflow.query
    def status(self) -> CaseStatus:
        """Where the case stands; no names, no addresses."""
        return self._case.status()

    # ------------------------------------------------------------------ small things

    def _record_opening(self) -> None:
        case, info = self._case, workflow.info()
        separation, provenance = case.event.data.separation, case.event.data.provenance
        case.log.record(
            RecordType.CASE_OPENED,
            {
                "person_ref": case.given.person_ref,
                "event_id": case.event.id,
                "event_type": case.event.type.value,
                "source": case.event.source,
                "raw_sha256": provenance.raw_sha256,
                "hr_time": instant(provenance.source_changed_at or provenance.observed_at),
                "cutoff": instant(separation.effective_at),
                "received_at": instant(case.given.received_at),
                "mode": case.policy.mode.value,
                "policy_digest": case.policy_digest,
                "policy_name": case.policy.name,
                "policy_version": case.policy.version,
                "workflow_id": info.workflow_id,
                "run_id": info.run_id,
                "immediate": separation.immediate,
                "legal_hold": separation.legal_hold.value,
            },
        )

    async def _unprotected(self) -> None:
        """Wait while a protected person or account, or accounts of different people, stop the case."""
        if self._case.protected_because:
            self._show()
        await self._engine.unprotected()

    def _fail_closed(self) -> None:
        """Nobody was found anywhere: that is a question, never a success (trap T12)."""
        case = self._case
        looked = [identify_step(system) for system in self._looking if system in IDENTITY_SYSTEMS]
        if looked and all(case.board[step].outcome is Outcome.ABSENT for step in looked):
            for step in looked:
                self._engine.open_step(
                    step, Reason.NO_ACCOUNT_ANYWHERE, "no system knows this person; check what HR sent"
                )

    def _final_outcome(self) -> CaseOutcome:
        case = self._case
        if case.rescinded:
            return CaseOutcome.RESCINDED_AFTER_CUTOFF if case.acted else CaseOutcome.RESCINDED
        return case.board.outcome(notification_only=case.notification_only)

    def _enter(self, phase: Phase) -> None:
        self._case.phase = phase
        self._show()

    def _show(self) -> None:
        """Make the Temporal UI say what the status says."""
        status = self._case.status()
        workflow.set_current_details(details(status))
        if self._shown != (status.phase, status.outcome):  # each change is an event of the history
            self._shown = (status.phase, status.outcome)
            workflow.upsert_search_attributes(
                [
                    _PHASE.value_set(status.phase.value),
                    _OUTCOME.value_set(status.outcome.value),
                    _SITE.value_set(self._case.given.site or "default"),
                ]
            )


def _raise_if(refusal: str) -> None:
    if refusal:
        raise ApplicationError(refusal, type=ErrorType.DECISION_REFUSED.value, non_retryable=True)
