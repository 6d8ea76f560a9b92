"""What a case leaves behind: every attempt, result and approval, in order, and no name."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from leaver.domain.catalogue import CATALOGUE
from leaver.domain.effect import Attempt, Effect, UnitResult
from leaver.domain.words import CaseOutcome, ErrorType, Outcome, Phase, Reason, System, Verb
from tests.support.case_runs import (
    ALL,
    CLOUD,
    asking,
    awaits_approval,
    case_of,
    enforce,
    kinds,
    status_when,
    step_of,
)
from tests.support.world import World, final, start, statement, working
from workflows.leaver import LeaverWorkflow

THEN = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("mira", "lindqvist", "northwind.example", "helena", "marsh", "@")


def attempt(number: int, error: ErrorType | None = None, *, lost: bool = False) -> Attempt:
    return Attempt(
        number=number,
        started_at=None if lost else THEN,
        ended_at=None if lost else THEN,
        error=error,
        lost=lost,
        detail="it asks to wait 2 s" if error else "",
    )


async def test_the_chain_is_complete_and_in_order(env: WorkflowEnvironment, cache: int) -> None:
    world = World.of(*ALL, synced=True)
    async with working(env.client, world, cache=cache):
        given = await case_of(env, asking(), on_prem=True)
        handle = await start(env.client, given)
        status = await status_when(handle, awaits_approval)
        await handle.execute_update(
            LeaverWorkflow.decide, statement(given, Verb.APPROVE, "E2001", plan_digest=status.plan_digest)
        )
        result = await handle.result()
    chain = kinds(world)
    assert (chain[0], chain[-1]) == ("case.opened", "case.closed")
    assert len(chain) == result.records
    results = world.bodies("action.result")
    assert [body["step"] for body in results].count("entra.block_sign_in") == 1
    assert {body["step"]: body["outcome"] for body in results} == {
        step: outcome.value for step, outcome in result.steps.items()
    }
    attempts = world.bodies("action.attempted")
    units = {CATALOGUE[step].unit for step in result.steps if not step.endswith("identify_account")}
    assert sorted(body["unit"] for body in attempts) == sorted(units)
    # The plan that was approved is in the chain before the approval, and the approval before the hand-over.
    plans = [body["plan_digest"] for body in world.bodies("plan")]
    (approval,) = world.bodies("approval")
    assert approval["plan_digest"] == plans[-1] == status.plan_digest
    sequence = [_what(world, seq) for seq in range(len(chain))]
    assert sequence.index(f"plan {plans[-1]}") < sequence.index("approval")
    assert sequence.index("approval") < sequence.index("onedrive.grant_successor")
    assert sequence.index("entra.block_sign_in") < sequence.index("entra.remove_auth_methods")


def _what(world: World, seq: int) -> str:
    record = world.records[("case", seq)]
    if record.type.value == "action.result":
        return str(record.body["step"])
    if record.type.value == "plan":
        return f"plan {record.body['plan_digest']}"
    return record.type.value


async def test_every_attempt_of_a_unit_has_its_record_before_the_result(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    world.attempts["entra.contain"] = [
        (attempt(1, ErrorType.THROTTLED), attempt(2, lost=True), attempt(3)),
    ]
    async with working(env.client, world):
        await (await start(env.client, await case_of(env, enforce()))).result()
    mine = [body for body in world.bodies("action.attempted") if body["unit"] == "entra.contain"]
    assert [(body["run"], body["attempt"], body["error"], body["lost"]) for body in mine] == [
        (1, 1, "throttled", False),
        (1, 2, None, True),
        (1, 3, None, False),
    ]
    assert mine[0]["started_at"] == mine[0]["ended_at"] == "2026-01-01T00:00:00Z"
    assert mine[0]["detail"] == "it asks to wait 2 s"
    sequence = [world.records[("case", seq)].body for seq in range(len(kinds(world)))]
    block = next(i for i, body in enumerate(sequence) if body.get("step") == "entra.block_sign_in")
    assert [body.get("attempt") for body in sequence[block - 3 : block]] == [1, 2, 3]


async def test_a_unit_that_fails_for_good_keeps_its_attempts_and_what_it_had_proven(
    env: WorkflowEnvironment,
) -> None:
    world = World.of(*CLOUD)
    proven = Effect(
        step="entra.block_sign_in",
        outcome=Outcome.VERIFIED,
        started_at=THEN,
        finished_at=await env.get_current_time(),
        writes=1,
    )
    so_far = UnitResult(
        system=System.ENTRA,
        effects=(proven,),
        attempts=(attempt(1, ErrorType.THROTTLED), attempt(2, ErrorType.PROTOCOL)),
    )
    world.errors["entra.contain"] = [
        ApplicationError("no sense", so_far, type=ErrorType.PROTOCOL.value, non_retryable=True)
    ]
    async with working(env.client, world):
        handle = await start(env.client, await case_of(env, enforce()))
        status = await status_when(handle, lambda s: "entra.reset_password" in s.waiting_for)
        assert step_of(status, "entra.block_sign_in").outcome is Outcome.VERIFIED
        assert step_of(status, "entra.reset_password").reason is Reason.RETRIES_EXHAUSTED
        result = await handle.result()
    assert set(result.steps.values()) == {Outcome.VERIFIED}
    mine = [body for body in world.bodies("action.attempted") if body["unit"] == "entra.contain"]
    assert [(body["run"], body["attempt"], body["error"]) for body in mine] == [
        (1, 1, "throttled"),
        (1, 2, "protocol"),
        (2, 1, None),
    ]
    rerun = next(arg for arg in world.inputs if arg.unit == "entra.contain")
    assert rerun.run == 2
    assert rerun.steps[0] != "entra.block_sign_in"


async def test_a_foreign_error_with_details_of_its_own_is_just_a_failure(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    world.errors["entra.contain"] = [
        ApplicationError("odd", {"effects": "none of ours"}, type="somebody", non_retryable=True)
    ]
    async with working(env.client, world):
        result = await (await start(env.client, await case_of(env, enforce()))).result()
    assert set(result.steps.values()) == {Outcome.VERIFIED}
    causes = {body["cause"] for body in world.bodies("exception.raised")}
    assert causes == {"retries_exhausted"} | causes & {"blocked_by_step"}


async def test_late_effects_are_marked_and_make_the_case_one_with_exceptions(
    env: WorkflowEnvironment,
) -> None:
    world = World.of(*CLOUD)
    world.took["entra.contain"] = timedelta(hours=2)
    async with working(env.client, world):
        policy = enforce(systems={"entra": {"contain_within_minutes": 60}})
        handle = await start(env.client, await case_of(env, policy))
        result = await handle.result()
        status = await handle.query(LeaverWorkflow.status)
    assert set(result.steps.values()) == {Outcome.VERIFIED}
    assert result.outcome is CaseOutcome.COMPLETED_WITH_EXCEPTIONS
    late = {body["step"] for body in world.bodies("action.result") if body["late"]}
    contained = {step for step in result.steps if CATALOGUE[step].phase is Phase.CONTAIN}
    assert late == contained == {step.step for step in status.steps if step.late}


async def test_an_open_step_raises_its_exception_with_the_reason(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    world.effects["entra.remove_groups"] = [(Outcome.OPEN, Reason.ACCESS_DENIED)]
    world.reasons[System.ONEDRIVE] = Reason.ACCESS_DENIED
    async with working(env.client, world):
        given = await case_of(env, enforce(seal={"close_with_exceptions_after_days": 1}))
        result = await (await start(env.client, given)).result()
    raised = {(body["step"], body["cause"]) for body in world.bodies("exception.raised")}
    assert ("entra.remove_groups", "access_denied") in raised
    assert ("onedrive.identify_account", "access_denied") in raised
    assert result.steps["onedrive.identify_account"] is Outcome.OPEN
    changes = [body["change"] for body in world.bodies("case.changed")]
    assert changes == ["closed_with_open_steps"]


async def test_no_record_names_anybody(env: WorkflowEnvironment) -> None:
    world = World.of(*ALL, synced=True)
    world.errors["ad.contain"] = [final(ErrorType.ACCESS_DENIED)]
    async with working(env.client, world):
        given = await case_of(env, asking(), on_prem=True)
        handle = await start(env.client, given)
        status = await status_when(handle, awaits_approval)
        await handle.execute_update(
            LeaverWorkflow.decide,
            statement(given, Verb.REJECT, "E2001", plan_digest=status.plan_digest, reason="ask Helena Marsh"),
        )
        await handle.execute_update(
            LeaverWorkflow.decide, statement(given, Verb.APPROVE, "E2001", plan_digest=status.plan_digest)
        )
        await handle.result()
    everything = json.dumps([record.model_dump(mode="json") for record in world.records.values()])
    assert [name for name in NAMES if name in everything.casefold()] == []
    assert "p-test" in everything
    assert [body["reason_given"] for body in world.bodies("approval")] == [True, False]
