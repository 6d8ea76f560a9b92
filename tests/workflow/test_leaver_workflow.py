"""The life of a case on the time-skipping server, with the workflow cache on and off."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError
from temporalio.testing import WorkflowEnvironment

from leaver.domain.case import CaseResult, CaseStatus
from leaver.domain.effect import MailboxFacts
from leaver.domain.event import LeaverEvent
from leaver.domain.policy import ApprovalPolicy, Policy, ProtectedPolicy
from leaver.domain.words import CaseOutcome, ErrorType, Mode, Outcome, Phase, Reason, System, Verb
from tests.support.case_runs import only_the_approval_is_missing
from tests.support.world import ENTRA_ID, World, case_input, event, final, passing, start, statement, working
from workflows.leaver import LeaverWorkflow

NO_APPROVAL = ApprovalPolicy(handover_required=False)
ALL = (System.ENTRA, System.EXCHANGE, System.ONEDRIVE, System.AD)
CLOUD = (System.ENTRA, System.EXCHANGE, System.ONEDRIVE)


def enforce(**more: object) -> Policy:
    return Policy.model_validate({"mode": Mode.ENFORCE, "approvals": NO_APPROVAL, **more})


async def now_of(env: WorkflowEnvironment) -> datetime:
    return await env.get_current_time()


async def due_now(env: WorkflowEnvironment, **more: object) -> LeaverEvent:
    return event(effective_at=await now_of(env) - timedelta(hours=1), **more)  # type: ignore[arg-type]


async def status_when(
    handle: WorkflowHandle[LeaverWorkflow, CaseResult], ready: object, *, tries: int = 200
) -> CaseStatus:
    for _ in range(tries):
        status = await handle.query(LeaverWorkflow.status)
        if ready(status):  # type: ignore[operator]
            return status
        await asyncio.sleep(0.05)
    raise AssertionError(f"never came: {status!r}")


async def test_ordinary_leaver_ends_completed(env: WorkflowEnvironment, cache: int) -> None:
    world = World.of(*ALL, synced=True)
    async with working(env.client, world, cache=cache):
        given = case_input(await due_now(env), enforce(), received_at=await now_of(env))
        result = await (await start(env.client, given)).result()
    assert result.outcome is CaseOutcome.COMPLETED
    assert set(result.steps.values()) == {Outcome.VERIFIED}
    assert result.records == len([key for key in world.records if key[0] == "case"])
    closed = world.bodies("case.closed")
    assert closed[0]["count"] == result.records


async def test_contained_everywhere_before_anything_else(env: WorkflowEnvironment) -> None:
    world = World.of(*ALL, synced=True)
    async with working(env.client, world):
        given = case_input(await due_now(env), enforce(), received_at=await now_of(env))
        await (await start(env.client, given)).result()
    steps = [call for call in world.calls if call in {"entra.revoke_sessions", "ad.reset_password"}]
    first_later = next(
        i
        for i, call in enumerate(world.calls)
        if call.startswith(("entra.remove", "exchange.set", "onedrive.grant"))
    )
    assert len(steps) == 2
    assert max(world.calls.index(step) for step in steps) < first_later


async def test_synced_account_gets_its_password_on_premises_only(env: WorkflowEnvironment) -> None:
    world = World.of(*ALL, synced=True)
    async with working(env.client, world):
        given = case_input(await due_now(env), enforce(), received_at=await now_of(env))
        result = await (await start(env.client, given)).result()
    assert "entra.reset_password" not in result.steps
    assert result.steps["ad.reset_password"] is Outcome.VERIFIED


async def test_licences_wait_for_both_proofs_of_the_conversion(env: WorkflowEnvironment, cache: int) -> None:
    world = World.of(*CLOUD)
    half = MailboxFacts(exists=True, recipient_type="SharedMailbox", user_purpose="user", size_bytes=1)
    world.mailbox = [half, half]
    async with working(env.client, world, cache=cache):
        given = case_input(await due_now(env), enforce(), received_at=await now_of(env), on_prem=False)
        result = await (await start(env.client, given)).result()
    assert result.outcome is CaseOutcome.COMPLETED
    assert world.calls.count("exchange.mailbox_facts") == 3
    assert world.calls.index("entra.remove_direct_licences") > world.calls.index("exchange.mailbox_facts")


@pytest.mark.parametrize(
    "facts",
    [
        MailboxFacts(
            exists=True, recipient_type="SharedMailbox", user_purpose="shared", size_bytes=60 * 1024**3
        ),
        MailboxFacts(exists=True, recipient_type="SharedMailbox", user_purpose="shared", size_bytes=None),
        MailboxFacts(
            exists=True, recipient_type="SharedMailbox", user_purpose="shared", size_bytes=1, archive=True
        ),
        MailboxFacts(
            exists=True,
            recipient_type="SharedMailbox",
            user_purpose="shared",
            size_bytes=1,
            litigation_hold=True,
        ),
        MailboxFacts(
            exists=True, recipient_type="SharedMailbox", user_purpose="shared", size_bytes=1, in_place_holds=1
        ),
    ],
    ids=["too-large", "size-unknown", "archive", "litigation-hold", "in-place-hold"],
)
async def test_licences_stay_when_the_mailbox_is_not_safe(
    env: WorkflowEnvironment, facts: MailboxFacts
) -> None:
    world = World.of(*CLOUD)
    world.mailbox = [facts]
    async with working(env.client, world):
        given = case_input(await due_now(env), enforce(), received_at=await now_of(env), on_prem=False)
        result = await (await start(env.client, given)).result()
    assert result.outcome is CaseOutcome.COMPLETED_WITH_EXCEPTIONS
    assert result.steps["entra.remove_direct_licences"] is Outcome.OPEN
    assert "entra.remove_direct_licences" not in world.calls


async def test_licences_stay_when_exchange_cannot_say(env: WorkflowEnvironment) -> None:
    world = World.of(System.ENTRA, System.ONEDRIVE)
    world.broken["exchange.resolve"] = final(ErrorType.INVALID_CREDENTIALS)
    async with working(env.client, world):
        given = case_input(await due_now(env), enforce(), received_at=await now_of(env), on_prem=False)
        result = await (await start(env.client, given)).result()
    assert result.steps["entra.remove_direct_licences"] is Outcome.OPEN
    assert "entra.licences" not in world.calls


@pytest.mark.parametrize("hold", ["yes", "unknown"])
async def test_legal_hold_keeps_licences_but_contains(env: WorkflowEnvironment, hold: str) -> None:
    world = World.of(*CLOUD)
    async with working(env.client, world):
        given = case_input(
            await due_now(env, legal_hold=hold), enforce(), received_at=await now_of(env), on_prem=False
        )
        result = await (await start(env.client, given)).result()
    assert result.steps["entra.block_sign_in"] is Outcome.VERIFIED
    assert result.steps["entra.remove_licence_groups"] is Outcome.OPEN
    assert "entra.licences" not in world.calls


async def test_future_date_waits_and_can_be_moved(env: WorkflowEnvironment, cache: int) -> None:
    world = World.of(*CLOUD)
    received = await now_of(env)
    async with working(env.client, world, cache=cache):
        given = case_input(
            event(effective_at=received + timedelta(days=40)), enforce(), received_at=received, on_prem=False
        )
        handle = await start(env.client, given)
        await status_when(handle, lambda s: s.phase is Phase.SCHEDULED)
        await handle.signal(
            LeaverWorkflow.hr_changed,
            event(effective_at=received + timedelta(days=10), kind="leaver.changed.v1", revision=2),
        )
        await handle.signal(
            LeaverWorkflow.hr_changed,
            event(effective_at=received + timedelta(days=90), kind="leaver.changed.v1", revision=1),
        )
        result = await handle.result()
    assert result.contained_at is not None
    assert timedelta(days=10) <= result.closed_at - received < timedelta(days=11)
    applied = [body["applied"] for body in world.bodies("hr.event")]
    assert applied == [True, False]


async def test_rescinded_before_the_cutoff_touches_nothing(env: WorkflowEnvironment, cache: int) -> None:
    world = World.of(*ALL)
    received = await now_of(env)
    async with working(env.client, world, cache=cache):
        given = case_input(event(effective_at=received + timedelta(days=5)), enforce(), received_at=received)
        handle = await start(env.client, given)
        await status_when(handle, lambda s: s.phase is Phase.SCHEDULED)
        await handle.signal(
            LeaverWorkflow.hr_changed,
            event(effective_at=received + timedelta(days=5), kind="leaver.rescinded.v1", revision=2),
        )
        result = await handle.result()
    assert result.outcome is CaseOutcome.RESCINDED
    assert not [call for call in world.calls if not call.startswith("evidence.")]


async def test_rescinded_after_containment_stops_and_lists_what_ran(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    policy = enforce(approvals=ApprovalPolicy())
    async with working(env.client, world):
        given = case_input(await due_now(env), policy, received_at=await now_of(env), on_prem=False)
        handle = await start(env.client, given)
        await status_when(handle, lambda s: s.waiting_for.startswith("the approval"))
        answer = await handle.execute_update(
            LeaverWorkflow.rescind, statement(given, Verb.RESCIND, "E3001", reason="stays after all")
        )
        result = await handle.result()
    assert answer.accepted
    assert result.outcome is CaseOutcome.RESCINDED_AFTER_CUTOFF
    assert result.steps["entra.block_sign_in"] is Outcome.VERIFIED
    assert result.steps["exchange.convert_to_shared_mailbox"] is Outcome.PENDING
    assert "exchange.preserve" not in world.calls


async def test_handover_waits_for_the_manager_and_access_does_not(
    env: WorkflowEnvironment, cache: int
) -> None:
    world = World.of(*CLOUD)
    policy = enforce(approvals=ApprovalPolicy())
    async with working(env.client, world, cache=cache):
        given = case_input(await due_now(env), policy, received_at=await now_of(env), on_prem=False)
        handle = await start(env.client, given)
        status = await status_when(
            handle,
            lambda s: (
                s.waiting_for.startswith("the approval")
                and any(x.step == "entra.remove_groups" and x.outcome is Outcome.VERIFIED for x in s.steps)
            ),
        )
        assert status.contained_at is not None
        assert status.approvers == ("E2001",)
        assert "exchange.preserve" not in world.calls
        await handle.signal(
            LeaverWorkflow.manager_decision,
            statement(given, Verb.APPROVE, "E2001", plan_digest=status.plan_digest),
        )
        result = await handle.result()
    assert result.outcome is CaseOutcome.COMPLETED
    assert [body["accepted"] for body in world.bodies("approval")] == [True]


@pytest.mark.parametrize(
    ("by", "digest", "forged"),
    [
        ("E1001", True, False),
        ("E9999", True, False),
        ("E2001", False, False),
        ("E2001", True, True),
    ],
    ids=["the-leaver", "a-stranger", "another-plan", "forged"],
)
async def test_wrong_decisions_are_refused_and_recorded(
    env: WorkflowEnvironment, by: str, digest: bool, forged: bool
) -> None:
    world = World.of(*CLOUD)
    async with working(env.client, world):
        given = case_input(
            await due_now(env),
            enforce(approvals=ApprovalPolicy()),
            received_at=await now_of(env),
            on_prem=False,
        )
        handle = await start(env.client, given)
        status = await status_when(handle, lambda s: s.waiting_for.startswith("the approval"))
        world.forged = forged
        bad = statement(given, Verb.APPROVE, by, plan_digest=status.plan_digest if digest else "sha256:other")
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update(LeaverWorkflow.decide, bad)
        world.forged = False
        await handle.execute_update(
            LeaverWorkflow.decide, statement(given, Verb.APPROVE, "E2001", plan_digest=status.plan_digest)
        )
        result = await handle.result()
    assert result.outcome is CaseOutcome.COMPLETED
    assert [body["accepted"] for body in world.bodies("approval")] == [False, True]


async def test_refused_handover_keeps_files_and_licences(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    async with working(env.client, world):
        given = case_input(
            await due_now(env),
            enforce(approvals=ApprovalPolicy()),
            received_at=await now_of(env),
            on_prem=False,
        )
        handle = await start(env.client, given)
        status = await status_when(handle, lambda s: s.waiting_for.startswith("the approval"))
        await handle.execute_update(
            LeaverWorkflow.decide,
            statement(given, Verb.REJECT, "E2001", plan_digest=status.plan_digest, reason="not me"),
        )
        status = await status_when(
            handle, lambda s: any(x.step.startswith("entra.remove_direct") and x.reason for x in s.steps)
        )
        by_step = {step.step: step for step in status.steps}
        assert by_step["onedrive.grant_successor"].reason is Reason.HANDOVER_REFUSED
        assert by_step["exchange.convert_to_shared_mailbox"].outcome is Outcome.VERIFIED
        assert by_step["entra.remove_direct_licences"].reason is Reason.BLOCKED_BY_STEP
        await handle.execute_update(
            LeaverWorkflow.decide,
            statement(given, Verb.APPROVE, "E2001", plan_digest=status.plan_digest, reason="on reflection"),
        )
        result = await handle.result()
    assert result.outcome is CaseOutcome.COMPLETED


async def test_fallback_approver_after_the_deadline(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    rules = ApprovalPolicy(deadline_hours=2, fallback_approvers=("E3001",))
    async with working(env.client, world):
        given = case_input(
            await due_now(env), enforce(approvals=rules), received_at=await now_of(env), on_prem=False
        )
        handle = await start(env.client, given)
        status = await status_when(handle, lambda s: s.waiting_for.startswith("the approval"))
        early = statement(given, Verb.APPROVE, "E3001", plan_digest=status.plan_digest)
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update(LeaverWorkflow.decide, early)
        await env.sleep(timedelta(hours=3))
        status = await status_when(handle, lambda s: "E3001" in s.approvers)
        await handle.execute_update(
            LeaverWorkflow.decide, statement(given, Verb.APPROVE, "E3001", plan_digest=status.plan_digest)
        )
        result = await handle.result()
    assert result.outcome is CaseOutcome.COMPLETED


async def test_policy_may_approve_at_the_second_deadline(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    rules = ApprovalPolicy(deadline_hours=2, at_deadline="approve")
    async with working(env.client, world):
        given = case_input(
            await due_now(env), enforce(approvals=rules), received_at=await now_of(env), on_prem=False
        )
        result = await (await start(env.client, given)).result()
    assert result.outcome is CaseOutcome.COMPLETED
    assert [b["change"] for b in world.bodies("case.changed")] == [
        "approval_asked",
        "approval_escalated",
        "approval_by_policy",
    ]


async def test_open_step_waits_for_the_operator_and_is_retried(env: WorkflowEnvironment, cache: int) -> None:
    world = World.of(*CLOUD)
    world.effects["entra.remove_groups"] = [(Outcome.OPEN, Reason.ACCESS_DENIED)]
    async with working(env.client, world, cache=cache):
        given = case_input(await due_now(env), enforce(), received_at=await now_of(env), on_prem=False)
        handle = await start(env.client, given)
        status = await status_when(handle, lambda s: "entra.remove_groups" in s.waiting_for)
        assert status.outcome is CaseOutcome.RUNNING
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update(
                LeaverWorkflow.retry_step,
                statement(given, Verb.RETRY, "E3001", step="entra.block_sign_in", reason="why not"),
            )
        await handle.execute_update(
            LeaverWorkflow.retry_step,
            statement(given, Verb.RETRY, "E3001", step="entra.remove_groups", reason="granted"),
        )
        result = await handle.result()
    assert result.outcome is CaseOutcome.COMPLETED
    runs = [arg.run for arg in world.inputs if arg.unit == "entra.entitlements"]
    assert runs == [1, 2]


async def test_patience_with_open_steps_ends_and_the_case_says_so(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    world.broken["entra.entitlements"] = final(ErrorType.ACCESS_DENIED)
    async with working(env.client, world):
        given = case_input(await due_now(env), enforce(), received_at=await now_of(env), on_prem=False)
        result = await (await start(env.client, given)).result()
    assert result.outcome is CaseOutcome.COMPLETED_WITH_EXCEPTIONS
    assert result.steps["entra.remove_groups"] is Outcome.OPEN
    assert any(body["cause"] == "access_denied" for body in world.bodies("exception.raised"))


async def test_containment_is_never_given_up(env: WorkflowEnvironment, cache: int) -> None:
    world = World.of(*ALL)
    world.errors["entra.contain"] = [final(ErrorType.INVALID_CREDENTIALS)] * 4
    async with working(env.client, world, cache=cache):
        given = case_input(await due_now(env), enforce(), received_at=await now_of(env))
        result = await (await start(env.client, given)).result()
    assert result.outcome in {CaseOutcome.COMPLETED, CaseOutcome.COMPLETED_WITH_EXCEPTIONS}
    assert result.steps["entra.block_sign_in"] is Outcome.VERIFIED
    assert result.steps["entra.remove_auth_methods"] is Outcome.VERIFIED
    assert world.calls.count("entra.contain") == 5


async def test_a_dead_directory_delays_no_other(env: WorkflowEnvironment) -> None:
    world = World.of(*ALL)
    world.broken["ad.resolve"] = passing(ErrorType.UNAVAILABLE)
    async with working(env.client, world):
        given = case_input(await due_now(env), enforce(), received_at=await now_of(env))
        handle = await start(env.client, given)
        await env.sleep(timedelta(minutes=3))
        await status_when(
            handle,
            lambda s: any(x.step == "ad.identify_account" and x.outcome is Outcome.OPEN for x in s.steps),
        )
        assert "entra.revoke_sessions" in world.calls
        del world.broken["ad.resolve"]
        result = await handle.result()
    assert result.steps["ad.disable_account"] is Outcome.VERIFIED
    assert result.steps["ad.remove_groups"] is Outcome.VERIFIED


async def test_a_down_sealer_does_not_delay_containment(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    world.broken["evidence.append"] = passing(ErrorType.UNAVAILABLE)
    async with working(env.client, world):
        given = case_input(await due_now(env), enforce(), received_at=await now_of(env), on_prem=False)
        handle = await start(env.client, given)
        await status_when(handle, lambda s: s.contained_at is not None)
        await env.sleep(timedelta(hours=1))
        assert "entra.remove_auth_methods" not in world.calls
        del world.broken["evidence.append"]
        result = await handle.result()
    assert result.outcome is CaseOutcome.COMPLETED
    assert world.doubled == 0


async def test_nobody_found_anywhere_is_not_a_success(env: WorkflowEnvironment) -> None:
    async with working(env.client, world := World()):
        given = case_input(await due_now(env), enforce(), received_at=await now_of(env))
        result = await (await start(env.client, given)).result()
    assert result.outcome is CaseOutcome.COMPLETED_WITH_EXCEPTIONS
    assert result.steps["entra.identify_account"] is Outcome.OPEN
    assert "entra.contain" not in world.calls


@pytest.mark.parametrize("reason", [Reason.AMBIGUOUS_ACCOUNT, Reason.WRONG_PERSON])
async def test_doubtful_account_is_not_touched(env: WorkflowEnvironment, reason: Reason) -> None:
    world = World.of(*ALL)
    world.reasons[System.ENTRA] = reason
    async with working(env.client, world):
        given = case_input(await due_now(env), enforce(), received_at=await now_of(env))
        result = await (await start(env.client, given)).result()
    assert result.steps["entra.identify_account"] is Outcome.OPEN
    assert not [
        call for call in world.calls if call in {"entra.contain", "exchange.resolve", "entra.licences"}
    ]
    assert result.steps["ad.disable_account"] is Outcome.VERIFIED


async def test_synced_account_without_a_managed_directory_is_not_called_contained(
    env: WorkflowEnvironment,
) -> None:
    world = World.of(*CLOUD, synced=True)
    async with working(env.client, world):
        given = case_input(await due_now(env), enforce(), received_at=await now_of(env), on_prem=False)
        result = await (await start(env.client, given)).result()
    assert result.steps["entra.block_sign_in"] is Outcome.VERIFIED
    assert result.steps["ad.identify_account"] is Outcome.OPEN
    assert result.contained_at is None
    assert result.outcome is CaseOutcome.COMPLETED_WITH_EXCEPTIONS


async def test_directory_is_asked_again_with_what_entra_knows(env: WorkflowEnvironment) -> None:
    world = World.of(*ALL, synced=True)
    directory = world.accounts.pop(System.AD)
    world.found_when_linked[System.AD] = directory
    async with working(env.client, world):
        given = case_input(await due_now(env), enforce(), received_at=await now_of(env))
        result = await (await start(env.client, given)).result()
    assert world.calls.count("ad.resolve") == 2
    assert result.steps["ad.disable_account"] is Outcome.VERIFIED
    assert result.outcome is CaseOutcome.COMPLETED


async def test_disagreeing_links_hold_the_case_before_any_write(env: WorkflowEnvironment) -> None:
    world = World.of(*ALL, synced=True)
    directory = world.accounts[System.AD]
    assert directory is not None
    world.accounts[System.AD] = directory.model_copy(update={"id": "0e1f0f5e-0000-4000-8000-00000000ffff"})
    async with working(env.client, world):
        given = case_input(await due_now(env), enforce(), received_at=await now_of(env))
        handle = await start(env.client, given)
        status = await status_when(handle, lambda s: s.outcome is CaseOutcome.HELD)
        assert "another Active Directory object" in status.held_because
        assert not [call for call in world.calls if call.endswith(".contain")]


@pytest.mark.parametrize(
    "protected",
    [
        ProtectedPolicy(external_ids=("E1001",)),
        ProtectedPolicy(user_names=("Mira.Lindqvist@northwind.example",)),
        ProtectedPolicy(account_ids=(ENTRA_ID.upper(),)),
    ],
    ids=["employee-number", "user-name", "account-id"],
)
async def test_protected_person_is_held_until_security_releases(
    env: WorkflowEnvironment, protected: ProtectedPolicy
) -> None:
    world = World.of(*CLOUD)
    async with working(env.client, world):
        given = case_input(
            await due_now(env), enforce(protected=protected), received_at=await now_of(env), on_prem=False
        )
        handle = await start(env.client, given)
        await status_when(handle, lambda s: s.outcome is CaseOutcome.HELD)
        await env.sleep(timedelta(days=3))
        assert not [call for call in world.calls if call.endswith(".contain")]
        release = statement(given, Verb.RELEASE, "E3001", reason="agreed with the board")
        world.roles = ("operator",)
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update(LeaverWorkflow.release, release)
        world.roles = ("security",)
        again = statement(given, Verb.RELEASE, "E3001", reason="agreed with the board")
        await handle.execute_update(LeaverWorkflow.release, again)
        result = await handle.result()
    assert result.steps["entra.block_sign_in"] is Outcome.VERIFIED


async def test_hold_stops_everything_but_containment(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    received = await now_of(env)
    async with working(env.client, world):
        given = case_input(
            event(effective_at=received + timedelta(days=1)), enforce(), received_at=received, on_prem=False
        )
        handle = await start(env.client, given)
        await handle.execute_update(
            LeaverWorkflow.hold, statement(given, Verb.HOLD, "E3001", reason="legal asked")
        )
        await env.sleep(timedelta(days=1, hours=2))
        status = await status_when(handle, lambda s: s.contained_at is not None)
        assert status.outcome is CaseOutcome.HELD
        assert "entra.remove_auth_methods" not in world.calls
        await handle.execute_update(
            LeaverWorkflow.release, statement(given, Verb.RELEASE, "E3001", reason="legal is done")
        )
        result = await handle.result()
    assert result.outcome is CaseOutcome.COMPLETED


async def test_operator_needs_a_reason(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    received = await now_of(env)
    async with working(env.client, world):
        given = case_input(event(effective_at=received + timedelta(days=1)), enforce(), received_at=received)
        handle = await start(env.client, given)
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update(LeaverWorkflow.hold, statement(given, Verb.HOLD, "E3001"))
        status = await handle.query(LeaverWorkflow.status)
    assert status.held_because == ""


async def test_notification_only_plans_everything_and_asks_nobody(
    env: WorkflowEnvironment, cache: int
) -> None:
    world = World.of(*ALL)
    policy = Policy(approvals=ApprovalPolicy())
    async with working(env.client, world, cache=cache):
        given = case_input(await due_now(env, legal_hold="unknown"), policy, received_at=await now_of(env))
        result = await (await start(env.client, given)).result()
    assert result.outcome is CaseOutcome.PLANNED
    assert result.contained_at is None
    assert all(
        outcome is Outcome.PLANNED
        for step, outcome in result.steps.items()
        if not step.endswith("identify_account")
    )
    assert {arg.mode for arg in world.inputs} == {Mode.NOTIFICATION_ONLY}


async def test_cancel_never_calls_a_case_done(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    async with working(env.client, world):
        given = case_input(
            await due_now(env),
            enforce(approvals=ApprovalPolicy()),
            received_at=await now_of(env),
            on_prem=False,
        )
        handle = await start(env.client, given)
        await only_the_approval_is_missing(handle, world)
        await handle.cancel()
        result = await handle.result()
    assert result.outcome is CaseOutcome.COMPLETED_WITH_EXCEPTIONS
    assert result.steps["exchange.convert_to_shared_mailbox"] is Outcome.PENDING
    assert any(body["change"] == "cancelled" for body in world.bodies("case.changed"))


async def test_late_containment_raises_an_alarm(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    world.broken["entra.contain"] = final(ErrorType.ACCESS_DENIED)
    async with working(env.client, world):
        given = case_input(await due_now(env), enforce(), received_at=await now_of(env), on_prem=False)
        handle = await start(env.client, given)
        await status_when(handle, lambda s: "entra.block_sign_in" in s.waiting_for)
        await env.sleep(timedelta(hours=2))
        assert any(body["cause"] == "containment_late" for body in world.bodies("exception.raised"))
        del world.broken["entra.contain"]
        result = await handle.result()
    assert result.steps["entra.block_sign_in"] is Outcome.VERIFIED
    assert result.outcome is CaseOutcome.COMPLETED_WITH_EXCEPTIONS


async def test_a_statement_counts_once(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    received = await now_of(env)
    async with working(env.client, world):
        given = case_input(event(effective_at=received + timedelta(days=1)), enforce(), received_at=received)
        handle = await start(env.client, given)
        hold = statement(given, Verb.HOLD, "E3001", reason="legal asked")
        release = statement(given, Verb.RELEASE, "E3001", reason="legal is done")
        await handle.execute_update(LeaverWorkflow.hold, hold)
        await handle.execute_update(LeaverWorkflow.release, release)
        await handle.execute_update(
            LeaverWorkflow.hold, statement(given, Verb.HOLD, "E3001", reason="legal asked again")
        )
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update(LeaverWorkflow.release, release)
        status = await handle.query(LeaverWorkflow.status)
    assert status.held_because == "legal asked again"


async def test_sessions_are_revoked_again_after_a_late_block(env: WorkflowEnvironment) -> None:
    """T15: a revocation that came before the block does not count."""
    world = World.of(*CLOUD)
    world.effects["entra.block_sign_in"] = [(Outcome.OPEN, Reason.ACCESS_DENIED)]
    async with working(env.client, world):
        given = case_input(await due_now(env), enforce(), received_at=await now_of(env), on_prem=False)
        result = await (await start(env.client, given)).result()
    order = [call for call in world.calls if call in {"entra.block_sign_in", "entra.revoke_sessions"}]
    assert order[-1] == "entra.revoke_sessions"
    assert order.count("entra.revoke_sessions") == 2
    assert result.steps["entra.revoke_sessions_after_credentials"] is Outcome.VERIFIED


async def test_a_hold_does_not_keep_containment_from_healing(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    received = await now_of(env)
    world.effects["entra.block_sign_in"] = [(Outcome.OPEN, Reason.ACCESS_DENIED)] * 3
    async with working(env.client, world):
        given = case_input(
            event(effective_at=received + timedelta(hours=1)), enforce(), received_at=received, on_prem=False
        )
        handle = await start(env.client, given)
        await handle.execute_update(
            LeaverWorkflow.hold, statement(given, Verb.HOLD, "E3001", reason="legal asked")
        )
        await env.sleep(timedelta(hours=6))
        status = await status_when(handle, lambda s: s.contained_at is not None)
    assert status.outcome is CaseOutcome.HELD


async def test_a_new_manager_in_hr_brings_a_successor(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    steps = ("exchange.delegate_to_successor", "onedrive.grant_successor")
    world.effects = {step: [(Outcome.OPEN, Reason.NO_SUCCESSOR)] for step in steps}
    due = await now_of(env) - timedelta(hours=1)
    async with working(env.client, world):
        given = case_input(
            event(effective_at=due, manager=None), enforce(), received_at=await now_of(env), on_prem=False
        )
        handle = await start(env.client, given)
        await status_when(handle, lambda s: "onedrive.grant_successor" in s.waiting_for)
        await handle.signal(
            LeaverWorkflow.hr_changed,
            event(effective_at=due, kind="leaver.changed.v1", revision=2, manager="E2002"),
        )
        # One retry finds the successor for both.
        await handle.execute_update(
            LeaverWorkflow.retry_step,
            statement(given, Verb.RETRY, "E3001", step=steps[0], reason="there is a manager now"),
        )
        result = await handle.result()
    assert result.outcome is CaseOutcome.COMPLETED
    assert world.inputs[-1].successor is not None


async def test_a_case_started_by_a_rescission_touches_nothing(env: WorkflowEnvironment) -> None:
    world = World.of(*ALL)
    async with working(env.client, world):
        told = await due_now(env, kind="leaver.rescinded.v1")
        given = case_input(told, enforce(), received_at=await now_of(env))
        result = await (await start(env.client, given)).result()
    assert result.outcome is CaseOutcome.RESCINDED
    assert not [call for call in world.calls if not call.startswith("evidence.")]


async def test_a_legal_hold_that_hr_adds_after_the_cutoff_keeps_the_licences(
    env: WorkflowEnvironment,
) -> None:
    world = World.of(*CLOUD)
    due = await now_of(env) - timedelta(hours=1)
    async with working(env.client, world):
        policy = enforce(approvals=ApprovalPolicy())
        given = case_input(event(effective_at=due), policy, received_at=await now_of(env), on_prem=False)
        handle = await start(env.client, given)
        status = await status_when(handle, lambda s: s.waiting_for.startswith("the approval"))
        held = event(effective_at=due, kind="leaver.changed.v1", revision=2, legal_hold="yes")
        await handle.signal(LeaverWorkflow.hr_changed, held)
        await handle.execute_update(
            LeaverWorkflow.decide, statement(given, Verb.APPROVE, "E2001", plan_digest=status.plan_digest)
        )
        result = await handle.result()
    assert result.steps["exchange.convert_to_shared_mailbox"] is Outcome.VERIFIED
    assert result.steps["entra.remove_direct_licences"] is Outcome.OPEN
    assert "entra.licences" not in world.calls


async def test_a_hold_placed_while_the_gate_waits_stops_the_licences(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    half = MailboxFacts(exists=True, recipient_type="SharedMailbox", user_purpose="user", size_bytes=1)
    world.mailbox = [half, half, half]
    async with working(env.client, world):
        given = case_input(await due_now(env), enforce(), received_at=await now_of(env), on_prem=False)
        handle = await start(env.client, given)
        await status_when(handle, lambda s: "exchange.mailbox_facts" in world.calls)
        await handle.execute_update(
            LeaverWorkflow.hold, statement(given, Verb.HOLD, "E3001", reason="legal asked")
        )
        await env.sleep(timedelta(minutes=30))
        assert "entra.licences" not in world.calls
        await handle.execute_update(
            LeaverWorkflow.release, statement(given, Verb.RELEASE, "E3001", reason="legal is done")
        )
        result = await handle.result()
    assert result.outcome is CaseOutcome.COMPLETED
