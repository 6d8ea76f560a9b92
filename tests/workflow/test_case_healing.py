"""Containment and its look-ups are tried again by themselves, whenever they turn out to be open."""

from __future__ import annotations

from datetime import timedelta

from temporalio.testing import WorkflowEnvironment

from leaver.domain.policy import ApprovalPolicy
from leaver.domain.words import CaseOutcome, ErrorType, Outcome, Reason, Verb
from tests.support.case_runs import ALL, CLOUD, case_of, enforce, status_when
from tests.support.world import World, final, passing, start, statement, working
from workflows.leaver import LeaverWorkflow


async def test_a_look_up_that_fails_after_containment_heals_too(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    # Slow to fail: by then everything urgent is done and nothing is open yet.
    world.errors["exchange.resolve"] = [
        passing(ErrorType.UNAVAILABLE),
        passing(ErrorType.UNAVAILABLE),
        final(ErrorType.INVALID_CREDENTIALS),
    ]
    async with working(env.client, world):
        result = await (await start(env.client, await case_of(env, enforce()))).result()
    assert result.steps["exchange.identify_account"] is Outcome.VERIFIED
    assert result.steps["exchange.convert_to_shared_mailbox"] is Outcome.VERIFIED
    assert result.steps["entra.remove_direct_licences"] is Outcome.VERIFIED
    assert result.outcome is CaseOutcome.COMPLETED


async def test_a_directory_that_heals_does_not_wait_for_one_that_does_not(env: WorkflowEnvironment) -> None:
    world = World.of(*ALL)
    world.broken["entra.contain"] = final(ErrorType.INVALID_CREDENTIALS)
    world.errors["ad.contain"] = [final(ErrorType.INVALID_CREDENTIALS)] * 2
    async with working(env.client, world):
        policy = enforce(seal={"close_with_exceptions_after_days": 2})
        result = await (await start(env.client, await case_of(env, policy, on_prem=True))).result()
    assert result.steps["ad.disable_account"] is Outcome.VERIFIED
    assert result.steps["ad.remove_groups"] is Outcome.VERIFIED
    assert result.steps["entra.block_sign_in"] is Outcome.OPEN
    assert result.steps["entra.remove_auth_methods"] is Outcome.OPEN
    assert result.outcome is CaseOutcome.COMPLETED_WITH_EXCEPTIONS
    assert world.calls.count("ad.contain") == 3


async def test_a_plan_that_changed_after_its_approval_is_approved_again(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    world.errors["exchange.resolve"] = [final(ErrorType.INVALID_CREDENTIALS)]
    world.effects["onedrive.grant_successor"] = [(Outcome.OPEN, Reason.REJECTED_BY_SYSTEM)]
    async with working(env.client, world):
        given = await case_of(env, enforce(approvals=ApprovalPolicy()))
        handle = await start(env.client, given)
        first = await status_when(handle, lambda s: s.waiting_for.startswith("the approval"))

        async def approve(digest: str | None) -> None:
            said = statement(given, Verb.APPROVE, "E2001", plan_digest=digest)
            await handle.execute_update(LeaverWorkflow.decide, said)

        await approve(first.plan_digest)
        # The mailbox is found only now: the plan is another one, and nobody has approved it.
        await env.sleep(timedelta(hours=1))
        second = await status_when(
            handle, lambda s: s.plan_digest != first.plan_digest and s.waiting_for.startswith("the approval")
        )
        tried = world.calls.count("onedrive.grant_successor")
        again = statement(given, Verb.RETRY, "E3001", step="onedrive.grant_successor", reason="repaired")
        await handle.execute_update(LeaverWorkflow.retry_step, again)
        await env.sleep(timedelta(hours=1))
        assert world.calls.count("onedrive.grant_successor") == tried
        assert "exchange.preserve" not in world.calls
        await approve(second.plan_digest)
        result = await handle.result()
    assert result.steps["onedrive.grant_successor"] is Outcome.VERIFIED
    assert result.steps["exchange.convert_to_shared_mailbox"] is Outcome.VERIFIED
    assert result.outcome is CaseOutcome.COMPLETED
