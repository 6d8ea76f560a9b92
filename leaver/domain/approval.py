"""Who may decide what, and when. Pure rules; signatures are checked by the evidence worker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from leaver.domain.event import LeaverEvent
from leaver.domain.policy import Policy
from leaver.domain.statement import StatementBody, Verdict
from leaver.domain.words import Verb

OPERATOR_VERBS = frozenset({Verb.RETRY, Verb.HOLD, Verb.RELEASE, Verb.RESCIND})
"""What operators may say."""

DECISIONS = frozenset({Verb.APPROVE, Verb.REJECT})


def handover_needs_approval(policy: Policy, event: LeaverEvent) -> bool:
    """Whether somebody must approve before mailbox and files are handed over."""
    rules = policy.approvals
    if not rules.handover_required:
        return False
    return not rules.only_departments or event.data.person.department in rules.only_departments


def approvers(policy: Policy, event: LeaverEvent, *, asked_at: datetime, now: datetime) -> tuple[str, ...]:
    """Whose decision counts now (HR worker ids).

    The manager first; after the deadline the fallback approvers too. No manager, or a manager who is the
    leaver, means the fallback approvers at once (trap T9).
    """
    leaver = {event.subject, event.data.person.external_id}
    manager = event.data.person.manager.value if event.data.person.manager else None
    fallback = tuple(who for who in policy.approvals.fallback_approvers if who not in leaver)
    if manager is None or manager in leaver:
        return fallback
    overdue = now >= asked_at + timedelta(hours=policy.approvals.deadline_hours)
    return (manager, *(who for who in fallback if who != manager)) if overdue else (manager,)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked right now: about which case and plan, and who may answer."""

    case: str
    plan_digest: str | None
    allowed: tuple[str, ...]
    decided: bool


def decision_refusal(body: StatementBody, verdict: Verdict, question: Question) -> str:
    """Why this decision does not count, or an empty string."""
    checks = (
        (not verdict.valid, verdict.refusal or "the signature is not valid"),
        (body.case != question.case, "it is about another case"),
        (body.verb not in DECISIONS, f"'{body.verb.value}' is not a decision; use approve or reject"),
        (question.plan_digest is None, "there is no plan to decide on yet"),
        (
            body.plan_digest != question.plan_digest,
            "it is about another version of the plan; look at the case again and decide anew",
        ),
        (question.decided, "the hand-over of this plan is already decided"),
        (
            body.by not in question.allowed,
            "this person may not decide here; see 'approvers' in the case's status",
        ),
    )
    return next((why for wrong, why in checks if wrong), "")


def operator_refusal(
    body: StatementBody, verdict: Verdict, *, case: str, verb: Verb, event: LeaverEvent
) -> str:
    """Why this operator's verb does not count, or an empty string."""
    checks = (
        (not verdict.valid, verdict.refusal or "the signature is not valid"),
        (body.case != case, "it is about another case"),
        (body.verb is not verb, f"the statement says '{body.verb.value}', not '{verb.value}'"),
        (body.by in (event.subject, event.data.person.external_id), "nobody acts on their own case"),
        (not body.reason.strip(), "a reason is needed; it becomes part of the evidence"),
    )
    return next((why for wrong, why in checks if wrong), "")
