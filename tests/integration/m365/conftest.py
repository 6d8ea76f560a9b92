"""One simulated tenant per test, and the activities on real connectors against it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from activities.entra import EntraActivities
from activities.exchange import ExchangeActivities
from activities.onedrive import OneDriveActivities
from leaver.connectors.entra.sdk import prewarm
from leaver.simulators.m365.sample import sample_tenant
from leaver.simulators.m365.simulator import M365Simulator
from leaver.simulators.tls import LoopbackTls, issue_loopback_tls
from tests.support.graph_contract import CONTRACT, GraphContract, contracts_folder
from tests.support.m365_runs import DELAYS, READ_BACK, Clients, Hook


@pytest.fixture(scope="session")
def loopback_tls(tmp_path_factory: pytest.TempPathFactory) -> LoopbackTls:
    return issue_loopback_tls(tmp_path_factory.mktemp("m365-tls"))


@pytest.fixture(scope="session")
def warm() -> None:
    prewarm()


@pytest.fixture(scope="session")
def contract_hooks(request: pytest.FixtureRequest) -> list[Hook]:
    """Every Graph request of every test is held to the vendor's contract, where it is at hand."""
    if not (contracts_folder() / CONTRACT).exists():
        return []
    contract: GraphContract = request.getfixturevalue("graph_contract")
    return [contract.hook]


@pytest.fixture
async def sim(loopback_tls: LoopbackTls) -> AsyncIterator[M365Simulator]:
    async with M365Simulator(sample_tenant(delays=DELAYS), loopback_tls) as simulator:
        yield simulator


@pytest.fixture
async def clients(sim: M365Simulator, warm: None, contract_hooks: list[Hook]) -> AsyncIterator[Clients]:
    made = Clients(sim, contract_hooks)
    yield made
    for client in made.opened:
        await client.aclose()


@pytest.fixture
def entra(clients: Clients) -> EntraActivities:
    return EntraActivities(clients.entra(), READ_BACK)


@pytest.fixture
def exchange(clients: Clients) -> ExchangeActivities:
    return ExchangeActivities(clients.exchange(), READ_BACK)


@pytest.fixture
def onedrive(clients: Clients) -> OneDriveActivities:
    return OneDriveActivities(clients.onedrive(), READ_BACK)
