"""First, do no harm: who is protected, or may be somebody else, is not touched, however late found."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from leaver.domain.words import CaseOutcome, ErrorType, Outcome, System, Verb
from tests.support.case_runs import ALL, case_of, enforce, status_when
from tests.support.world import AD_GUID, World, passing, start, statement, working
from workflows.leaver import LeaverWorkflow

OTHER_GUID = "0e1f0f5e-0000-4000-8000-00000000ffff"


def world_of(*, disagreeing: bool) -> World:
    world = World.of(*ALL, synced=True)
    directory = world.accounts[System.AD]
    assert directory is not None
    if disagreeing:
        world.accounts[System.AD] = directory.model_copy(update={"id": OTHER_GUID})
    return world


@pytest.mark.parametrize("disagreeing", [False, True], ids=["protected", "disagreeing"])
async def test_an_account_found_late_is_checked_before_it_is_touched(
    env: WorkflowEnvironment, disagreeing: bool, cache: int
) -> None:
    world = world_of(disagreeing=disagreeing)
    world.broken["ad.resolve"] = passing(ErrorType.UNAVAILABLE)
    protected = {} if disagreeing else {"account_ids": [AD_GUID]}
    async with working(env.client, world, cache=cache):
        given = await case_of(env, enforce(protected=protected), on_prem=True)
        handle = await start(env.client, given)
        await env.sleep(timedelta(minutes=3))
        assert "entra.contain" in world.calls
        del world.broken["ad.resolve"]
        await env.sleep(timedelta(hours=2))
        status = await status_when(handle, lambda s: s.outcome is CaseOutcome.HELD)
        assert (
            "another Active Directory" if disagreeing else "protected by the policy"
        ) in status.held_because
        assert "ad.contain" not in world.calls
        await handle.execute_update(
            LeaverWorkflow.release, statement(given, Verb.RELEASE, "E3001", reason="it is the same person")
        )
        result = await handle.result()
    assert result.steps["ad.disable_account"] is Outcome.VERIFIED
    assert [body["change"] for body in world.bodies("case.changed")].count("held") == 1


@pytest.mark.parametrize("disagreeing", [False, True], ids=["protected", "disagreeing"])
async def test_one_release_is_enough(env: WorkflowEnvironment, disagreeing: bool) -> None:
    world = world_of(disagreeing=disagreeing)
    protected = {"account_ids": [AD_GUID], "external_ids": [] if disagreeing else ["E1001"]}
    async with working(env.client, world):
        given = await case_of(env, enforce(protected=protected if not disagreeing else {}), on_prem=True)
        handle = await start(env.client, given)
        releases = 0
        for why in ("another Active",) if disagreeing else ("employee number", "account in ad"):
            await status_when(handle, lambda s, why=why: why in s.held_because)
            await handle.execute_update(
                LeaverWorkflow.release, statement(given, Verb.RELEASE, "E3001", reason="agreed")
            )
            releases += 1
        result = await handle.result()
    assert result.outcome is CaseOutcome.COMPLETED
    assert [body["change"] for body in world.bodies("case.changed")].count("released") == releases


async def test_no_write_happens_anywhere_while_links_disagree(env: WorkflowEnvironment) -> None:
    world = world_of(disagreeing=True)
    async with working(env.client, world):
        handle = await start(env.client, await case_of(env, enforce(), on_prem=True))
        await status_when(handle, lambda s: s.outcome is CaseOutcome.HELD)
        await env.sleep(timedelta(days=2))
        assert world.inputs == []
        await handle.terminate()
