"""The re-verification after a case: when, what it finds, and the bundle that is sealed first."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.testing import WorkflowEnvironment

from leaver.domain.policy import Policy
from leaver.domain.words import CaseOutcome, ErrorType, Mode, Outcome, Phase, Reason, Verb
from leaver.temporal.search_attributes import RISK_KEY
from tests.support.case_runs import (
    ALL,
    CLOUD,
    asking,
    awaits_approval,
    between,
    case_of,
    details_of,
    enforce,
    status_when,
    until,
    watch_of,
    watched_to_its_end,
)
from tests.support.world import ENTRA_ID, World, final, passing, start, statement, working
from workflows.leaver import LeaverWorkflow
from workflows.watch import WatchWorkflow

MOMENTS = (15, 60, 1440)


def watched(*minutes: int, **more: object) -> Policy:
    return enforce(watch={"reverify_after_minutes": minutes or MOMENTS}, **more)


async def test_contained_accounts_are_read_again_at_each_moment(env: WorkflowEnvironment) -> None:
    world = World.of(*ALL, synced=True)
    async with working(env.client, world):
        given = await case_of(env, watched(), on_prem=True)
        case = await (await start(env.client, given)).result()
        result = await watched_to_its_end(env, given.case, minutes=MOMENTS[-1])
    assert (result.bundle, result.rounds, result.drifted) == (given.case, 3, ())
    for unit in ("entra.verify", "ad.verify"):
        times = [at for name, at in world.times if name == unit]
        assert len(times) == len(MOMENTS)
        for minutes, at in zip(MOMENTS, times, strict=True):
            assert between(timedelta(minutes=minutes), at, case.closed_at, timedelta(minutes=2))
    assert {body["outcome"] for body in world.bodies("readback", "watch")} == {"verified"}
    assert {body["account"] for body in world.bodies("readback", "watch")} >= {ENTRA_ID}
    assert not world.bodies("exception.raised", "watch")


async def test_each_step_is_verified_against_what_containment_read_back(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    async with working(env.client, world):
        given = await case_of(env, watched(15))
        await (await start(env.client, given)).result()
        await watched_to_its_end(env, given.case, minutes=15)
    (verify,) = [arg for arg in world.inputs if arg.unit == "entra.verify"]
    (contain,) = [arg for arg in world.inputs if arg.unit == "entra.contain"]
    assert set(verify.steps) == set(contain.steps)
    assert set(verify.parameters) == set(contain.steps)
    assert verify.account == contain.account


async def test_the_moments_count_from_the_end_of_a_case_that_took_long(env: WorkflowEnvironment) -> None:
    """Else a hand-over that waited for days would leave nothing to watch, or all of it at once."""
    world = World.of(*CLOUD)
    async with working(env.client, world):
        given = await case_of(env, asking(deadline_hours=2000).model_copy(update={"watch": watched().watch}))
        handle = await start(env.client, given)
        status = await status_when(handle, awaits_approval)
        await env.sleep(timedelta(days=6))
        await handle.execute_update(
            LeaverWorkflow.decide, statement(given, Verb.APPROVE, "E2001", plan_digest=status.plan_digest)
        )
        case = await handle.result()
        await watched_to_its_end(env, given.case, minutes=MOMENTS[-1])
    times = [at for name, at in world.times if name == "entra.verify"]
    assert [
        between(timedelta(minutes=minutes), at, case.closed_at, timedelta(minutes=2))
        for minutes, at in zip(MOMENTS, times, strict=True)
    ] == [True, True, True]


async def test_drift_is_recorded_as_an_exception_and_shown(env: WorkflowEnvironment, cache: int) -> None:
    world = World.of(*CLOUD)
    world.effects["entra.verify:entra.block_sign_in"] = [
        (Outcome.VERIFIED, None),
        (Outcome.OPEN, Reason.LEFT_BEHIND),
    ]
    async with working(env.client, world, cache=cache):
        given = await case_of(env, watched())
        await (await start(env.client, given)).result()
        watch = watch_of(env.client, given.case)
        result = await watched_to_its_end(env, given.case, minutes=MOMENTS[-1])
        attributes = (await watch.describe()).typed_search_attributes
    assert result.drifted == ("entra.block_sign_in",)
    assert attributes[RISK_KEY] == "drift"
    (exception,) = world.bodies("exception.raised", "watch")
    assert (exception["step"], exception["cause"]) == ("entra.block_sign_in", "drift")
    outcomes = [
        body["outcome"] for body in world.bodies("readback", "watch") if body["step"] == "entra.block_sign_in"
    ]
    assert outcomes == ["verified", "open", "verified"]


async def test_a_system_that_cannot_be_read_is_recorded_and_holds_up_no_other(
    env: WorkflowEnvironment,
) -> None:
    world = World.of(*ALL, synced=True)
    world.broken["entra.verify"] = final(ErrorType.ACCESS_DENIED)
    async with working(env.client, world):
        given = await case_of(env, watched(15, 60), on_prem=True)
        await (await start(env.client, given)).result()
        result = await watched_to_its_end(env, given.case, minutes=60)
    assert result.rounds == 2
    assert result.drifted == ()
    exceptions = world.bodies("exception.raised", "watch")
    assert [body["cause"] for body in exceptions] == ["not_readable", "not_readable"]
    assert {body["system"] for body in exceptions} == {"entra"}
    assert all("entra could not be read again" in body["detail"] for body in exceptions)
    assert {body["system"] for body in world.bodies("readback", "watch")} == {"ad"}


async def test_a_refused_seal_is_shown_and_tried_again_at_the_next_round(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    world.errors["evidence.seal"] = [final(ErrorType.REJECTED)]
    async with working(env.client, world):
        given = await case_of(env, watched())
        await (await start(env.client, given)).result()
        watch = watch_of(env.client, given.case)
        await until(lambda: "evidence.seal" in world.calls)
        for _ in range(100):
            if "not sealed" in (shown := await details_of(watch)):
                break
        else:
            pytest.fail("never shown")
        assert "final" in shown
        assert await watch.query(WatchWorkflow.bundle) == ""
        assert (await watch.describe()).typed_search_attributes[RISK_KEY] == "not_sealed"
        result = await watched_to_its_end(env, given.case, minutes=MOMENTS[-1])
    assert result.bundle == given.case
    assert len(world.sealed) == 1
    sealed = [at for name, at in world.times if name == "evidence.seal"]
    assert sealed[1] - sealed[0] >= timedelta(minutes=15)


async def test_the_bundle_can_be_asked_for_while_it_is_made_and_after(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    world.broken["evidence.seal"] = passing(ErrorType.NOT_CLOSED_YET)
    async with working(env.client, world):
        given = await case_of(env, watched())
        handle = await start(env.client, given)
        await handle.result()
        watch = watch_of(env.client, given.case)
        await until(lambda: "evidence.seal" in world.calls)
        assert await watch.query(WatchWorkflow.bundle) == ""
        del world.broken["evidence.seal"]
        await watched_to_its_end(env, given.case, minutes=MOMENTS[-1])
        assert await watch.query(WatchWorkflow.bundle) == given.case
    assert world.sealed[0].workflow_id == handle.id
    assert world.sealed[0].first_run_id == handle.first_execution_run_id


@pytest.mark.parametrize("mode", ["notification-only", "rescinded", "nobody"])
async def test_where_nothing_was_contained_there_is_a_bundle_and_nothing_to_watch(
    env: WorkflowEnvironment, mode: str
) -> None:
    world = World.of(*CLOUD) if mode != "nobody" else World()
    policy = watched()
    if mode == "notification-only":
        policy = policy.model_copy(update={"mode": Mode.NOTIFICATION_ONLY})
    async with working(env.client, world):
        given = await case_of(env, policy)
        if mode == "rescinded":
            later = given.event.data.separation.effective_at + timedelta(days=9)
            separation = given.event.data.separation.model_copy(update={"effective_at": later})
            data = given.event.data.model_copy(update={"separation": separation})
            given = given.model_copy(update={"event": given.event.model_copy(update={"data": data})})
        handle = await start(env.client, given)
        if mode == "rescinded":
            await status_when(handle, lambda s: s.phase is Phase.SCHEDULED)
            await handle.execute_update(
                LeaverWorkflow.rescind, statement(given, Verb.RESCIND, "E3001", reason="stays")
            )
        case = await handle.result()
        result = await watched_to_its_end(env, given.case)
    assert case.outcome is not CaseOutcome.COMPLETED
    assert (result.bundle, result.rounds) == (given.case, 0)
    assert "entra.verify" not in world.calls


async def test_the_watch_outlives_the_case(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    async with working(env.client, world):
        given = await case_of(env, watched())
        handle = await start(env.client, given)
        await handle.result()
        closed = (await handle.fetch_history()).events[-1]
        description = await watch_of(env.client, given.case).describe()
    assert closed.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED
    assert description.parent_id == handle.id
    assert description.close_time is None
