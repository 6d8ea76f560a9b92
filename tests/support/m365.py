"""Real Microsoft 365 connectors against a simulated tenant, and activities run the way Temporal runs them."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.unit import Progress, ReadBack
from leaver.connectors.entra.client import EntraClient
from leaver.connectors.entra.settings import EntraSettings
from leaver.connectors.exchange.client import ExchangeClient
from leaver.connectors.exchange.settings import ExchangeSettings
from leaver.connectors.guard import WriteGuard
from leaver.connectors.http import Network
from leaver.connectors.microsoft import GraphEndpoint, MicrosoftApp
from leaver.connectors.onedrive.client import OneDriveClient
from leaver.connectors.onedrive.settings import OneDriveSettings
from leaver.domain.account import Account, LinkRule
from leaver.domain.effect import Effect, UnitInput, UnitResult
from leaver.domain.words import Mode, System
from leaver.simulators.company import person
from leaver.simulators.m365.simulator import M365Simulator
from leaver.simulators.m365.tenant import Delays
from leaver.simulators.request_log import RequestRecord

Hook = Callable[[httpx.Response], Awaitable[None]]

READ_BACK = ReadBack(
    agree=2,
    interval=timedelta(milliseconds=20),
    deadline=timedelta(seconds=3),
    rewrite_after=timedelta(minutes=2),
)
DELAYS = Delays(consistency=0.05, search=0.1, purpose=0.1, conversion=0.1, group_licences=0.1)


@dataclass
class Run:
    """What came of one activity, with every attempt's error."""

    result: Any
    errors: list[ApplicationError] = field(default_factory=list)

    def effect(self, step: str) -> Effect:
        assert isinstance(self.result, UnitResult)
        return next(effect for effect in self.result.effects if effect.step == step)


async def perform(
    activity: Callable[[Any], Awaitable[Any]],
    arg: Any,
    *,
    attempts: int = 5,
    first: int = 1,
) -> Run:
    """Run an activity like Temporal: again after an error worth it, with the heartbeat of the one before.

    ``first`` above 1 stands for attempts that were lost, heartbeats and all.
    """
    details: list[Any] = []
    run = Run(None)
    for number in range(first, first + attempts):
        env = ActivityEnvironment()
        env.info = dataclasses.replace(env.info, attempt=number, heartbeat_details=details[-1:])

        def beat(*said: Any) -> None:
            details.append(said[0].model_dump(mode="json") if isinstance(said[0], Progress) else said[0])

        env.on_heartbeat = beat
        try:
            run.result = await env.run(activity, arg)
        except ApplicationError as err:
            run.errors.append(err)
            if err.non_retryable or number == first + attempts - 1:
                raise
        else:
            return run
    raise AssertionError("unreachable")


@dataclass
class Clients:
    """Makes connectors for a simulator and closes them; settings can be bent per test."""

    sim: M365Simulator
    hooks: list[Hook] = field(default_factory=list)
    opened: list[Any] = field(default_factory=list)

    def app(self, *, secret: str | None = None, certificate: Path | None = None) -> MicrosoftApp:
        at = self.sim.endpoints
        return MicrosoftApp(
            tenant_id=at.tenant_id,
            client_id=at.client_id,
            client_secret=SecretStr(secret or at.client_secret),
            certificate_file=certificate,
            authority=at.login_url,
            network=self.network(),
        )

    def network(self) -> Network:
        return Network(connect_timeout=2, read_timeout=2, ca_file=self.sim.endpoints.ca_file)

    def graph(self, url: str | None = None) -> GraphEndpoint:
        return GraphEndpoint(url=url or self.sim.endpoints.graph_url)

    def entra(
        self, *, secret: str | None = None, url: str | None = None, mode: Mode = Mode.ENFORCE
    ) -> EntraClient:
        settings = EntraSettings(self.app(secret=secret), self.graph(url), self.network())
        return self._keep(EntraClient(settings, WriteGuard(mode)))

    def exchange(self, *, mode: Mode = Mode.ENFORCE) -> ExchangeClient:
        settings = ExchangeSettings(
            self.app(),
            url=self.sim.endpoints.exchange_url,
            graph=self.graph(),
            network=self.network(),
        )
        return self._keep(ExchangeClient(settings, WriteGuard(mode)))

    def onedrive(self, *, certificate: bool = True, mode: Mode = Mode.ENFORCE) -> OneDriveClient:
        bundle = self.sim.endpoints.certificate_bundle_file if certificate else None
        settings = OneDriveSettings(
            self.app(certificate=bundle),
            self.graph(),
            sharepoint_hosts=("127.0.0.1",),
            network=self.network(),
        )
        return self._keep(OneDriveClient(settings, WriteGuard(mode)))

    def _keep(self, client: Any) -> Any:
        self.opened.append(client)
        graph = client._http if isinstance(client, EntraClient) else client._graph._http
        graph.event_hooks["response"].extend(self.hooks)
        return client


def account(number: str, system: System = System.ENTRA, **more: Any) -> Account:
    """The account intake would have found for this sample person."""
    return Account(system=system, id=person(number).object_id, rule=LinkRule.EMPLOYEE_ID, **more)


def unit(name: str, *steps: str, number: str = "E1001", **more: Any) -> UnitInput:
    """The input of one unit on a sample person; the manager E2001 is the successor."""
    system = System(name.split(".", maxsplit=1)[0])
    fields: dict[str, Any] = {
        "case": "c-test",
        "unit": name,
        "mode": Mode.ENFORCE,
        "account": account(number, system),
        "successor": account("E2001"),
        "steps": steps,
        "not_before": datetime.now(UTC),
    }
    return UnitInput(**(fields | more))


def writes(sim: M365Simulator, operation: str = "") -> list[RequestRecord]:
    """Mutating requests the simulator saw, of one operation where given."""
    return [record for record in sim.log.mutations() if operation in record.operation]
