"""Which role polls which queue, with which workflows and activities.

A role imports its vendor's SDK only when it is built, so that the workflow worker needs none of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from temporalio.client import Client

from leaver.config import Config, ConfigError
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
    from workflows.leaver import LeaverWorkflow  # noqa: PLC0415
    from workflows.watch import WatchWorkflow  # noqa: PLC0415

    del config, client
    yield Duty(Role.WORKFLOW, WORKFLOW_QUEUE, workflows=[LeaverWorkflow, WatchWorkflow])


@asynccontextmanager
async def _entra(config: Config, client: Client) -> AsyncIterator[Duty]:
    from activities.entra import EntraActivities  # noqa: PLC0415
    from activities.unit import ReadBack  # noqa: PLC0415
    from leaver.connectors.entra.client import EntraClient  # noqa: PLC0415
    from leaver.connectors.guard import WriteGuard  # noqa: PLC0415

    del client
    connector = EntraClient(config.entra(), WriteGuard(config.settings.mode))
    try:
        await connector.start()
        does = EntraActivities(connector, ReadBack(*config.read_back()))
        yield Duty(
            Role.ENTRA,
            system_queue(System.ENTRA),
            activities=[
                does.resolve,
                does.contain,
                does.credentials,
                does.entitlements,
                does.licences,
                does.verify,
            ],
        )
    finally:
        await connector.aclose()


@asynccontextmanager
async def _exchange(config: Config, client: Client) -> AsyncIterator[Duty]:
    from activities.exchange import ExchangeActivities  # noqa: PLC0415
    from activities.unit import ReadBack  # noqa: PLC0415
    from leaver.connectors.exchange.client import ExchangeClient  # noqa: PLC0415
    from leaver.connectors.guard import WriteGuard  # noqa: PLC0415

    del client
    connector = ExchangeClient(config.exchange(), WriteGuard(config.settings.mode))
    try:
        does = ExchangeActivities(connector, ReadBack(*config.read_back()))
        yield Duty(
            Role.EXCHANGE,
            system_queue(System.EXCHANGE),
            activities=[does.resolve, does.preserve, does.entitlements, does.mailbox_facts],
        )
    finally:
        await connector.aclose()


@asynccontextmanager
async def _onedrive(config: Config, client: Client) -> AsyncIterator[Duty]:
    from activities.onedrive import OneDriveActivities  # noqa: PLC0415
    from activities.unit import ReadBack  # noqa: PLC0415
    from leaver.connectors.guard import WriteGuard  # noqa: PLC0415
    from leaver.connectors.onedrive.client import OneDriveClient  # noqa: PLC0415

    del client
    connector = OneDriveClient(config.onedrive(), WriteGuard(config.settings.mode))
    try:
        does = OneDriveActivities(connector, ReadBack(*config.read_back()))
        yield Duty(Role.ONEDRIVE, system_queue(System.ONEDRIVE), activities=[does.resolve, does.handover])
    finally:
        await connector.aclose()


@asynccontextmanager
async def _ad(config: Config, client: Client) -> AsyncIterator[Duty]:
    from activities.ad import AdActivities  # noqa: PLC0415
    from activities.unit import ReadBack  # noqa: PLC0415
    from leaver.connectors.ad.client import LdapDirectory  # noqa: PLC0415
    from leaver.connectors.guard import WriteGuard  # noqa: PLC0415

    del client
    connector = LdapDirectory(config.ad(), WriteGuard(config.settings.mode))
    try:
        does = AdActivities(connector, ReadBack(*config.read_back()))
        site = config.settings.ad.site if config.settings.ad else ""
        yield Duty(
            Role.AD,
            system_queue(System.AD, site),
            activities=[does.resolve, does.contain, does.entitlements, does.verify],
        )
    finally:
        connector.close()


@asynccontextmanager
async def _evidence(config: Config, client: Client) -> AsyncIterator[Duty]:
    from activities.evidence import EvidenceActivities  # noqa: PLC0415
    from leaver.evidence.bundle import BundleStore  # noqa: PLC0415
    from leaver.evidence.ledger import Ledger  # noqa: PLC0415
    from leaver.evidence.signing import FileSigner  # noqa: PLC0415
    from leaver.temporal.history import TemporalHistorySource  # noqa: PLC0415

    section, hr = config.settings.evidence, config.settings.hr
    with Ledger(config.path(section.ledger)) as ledger:
        does = EvidenceActivities(
            ledger=ledger,
            bundles=BundleStore(config.path(section.bundles), FileSigner(config.path(section.signing_key))),
            history=TemporalHistorySource(client),
            people=config.path(section.people),
            id_key=config.case_id_key(),
            source=f"hris/{hr.source_kind}/{hr.tenant}",
        )
        yield Duty(
            Role.EVIDENCE,
            EVIDENCE_QUEUE,
            activities=[does.append, does.verify_statement, does.seal],
        )


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
