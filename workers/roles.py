"""Which role polls which queue, with which workflows and activities.

A role imports its vendor's SDK only when it is built, so that the workflow worker needs none of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager, closing
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from temporalio.client import Client

from activities.unit import ReadBack
from leaver.config import Config, ConfigError
from leaver.connectors.guard import WriteGuard
from leaver.domain.ids import EVIDENCE_QUEUE, WORKFLOW_QUEUE, system_queue
from leaver.domain.words import System


class Role(StrEnum):
    """What a process may be."""

    WORKFLOW = "workflow"
    ENTRA = "entra"
    EXCHANGE = "exchange"
    ONEDRIVE = "onedrive"
    AD = "ad"
    EVIDENCE = "evidence"


@dataclass(frozen=True, slots=True)
class Duty:
    """One queue to poll, and what to run from it."""

    role: Role
    queue: str
    workflows: Sequence[type] = ()
    activities: Sequence[Callable[..., Any]] = field(default=())


Builder = Callable[[Config, Client], AbstractAsyncContextManager[Duty]]


@asynccontextmanager
async def _workflow(config: Config, client: Client) -> AsyncIterator[Duty]:
    from workflows.delivery import (  # noqa: PLC0415
        DeliveryWorkflow,
        ErasureWorkflow,
        ExclusionWorkflow,
        PopulationWorkflow,
        ReportWorkflow,
    )
    from workflows.leaver import LeaverWorkflow  # noqa: PLC0415
    from workflows.watch import WatchWorkflow  # noqa: PLC0415

    del config, client
    errands = (DeliveryWorkflow, ErasureWorkflow, ExclusionWorkflow, PopulationWorkflow, ReportWorkflow)
    yield Duty(Role.WORKFLOW, WORKFLOW_QUEUE, workflows=[LeaverWorkflow, WatchWorkflow, *errands])


@asynccontextmanager
async def _entra(config: Config, client: Client) -> AsyncIterator[Duty]:
    from activities.entra import EntraActivities  # noqa: PLC0415
    from leaver.connectors.entra.client import EntraClient  # noqa: PLC0415

    del client
    async with aclosing(EntraClient(config.entra(), _guard(config))) as connector:
        await connector.start()
        yield _duty(Role.ENTRA, System.ENTRA, EntraActivities(connector, _read_back(config)))


@asynccontextmanager
async def _exchange(config: Config, client: Client) -> AsyncIterator[Duty]:
    from activities.exchange import ExchangeActivities  # noqa: PLC0415
    from leaver.connectors.exchange.client import ExchangeClient  # noqa: PLC0415

    del client
    async with aclosing(ExchangeClient(config.exchange(), _guard(config))) as connector:
        yield _duty(Role.EXCHANGE, System.EXCHANGE, ExchangeActivities(connector, _read_back(config)))


@asynccontextmanager
async def _onedrive(config: Config, client: Client) -> AsyncIterator[Duty]:
    from activities.onedrive import OneDriveActivities  # noqa: PLC0415
    from leaver.connectors.onedrive.client import OneDriveClient  # noqa: PLC0415

    del client
    async with aclosing(OneDriveClient(config.onedrive(), _guard(config))) as connector:
        yield _duty(Role.ONEDRIVE, System.ONEDRIVE, OneDriveActivities(connector, _read_back(config)))


@asynccontextmanager
async def _ad(config: Config, client: Client) -> AsyncIterator[Duty]:
    from activities.ad import AdActivities  # noqa: PLC0415
    from leaver.connectors.ad.client import LdapDirectory  # noqa: PLC0415

    del client
    with closing(LdapDirectory(config.ad(), _guard(config))) as connector:
        site = config.settings.ad.site if config.settings.ad else ""
        yield _duty(Role.AD, System.AD, AdActivities(connector, _read_back(config)), site)


@asynccontextmanager
async def _evidence(config: Config, client: Client) -> AsyncIterator[Duty]:
    from activities.evidence import EvidenceActivities  # noqa: PLC0415
    from activities.population import PopulationActivities  # noqa: PLC0415
    from activities.reports import ReportActivities  # noqa: PLC0415
    from workers.sealer import sealing  # noqa: PLC0415

    hr = config.settings.hr
    async with sealing(config, client) as sealer:
        does = EvidenceActivities(
            appends=sealer.appends,
            bundles=sealer.bundles,
            history=sealer.histories,
            people=config.path(config.settings.evidence.people),
            id_key=config.case_id_key(),
            source=f"hris/{hr.source_kind}/{hr.tenant}",
        )
        counts = PopulationActivities(
            ledger=sealer.ledger, keeper=sealer.population, verify=does.verify_statement
        )
        reports = ReportActivities(sealer.reports)
        yield Duty(
            Role.EVIDENCE,
            EVIDENCE_QUEUE,
            activities=[*_activities(does), *_activities(counts), *_activities(reports)],
        )


def _duty(role: Role, system: System, does: object, site: str = "") -> Duty:
    return Duty(role, system_queue(system, site), activities=_activities(does))


def _activities(does: object) -> list[Callable[..., Any]]:
    """Every method of the object that is an activity, in name order."""
    methods = (getattr(does, name) for name in sorted(dir(type(does))) if not name.startswith("_"))
    return [method for method in methods if hasattr(method, "__temporal_activity_definition")]


def _guard(config: Config) -> WriteGuard:
    return WriteGuard(config.settings.mode)


def _read_back(config: Config) -> ReadBack:
    return ReadBack(*config.read_back())


_BUILDERS: Final[dict[Role, Builder]] = {
    Role.WORKFLOW: _workflow,
    Role.ENTRA: _entra,
    Role.EXCHANGE: _exchange,
    Role.ONEDRIVE: _onedrive,
    Role.AD: _ad,
    Role.EVIDENCE: _evidence,
}


def all_roles(config: Config) -> tuple[Role, ...]:
    """The roles that this installation's configuration has systems for."""
    microsoft = (Role.ENTRA, Role.EXCHANGE, Role.ONEDRIVE) if config.settings.microsoft else ()
    on_prem = (Role.AD,) if config.settings.ad else ()
    return (Role.WORKFLOW, Role.EVIDENCE, *microsoft, *on_prem)


@asynccontextmanager
async def duties(roles: Sequence[Role], config: Config, client: Client) -> AsyncIterator[list[Duty]]:
    """Build the roles' activities with their connectors; on leaving, close the connectors.

    Raises:
        ConfigError: a role's settings are missing or wrong, or its SDK is not installed.
    """
    async with AsyncExitStack() as stack:
        built: list[Duty] = []
        for role in roles:
            try:
                built.append(await stack.enter_async_context(_BUILDERS[role](config, client)))
            except ModuleNotFoundError as err:
                raise ConfigError(
                    [f"role {role.value}: the package {err.name} is missing; install leaver[all]"]
                ) from err
        yield built
