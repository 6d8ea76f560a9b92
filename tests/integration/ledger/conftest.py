"""Every test of the ledger runs on both databases; the server is started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leaver.evidence.ledger.store import Ledger
from tests.support.ledgers import Place, PostgresPlace, SqlitePlace
from tests.support.postgres import PostgresServer, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    if request.param == "sqlite":
        return SqlitePlace(tmp_path_factory.mktemp("ledgers"))
    return PostgresPlace(request.getfixturevalue("postgres"))


@pytest.fixture
def where(place: Place) -> str:
    return place.new()


@pytest.fixture
def ledger(where: str) -> Iterator[Ledger]:
    with Ledger.open(where) as opened:
        yield opened
