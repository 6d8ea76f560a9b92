"""Approvals, gates, protection and the board: the rules that keep a case honest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaver.domain.approval import (
    Question,
    approvers,
    decision_refusal,
    handover_needs_approval,
    operator_refusal,
)
from leaver.domain.board import Board
from leaver.domain.catalogue import CATALOGUE
from leaver.domain.effect import Effect, MailboxFacts
from leaver.domain.gates import mailbox_gate, passes_by_itself
from leaver.domain.policy import ApprovalPolicy, Policy, ProtectedPolicy
from leaver.domain.protection import why_protected
from leaver.domain.statement import StatementBody, Verdict
from leaver.domain.words import CaseOutcome, Outcome, Phase, Reason, System, Verb
from tests.support.world import event

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CASE = "c-" + "a" * 26
EVENT = event(effective_at=NOW)
GOOD = Verdict(valid=True, roles=("approver", "operator"))


def body(verb: Verb = Verb.APPROVE, **changes: str | None) -> StatementBody:
    told = {"case": CASE, "by": "E2001", "nonce": "n", "plan_digest": "sha256:p", "reason": "because"}
    return StatementBody.model_validate({**told, "verb": verb, "at": NOW, **changes})


QUESTION = Question(case=CASE, plan_digest="sha256:p", allowed=("E2001",), decided=False)


@pytest.mark.parametrize(
    ("statement", "verdict", "question", "part"),
    [
        (body(), GOOD, QUESTION, ""),
        (body(Verb.REJECT), GOOD, QUESTION, ""),
        (body(), Verdict(valid=False, refusal="forged"), QUESTION, "forged"),
        (body(case="c-" + "b" * 26), GOOD, QUESTION, "another case"),
        (body(Verb.HOLD), GOOD, QUESTION, "not a decision"),
        (body(plan_digest="sha256:old"), GOOD, QUESTION, "another version"),
        (body(plan_digest=None), GOOD, QUESTION, "another version"),
        (body(by="E1001"), GOOD, QUESTION, "may not decide"),
        (body(), GOOD, Question(CASE, "sha256:p", ("E2001",), decided=True), "already decided"),
        (body(), GOOD, Question(CASE, None, ("E2001",), decided=False), "no plan"),
    ],
)
def test_decisions(statement: StatementBody, verdict: Verdict, question: Question, part: str) -> None:
    refusal = decision_refusal(statement, verdict, question)
    assert (part in refusal) if part else not refusal


@pytest.mark.parametrize(
    ("statement", "verdict", "part"),
    [
        (body(Verb.HOLD), GOOD, ""),
        (body(Verb.HOLD), Verdict(valid=False), "not valid"),
        (body(Verb.RELEASE), GOOD, "not 'hold'"),
        (body(Verb.HOLD, by="E1001"), GOOD, "own case"),
        (body(Verb.HOLD, reason="  "), GOOD, "reason is needed"),
        (body(Verb.HOLD, case="c-" + "b" * 26), GOOD, "another case"),
    ],
)
def test_operators(statement: StatementBody, verdict: Verdict, part: str) -> None:
    refusal = operator_refusal(statement, verdict, case=CASE, verb=Verb.HOLD, event=EVENT)
    assert (part in refusal) if part else not refusal


def asking(**rules: object) -> Policy:
    return Policy(approvals=ApprovalPolicy.model_validate(rules))


@pytest.mark.parametrize(
    ("manager", "hours", "expected"),
    [
        ("E2001", 0, ("E2001",)),
        ("E2001", 71, ("E2001",)),
        ("E2001", 72, ("E2001", "E3001")),
        (None, 0, ("E3001",)),
        ("E1001", 0, ("E3001",)),
    ],
    ids=["manager", "before-the-deadline", "after-it", "no-manager", "own-manager"],
)
def test_who_may_decide(manager: str | None, hours: int, expected: tuple[str, ...]) -> None:
    """T9: no usable manager means the fallback at once."""
    policy = asking(fallback_approvers=("E3001", "E1001"))
    told = event(effective_at=NOW, manager=manager)
    assert approvers(policy, told, asked_at=NOW, now=NOW + timedelta(hours=hours)) == expected


@pytest.mark.parametrize(
    ("rules", "needed"),
    [({}, True), ({"handover_required": False}, False), ({"only_departments": ["Sales"]}, False)],
)
def test_when_the_hand_over_is_asked_for(rules: dict[str, object], needed: bool) -> None:
    assert handover_needs_approval(asking(**rules), EVENT) is needed


SHARED = MailboxFacts(exists=True, recipient_type="SharedMailbox", user_purpose="shared", size_bytes=1)


@given(
    st.sampled_from(["SharedMailbox", "UserMailbox", None]),
    st.sampled_from(["shared", "user", None]),
    st.sampled_from([None, 1, 49 * 1024**3, 49 * 1024**3 + 1]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2),
)
def test_the_gate_opens_for_a_proven_small_free_shared_mailbox_only(
    kind: str | None, purpose: str | None, size: int | None, archive: bool, hold: bool, holds: int
) -> None:
    facts = MailboxFacts(
        exists=True,
        recipient_type=kind,
        user_purpose=purpose,
        size_bytes=size,
        archive=archive,
        litigation_hold=hold,
        in_place_holds=holds,
    )
    safe = (
        kind == "SharedMailbox"
        and purpose == "shared"
        and size is not None
        and size <= 49 * 1024**3
        and not (archive or hold or holds)
    )
    assert (mailbox_gate(facts, Policy()) == "") is safe


def test_no_mailbox_opens_the_gate_and_waiting_helps_a_conversion_only() -> None:
    assert mailbox_gate(MailboxFacts(exists=False), Policy()) == ""
    assert passes_by_itself(SHARED.model_copy(update={"user_purpose": "user"}))
    assert not passes_by_itself(SHARED.model_copy(update={"archive": True}))


@pytest.mark.parametrize(
    ("protected", "expected"),
    [
        (ProtectedPolicy(), False),
        (ProtectedPolicy(external_ids=("e1001",)), True),
        (ProtectedPolicy(external_ids=("W-77",)), True),
        (ProtectedPolicy(user_names=("MIRA.LINDQVIST@northwind.example",)), True),
        (ProtectedPolicy(external_ids=("E1002",), user_names=("mira@northwind.example",)), False),
    ],
)
def test_protection(protected: ProtectedPolicy, expected: bool) -> None:
    why = why_protected(Policy(protected=protected), EVENT.data.person, worker="W-77")
    assert bool(why) is expected
    assert "indqvist" not in why


def effect(step: str, outcome: Outcome, at: datetime = NOW, reason: Reason | None = None) -> Effect:
    return Effect(step=step, outcome=outcome, reason=reason, started_at=at, finished_at=at)


def board_with(outcomes: dict[str, Outcome], *, at: datetime = NOW) -> Board:
    board = Board(Policy(), NOW)
    for name, outcome in outcomes.items():
        board._add(CATALOGUE[name])
        if outcome is not Outcome.PENDING:
            board.settle(effect(name, outcome, at))
    return board


steps = st.dictionaries(st.sampled_from(list(CATALOGUE)), st.sampled_from(list(Outcome)))


@given(steps)
def test_completed_means_every_step_proven_in_time(outcomes: dict[str, Outcome]) -> None:
    """T12, T67: nothing acted on, or one unproven step, is never called completed."""
    result = board_with(outcomes).outcome(notification_only=False)
    acted = [name for name in outcomes if CATALOGUE[name].phase is not Phase.INTAKE]
    proven = all(outcome.proven for outcome in outcomes.values())
    expected = CaseOutcome.COMPLETED if acted and proven else CaseOutcome.COMPLETED_WITH_EXCEPTIONS
    assert result is expected


@given(steps)
def test_contained_means_every_containment_step_and_look_up_is_effective(
    outcomes: dict[str, Outcome],
) -> None:
    board = board_with(outcomes)
    contain = {n: o for n, o in outcomes.items() if CATALOGUE[n].phase is Phase.CONTAIN}
    looked = [outcomes.get(name) for name in ("entra.identify_account", "ad.identify_account")]
    expected = (
        bool(contain)
        and all(o.effective and o is not Outcome.PLANNED for o in contain.values())
        and all(o.effective for o in looked if o is not None)
    )
    assert board.contained is expected
    assert (board.contained_at is not None) is expected


def test_a_late_step_is_an_exception_though_it_is_proven() -> None:
    board = board_with({"entra.block_sign_in": Outcome.VERIFIED}, at=NOW + timedelta(hours=2))
    assert board["entra.block_sign_in"].late
    assert board.outcome(notification_only=False) is CaseOutcome.COMPLETED_WITH_EXCEPTIONS


def test_a_revocation_before_the_block_is_stale_until_it_is_repeated() -> None:
    """T15."""
    board = board_with({"entra.block_sign_in": Outcome.OPEN, "entra.revoke_sessions": Outcome.VERIFIED})
    assert board.stale == ()
    board.settle(effect("entra.block_sign_in", Outcome.VERIFIED, NOW + timedelta(seconds=5)))
    assert board.stale == ("entra.revoke_sessions",)
    board.settle(effect("entra.revoke_sessions", Outcome.VERIFIED, NOW + timedelta(seconds=6)))
    assert board.stale == ()


def test_blocked_steps_wait_and_then_run() -> None:
    board = board_with({"entra.block_sign_in": Outcome.OPEN})
    board._add(CATALOGUE["entra.remove_auth_methods"])
    assert board.blockers("entra.remove_auth_methods") == ("entra.block_sign_in",)
    board.settle(effect("entra.remove_auth_methods", Outcome.OPEN, reason=Reason.BLOCKED_BY_STEP))
    assert board.unblocked == ()
    board.settle(effect("entra.block_sign_in", Outcome.VERIFIED))
    assert board.unblocked == ("entra.remove_auth_methods",)
    assert board.runnable(Phase.CREDENTIALS) == {"entra.credentials": ("entra.remove_auth_methods",)}


def test_time_limits_come_from_the_policy_of_the_system() -> None:
    policy = Policy.model_validate({"systems": {"ad": {"contain_within_minutes": 7}}})
    board = Board(policy, NOW)
    board.expect(System.AD)
    board.expect(System.ENTRA)
    assert board["ad.identify_account"].due == NOW + timedelta(minutes=7)
    assert board["entra.identify_account"].due == NOW + timedelta(minutes=60)


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_events_are_ordered_by_revision_first(a: int, b: int, x: int, y: int) -> None:
    one = event(effective_at=NOW + timedelta(days=x), revision=a)
    two = event(effective_at=NOW + timedelta(days=y), revision=b)
    if a != b:
        assert (one.revision > two.revision) is (a > b)
