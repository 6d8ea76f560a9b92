"""What people and HR tell a case: races, repetitions, news that comes too late, who may decide."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowUpdateFailedError
from temporalio.testing import WorkflowEnvironment

from leaver.domain.search import DUE, OUTCOME, PHASE
from leaver.domain.words import CaseOutcome, Mode, Outcome, Phase, Reason, System, Verb
from leaver.temporal.search_attributes import DUE_KEY, OUTCOME_KEY, PHASE_KEY
from tests.support.case_runs import (
    ALL,
    CLOUD,
    asking,
    awaits_approval,
    case_of,
    details_of,
    due_now,
    enforce,
    status_when,
    step_of,
)
from tests.support.world import World, case_input, event, start, statement, working
from workflows.leaver import LeaverWorkflow

NAMES = ("mira", "lindqvist", "northwind.example", "helena", "@")


@pytest.mark.parametrize("second", [Verb.APPROVE, Verb.REJECT])
async def test_of_two_decisions_at_once_one_counts(env: WorkflowEnvironment, second: Verb) -> None:
    world = World.of(*CLOUD)
    async with working(env.client, world):
        given = await case_of(env, asking())
        handle = await start(env.client, given)
        digest = (await status_when(handle, awaits_approval)).plan_digest
        answers = await asyncio.gather(
            *(
                handle.execute_update(
                    LeaverWorkflow.decide, statement(given, verb, "E2001", plan_digest=digest, reason="mine")
                )
                for verb in (Verb.APPROVE, second)
            ),
            return_exceptions=True,
        )
        if second is Verb.APPROVE:
            refused = [answer for answer in answers if isinstance(answer, WorkflowUpdateFailedError)]
            assert len(refused) == 1
            assert "already decided" in str(refused[0].cause)
        result = await handle.result()
    verbs = [(body["verb"], body["accepted"]) for body in world.bodies("approval")]
    if second is Verb.APPROVE:
        assert verbs == [("approve", True), ("approve", False)]
    else:
        # A refusal may be taken back by an approval, never the other way round.
        assert verbs in (
            [("approve", True), ("reject", False)],
            [("reject", True), ("approve", True)],
        )
    assert result.outcome is CaseOutcome.COMPLETED
    assert world.calls.count("onedrive.grant_successor") == 1


async def test_the_same_update_twice_is_one_decision(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    async with working(env.client, world):
        given = await case_of(env, asking())
        handle = await start(env.client, given)
        status = await status_when(handle, awaits_approval)
        decision = statement(given, Verb.APPROVE, "E2001", plan_digest=status.plan_digest)
        answers = [
            await handle.execute_update(LeaverWorkflow.decide, decision, id=decision.body.nonce)
            for _ in range(2)
        ]
        await handle.result()
    assert answers[0] == answers[1]
    assert answers[0].accepted
    assert len(world.bodies("approval")) == 1


async def test_a_new_date_after_the_cutoff_is_recorded_and_changes_nothing(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    async with working(env.client, world):
        told = await due_now(env)
        given = await case_of(env, asking(), told)
        handle = await start(env.client, given)
        before = await status_when(handle, awaits_approval)
        later = told.data.separation.effective_at + timedelta(days=30)
        await handle.signal(
            LeaverWorkflow.hr_changed, event(effective_at=later, kind="leaver.changed.v1", revision=2)
        )
        await handle.signal(LeaverWorkflow.hr_changed, told)
        status = await status_when(handle, lambda s: s.records > before.records)
        assert status.cutoff == told.data.separation.effective_at
        await handle.execute_update(
            LeaverWorkflow.decide, statement(given, Verb.APPROVE, "E2001", plan_digest=status.plan_digest)
        )
        result = await handle.result()
    assert result.outcome is CaseOutcome.COMPLETED
    news, old = world.bodies("hr.event")
    assert (old["applied"], old["why"]) == (False, "older than what is known")
    assert news["cutoff"] == later.isoformat().replace("+00:00", "Z")
    assert "passed" in news["why"]


async def test_another_manager_after_the_cutoff_decides(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    async with working(env.client, world):
        told = await due_now(env)
        given = await case_of(env, asking(), told)
        handle = await start(env.client, given)
        await status_when(handle, awaits_approval)
        moved = event(
            effective_at=told.data.separation.effective_at,
            kind="leaver.changed.v1",
            revision=2,
            manager="E2002",
        )
        await handle.signal(LeaverWorkflow.hr_changed, moved)
        status = await status_when(handle, lambda s: s.approvers == ("E2002",))
        await handle.execute_update(
            LeaverWorkflow.decide, statement(given, Verb.APPROVE, "E2002", plan_digest=status.plan_digest)
        )
        result = await handle.result()
    assert result.outcome is CaseOutcome.COMPLETED


async def test_hr_takes_it_back_after_containment(env: WorkflowEnvironment, cache: int) -> None:
    world = World.of(*CLOUD)
    async with working(env.client, world, cache=cache):
        told = await due_now(env)
        handle = await start(env.client, await case_of(env, asking(), told))
        await status_when(handle, awaits_approval)
        await handle.signal(
            LeaverWorkflow.hr_changed,
            event(effective_at=told.data.separation.effective_at, kind="leaver.rescinded.v1", revision=2),
        )
        result = await handle.result()
    assert result.outcome is CaseOutcome.RESCINDED_AFTER_CUTOFF
    assert result.steps["entra.block_sign_in"] is Outcome.VERIFIED
    assert result.steps["onedrive.grant_successor"] is Outcome.PENDING
    assert [body["applied"] for body in world.bodies("hr.event")] == [True]


async def test_a_held_case_can_be_rescinded_before_the_cutoff(env: WorkflowEnvironment) -> None:
    world = World.of(*ALL)
    future = event(effective_at=await env.get_current_time() + timedelta(days=5))
    async with working(env.client, world):
        given = await case_of(env, enforce(), future, on_prem=True)
        handle = await start(env.client, given)
        await handle.execute_update(
            LeaverWorkflow.hold, statement(given, Verb.HOLD, "E3001", reason="legal asked")
        )
        assert (await handle.query(LeaverWorkflow.status)).outcome is CaseOutcome.HELD
        await handle.execute_update(
            LeaverWorkflow.rescind, statement(given, Verb.RESCIND, "E3001", reason="stays")
        )
        result = await handle.result()
    assert result.outcome is CaseOutcome.RESCINDED
    assert not [call for call in world.calls if not call.startswith("evidence.")]


async def test_a_protected_case_can_be_rescinded_instead_of_released(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    async with working(env.client, world):
        given = await case_of(env, enforce(protected={"external_ids": ["E1001"]}))
        handle = await start(env.client, given)
        await status_when(handle, lambda s: s.outcome is CaseOutcome.HELD)
        await handle.execute_update(
            LeaverWorkflow.rescind, statement(given, Verb.RESCIND, "E3001", reason="a feed error")
        )
        result = await handle.result()
    assert result.outcome is CaseOutcome.RESCINDED
    assert not [call for call in world.calls if call.endswith(".contain")]


async def test_an_immediate_leaver_waits_for_no_date_and_overtakes_others(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    now = await env.get_current_time()
    told = event(effective_at=now + timedelta(days=30), kind="leaver.immediate.v1", immediate=True)
    async with working(env.client, world):
        handle = await start(env.client, await case_of(env, enforce(), told))
        result = await handle.result()
        status = await handle.query(LeaverWorkflow.status)
        events = (await handle.fetch_history()).events
    assert result.outcome is CaseOutcome.COMPLETED
    assert result.closed_at - now < timedelta(minutes=5)
    # Time limits count from HR's word, not from a date a month ahead.
    due = step_of(status, "entra.block_sign_in").due
    assert due is not None
    assert due - now < timedelta(hours=2)
    priorities = {
        each.activity_task_scheduled_event_attributes.activity_type.name: (
            each.activity_task_scheduled_event_attributes.priority.priority_key
        )
        for each in events
        if each.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    }
    assert priorities["entra.resolve"] == priorities["entra.contain"] == 1
    assert priorities["entra.licences"] > priorities["entra.credentials"] > 1


@pytest.mark.parametrize("manager", ["E1001", None], ids=["is-the-leaver", "none"])
async def test_without_a_usable_manager_the_fallback_decides_at_once(
    env: WorkflowEnvironment, manager: str | None
) -> None:
    """T9."""
    world = World.of(*CLOUD)
    async with working(env.client, world):
        given = await case_of(env, asking(fallback_approvers=("E3001", "E1001")), manager=manager)
        handle = await start(env.client, given)
        status = await status_when(handle, awaits_approval)
        assert status.approvers == ("E3001",)
        assert status.contained_at is not None
        own = statement(given, Verb.APPROVE, "E1001", plan_digest=status.plan_digest)
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update(LeaverWorkflow.decide, own)
        await handle.execute_update(
            LeaverWorkflow.decide, statement(given, Verb.APPROVE, "E3001", plan_digest=status.plan_digest)
        )
        result = await handle.result()
    assert result.outcome is CaseOutcome.COMPLETED


async def test_nobody_acts_on_their_own_case(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    future = event(effective_at=await env.get_current_time() + timedelta(days=5))
    async with working(env.client, world):
        given = await case_of(env, enforce(), future)
        handle = await start(env.client, given)
        for verb, update in ((Verb.HOLD, LeaverWorkflow.hold), (Verb.RESCIND, LeaverWorkflow.rescind)):
            with pytest.raises(WorkflowUpdateFailedError):
                await handle.execute_update(update, statement(given, verb, "E1001", reason="I stay"))
        status = await handle.query(LeaverWorkflow.status)
        assert (status.held_because, status.outcome) == ("", CaseOutcome.RUNNING)


async def test_what_an_operator_may_not_do_is_recorded_as_refused(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    world.roles = ("operator",)
    async with working(env.client, world):
        given = await case_of(env, enforce(protected={"external_ids": ["E1001"]}))
        handle = await start(env.client, given)
        await status_when(handle, lambda s: s.outcome is CaseOutcome.HELD)
        for verb, update, step in (
            (Verb.RELEASE, LeaverWorkflow.release, None),
            (Verb.RETRY, LeaverWorkflow.retry_step, "entra.block_sign_in"),
        ):
            with pytest.raises(WorkflowUpdateFailedError):
                await handle.execute_update(update, statement(given, verb, "E3001", step=step, reason="now"))
        world.roles = ("security",)
        await handle.execute_update(
            LeaverWorkflow.release, statement(given, Verb.RELEASE, "E3001", reason="agreed")
        )
        await handle.result()
    heard = [(body["verb"], body["accepted"], body["refusal"]) for body in world.bodies("approval")]
    assert heard == [
        ("release", False, "a protected person is released by security only"),
        (
            "retry",
            False,
            "'entra.block_sign_in' is not an open step of this case; see 'steps' in the case's status",
        ),
        ("release", True, ""),
    ]


async def test_notification_only_writes_nothing_even_when_told_to_go_on(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    async with working(env.client, world):
        policy = enforce(mode=Mode.NOTIFICATION_ONLY, protected={"external_ids": ["E1001"]})
        given = await case_of(env, policy)
        handle = await start(env.client, given)
        await status_when(handle, lambda s: s.outcome is CaseOutcome.HELD)
        await handle.execute_update(
            LeaverWorkflow.release, statement(given, Verb.RELEASE, "E3001", reason="agreed")
        )
        result = await handle.result()
    assert result.outcome is CaseOutcome.PLANNED
    assert {arg.mode for arg in world.inputs} == {Mode.NOTIFICATION_ONLY}


async def test_operators_see_the_case_in_temporal_and_nobodys_name(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    world.effects["entra.remove_groups"] = [(Outcome.OPEN, Reason.ACCESS_DENIED)]
    received = await env.get_current_time()
    told = event(effective_at=received + timedelta(days=3))
    async with working(env.client, world):
        given = case_input(told, enforce(), received_at=received, on_prem=False)
        handle = await start(env.client, given)
        await status_when(handle, lambda s: s.phase is Phase.SCHEDULED)
        asleep = (await handle.describe()).typed_search_attributes
        assert asleep[PHASE_KEY] == "scheduled"
        assert asleep[OUTCOME_KEY] == "running"
        assert asleep[DUE_KEY] == told.data.separation.effective_at
        await env.sleep(timedelta(days=3, minutes=1))
        await status_when(handle, lambda s: "entra.remove_groups" in s.waiting_for)
        shown = await details_of(handle)
        assert "**licences** · running · enforce" in shown
        assert "Waits for a person, for entra.remove_groups" in shown
        assert "| entra.remove_groups | open | access_denied: " in shown
        assert "| entra.block_sign_in | verified |" in shown
        description = await handle.describe()
        attributes = description.typed_search_attributes
        assert {pair.key.name for pair in attributes} >= {PHASE, OUTCOME, DUE}
        text = f"{shown} {attributes} {(await handle.query(LeaverWorkflow.status)).model_dump_json()}"
        assert [name for name in NAMES if name in text.casefold()] == []
        await handle.execute_update(
            LeaverWorkflow.retry_step,
            statement(given, Verb.RETRY, "E3001", step="entra.remove_groups", reason="granted"),
        )
        await handle.result()
        ended = (await handle.describe()).typed_search_attributes
    assert (ended[PHASE_KEY], ended[OUTCOME_KEY]) == ("watch", "completed")


async def test_a_doubtful_mailbox_owner_stays_open_and_access_is_cut(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    world.reasons[System.EXCHANGE] = Reason.AMBIGUOUS_ACCOUNT
    async with working(env.client, world):
        handle = await start(
            env.client, await case_of(env, enforce(seal={"close_with_exceptions_after_days": 1}))
        )
        result = await handle.result()
    assert result.steps["exchange.identify_account"] is Outcome.OPEN
    assert result.steps["entra.revoke_sessions"] is Outcome.VERIFIED
    assert result.steps["entra.remove_direct_licences"] is Outcome.OPEN
    assert "exchange.preserve" not in world.calls
