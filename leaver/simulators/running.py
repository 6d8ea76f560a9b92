"""The sample company, running: Microsoft 365, Active Directory and the synchronisation between them.

Everything is kept in one directory, ports and certificates too: run there again after a kill, it answers at
the same addresses and knows what it knew.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from leaver.simulators.ad.running import RunningDirectory, running_directory
from leaver.simulators.ad.sync import DirectorySync, OnAccount, SyncSettings
from leaver.simulators.company import PEOPLE, SamplePerson
from leaver.simulators.faults import FaultBook
from leaver.simulators.m365 import Delays, M365Simulator, sample_tenant
from leaver.simulators.request_log import RequestLog
from leaver.simulators.tls import LoopbackTls, issue_loopback_tls
from leaver.simulators.tsa import TsaAddress, find_openssl, running_tsa

AdKind = Literal["auto", "standin", "samba", "none"]


@dataclass(frozen=True, slots=True)
class CompanySettings:
    """How the company runs. ``delays`` None means the defaults; ``sync_interval`` is in seconds."""

    ad: AdKind = "auto"
    people: tuple[SamplePerson, ...] = PEOPLE
    delays: Delays | None = None
    sync_interval: float = 2.0
    timestamps: bool = False
    """Whether a local timestamp authority runs beside them."""


@dataclass(frozen=True, slots=True)
class RunningCompany:
    """What runs. Faults and the request log are shared by all systems."""

    m365: M365Simulator
    ad: RunningDirectory | None
    sync: DirectorySync | None
    faults: FaultBook
    log: RequestLog
    tsa: TsaAddress | None = None
    """A timestamp authority of the company's own, where openssl is installed."""

    def as_dict(self) -> dict[str, object]:
        """Addresses and credentials for JSON."""
        return {
            "m365": self.m365.endpoints.as_dict(),
            "ad": None if self.ad is None else _ad_dict(self.ad),
            "tsa": None if self.tsa is None else {"url": self.tsa.url, "ca_file": str(self.tsa.ca_file)},
        }


@asynccontextmanager
async def running_company(
    directory: Path, settings: CompanySettings | None = None
) -> AsyncIterator[RunningCompany]:
    """Run the company while the block runs.

    Args:
        directory: keeps state, certificates, addresses and ``requests-<system>.jsonl``; created when missing.
        settings: see there.

    Raises:
        OSError: a port of the run before is taken by somebody else.
        SambaError: ``samba`` was asked for and does not run.
    """
    chosen = settings or CompanySettings()
    await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    kept = _Kept.load(directory / "simulators.json")
    log, faults = RequestLog(directory), FaultBook()
    tls = issue_loopback_tls(directory / "tls")
    async with AsyncExitStack() as stack:
        ad = await _start_ad(stack, directory, chosen, kept, _Shared(tls, log, faults))
        tenant = sample_tenant(people=chosen.people, delays=chosen.delays, immutable_ids=_immutable_ids(ad))
        tenant.keep_in(directory / "m365-state.jsonl")
        stack.callback(tenant.close)
        simulator = M365Simulator(tenant, tls, log=log, faults=faults, ports=kept.ports)
        await stack.enter_async_context(simulator)
        sync = None
        if ad is not None:
            follow = DirectorySync(_sync_settings(ad, chosen), _follower(simulator))
            sync = await stack.enter_async_context(follow)
        tsa = await _start_tsa(stack, directory, kept) if chosen.timestamps else None
        kept.ports = {
            **simulator.ports,
            **({} if ad is None else {"ad": _port(ad.url)}),
            **({} if tsa is None else {"tsa": _port(tsa.url.rstrip("/"))}),
        }
        kept.save()
        yield RunningCompany(simulator, ad, sync, faults, log, tsa)


@dataclass(frozen=True, slots=True)
class _Shared:
    tls: LoopbackTls
    log: RequestLog
    faults: FaultBook


@dataclass(slots=True)
class _Kept:
    """What the next run needs to be found at the same place."""

    path: Path
    ports: dict[str, int] = field(default_factory=dict)
    service_password: str = field(default_factory=lambda: f"Aa1!{secrets.token_urlsafe(24)}", repr=False)

    @classmethod
    def load(cls, path: Path) -> _Kept:
        if not path.exists():
            return cls(path)
        found = json.loads(path.read_text("utf-8"))
        return cls(path, dict(found["ports"]), found["service_password"])

    def save(self) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
            json.dump({"ports": self.ports, "service_password": self.service_password}, handle)
        fresh.replace(self.path)


async def _start_tsa(stack: AsyncExitStack, directory: Path, kept: _Kept) -> TsaAddress | None:
    if find_openssl() is None:
        return None
    return await stack.enter_async_context(running_tsa(directory / "tsa", kept.ports.get("tsa", 0)))


async def _start_ad(
    stack: AsyncExitStack, directory: Path, settings: CompanySettings, kept: _Kept, shared: _Shared
) -> RunningDirectory | None:
    if settings.ad == "none":
        return None
    return await stack.enter_async_context(
        running_directory(
            directory / "ad",
            service_password=kept.service_password,
            kind=settings.ad,
            tls=shared.tls,
            log=shared.log,
            faults=shared.faults,
            people=[person for person in settings.people if person.hybrid],
            port=kept.ports.get("ad", 0),
        )
    )


def _immutable_ids(ad: RunningDirectory | None) -> dict[str, str]:
    # The domain controller may have chosen the GUIDs, so the cloud takes them from it.
    guids: Iterable[tuple[str, str]] = () if ad is None else ad.guids.items()
    return {number: base64.b64encode(uuid.UUID(guid).bytes_le).decode("ascii") for number, guid in guids}


def _sync_settings(ad: RunningDirectory, settings: CompanySettings) -> SyncSettings:
    return SyncSettings(
        # Past the log and the faults: the synchronisation is not what is under test.
        url=ad.admin_url,
        ca_file=ad.admin_ca_file,
        base_dn=ad.base_dn,
        bind_dn=ad.bind_dn,
        bind_password=ad.bind_password,
        interval=settings.sync_interval,
    )


def _follower(simulator: M365Simulator) -> OnAccount:
    def follow(immutable_id: str, enabled: bool, in_scope: bool) -> None:
        simulator.tenant.apply_directory_sync(immutable_id, enabled=enabled, in_scope=in_scope)

    return follow


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def _ad_dict(ad: RunningDirectory) -> dict[str, object]:
    return {
        "kind": ad.kind,
        "url": ad.url,
        "plain_url": ad.plain_url,
        "ca_file": str(ad.ca_file),
        "base_dn": ad.base_dn,
        "bind_dn": ad.bind_dn,
        "bind_password": ad.bind_password,
        "guids": dict(ad.guids),
    }
