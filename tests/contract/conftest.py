"""A running Microsoft 365 simulator and clients that hold its traffic against the vendor's contract."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from leaver.simulators.m365 import Delays, M365Simulator, sample_tenant
from leaver.simulators.tls import LoopbackTls, issue_loopback_tls
from tests.support.graph_contract import GraphContract


def no_delays() -> Delays:
    """Everything at once; a fresh object, because tests change it."""
    return Delays(consistency=0.0, search=0.0, purpose=0.0, conversion=0.0, group_licences=0.0)

@pytest.fixture(scope="session")
def loopback_tls(tmp_path_factory: pytest.TempPathFactory) -> LoopbackTls:
    """One authority for all tests: making keys takes a moment."""
    return issue_loopback_tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def sim(loopback_tls: LoopbackTls) -> AsyncIterator[M365Simulator]:
    """The sample company without delays; a test that is about a delay sets it."""
    async with M365Simulator(sample_tenant(delays=no_delays()), loopback_tls) as running:
        yield running


@dataclass(frozen=True, slots=True)
class Apis:
    """Clients with tokens for each API; Graph's is held to the contract."""

    graph: httpx.AsyncClient
    exchange: httpx.AsyncClient
    sharepoint: httpx.AsyncClient
    sim: M365Simulator

    async def cmdlet(self, name: str, **parameters: Any) -> httpx.Response:
        """Run an Exchange cmdlet."""
        path = f"/adminapi/beta/{self.sim.tenant.id}/InvokeCommand"
        body = {"CmdletInput": {"CmdletName": name, "Parameters": parameters}}
        return await self.exchange.post(path, json=body)

    def site(self, number: str) -> str:
        """Path of the REST service of this employee's personal site."""
        return f"{self.sim.tenant.drive(number).site_path}/_api/web"


@pytest.fixture
async def apis(sim: M365Simulator, graph_contract: GraphContract) -> AsyncIterator[Apis]:
    """Clients of the simulator."""
    there = sim.endpoints
    trust = ssl.create_default_context(cafile=there.ca_file)
    hooks = {"response": [graph_contract.hook]}
    async with (
        httpx.AsyncClient(verify=trust, base_url=there.graph_url, event_hooks=hooks) as graph,
        httpx.AsyncClient(verify=trust, base_url=there.exchange_url) as exchange,
        httpx.AsyncClient(verify=trust, base_url=there.sharepoint_url) as sharepoint,
    ):
        graph.headers["Authorization"] = await bearer(sim, "https://graph.microsoft.com/.default")
        exchange.headers["Authorization"] = await bearer(sim, "https://outlook.office365.com/.default")
        scope = f"{there.sharepoint_url}/.default"
        sharepoint.headers["Authorization"] = await bearer(sim, scope, certificate=True)
        sharepoint.headers["Accept"] = "application/json;odata=nometadata"
        yield Apis(graph, exchange, sharepoint, sim)


async def bearer(sim: M365Simulator, scope: str, *, certificate: bool = False) -> str:
    """An Authorization header, got with azure-identity as the product gets it."""
    from azure.identity.aio import CertificateCredential, ClientSecretCredential  # noqa: PLC0415 - slow import

    there = sim.endpoints
    common = {
        "authority": there.login_url,
        "disable_instance_discovery": True,
        "connection_verify": str(there.ca_file),
    }
    credential = (
        CertificateCredential(
            there.tenant_id, there.client_id, str(there.certificate_bundle_file), **common
        )
        if certificate
        else ClientSecretCredential(there.tenant_id, there.client_id, there.client_secret, **common)
    )
    async with credential:
        return "Bearer " + (await credential.get_token(scope)).token
