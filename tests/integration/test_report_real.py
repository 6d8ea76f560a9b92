"""Sealed reports on the real server, which alone tells how ids that are taken behave."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from temporalio.client import Client

from leaver.client.errands import Errands
from leaver.evidence.keys.files import FileLogSigner, FileSigner
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.verify import verify_bundle
from tests.support.bundle_world import OPENSSL, ORIGIN, Authority, Keys
from tests.support.population import Company
from tests.support.reporting import MONTH, Office
from tests.support.sealing import errands


async def test_a_report_that_is_asked_for_several_times_at_once_is_one(
    temporal_client: Client, tmp_path: Path
) -> None:
    if not OPENSSL:
        pytest.skip("needs the system package openssl")
    authority = Authority(tmp_path / "tsa", "stamps.example.net")
    keys = Keys(FileSigner(tmp_path / "signer.pem"), FileLogSigner(tmp_path / "log.pem", ORIGIN), authority)
    ask = Errands(temporal_client)
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        office = Office(Company(tmp_path, ledger), keys)
        await office.month()
        async with errands(temporal_client), office.sealing(temporal_client):
            one, *others = await asyncio.gather(*(ask.report(MONTH) for _ in range(3)))
            assert others == [one, one]
            assert [record.seq for record in office.issued()] == [one.seq]
            later = await ask.report(MONTH)
        assert later.bundle != one.bundle
        assert verify_bundle(office.bundles / later.bundle).ok
