"""A running Microsoft 365 simulator and clients that hold its traffic against the vendor's contract."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from leaver.simulators.m365 import M365Simulator, sample_tenant
from leaver.simulators.tls import LoopbackTls
from tests.support.graph_contract import GraphContract
from tests.support.m365_clients import Apis, clients, no_delays


@pytest.fixture
async def sim(loopback_tls: LoopbackTls) -> AsyncIterator[M365Simulator]:
    """The sample company without delays; a test that is about a delay sets it."""
    async with M365Simulator(sample_tenant(delays=no_delays()), loopback_tls) as running:
        yield running


@pytest.fixture
async def apis(sim: M365Simulator, graph_contract: GraphContract) -> AsyncIterator[Apis]:
    """Clients of the simulator."""
    async with clients(sim, graph_contract) as found:
        yield found
