"""What the workflow knows about its case, shared by the parts that run it."""

from __future__ import annotations

from datetime import datetime

from temporalio import workflow

from leaver.domain.account import Account
from leaver.domain.approval import approvers, handover_needs_approval
from leaver.domain.base import Facts
from leaver.domain.board import Board
from leaver.domain.case import CaseInput, CaseStatus
from leaver.domain.catalogue import CATALOGUE
from leaver.domain.effect import Effect, UnitResult
from leaver.domain.event import Knowledge, LeaverEvent
from leaver.domain.plan import Plan, build_plan
from leaver.domain.policy import Policy
from leaver.domain.words import CaseOutcome, Mode, Outcome, Phase, RecordType, System, Verb
from workflows.evidence_log import EvidenceLog
from workflows.text import instant


class Case:
    """The state of one case. Only workflow code touches it, so plain attributes are safe."""

    def __init__(self, given: CaseInput) -> None:
        self.given = given
        self.event: LeaverEvent = given.event
        self.policy: Policy = given.policy
        self.policy_digest = given.policy.digest
        self.log = EvidenceLog(given.case)
        self.board = Board(given.policy, self.clock_starts)
        self.phase = Phase.SCHEDULED
        self.accounts: dict[System, Account] = {}
        self.proofs: dict[str, Facts] = {}
        self.successor: Account | None = None
        self.plan: Plan | None = None
        self.held_because = ""
        self._protected: dict[str, str] = {}
        self._released: set[str] = set()
        self.rescinded = False
        self.acted = False
        self.asked_at: datetime | None = None
        self.decision: Verb | None = None
        self.decided_digest: str | None = None
        self.asked_again: list[str] = []
        self.heard: list[str] = []
        self.closed_at: datetime | None = None
        self.outcome = CaseOutcome.RUNNING
        self.waiting_for = ""

    @property
    def id(self) -> str:
        """The case id."""
        return self.given.case

    @property
    def cutoff(self) -> datetime:
        """When access ends, by HR's date and the policy (UTC)."""
        return self.event.data.separation.effective_at

    @property
    def clock_starts(self) -> datetime:
        """From when time limits count: the cut-off, or when HR told us if that was later."""
        separation = self.event.data.separation
        return self.given.received_at if separation.immediate else max(self.cutoff, self.given.received_at)

    @property
    def notification_only(self) -> bool:
        """Whether nothing is written at all."""
        return self.policy.mode is Mode.NOTIFICATION_ONLY

    @property
    def legal_hold(self) -> bool:
        """Whether steps that could lose data are forbidden."""
        hold = self.event.data.separation.legal_hold
        return hold is Knowledge.YES or (hold is Knowledge.UNKNOWN and self.policy.legal_hold_when_unknown)

    @property
    def protected_because(self) -> str:
        """Why nothing may be written until security releases the case, or an empty string."""
        return "; ".join(self._protected.values())

    def protect(self, why: str, *, about: str = "") -> None:
        """Stop the case before its next write, unless this was released before.

        ``about`` is the account's id: several systems may know one protected account by it.
        """
        key = about or why
        if why and key not in self._protected and key not in self._released:
            self._protected[key] = why
            self.changed("held", why=why)

    def release(self) -> None:
        """Let a protected or held case go on."""
        self._released.update(self._protected)
        self._protected.clear()
        self.held_because = ""

    @property
    def stopped(self) -> bool:
        """Whether no further step may begin."""
        return self.rescinded

    def systems(self) -> tuple[System, ...]:
        """The systems that take part."""
        return tuple(
            system
            for system in System
            if self.policy.system(system).enabled and (system is not System.AD or self.given.on_prem)
        )

    def replan(self) -> None:
        """Make the plan from what is known now; a changed plan is recorded and needs a new approval."""
        plan = build_plan(
            case=self.id,
            policy=self.policy,
            accounts=tuple(self.accounts.values()),
            successor=self.successor,
            policy_digest=self.policy_digest,
        )
        if self.plan is not None and plan.digest == self.plan.digest:
            return
        self.plan = plan
        self.board.follow(plan)
        self.log.record(RecordType.PLAN, self._plan_body(plan))

    def _plan_body(self, plan: Plan) -> Facts:
        return {
            "plan_digest": plan.digest,
            "policy_digest": plan.policy_digest,
            "accounts": list(plan.accounts),
            "successor_id": plan.successor,
            "steps": [
                {
                    "step": planned.step,
                    "account": planned.account,
                    "due": instant(self.board[planned.step].due),
                }
                for planned in plan.steps
            ],
            "omitted": [omission.model_dump(mode="json") for omission in plan.omitted],
        }

    def settle(self, unit: str, run: int, result: UnitResult) -> None:
        """Enter a unit's result: every attempt and every effect becomes evidence."""
        for attempt in result.attempts:
            body: Facts = {"unit": unit, "run": run, **attempt.model_dump(mode="json", exclude={"number"})}
            self.log.record(RecordType.ATTEMPT, {**body, "attempt": attempt.number})
        for effect in result.effects:
            self.enter(effect, run)

    def enter(self, effect: Effect, run: int = 1) -> None:
        """Enter one effect into the board and the evidence."""
        status = self.board.settle(effect)
        if effect.outcome.proven:
            self.proofs[effect.step] = effect.after
        account = self.accounts.get(status.system)
        self.log.record(
            RecordType.RESULT,
            {
                **effect.model_dump(mode="json"),
                "system": status.system.value,
                "phase": status.phase.value,
                "account": account.id if account else None,
                "run": run,
                "due": instant(status.due),
                "late": status.late,
                "controls": list(CATALOGUE[effect.step].controls),
            },
        )

    def raise_exception(self, step: str | None, cause: str, detail: str) -> None:
        """Record a control exception."""
        due = self.board[step].due if step and step in self.board else None
        self.log.record(
            RecordType.EXCEPTION_RAISED,
            {"step": step, "cause": cause, "due": instant(due), "detail": detail},
        )

    def changed(self, change: str, **facts: str | bool | None) -> None:
        """Record that somebody or something changed the course of the case."""
        self.log.record(RecordType.CHANGE, {"change": change, **facts})

    @property
    def approval_needed(self) -> bool:
        """Whether a person must approve the hand-over before it begins."""
        return not self.notification_only and handover_needs_approval(self.policy, self.event)

    @property
    def decided(self) -> bool:
        """Whether the hand-over of the present plan is decided."""
        return self.decision is not None and self.plan is not None and self.decided_digest == self.plan.digest

    @property
    def unapproved(self) -> bool:
        """Whether the hand-over may not run as the plan stands now (trap T10)."""
        return self.approval_needed and not self.decided

    def approvers_now(self) -> tuple[str, ...]:
        """Whose decision counts now."""
        now = workflow.now()
        return approvers(self.policy, self.event, asked_at=self.asked_at or now, now=now)

    def status(self) -> CaseStatus:
        """The answer of the status query."""
        return CaseStatus(
            case=self.id,
            person_ref=self.given.person_ref,
            phase=self.phase,
            outcome=self._outcome_now(),
            mode=self.policy.mode.value,
            hr_time=self.given.received_at,
            cutoff=self.cutoff,
            contained_at=self.board.contained_at,
            closed_at=self.closed_at,
            plan_digest=self.plan.digest if self.plan else None,
            policy_digest=self.policy_digest,
            waiting_for="; ".join(filter(None, (self.waiting_for, self._waiting_for_people()))),
            held_because=self.protected_because or self.held_because,
            approvers=self.approvers_now() if self.asked_at and not self.decided else (),
            decision=self.decision.value if self.decision and self.decided else "",
            steps=self.board.steps,
            omitted=self.plan.omitted if self.plan else (),
            records=self.log.count,
        )

    def _outcome_now(self) -> CaseOutcome:
        if self.outcome is CaseOutcome.RUNNING and (self.protected_because or self.held_because):
            return CaseOutcome.HELD
        return self.outcome

    def _waiting_for_people(self) -> str:
        stuck = [status.step for status in self.board.needing_person]
        if self.log.trouble:
            return f"the evidence ledger: {self.log.trouble}"
        return f"a person, for {', '.join(stuck)}" if stuck else ""

    def results(self) -> dict[str, Outcome]:
        """Every step's outcome."""
        return {status.step: status.outcome for status in self.board.steps}
