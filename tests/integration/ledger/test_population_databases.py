"""Completeness and erasure on both databases, and what becomes of erased bytes on PostgreSQL's disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from leaver.evidence.ledger.store import Ledger
from leaver.evidence.population.erasure import Order, erase_all
from leaver.evidence.population.model import GapKind
from tests.support.ledgers import Place
from tests.support.population import Company, row

NAME = "Quirina Abendroth"
ORDER = Order(reason="request of November, ticket 4711", by_ref="p-security", nonce="n-1")


@pytest.fixture
def company(tmp_path: Path, ledger: Ledger) -> Company:
    return Company(tmp_path, ledger)


async def test_a_lost_leaver_is_found_and_an_erased_one_is_still_counted(company: Company) -> None:
    company.write(row("E1001", name=NAME), row("E1002"))
    [case] = company.deliver(without=["E1002"])
    company.finish(case)
    company.later(hours=1)
    keeper = company.keeper()
    lost = (await keeper.tick(company.now)).completeness
    assert [(gap.kind, gap.case) for gap in lost.alarms] == [
        (GapKind.EXPECTED_WITHOUT_CASE, company.case("E1002"))
    ]
    root, size = company.ledger.root(), company.ledger.size()
    [erased] = erase_all(company.ledger, case, ORDER, company.now)
    assert erased.openings == 2
    assert company.ledger.opening(case) == ()
    assert company.ledger.root(size) == root
    assert company.ledger.check() == ()
    company.later(days=1)
    after = (await keeper.tick(company.now)).completeness
    assert (after.hr_leavers, after.with_case, after.difference) == (2, 1, 1)


async def test_erased_bytes_leave_the_disk(place: Place, where: str, company: Company) -> None:
    """SQLite overwrites them; on PostgreSQL the table has to be rewritten by whoever owns it."""
    company.write(row("E1001", name=NAME))
    [case] = company.deliver()
    company.finish(case)
    assert NAME.encode() in openings_on_disk(place, where)
    erase_all(company.ledger, case, ORDER, company.now)
    if place.name == "postgresql":
        place.sql(where, "VACUUM FULL opening")
    assert NAME.encode() not in openings_on_disk(place, where)


def openings_on_disk(place: Place, where: str) -> bytes:
    """What the database keeps of them in files, long ones and write-ahead logs of SQLite included."""
    if place.name == "sqlite":
        files = [*Path(where).parent.glob(f"{Path(where).name}*")]
    else:
        place.sql(where, "CHECKPOINT")
        folder = Path(str(place.sql(where, "SHOW data_directory")[0][0]))
        query = "SELECT pg_relation_filepath(oid) FROM pg_class WHERE relname = 'opening'"
        query += " OR oid = (SELECT reltoastrelid FROM pg_class WHERE relname = 'opening')"
        files = [folder / str(found[0]) for found in place.sql(where, query)]
    return b"".join(file.read_bytes() for file in files if file.exists())
