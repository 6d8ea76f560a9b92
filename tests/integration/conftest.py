from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from temporalio.client import Client

from leaver.embedded.dev_server import DevServer, DevServerOptions
from leaver.temporal.connect import TemporalSettings, connect
from leaver.temporal.keyring import Keyring


@pytest.fixture(scope="session")
def temporal_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """One development server for the whole session; tests keep apart by unique workflow ids and queues."""
    folder = tmp_path_factory.mktemp("temporal")
    options = DevServerOptions(db_file=folder / "temporal.db", log_file=folder / "temporal.log", ui=False)
    server = asyncio.run(DevServer.start(options))
    yield server
    server.kill()


@pytest.fixture(scope="session")
def payload_keyring() -> Keyring:
    return Keyring.generate("test-1")


@pytest.fixture
async def temporal_client(temporal_server: DevServer, payload_keyring: Keyring) -> Client:
    """A client with payload encryption, as every process of an installation has it."""
    return await connect(TemporalSettings(address=temporal_server.address), payload_keyring)
