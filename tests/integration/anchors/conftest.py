from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from leaver.evidence.anchors.witness import Witness
from leaver.evidence.anchors.witness_app import witness_app
from leaver.evidence.keys.files import FileLogSigner
from leaver.simulators.listener import Listener
from leaver.simulators.tsa import TsaAddress, find_openssl, running_tsa
from tests.support.anchors import ORIGIN, Clock, PlainLog, SealedLog
from tests.support.seaweed import SeaweedS3, running_seaweed


@pytest.fixture
async def tsa(tmp_path: Path) -> AsyncIterator[TsaAddress]:
    """A real authority by OpenSSL, on loopback."""
    if find_openssl() is None:
        pytest.skip("needs the program openssl (Debian: openssl)")
    async with running_tsa(tmp_path / "tsa") as address:
        yield address


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedS3]:
    """A real S3 server that enforces Object Lock."""
    with running_seaweed(tmp_path_factory.mktemp("seaweed") / "server") as server:
        yield server


@pytest.fixture
def sealed_log(tmp_path: Path) -> Iterator[SealedLog]:
    log = SealedLog(tmp_path / "sealer")
    yield log
    log.ledger.close()


@pytest.fixture
def plain_log(tmp_path: Path) -> PlainLog:
    return PlainLog(FileLogSigner(tmp_path / "plain-log.pem", ORIGIN))


@pytest.fixture
def outsider(tmp_path: Path) -> Witness:
    """A witness that follows no log yet."""
    return Witness.create(tmp_path / "witness", "audit.example/w1")


@pytest.fixture
async def witness_url(outsider: Witness) -> AsyncIterator[str]:
    """The same witness, answering over HTTP."""
    listener = Listener(witness_app(outsider))
    await listener.start()
    yield listener.url
    await listener.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()
