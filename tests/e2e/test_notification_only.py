"""Notification-only mode: the same input gives the whole plan, with the state before, and no write at all."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from leaver.domain.words import CaseOutcome, Mode, Outcome, Phase, RecordType
from leaver.embedded.drive import Progress
from tests.support.stack import (
    POLICY,
    SUCCESSORS,
    SYSTEMS,
    Running,
    journal,
    mutations,
    policy_file,
    records,
    requests,
    stack,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXPECTED = {
    "E1001": {"entra": 9, "exchange": 4, "onedrive": 1},
    "E1002": {"entra": 8, "exchange": 4, "onedrive": 1, "ad": 4},
    "E1003": {"entra": 9, "exchange": 4, "onedrive": 1},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["installation", "policy"])
async def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Running]:
    """Three leavers, with the write switch off in one place: the installation's, or the policy's."""
    folder = tmp_path_factory.mktemp(request.param)
    by_installation = request.param == "installation"
    policy = POLICY if by_installation else policy_file(folder, mode=Mode.NOTIFICATION_ONLY.value)
    mode = Mode.NOTIFICATION_ONLY if by_installation else Mode.ENFORCE
    async with stack(folder, mode=mode, policy=policy) as running:
        await running.offboard(*SUCCESSORS)
        yield running


async def test_every_case_ends_as_planned_and_waits_for_nobody(run: Running) -> None:
    for number in SUCCESSORS:
        status = run.status(number)
        assert (status.outcome, status.phase) == (CaseOutcome.PLANNED, Phase.WATCH)
        assert status.mode == Mode.NOTIFICATION_ONLY
        assert status.contained_at is None, "nothing is called contained that is not"
        assert (status.waiting_for, status.approvers) == ("", ())


@pytest.mark.parametrize("number", SUCCESSORS)
async def test_the_plan_is_the_whole_one(run: Running, number: str) -> None:
    counted: dict[str, int] = {}
    for step in run.status(number).steps:
        if step.phase is Phase.INTAKE:
            assert step.outcome.proven
            continue
        counted[step.system.value] = counted.get(step.system.value, 0) + 1
        already = number == "E1002" and step.step == "exchange.remove_distribution_groups"
        assert step.outcome is (Outcome.ALREADY if already else Outcome.PLANNED)
    assert counted == EXPECTED[number]


async def test_the_records_hold_the_state_before(run: Running) -> None:
    for status in (run.status(number) for number in SUCCESSORS):
        told = [
            record.body for record in records(run.folder)[status.case] if record.type is RecordType.RESULT
        ]
        planned = [body for body in told if body["outcome"] == Outcome.PLANNED]
        assert len(planned) >= 14
        for body in planned:
            assert body["before"], body["step"]
            assert body["before"] == body["after"]
        before = {str(body["step"]): body["before"] for body in planned}
        blocked, converted = before["entra.block_sign_in"], before["exchange.convert_to_shared_mailbox"]
        assert isinstance(blocked, dict)
        assert blocked["account_enabled"] is True
        assert converted == {"recipient_type": "UserMailbox", "user_purpose": "user"}


async def test_no_system_was_asked_for_a_change(run: Running) -> None:
    assert {each.system for each in requests(run.folder)} == set(SYSTEMS)
    assert mutations(run.folder) == []
    versions: dict[tuple[str, str], set[str]] = {}
    for line in journal(run.folder):
        # The directory synchronisation dates its visits.
        content = {**line["value"], "last_sync": None}
        versions.setdefault((line["table"], line["id"]), set()).add(json.dumps(content))
    assert {key for key, contents in versions.items() if len(contents) > 1} <= {certificate(run)}
    assert [each for each in requests(run.folder, "exchange") if not each.operation.startswith("Get-")] == []


def certificate(run: Running) -> tuple[str, str]:
    """The simulator's own app registration gets its certificate at start."""
    return ("app", run.stack.addresses["client_id"])


async def test_the_evidence_is_sealed_all_the_same(run: Running) -> None:
    assert isinstance(run.progress, Progress)
    assert len(run.progress.bundles) == len(SUCCESSORS)
    for number in SUCCESSORS:
        assert (Path(run.bundle(number)) / "manifest.dsse.json").is_file()
