"""One simulated tenant per test, real connectors against it, and activities run the way Temporal runs them."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.entra import EntraActivities
from activities.exchange import ExchangeActivities
from activities.onedrive import OneDriveActivities
from activities.unit import Progress, ReadBack
from leaver.connectors.entra.client import EntraClient
from leaver.connectors.entra.sdk import prewarm
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
from leaver.simulators.m365.sample import sample_tenant
from leaver.simulators.m365.simulator import M365Simulator
from leaver.simulators.m365.tenant import Delays
from leaver.simulators.request_log import RequestRecord
from leaver.simulators.tls import LoopbackTls, issue_loopback_tls

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
    lose_heartbeats: bool = False,
) -> Run:
    """Run an activity like Temporal: again after an error worth it, with the heartbeat of the one before."""
    details: list[Any] = []
    run = Run(None)
    for number in range(1, attempts + 1):
        env = ActivityEnvironment()
        env.info = dataclasses.replace(
            env.info, attempt=number, heartbeat_details=[] if lose_heartbeats else details[-1:]
        )

        def beat(*said: Any) -> None:
            details.append(said[0].model_dump(mode="json") if isinstance(said[0], Progress) else said[0])

        env.on_heartbeat = beat
        try:
            run.result = await env.run(activity, arg)
        except ApplicationError as err:
            run.errors.append(err)
            if err.non_retryable or number == attempts:
                raise
        else:
            return run
    raise AssertionError("unreachable")


@pytest.fixture(scope="session")
def loopback_tls(tmp_path_factory: pytest.TempPathFactory) -> LoopbackTls:
    return issue_loopback_tls(tmp_path_factory.mktemp("m365-tls"))


@pytest.fixture(scope="session")
def warm() -> None:
    prewarm()


@pytest.fixture
async def sim(loopback_tls: LoopbackTls) -> AsyncIterator[M365Simulator]:
    async with M365Simulator(sample_tenant(delays=DELAYS), loopback_tls) as simulator:
        yield simulator


@dataclass
class Clients:
    """Makes connectors for a simulator and closes them; settings can be bent per test."""

    sim: M365Simulator
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
            self.app(certificate=bundle), self.graph(), sharepoint_hosts=("127.0.0.1",), network=self.network()
        )
        return self._keep(OneDriveClient(settings, WriteGuard(mode)))

    def _keep(self, client: Any) -> Any:
        self.opened.append(client)
        return client


@pytest.fixture
async def clients(sim: M365Simulator, warm: None) -> AsyncIterator[Clients]:
    made = Clients(sim)
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


def account(number: str, system: System = System.ENTRA, **more: Any) -> Account:
    """The account intake would have found for this sample person."""
    return Account(system=system, id=person(number).object_id, rule=LinkRule.EMPLOYEE_ID, **more)


def unit(name: str, *steps: str, number: str = "E1001", **more: Any) -> UnitInput:
    """The input of one unit on a sample person; the manager E2001 is the successor."""
    system = System(name.split(".")[0])
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


@pytest.fixture(autouse=True)
def nobody_else_is_touched(request: pytest.FixtureRequest) -> AsyncIterator[None] | Any:
    """After every test: no request changed anybody but the leaver and the successor it named."""
    yield
    if "sim" not in request.fixturenames:
        return
    simulator: M365Simulator = request.getfixturevalue("sim")
    allowed = getattr(simulator, "allowed", None) or {person("E2001").object_id}
    leavers = {person(number).object_id for number in ("E1001", "E1002", "E1003", "E1004", "E1006")}
    for record in simulator.log.mutations():
        assert record.people_touched <= allowed | leavers if hasattr(record, "people_touched") else True
