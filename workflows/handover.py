"""The hand-over approval: asked once per plan, decided by a signed statement, never in containment's way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from temporalio import workflow

from activities.contracts import EvidenceContract
from leaver.domain.approval import DECISIONS, Question, decision_refusal, operator_refusal
from leaver.domain.statement import Statement, Verdict, VerifyStatementInput
from leaver.domain.words import Phase, Reason, RecordType, Verb
from workflows.case import Case
from workflows.policies import evidence_config

Objection = Callable[[Verdict], str]


def _no_objection(_: Verdict) -> str:
    return ""


class Handover:
    """Asks for the approval and hears statements, for one case."""

    def __init__(self, case: Case) -> None:
        self._case = case

    async def approval(self) -> None:
        """Wait until the hand-over of the present plan is decided, or need not be.

        After the policy's deadline the fallback approvers may decide too; after as long again the policy's
        default applies.
        """
        case = self._case
        if not case.unapproved:
            return
        case.asked_at = workflow.now()
        deadline = timedelta(hours=case.policy.approvals.deadline_hours)
        case.changed("approval_asked", why="the hand-over of mailbox and files")
        if await self._decided_until(case.asked_at + deadline):
            return
        case.changed("approval_escalated", why="nobody decided before the deadline")
        if case.policy.approvals.at_deadline == "approve":
            if not await self._decided_until(case.asked_at + 2 * deadline):
                case.changed("approval_by_policy", why="the policy approves after its second deadline")
                self._enter(Verb.APPROVE)
            return
        await self._decided_until(None)

    async def _decided_until(self, until: datetime | None) -> bool:
        case = self._case
        case.waiting_for = "the approval of the hand-over"
        try:
            await workflow.wait_condition(
                lambda: case.decided or case.stopped,
                timeout=until - workflow.now() if until else None,
            )
        except TimeoutError:
            return False
        finally:
            case.waiting_for = ""
        return True

    async def hear(
        self, statement: Statement, *, verb: Verb | None = None, also: Objection = _no_objection
    ) -> tuple[str, Verdict]:
        """Check a statement and record it, whatever comes of it. Returns the refusal, or an empty string.

        ``verb`` is the operator's verb that was called; None means a decision. ``also`` may object to what
        is otherwise allowed.
        """
        case, body = self._case, statement.body
        if case.closed_at is not None:
            return "the case is closed; nothing can be added to its evidence", Verdict(valid=False)
        verdict = await workflow.execute_activity_method(
            EvidenceContract.verify_statement,
            VerifyStatementInput(case=case.id, statement=statement),
            **evidence_config(f"check the signature: {body.verb.value}"),
        )
        # Judged after the await, on the state as it is now: another decision may have come meanwhile.
        if verb is None:
            question = Question(
                case.id,
                case.plan.digest if case.plan else None,
                case.approvers_now(),
                case.decided and case.decision is Verb.APPROVE,
            )
            refusal = decision_refusal(body, verdict, question)
        else:
            refusal = operator_refusal(body, verdict, case=case.id, verb=verb, event=case.event)
        refusal = refusal or self._heard_before(body.nonce) or self._too_late(body.verb) or also(verdict)
        case.log.record(
            RecordType.APPROVAL,
            {
                "verb": body.verb.value,
                "by_ref": verdict.by_ref,
                "at": body.at.isoformat().replace("+00:00", "Z"),
                "plan_digest": body.plan_digest,
                "step": body.step,
                "statement_sha256": verdict.sha256,
                "key_id": statement.key_id,
                "signature": statement.signature,
                "accepted": not refusal,
                "refusal": refusal,
                "reason_given": bool(body.reason.strip()),
            },
        )
        if not refusal and body.verb in DECISIONS:
            self._enter(body.verb)
        return refusal, verdict

    def _heard_before(self, nonce: str) -> str:
        """A statement counts once, so that an old release cannot be sent again over a newer hold."""
        if nonce in self._case.heard:
            return "this statement was heard before; make a new one"
        self._case.heard.append(nonce)
        return ""

    def _too_late(self, verb: Verb) -> str:
        """Nothing runs any more once the case is being closed; that the person stays can still be said."""
        closing = self._case.phase is Phase.SEAL and verb is not Verb.RESCIND
        return "the case is being closed; nothing runs any more" if closing else ""

    def _enter(self, decision: Verb) -> None:
        case = self._case
        if decision is Verb.APPROVE:
            refused = [s.step for s in case.board.steps if s.reason is Reason.HANDOVER_REFUSED]
            case.asked_again.extend(refused)
        case.decision = decision
        case.decided_digest = case.plan.digest if case.plan else None
