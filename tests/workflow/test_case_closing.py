"""The end of a case: after its last record nothing is recorded and nothing runs, whatever arrives late."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.testing import WorkflowEnvironment

from leaver.domain.case import CaseStatus
from leaver.domain.words import CaseOutcome, ErrorType, Outcome, Phase, Reason, System, Verb
from tests.support.case_runs import (
    ALL,
    CLOUD,
    asking,
    awaits_approval,
    case_of,
    due_now,
    enforce,
    kinds,
    only_the_approval_is_missing,
    status_when,
    until,
)
from tests.support.world import World, event, final, passing, start, statement, working
from workflows.leaver import LeaverWorkflow


def _only_groups_are_open(status: CaseStatus) -> bool:
    waiting = {step.step for step in status.steps if not step.outcome.proven}
    return waiting == {"entra.remove_groups"}


async def test_news_and_verbs_while_the_sealer_is_down_do_not_break_the_end(
    env: WorkflowEnvironment, cache: int
) -> None:
    world = World.of(*CLOUD)
    world.effects["entra.remove_groups"] = [(Outcome.OPEN, Reason.ACCESS_DENIED)]
    async with working(env.client, world, cache=cache):
        told = await due_now(env)
        given = await case_of(env, enforce(seal={"close_with_exceptions_after_days": 1}), told)
        handle = await start(env.client, given)
        await status_when(handle, _only_groups_are_open)
        await env.sleep(timedelta(hours=23))
        world.broken["evidence.append"] = passing(ErrorType.UNAVAILABLE)
        await env.sleep(timedelta(hours=1, minutes=1))
        await status_when(handle, lambda s: s.phase is Phase.SEAL)
        await handle.signal(
            LeaverWorkflow.hr_changed,
            event(effective_at=told.data.separation.effective_at, kind="leaver.changed.v1", revision=7),
        )
        retry = statement(given, Verb.RETRY, "E3001", step="entra.remove_groups", reason="granted")
        with pytest.raises(WorkflowUpdateFailedError) as caught:
            await handle.execute_update(LeaverWorkflow.retry_step, retry)
        assert "is being closed" in str(caught.value.cause)
        del world.broken["evidence.append"]
        result = await handle.result()
    assert result.outcome is CaseOutcome.COMPLETED_WITH_EXCEPTIONS
    assert kinds(world)[-1] == "case.closed"
    assert len(kinds(world)) == result.records == world.bodies("case.closed")[0]["count"]
    assert len(world.bodies("hr.event")) == 1
    assert [body["accepted"] for body in world.bodies("approval")] == [False]
    assert world.calls.count("entra.remove_groups") == 1


async def test_rescinded_while_the_sealer_is_down_is_told_in_the_outcome(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    async with working(env.client, world):
        told = await due_now(env)
        given = await case_of(env, asking(), told)
        handle = await start(env.client, given)
        status = await status_when(handle, awaits_approval)
        world.errors["evidence.append"] = []
        await handle.execute_update(
            LeaverWorkflow.decide, statement(given, Verb.APPROVE, "E2001", plan_digest=status.plan_digest)
        )
        await until(lambda: "entra.licences" in world.calls)
        world.broken["evidence.append"] = passing(ErrorType.UNAVAILABLE)
        rescinded = event(
            effective_at=told.data.separation.effective_at, kind="leaver.rescinded.v1", revision=9
        )
        try:
            await handle.signal(LeaverWorkflow.hr_changed, rescinded)
        finally:
            del world.broken["evidence.append"]
        result = await handle.result()
    # Whether the news came in time is a race; it is either in the outcome or not in the chain at all.
    heard = [body["applied"] for body in world.bodies("hr.event")]
    assert heard == ([True] if result.outcome is CaseOutcome.RESCINDED_AFTER_CUTOFF else [])
    assert kinds(world)[-1] == "case.closed"


async def test_cancelling_ends_the_tending_of_containment_too(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    world.broken["entra.contain"] = final(ErrorType.INVALID_CREDENTIALS)
    async with working(env.client, world):
        handle = await start(env.client, given := await case_of(env, asking()))
        await only_the_approval_is_missing(handle, world)
        world.broken["evidence.append"] = passing(ErrorType.UNAVAILABLE)
        await handle.cancel()
        await status_when(handle, lambda s: s.phase is Phase.SEAL)
        tried = world.calls.count("entra.contain")
        await env.sleep(timedelta(hours=3))
        assert world.calls.count("entra.contain") == tried
        del world.broken["evidence.append"]
        result = await handle.result()
    assert result.outcome is CaseOutcome.COMPLETED_WITH_EXCEPTIONS
    assert result.steps["entra.block_sign_in"] is Outcome.OPEN
    assert kinds(world)[-1] == "case.closed"
    assert len(kinds(world)) == result.records
    assert given.case == result.case


async def test_cancelling_during_intake_ends_the_search(env: WorkflowEnvironment) -> None:
    world = World.of(*ALL)
    world.broken["ad.resolve"] = passing(ErrorType.UNAVAILABLE)
    world.broken["entra.resolve"] = passing(ErrorType.UNAVAILABLE)
    async with working(env.client, world):
        handle = await start(env.client, await case_of(env, enforce(), on_prem=True))
        await until(lambda: "ad.resolve" in world.calls and "entra.resolve" in world.calls)
        await asyncio.sleep(0.2)  # both have failed once and wait for their next attempt
        await handle.cancel()
        result = await handle.result()
    assert result.outcome is CaseOutcome.COMPLETED_WITH_EXCEPTIONS
    assert kinds(world)[-1] == "case.closed"
    assert len(kinds(world)) == result.records
    assert set(result.steps.values()) == {Outcome.PENDING}
    assert [body["change"] for body in world.bodies("case.changed")] == ["cancelled"]


async def test_cancelling_before_the_cutoff_is_never_a_success(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    future = event(effective_at=await env.get_current_time() + timedelta(days=9))
    async with working(env.client, world):
        handle = await start(env.client, await case_of(env, enforce(), future))
        await status_when(handle, lambda s: s.phase is Phase.SCHEDULED)
        await handle.cancel()
        result = await handle.result()
    assert result.outcome is CaseOutcome.COMPLETED_WITH_EXCEPTIONS
    assert not [call for call in world.calls if not call.startswith("evidence.")]


async def test_a_catch_up_that_waits_for_approval_ends_with_the_case(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    world.broken["exchange.resolve"] = final(ErrorType.INVALID_CREDENTIALS)
    async with working(env.client, world):
        given = await case_of(env, asking(deadline_hours=2000))
        handle = await start(env.client, given)
        status = await status_when(handle, awaits_approval)
        await handle.execute_update(
            LeaverWorkflow.decide, statement(given, Verb.APPROVE, "E2001", plan_digest=status.plan_digest)
        )
        await status_when(handle, lambda s: "entra.remove_direct_licences" in s.waiting_for)
        del world.broken["exchange.resolve"]
        # The mailbox is found now: a new plan, which nobody approves.
        await env.sleep(timedelta(hours=7))
        await status_when(handle, awaits_approval)
        result = await handle.result()
        await asyncio.sleep(0.1)
    assert result.outcome is CaseOutcome.COMPLETED_WITH_EXCEPTIONS
    assert result.steps["exchange.identify_account"] is Outcome.VERIFIED
    assert result.steps["exchange.convert_to_shared_mailbox"] is Outcome.PENDING
    assert "exchange.preserve" not in world.calls


async def test_the_alarm_also_rings_when_no_directory_answers_at_all(env: WorkflowEnvironment) -> None:
    world = World.of(*ALL)
    for system in (System.ENTRA, System.AD):
        world.broken[f"{system.value}.resolve"] = final(ErrorType.INVALID_CREDENTIALS)
    async with working(env.client, world):
        handle = await start(env.client, await case_of(env, enforce(), on_prem=True))
        await status_when(handle, lambda s: "entra.identify_account" in s.waiting_for)
        await env.sleep(timedelta(hours=2))
        causes = [body["cause"] for body in world.bodies("exception.raised")]
        assert causes.count("containment_late") == 1
        world.broken.clear()
        result = await handle.result()
    assert result.steps["entra.block_sign_in"] is Outcome.VERIFIED
    assert result.outcome is CaseOutcome.COMPLETED_WITH_EXCEPTIONS
