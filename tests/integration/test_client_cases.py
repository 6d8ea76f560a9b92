"""Cases through the client's façade on the real server: deliver, ask, tell, list."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import Client

from leaver.client.cases import (
    CaseError,
    CaseNotFoundError,
    CaseRow,
    Cases,
    Delivery,
    RefusedError,
    event_case,
)
from leaver.domain.case import CaseStatus
from leaver.domain.event import LeaverEvent
from leaver.domain.ids import case_id, watch_workflow_id, workflow_id
from leaver.domain.statement import Statement, StatementBody
from leaver.domain.words import CaseOutcome, Mode, Outcome, Phase, Reason, Verb
from tests.support.case_runs import ALL, CLOUD, asking, awaits_approval, enforce, step_of
from tests.support.world import World, event, working

NAMES = (b"Mira", b"Lindqvist", b"northwind.example", b"Helena")


@pytest.fixture
def id_key() -> bytes:
    """Another key, so other case ids, for every test."""
    return secrets.token_bytes(16)


@pytest.fixture
def cases(temporal_client: Client, id_key: bytes) -> Cases:
    return Cases(temporal_client, id_key)


def leaves(*, in_days: float = -1, kind: str = "leaver.scheduled.v1", revision: int = 1) -> LeaverEvent:
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=in_days)
    return event(effective_at=at, kind=kind, revision=revision)


async def status_when(cases: Cases, case: str, ready: Callable[[CaseStatus], bool]) -> CaseStatus:
    for _ in range(500):
        status = await cases.status(case)
        if ready(status):
            return status
        await asyncio.sleep(0.02)
    raise AssertionError(f"never came: {status.phase}, waits for {status.waiting_for!r}")


async def row_when(cases: Cases, case: str, ready: Callable[[CaseRow], bool]) -> CaseRow:
    """Visibility is eventually consistent."""
    for _ in range(250):
        for row in [row async for row in cases.all() if row.case == case]:
            if ready(row):
                return row
        await asyncio.sleep(0.04)
    raise AssertionError(f"{case} is never listed like that")


def said(case: str, verb: Verb, by: str, **more: str | None) -> Statement:
    nonce = uuid.uuid4().hex
    body = StatementBody.model_validate(
        {"case": case, "verb": verb, "by": by, "at": datetime.now(UTC), "nonce": nonce, **more}
    )
    return Statement(body=body, key_id="k1", signature="c2ln")


async def test_the_main_path(temporal_client: Client, cases: Cases, id_key: bytes) -> None:
    world = World.of(*ALL, synced=True)
    told = leaves()
    async with working(temporal_client, world):
        delivered = await cases.deliver(told, asking(), received_at=datetime.now(UTC))
        assert delivered.delivery is Delivery.STARTED
        assert delivered.case == event_case(id_key, Mode.ENFORCE, told)
        status = await status_when(cases, delivered.case, awaits_approval)
        assert status.contained_at is not None
        answer = await cases.say(said(delivered.case, Verb.APPROVE, "E2001", plan_digest=status.plan_digest))
        assert answer.accepted
        result = await asyncio.wait_for(cases.result(delivered.case), 30)
        for _ in range(250):
            if bundle := await cases.bundle(delivered.case):
                break
            await asyncio.sleep(0.02)
        row = await row_when(cases, delivered.case, lambda row: row.status == "completed")
    assert result.outcome is CaseOutcome.COMPLETED
    assert set(result.steps.values()) == {Outcome.VERIFIED}
    assert bundle == delivered.case
    assert (row.phase, row.outcome, row.risk) == ("watch", "completed", "")
    assert row.closed is not None
    await temporal_client.get_workflow_handle(watch_workflow_id(delivered.case)).terminate()


async def test_the_server_stores_no_name_and_the_screen_shows_one(
    temporal_client: Client, cases: Cases
) -> None:
    async with working(temporal_client, World.of(*CLOUD)):
        delivered = await cases.deliver(
            leaves(in_days=9), enforce(), received_at=datetime.now(UTC), on_prem=False
        )
        await status_when(cases, delivered.case, lambda s: s.phase is Phase.SCHEDULED)
        handle = temporal_client.get_workflow_handle(workflow_id(delivered.case))
        description = await handle.describe()
        stored = (await handle.fetch_history()).to_json().encode()
        stored += description.raw_description.SerializeToString()
    assert await description.static_summary() == "Mira Lindqvist (E1001)"
    assert "manager E2001" in (await description.static_details() or "")
    assert [name for name in NAMES if name in stored] == []
    await handle.terminate()


async def test_the_same_news_twice_is_one_case(temporal_client: Client, cases: Cases) -> None:
    told = leaves(in_days=9)
    world = World.of(*CLOUD)
    async with working(temporal_client, world):
        twice = await asyncio.gather(
            *(cases.deliver(told, enforce(), received_at=datetime.now(UTC)) for _ in range(4))
        )
        again = await cases.deliver(told, enforce(), received_at=datetime.now(UTC))
        assert {each.case for each in twice} == {again.case}
        assert Delivery.STARTED in {each.delivery for each in twice}
        assert again.delivery is Delivery.TOLD
        status = await status_when(cases, again.case, lambda s: s.phase is Phase.SCHEDULED)
        await row_when(cases, again.case, lambda row: row.status == "running")
        listed = [row async for row in cases.all() if row.case == again.case]
    assert status.records == 1
    assert len(listed) == 1
    assert (listed[0].phase, listed[0].outcome) == ("scheduled", "running")
    assert listed[0].due == told.data.separation.effective_at
    await temporal_client.get_workflow_handle(workflow_id(again.case)).terminate()


async def test_a_moved_date_is_told_and_a_rescinded_case_is_closed(
    temporal_client: Client, cases: Cases
) -> None:
    world = World.of(*CLOUD)
    received = datetime.now(UTC)
    async with working(temporal_client, world):
        first = await cases.deliver(leaves(in_days=9), enforce(), received_at=received, site="oslo")
        moved = leaves(in_days=20, kind="leaver.changed.v1", revision=2)
        told = await cases.deliver(moved, enforce(), received_at=received, site="oslo")
        assert (told.case, told.delivery) == (first.case, Delivery.TOLD)
        cutoff = moved.data.separation.effective_at
        await status_when(cases, first.case, lambda s: s.cutoff == cutoff)
        row = await row_when(cases, first.case, lambda row: row.due == cutoff)
        assert row.site == "oslo"
        back = leaves(in_days=20, kind="leaver.rescinded.v1", revision=3)
        assert (await cases.deliver(back, enforce(), received_at=received)).delivery is Delivery.TOLD
        result = await asyncio.wait_for(cases.result(first.case), 20)
        assert result.outcome is CaseOutcome.RESCINDED
        for late in (back, moved, leaves(in_days=40, kind="leaver.changed.v1", revision=4)):
            after = await cases.deliver(late, enforce(), received_at=received)
            assert (after.case, after.delivery) == (first.case, Delivery.CLOSED)
        row = await row_when(cases, first.case, lambda row: row.closed is not None)
        with pytest.raises(CaseNotFoundError, match="is over"):
            await cases.say(said(first.case, Verb.HOLD, "E3001", reason="too late"))
    assert row.outcome == "rescinded"
    assert not [call for call in world.calls if not call.startswith("evidence.")]


async def test_a_refusal_is_an_answer_and_a_signal_has_none(temporal_client: Client, cases: Cases) -> None:
    world = World.of(*CLOUD)
    world.effects["entra.remove_groups"] = [(Outcome.OPEN, Reason.ACCESS_DENIED)]
    async with working(temporal_client, world):
        case = (await cases.deliver(leaves(), asking(), received_at=datetime.now(UTC), on_prem=False)).case
        status = await status_when(cases, case, awaits_approval)
        with pytest.raises(RefusedError, match="may not decide here"):
            await cases.say(said(case, Verb.APPROVE, "E9999", plan_digest=status.plan_digest))
        approval = said(case, Verb.APPROVE, "E2001", plan_digest=status.plan_digest)
        await cases.signal_decision(approval)
        await status_when(cases, case, lambda s: s.decision == "approve")
        status = await status_when(
            cases, case, lambda s: step_of(s, "entra.remove_groups").outcome is Outcome.OPEN
        )
        retry = said(case, Verb.RETRY, "E3001", step="entra.remove_groups", reason="granted")
        answers = [await cases.say(retry) for _ in range(2)]
        assert answers[0] == answers[1]
        result = await asyncio.wait_for(cases.result(case), 20)
    assert result.outcome is CaseOutcome.COMPLETED
    assert world.calls.count("entra.remove_groups") == 2
    await temporal_client.get_workflow_handle(watch_workflow_id(case)).terminate()


async def test_what_does_not_exist_is_said_so(cases: Cases) -> None:
    nobody = case_id(b"k" * 16, source="hris/csv/x", worker=uuid.uuid4().hex, spell="1")
    with pytest.raises(CaseNotFoundError, match=nobody):
        await cases.status(nobody)
    with pytest.raises(CaseNotFoundError):
        await cases.result(nobody)
    with pytest.raises(CaseNotFoundError):
        await cases.say(said(nobody, Verb.HOLD, "E3001", reason="x"))
    with pytest.raises(CaseNotFoundError):
        await cases.signal_decision(said(nobody, Verb.APPROVE, "E2001"))
    assert await cases.bundle(nobody) == ""
    with pytest.raises(CaseError, match="not a case id"):
        await cases.status("leaver-E1001")


async def test_taking_back_what_never_was_starts_nothing(temporal_client: Client, cases: Cases) -> None:
    """Somebody who stays must not be offboarded because HR says that they stay."""
    world = World.of(*CLOUD)
    async with working(temporal_client, world):
        told = leaves(kind="leaver.rescinded.v1")
        done = await cases.deliver(told, enforce(), received_at=datetime.now(UTC), on_prem=False)
        assert done.delivery is Delivery.NOTHING_TO_RESCIND
        with pytest.raises(CaseNotFoundError):
            await cases.status(done.case)
    assert world.calls == []
