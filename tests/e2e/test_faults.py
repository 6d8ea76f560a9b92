"""What goes wrong at the vendor's side, one leaver each: every step ends verified, with no write too many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from leaver.domain.words import CaseOutcome, ErrorType, Outcome, Phase, RecordType
from leaver.evidence.verify import verify_bundle
from leaver.simulators.company import person
from tests.support.stack import UNSYNCED, Request, Running, mutations, records, requests, stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

BLOCK, PASSWORD = "entra.block_sign_in", "entra.reset_password"


@dataclass(frozen=True)
class Trouble:
    """A fault on the one write that disables the account and sets the password, and what must come of it."""

    number: str
    fault: dict[str, Any]
    statuses: tuple[int, ...]
    """Of the writes in the simulator's log, in order."""
    attempts: int
    error: ErrorType | None = None


PATCH = {"system": "entra", "method": "PATCH"}
TROUBLES = (
    Trouble("E1001", {**PATCH, "kind": "throttle", "retry_after": 2}, (429, 204), 2, ErrorType.THROTTLED),
    Trouble("E1003", {**PATCH, "kind": "unavailable"}, (503, 204), 2, ErrorType.UNAVAILABLE),
    Trouble("E1004", {**PATCH, "kind": "drop_after_commit"}, (204,), 1),
    # The reads before the write show what is so, as nothing was written yet; those after it are stale.
    Trouble("E1002", {"system": "entra", "method": "GET", "kind": "stale_reads", "times": 7}, (204,), 1),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """Four leavers at once, each with trouble of their own."""
    async with stack(tmp_path_factory.mktemp("faults"), pace=UNSYNCED) as running:
        await running.control.faults(
            *({**each.fault, "path": f"/users/{person(each.number).object_id}$"} for each in TROUBLES)
        )
        await running.offboard(*(each.number for each in TROUBLES))
        assert await running.control.open_faults() == [], "some fault was never met"
        yield running


@pytest.fixture(params=TROUBLES, ids=lambda each: each.fault["kind"])
def trouble(request: pytest.FixtureRequest) -> Trouble:
    found = request.param
    assert isinstance(found, Trouble)
    return found


def disabling(run: Running, number: str) -> list[Request]:
    return [
        each
        for each in mutations(run.folder, "entra")
        if each.operation == "/users/{user}" and each.about(person(number))
    ]


def at(request: Request) -> datetime:
    return datetime.fromisoformat(request.time)


async def test_the_case_ends_completed_with_every_step_verified(run: Running, trouble: Trouble) -> None:
    status = run.status(trouble.number)
    assert (status.outcome, status.phase) == (CaseOutcome.COMPLETED, Phase.WATCH)
    contained = {step.step: step.outcome for step in status.steps if step.phase is Phase.CONTAIN}
    assert set(contained.values()) == {Outcome.VERIFIED}
    assert verify_bundle(run.bundle(trouble.number)).findings == ()


async def test_the_write_was_sent_as_often_as_it_had_to_be(run: Running, trouble: Trouble) -> None:
    sent = disabling(run, trouble.number)
    assert tuple(each.status for each in sent) == trouble.statuses
    step = run.step(trouble.number, BLOCK)
    assert (step.attempts, step.writes) == (trouble.attempts, 1)
    state = await run.control.state(trouble.number)
    assert state["user"]["enabled"] is False
    assert state["user"]["password_changes"] == (0 if person(trouble.number).hybrid else 1)


async def test_every_attempt_is_in_the_evidence_with_its_error(run: Running, trouble: Trouble) -> None:
    case = records(run.folder)[run.case(trouble.number)]
    tried = [
        (record.body["attempt"], record.body["error"])
        for record in case
        if record.type is RecordType.ATTEMPT and record.body["unit"] == "entra.contain"
    ]
    failed = [(1, trouble.error.value)] if trouble.error else []
    assert tried == [*failed, (trouble.attempts, None)]


async def test_retry_after_is_honoured(run: Running) -> None:
    first, second = disabling(run, "E1001")
    assert timedelta(seconds=2) <= at(second) - at(first) < timedelta(seconds=10)


async def test_the_lost_reply_was_lost_and_the_stale_reads_were_stale(run: Running) -> None:
    """The controls: the faults hit what they were meant to hit."""
    (lost,) = disabling(run, "E1004")
    assert lost.fault == "drop_after_commit"
    (written,) = disabling(run, "E1002")
    stale = [each for each in requests(run.folder, "entra") if each.fault == "stale_reads"]
    assert [each for each in stale if each.time > written.time]


async def test_systems_that_cannot_be_reached_are_waited_for_and_never_taken_for_absent(run: Running) -> None:
    """A later employment of the same person: the account is disabled already, sessions are revoked anew."""
    await run.stack.systems.stop()
    await run.deliver("E1001", employment_id="E1001-2")
    case = list(run.progress.people)[-1]
    assert case != run.case("E1001")
    look = run.driver.cases.status
    async with asyncio.timeout(20):
        while (await look(case)).phase is not Phase.INTAKE:  # noqa: ASYNC110 - a case tells only when asked
            await asyncio.sleep(0.1)
    await asyncio.sleep(2)
    status = await look(case)
    assert status.contained_at is None
    assert {step.outcome for step in status.steps} == {Outcome.PENDING}
    await run.stack.restart_systems()
    async with asyncio.timeout(30):
        while (await look(case)).contained_at is None:  # noqa: ASYNC110 - a case tells only when asked
            await asyncio.sleep(0.1)
    contained = {step.step: step.outcome for step in (await look(case)).steps if step.phase is Phase.CONTAIN}
    assert contained["entra.revoke_sessions"] is Outcome.VERIFIED
