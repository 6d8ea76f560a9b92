"""Clients of a running Microsoft 365 simulator."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from leaver.simulators.m365 import Delays, M365Simulator
from leaver.simulators.m365.tokens import Audience, CredentialKind, TokenClaims, mint
from tests.support.graph_contract import GraphContract


def no_delays() -> Delays:
    """Everything at once; a fresh object, because tests change it."""
    return Delays(consistency=0.0, search=0.0, purpose=0.0, conversion=0.0, group_licences=0.0)


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


@asynccontextmanager
async def clients(sim: M365Simulator, contract: GraphContract) -> AsyncIterator[Apis]:
    """A client for each API; Graph's traffic is checked."""
    there = sim.endpoints
    trust = ssl.create_default_context(cafile=there.ca_file)
    hooks = {"response": [contract.hook]}
    async with (
        httpx.AsyncClient(verify=trust, base_url=there.graph_url, event_hooks=hooks) as graph,
        httpx.AsyncClient(verify=trust, base_url=there.exchange_url) as exchange,
        httpx.AsyncClient(verify=trust, base_url=there.sharepoint_url) as sharepoint,
    ):
        graph.headers["Authorization"] = minted(sim, Audience.GRAPH)
        exchange.headers["Authorization"] = minted(sim, Audience.EXCHANGE)
        sharepoint.headers["Authorization"] = minted(sim, Audience.SHAREPOINT, CredentialKind.CERTIFICATE)
        sharepoint.headers["Accept"] = "application/json;odata=nometadata"
        yield Apis(graph, exchange, sharepoint, sim)


def minted(sim: M365Simulator, audience: Audience, credential: CredentialKind = CredentialKind.SECRET) -> str:
    """An Authorization header without the walk through the login; that has tests of its own."""
    tenant = sim.tenant
    claims = TokenClaims(tenant.id, tenant.app.id, audience, credential, tenant.now + 3600)
    return "Bearer " + mint(claims, tenant.app.token_key)
