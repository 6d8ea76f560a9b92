"""Containment and its look-ups are tried again by themselves, whenever they turn out to be open."""

from __future__ import annotations

from temporalio.testing import WorkflowEnvironment

from leaver.domain.words import CaseOutcome, ErrorType, Outcome
from tests.support.case_runs import ALL, CLOUD, case_of, enforce
from tests.support.world import World, final, passing, start, working


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
