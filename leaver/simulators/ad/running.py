"""Active Directory for the embedded stack and for tests: a real Samba domain or the stand-in, one entry."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from ldap3 import Connection

from leaver.simulators import company
from leaver.simulators.ad.client import bound
from leaver.simulators.ad.front import LdapFront
from leaver.simulators.ad.samba import SambaDomain, samba_available
from leaver.simulators.ad.seed import ADMINISTRATOR, Seeded, delegate, hybrid_people, seed_domain, seed_tree
from leaver.simulators.ad.standin import StandInBackend
from leaver.simulators.ad.tap import TapBackend
from leaver.simulators.ad.tree import Tree
from leaver.simulators.company import SamplePerson
from leaver.simulators.faults import FaultBook
from leaver.simulators.request_log import RequestLog
from leaver.simulators.tls import LoopbackTls, issue_loopback_tls

Kind = Literal["standin", "samba"]
_LDAPS: Final = 636


@dataclass(frozen=True, slots=True)
class RunningDirectory:
    """A directory that serves. ``guids`` are the people's objectGUIDs by employee number."""

    kind: Kind
    url: str
    """LDAPS, logged and open to faults; for clients under test."""
    plain_url: str
    """LDAP with StartTLS, the same."""
    ca_file: Path
    base_dn: str
    bind_dn: str
    bind_password: str = field(repr=False)
    guids: Mapping[str, str]
    admin_url: str
    """For seeding, tests and synchronisation: past the log and the faults."""
    admin_ca_file: Path
    admin_name: str
    admin_password: str = field(repr=False)
    log: RequestLog
    faults: FaultBook


@asynccontextmanager
async def running_directory(  # noqa: PLR0913 - each says something of its own
    directory: Path,
    *,
    service_password: str,
    kind: Literal["auto", "standin", "samba"] = "auto",
    tls: LoopbackTls | None = None,
    log: RequestLog | None = None,
    faults: FaultBook | None = None,
    people: Sequence[SamplePerson] | None = None,
    port: int = 0,
) -> AsyncIterator[RunningDirectory]:
    """Run Active Directory on loopback while the block runs.

    Args:
        directory: keeps the state, so that a directory that is run there again knows what it knew.
        service_password: of the account the connector binds with; 7 characters of 3 kinds at least.
        kind: ``auto`` takes Samba where it is installed and we are root.
        tls: the front's certificate; None issues one in ``directory``.
        log: where requests are written; None keeps them in memory only.
        faults: orders to misbehave.
        people: whom to create; None means the sample company's hybrid people.
        port: of LDAPS on 127.0.0.1; 0 takes a free one.

    Raises:
        SambaError: ``samba`` was asked for and does not run.
        OSError: the port is taken.
    """
    chosen: Kind = ("standin" if samba_available() else "samba") if kind == "auto" else kind
    start = _samba if chosen == "samba" else _standin
    wanted = hybrid_people() if people is None else tuple(people)
    await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    front = _Front(
        tls=tls or issue_loopback_tls(directory / "front-tls"),
        log=log or RequestLog(),
        faults=faults or FaultBook(),
        port=port,
    )
    async with start(directory, front, wanted, service_password) as running:
        yield running


def admin_connection(running: RunningDirectory) -> Connection:
    """A bound connection of the domain's administrator, for preparing and checking tests. Blocks.

    Raises:
        LDAPException: no connection, or the bind was refused.
    """
    return bound(running.admin_url, running.admin_ca_file, running.admin_name, running.admin_password)


@dataclass(frozen=True, slots=True)
class _Front:
    tls: LoopbackTls
    log: RequestLog
    faults: FaultBook
    port: int


@asynccontextmanager
async def _standin(
    directory: Path, given: _Front, people: Sequence[SamplePerson], service_password: str
) -> AsyncIterator[RunningDirectory]:
    tree = Tree(company.AD_BASE_DN, directory / "standin.json")
    admin_password = f"Aa1!{secrets.token_urlsafe(24)}"
    seeded = seed_tree(tree, people, service_password=service_password, admin_password=admin_password)
    if tree.restored:
        for name, password in ((ADMINISTRATOR, admin_password), (None, service_password)):
            dn = f"CN={name},{tree.base_dn}" if name else seeded.bind_dn
            tree.set_password(tree.view.existing(dn), password)
    backend = StandInBackend(tree)
    front = LdapFront(backend, tls=given.tls, log=given.log, faults=given.faults, port=given.port)
    # Samba's own port is past the log and the faults; here a second front is.
    behind = LdapFront(backend, tls=given.tls, log=None, faults=FaultBook())
    await front.start()
    await behind.start()
    try:
        yield _running(
            "standin",
            front,
            given,
            seeded,
            service_password,
            _Admin(behind.url, given.tls.ca_file, f"CN={ADMINISTRATOR},{tree.base_dn}", admin_password),
        )
    finally:
        await behind.stop()
        await front.stop()


@asynccontextmanager
async def _samba(
    directory: Path, given: _Front, people: Sequence[SamplePerson], service_password: str
) -> AsyncIterator[RunningDirectory]:
    domain = SambaDomain(directory / "samba", company.AD_REALM)
    await domain.start()
    try:
        seeded = await _fill(domain, people, service_password)
        tap = TapBackend(domain.address, _LDAPS, domain.tls.ca_file)
        for number, dn in seeded.dns.items():
            tap.learn(dn, seeded.guids[number], person=True)
        front = LdapFront(tap, tls=given.tls, log=given.log, faults=given.faults, port=given.port)
        await front.start()
        try:
            yield _running(
                "samba",
                front,
                given,
                seeded,
                service_password,
                _Admin(domain.url, domain.tls.ca_file, domain.admin_name, domain.admin_password),
            )
        finally:
            await front.stop()
    finally:
        await domain.stop()


async def _fill(domain: SambaDomain, people: Sequence[SamplePerson], service_password: str) -> Seeded:
    connection = await asyncio.to_thread(
        bound, domain.url, domain.tls.ca_file, domain.admin_name, domain.admin_password
    )
    try:
        seeded = await asyncio.to_thread(
            seed_domain, connection, company.AD_BASE_DN, people, service_password=service_password
        )
        marker = domain.directory / "delegated"
        if not marker.exists():
            await delegate(domain, connection, seeded.bind_dn)
            marker.touch()
        return seeded
    finally:
        await asyncio.to_thread(connection.unbind)


@dataclass(frozen=True, slots=True)
class _Admin:
    url: str
    ca_file: Path
    name: str
    password: str


def _running(  # noqa: PLR0913, PLR0917 - the fields of one value
    kind: Kind, front: LdapFront, given: _Front, seeded: Seeded, service_password: str, admin: _Admin
) -> RunningDirectory:
    return RunningDirectory(
        kind=kind,
        url=front.url,
        plain_url=front.plain_url,
        ca_file=given.tls.ca_file,
        base_dn=company.AD_BASE_DN,
        bind_dn=seeded.bind_dn,
        bind_password=service_password,
        guids=dict(seeded.guids),
        admin_url=admin.url,
        admin_ca_file=admin.ca_file,
        admin_name=admin.name,
        admin_password=admin.password,
        log=given.log,
        faults=given.faults,
    )
