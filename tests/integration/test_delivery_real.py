"""Deliveries on the real server, which alone tells how ids that are taken behave."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.client import Client

from leaver.client.deliveries import Announced, announce
from leaver.client.errands import Errands
from leaver.domain.ids import delivery_workflow_id
from leaver.evidence.ledger.store import Ledger
from tests.support.population import Company, row
from tests.support.sealing import errands, sealing


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        yield Company(tmp_path, ledger)


async def test_a_delivery_that_comes_several_times_at_once_is_noted_once(
    temporal_client: Client, company: Company
) -> None:
    company.write(row("E1"), row("E2"))
    parts = company.parts()
    async with errands(temporal_client), sealing(temporal_client, company):
        at_once = await asyncio.gather(*(announce(temporal_client, parts) for _ in range(5)))
        size = company.ledger.size()
        company.later(days=1)
        again = await announce(temporal_client, company.parts())
    assert {*at_once, again} == {Announced.NOTED}
    assert company.ledger.size() == size == 3
    handle = temporal_client.get_workflow_handle(delivery_workflow_id(parts[0].delivery))
    assert (await handle.describe()).id == f"leaver-delivery-{parts[0].delivery}-1"


async def test_a_pull_that_is_asked_for_while_one_runs_is_that_one(
    temporal_client: Client, company: Company
) -> None:
    company.write(row("E1"))
    company.deliver()
    async with errands(temporal_client), sealing(temporal_client, company):
        one, two = await asyncio.gather(Errands(temporal_client).pull(), Errands(temporal_client).pull())
    assert one == two
    assert (one.leavers, one.gaps) == (1, 0)
