"""A delivery on the time-skipping server: noted before its cases start, and never waited for long."""

from __future__ import annotations

import asyncio
import itertools
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from leaver.client.cases import CaseError
from leaver.client.deliveries import Announced, Namer, announce, delivery_parts
from leaver.client.errands import Errands, SealerBusyError
from leaver.client.intake import Place, take_in
from leaver.domain.ids import delivery_workflow_id
from leaver.domain.statement import Statement, StatementBody
from leaver.domain.words import Mode, RecordType, Verb
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.people import People, PersonEntry, Role, save_people
from leaver.evidence.population.model import GapKind, Period
from leaver.evidence.population.observed import load_seen
from leaver.evidence.population.reconcile import reconcile
from leaver.evidence.records import Chain
from leaver.evidence.statements import new_person_key, person_key, sign_statement
from leaver.hr.screening import screen
from tests.support.population import Company, row
from tests.support.sealing import OpeningCases, errands, sealing
from workflows.delivery import DeliveryWorkflow

NONCES = itertools.count()


@pytest.fixture
def company(tmp_path: Path) -> Any:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        yield Company(tmp_path, ledger, now=datetime.now(UTC).replace(microsecond=0))


@pytest.fixture
def security(tmp_path: Path) -> Path:
    """The key of somebody who may erase, registered."""
    file = tmp_path / "security.pem"
    new_person_key(file)
    key = person_key(file)
    entry = PersonEntry(subject="sec-1", key_id=key.key_id, public_key=key.public_key, roles=(Role.SECURITY,))
    save_people(tmp_path / "people.json", People(people=(entry,)))
    return file


def signed(key: Path, case: str, verb: Verb, reason: str) -> Statement:
    body = StatementBody(
        case=case, verb=verb, by="sec-1", at=datetime.now(UTC), nonce=f"n-{next(NONCES)}", reason=reason
    )
    return sign_statement(body, key)


async def ingest(cases: OpeningCases) -> Announced:
    company = cases.company
    intake = await take_in(
        cases, company.policy, company.read(), file="hr.csv", received=company.now, place=Place()
    )
    return intake.announced


async def test_the_expectation_is_in_the_log_before_the_case(
    env: WorkflowEnvironment, company: Company, cache: int
) -> None:
    company.write(row("E1"), row("E2"))
    async with errands(env.client, cache), sealing(env.client, company):
        assert await ingest(OpeningCases(env.client, company)) is Announced.NOTED
    seen = load_seen(company.ledger)
    assert len(seen.opened) == 2
    assert all(seen.expected[case].seq < opened.seq for case, opened in seen.opened.items())


async def test_a_leaver_dropped_between_hr_and_workflow_shows_the_same_day(
    env: WorkflowEnvironment, company: Company
) -> None:
    company.write(row("E1"), row("E2"), row("E3"))
    async with errands(env.client), sealing(env.client, company):
        await ingest(OpeningCases(env.client, company, lose="E2"))
        company.later(minutes=20)
        pulled = await Errands(env.client).pull()
    assert (pulled.leavers, pulled.gaps, pulled.problem) == (3, 1, "")
    table = reconcile(Period(), load_seen(company.ledger), now=company.now)
    assert (table.hr_leavers, table.with_case, table.difference) == (3, 2, 1)
    assert [(gap.kind, gap.case) for gap in table.alarms] == [
        (GapKind.EXPECTED_WITHOUT_CASE, company.case("E2"))
    ]


async def test_the_same_delivery_again_is_the_same_delivery(
    env: WorkflowEnvironment, company: Company
) -> None:
    company.write(row("E1"), row("E2"))
    [part] = company.parts()
    async with errands(env.client), sealing(env.client, company):
        assert await announce(env.client, [part]) is Announced.NOTED
        size = company.ledger.size()
        company.later(days=1)
        [again] = company.parts()
        assert again.delivery == part.delivery
        assert await announce(env.client, [again]) is Announced.NOTED
    assert company.ledger.size() == size


async def test_the_kill_switch_does_not_wait_for_the_sealer(
    env: WorkflowEnvironment, company: Company
) -> None:
    """The sealer is down: Temporal has the delivery, the cases start, the leaf comes late and is seen to."""
    company.write(row("E1"))
    cases = OpeningCases(env.client, company)
    began = asyncio.get_running_loop().time()
    async with errands(env.client):
        announced = await announce(env.client, company.parts(), patience=timedelta(seconds=0.3))
        assert announced is Announced.PENDING
        assert asyncio.get_running_loop().time() - began < 3
        await cases.deliver(company.read().events[0], company.policy, received_at=company.now)
        async with sealing(env.client, company):
            [part] = company.parts()
            handle = env.client.get_workflow_handle_for(
                DeliveryWorkflow.run, delivery_workflow_id(part.delivery, part.part)
            )
            assert (await handle.result()).expected == 1
    company.later(minutes=20)
    await company.keeper().tick(company.now)
    table = reconcile(Period(), load_seen(company.ledger), now=company.now)
    assert [found.kind for found in table.findings] == [GapKind.EXPECTED_LATE]
    assert table.complete


async def test_a_delivery_that_temporal_does_not_take_holds_up_nothing(
    env: WorkflowEnvironment, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    company.write(row("E1"))

    async def never(*_: object, **__: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(env.client, "start_workflow", never)
    monkeypatch.setattr("leaver.client.deliveries.ACCEPTANCE", timedelta(seconds=0.2))
    assert await ingest(OpeningCases(env.client, company)) is Announced.NOT_ACCEPTED
    assert len(load_seen(company.ledger).opened) == 1


async def test_an_empty_delivery_asks_nobody(env: WorkflowEnvironment, company: Company) -> None:
    company.write(row("E1", "", status="active"))
    assert company.parts() == ()
    assert await announce(env.client, ()) is Announced.NOTHING


async def test_what_temporal_stores_names_nobody(env: WorkflowEnvironment, company: Company) -> None:
    company.write(row("E1001", name="Quirina Abendroth"))
    [part] = company.parts()
    async with errands(env.client), sealing(env.client, company):
        await announce(env.client, [part])
    handle = env.client.get_workflow_handle(delivery_workflow_id(part.delivery))
    stored = (await handle.fetch_history()).to_json() + handle.id
    assert [name for name in ("Quirina", "Abendroth", "E1001", "northwind.example") if name in stored] == []
    assert part.rows[0].about["display_name"] == "Quirina Abendroth"


def test_a_large_delivery_goes_in_parts_that_fit_a_payload(company: Company) -> None:
    company.brake = 2000
    company.write(*(row(f"E{number}") for number in range(450)))
    parts = company.parts()
    assert [(part.part, part.parts, len(part.rows)) for part in parts] == [
        (1, 3, 200),
        (2, 3, 200),
        (3, 3, 50),
    ]
    assert max(len(part.model_dump_json()) for part in parts) < 256 * 1024
    assert len({part.delivery for part in parts}) == 1


def test_a_delivery_of_other_content_or_mode_is_another_one(company: Company) -> None:
    company.write(row("E1"))
    ids = {company.parts()[0].delivery}
    company.later(hours=3)
    assert {company.parts()[0].delivery} == ids
    company.write(row("E1", "2026-12-24"), row("E2"))
    ids.add(company.parts()[0].delivery)
    company.mode = Mode.NOTIFICATION_ONLY
    ids.add(company.parts()[0].delivery)
    company.brake = 1
    result = company.read()
    screening = screen(result.events, company.policy, company.now)
    ids.add(delivery_parts(company.namer, result, screening, company.now)[0].delivery)
    other = Namer(os.urandom(16), company.mode)
    ids.add(delivery_parts(other, result, screening, company.now)[0].delivery)
    assert len(ids) == 5


async def test_erasure_and_decision_need_a_signature_and_the_right(
    env: WorkflowEnvironment, company: Company, security: Path, tmp_path: Path
) -> None:
    company.write(row("E1001"), row("E1002"))
    company.later(hours=20)
    [case] = company.deliver(without=["E1002"])
    company.finish(case)
    gap = company.case("E1002")
    stranger = tmp_path / "stranger.pem"
    new_person_key(stranger)
    ask = Errands(env.client)
    async with errands(env.client), sealing(env.client, company):
        refused = await ask.erase(signed(stranger, case, Verb.ERASE, "ticket 1"))
        assert "no person is registered" in refused.refusal
        wrong = await ask.erase(signed(security, case, Verb.HOLD, "ticket 1"))
        assert "says 'hold', not 'erase'" in wrong.refusal
        named = await ask.erase(signed(security, case, Verb.ERASE, "Zorba asked"))
        assert "repeats a name" in named.refusal
        assert len(company.ledger.opening(case)) == 1
        done = await ask.erase(signed(security, case, Verb.ERASE, "ticket 1"))
        assert (done.cases, done.openings, done.refusal) == ((case,), 1, "")
        unknown = await ask.exclude(signed(security, "c-" + "a" * 26, Verb.EXCLUDE, "ticket 2"))
        assert "never named" in unknown.refusal
        decided = await ask.exclude(signed(security, gap, Verb.EXCLUDE, "never started, ticket 2"))
        assert decided.refusal == ""
    record = company.ledger.last(Chain.SEALER, gap, RecordType.CASE_EXCLUDED)
    assert record is not None
    assert (record.seq, record.body["reason"]) == (decided.seq, "decided")
    assert str(record.body["approver"]).startswith("p-")
    assert company.ledger.check() == ()


async def test_a_pull_that_fails_says_why(env: WorkflowEnvironment, company: Company) -> None:
    async with errands(env.client), sealing(env.client, company):
        answer = await Errands(env.client).pull()
    assert "hr.csv" in answer.problem
    assert answer.snapshot == ""


async def test_a_sealer_that_is_away_is_said_to_be(env: WorkflowEnvironment, security: Path) -> None:
    ask = Errands(env.client, patience=timedelta(seconds=0.3))
    async with errands(env.client):
        with pytest.raises(SealerBusyError, match="the request stays"):
            await ask.erase(signed(security, "c-" + "a" * 26, Verb.ERASE, "ticket 1"))
        assert issubclass(SealerBusyError, CaseError)
