"""Short words for tests that live through cases: policies, events at the server's time, statuses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from leaver.domain.case import CaseInput, CaseResult, CaseStatus, StepStatus
from leaver.domain.event import LeaverEvent
from leaver.domain.ids import watch_workflow_id
from leaver.domain.policy import ApprovalPolicy, Policy
from leaver.domain.words import Mode, Phase, System
from tests.support.world import World, case_input, event
from workflows.leaver import LeaverWorkflow
from workflows.watch import WatchResult, WatchWorkflow

ALL = (System.ENTRA, System.EXCHANGE, System.ONEDRIVE, System.AD)
CLOUD = (System.ENTRA, System.EXCHANGE, System.ONEDRIVE)

CaseHandle = WorkflowHandle[LeaverWorkflow, CaseResult]


def enforce(**more: object) -> Policy:
    """A policy that writes and asks nobody, unless ``more`` says otherwise."""
    return Policy.model_validate(
        {"mode": Mode.ENFORCE, "approvals": ApprovalPolicy(handover_required=False), **more}
    )


def asking(**rules: object) -> Policy:
    """A policy that writes and asks for the hand-over."""
    return enforce(approvals=ApprovalPolicy.model_validate(rules))


async def due_now(env: WorkflowEnvironment, **more: Any) -> LeaverEvent:
    """An event whose cut-off was an hour ago."""
    return event(effective_at=await env.get_current_time() - timedelta(hours=1), **more)


async def case_of(
    env: WorkflowEnvironment,
    policy: Policy,
    leaver_event: LeaverEvent | None = None,
    *,
    on_prem: bool = False,
    **more: Any,
) -> CaseInput:
    """The input of a case that HR told us of just now."""
    told = leaver_event or await due_now(env, **more)
    return case_input(told, policy, received_at=await env.get_current_time(), on_prem=on_prem)


async def status_when(
    handle: CaseHandle, ready: Callable[[CaseStatus], bool], *, seconds: float = 10
) -> CaseStatus:
    """Ask until the status is as wanted (real time)."""
    status = await handle.query(LeaverWorkflow.status)
    for _ in range(int(seconds / 0.02)):
        if ready(status):
            return status
        await asyncio.sleep(0.02)
        status = await handle.query(LeaverWorkflow.status)
    open_steps = {step.step: step.outcome.value for step in status.steps if not step.outcome.proven}
    raise AssertionError(
        f"never came: {status.phase.value}, {status.outcome.value}, waits for {status.waiting_for!r},"
        f" held because {status.held_because!r}, not proven: {open_steps}"
    )


async def until(ready: Callable[[], bool], *, seconds: float = 10) -> None:
    """Wait (real time) for something outside the workflow."""
    for _ in range(int(seconds / 0.02)):
        if ready():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("never came")


def awaits_approval(status: CaseStatus) -> bool:
    return status.waiting_for.startswith("the approval")


async def only_the_approval_is_missing(handle: CaseHandle, world: World) -> CaseStatus:
    """Wait until nothing runs any more but the question to the manager, evidence included.

    Before a test cancels a case: the test server (1.40) fails a workflow task for good when the cancelling of
    an activity crosses its completion.
    """

    def at_rest(status: CaseStatus) -> bool:
        beside = [step for step in status.steps if step.phase is Phase.ENTITLEMENTS]
        told = sum(chain == "case" for chain, _ in world.records)
        return (
            awaits_approval(status) and all(step.outcome.proven for step in beside) and told == status.records
        )

    await status_when(handle, at_rest)
    await asyncio.sleep(0.1)  # the last activity's completion reaches the workflow
    return await status_when(handle, at_rest)


def step_of(status: CaseStatus, name: str) -> StepStatus:
    return next(step for step in status.steps if step.step == name)


def watch_of(client: Client, case: str) -> WorkflowHandle[WatchWorkflow, WatchResult]:
    return client.get_workflow_handle_for(WatchWorkflow.run, watch_workflow_id(case))


async def watched_to_its_end(env: WorkflowEnvironment, case: str, *, minutes: int = 0) -> WatchResult:
    """Let the watch pass its last moment, ``minutes`` from now, and wait for its result.

    Asking for the result of a child does not skip time. The server must not be asked to skip beyond the
    watch's end either: once a child ends after its parent, the test server (1.40) skips no more.
    """
    if minutes:
        await env.sleep(timedelta(minutes=minutes))
    return await asyncio.wait_for(watch_of(env.client, case).result(), 15)


async def details_of(handle: WorkflowHandle[Any, Any]) -> str:
    """What the Temporal UI shows as the workflow's current details."""
    metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    return metadata.current_details


def kinds(world: World, chain: str = "case") -> list[str]:
    """The types of a chain's records, in order."""
    ordered = sorted(key for key in world.records if key[0] == chain)
    return [world.records[key].type.value for key in ordered]


def between(low: timedelta, value: datetime, start: datetime, slack: timedelta) -> bool:
    """Whether ``value`` lies ``low`` after ``start``, up to ``slack`` later."""
    return low <= value - start < low + slack
