"""A case stays small: events, activities, status. Temporal warns at 10,240 events; we stay far below."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from temporalio.api.enums.v1 import EventType
from temporalio.testing import WorkflowEnvironment

from leaver.domain.words import CaseOutcome, ErrorType, Outcome, Reason, Verb
from tests.support.case_runs import (
    ALL,
    CLOUD,
    CaseHandle,
    asking,
    awaits_approval,
    case_of,
    enforce,
    status_when,
)
from tests.support.world import World, final, start, statement, working
from workflows.leaver import LeaverWorkflow

STATUS_BYTES = 60_000


async def events_of(handle: CaseHandle) -> Counter[str]:
    history = await handle.fetch_history()
    return Counter(EventType.Name(event.event_type) for event in history.events)


async def status_bytes(handle: CaseHandle) -> int:
    return len((await handle.query(LeaverWorkflow.status)).model_dump_json().encode())


async def test_an_ordinary_hybrid_leaver(env: WorkflowEnvironment) -> None:
    world = World.of(*ALL, synced=True)
    async with working(env.client, world):
        given = await case_of(env, asking(), on_prem=True)
        handle = await start(env.client, given)
        status = await status_when(handle, awaits_approval)
        await handle.execute_update(
            LeaverWorkflow.decide, statement(given, Verb.APPROVE, "E2001", plan_digest=status.plan_digest)
        )
        result = await handle.result()
        events = await events_of(handle)
        size = await status_bytes(handle)
    assert result.outcome is CaseOutcome.COMPLETED
    assert events.total() < 300, events
    assert events["EVENT_TYPE_ACTIVITY_TASK_SCHEDULED"] <= 40, events
    assert size < STATUS_BYTES


async def test_a_month_of_containment_that_does_not_heal(env: WorkflowEnvironment) -> None:
    world = World.of(*ALL)
    for unit in ("entra.contain", "ad.contain"):
        world.broken[unit] = final(ErrorType.INVALID_CREDENTIALS)
    async with working(env.client, world):
        handle = await start(env.client, await case_of(env, enforce(), on_prem=True))
        result = await handle.result()
        events = await events_of(handle)
        size = await status_bytes(handle)
    assert result.outcome is CaseOutcome.COMPLETED_WITH_EXCEPTIONS
    assert world.calls.count("entra.contain") > 30
    assert events.total() < 1000, dict(events)
    assert size < STATUS_BYTES


async def test_a_month_in_which_somebody_retries_every_day(env: WorkflowEnvironment) -> None:
    world = World.of(*CLOUD)
    world.effects["entra.remove_groups"] = [(Outcome.OPEN, Reason.ACCESS_DENIED)] * 40
    async with working(env.client, world):
        given = await case_of(env, enforce())
        handle = await start(env.client, given)
        for day in range(1, 30):
            await status_when(handle, lambda s: "entra.remove_groups" in s.waiting_for)
            await handle.execute_update(
                LeaverWorkflow.retry_step,
                statement(given, Verb.RETRY, "E3001", step="entra.remove_groups", reason=f"day {day}"),
            )
            await env.sleep(timedelta(days=1))
        result = await handle.result()
        events = await events_of(handle)
    assert result.outcome is CaseOutcome.COMPLETED_WITH_EXCEPTIONS
    assert events.total() < 1000, dict(events)
