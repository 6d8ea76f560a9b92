"""Directory synchronisation such as Entra Connect does it: AD is read again and again, the cloud follows.

It is what overwrites a cloud-only change of a synced user (trap T13), and what deletes the cloud user whose
AD object moves out of the synced OUs (trap T27).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from ldap3 import Connection
from ldap3.core.exceptions import LDAPException

from leaver.simulators import company
from leaver.simulators.ad.client import bound, hang_up

_DISABLED: Final = 0x2
_PEOPLE: Final = "(&(objectCategory=person)(objectClass=user))"

OnAccount = Callable[[str, bool, bool], None]
"""Called with immutable id (base64 of the objectGUID as on the wire), enabled, in scope."""


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """Where to read, as whom, and which OUs are in scope. ``interval`` is in seconds."""

    url: str
    ca_file: Path
    base_dn: str
    bind_dn: str
    bind_password: str = field(repr=False)
    scope: tuple[str, ...] = (company.AD_STAFF_OU, company.AD_LEAVERS_OU)
    interval: float = 2.0


class DirectorySync:
    """Reads every user each ``interval`` and tells about each one that is, or was, in scope.

    ::

        async with DirectorySync(settings, tenant.sync_from_directory):
            ...
    """

    def __init__(self, settings: SyncSettings, on_account: OnAccount) -> None:
        self._settings = settings
        self._tell = on_account
        self._seen: dict[str, bool] = {}
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self.rounds = 0
        """How many times the directory was read to the end."""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._for_ever())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await asyncio.to_thread(self._hang_up)

    async def once(self) -> None:
        """One round, now.

        Raises:
            LDAPException: the directory could not be read; nothing was told.
        """
        found = {guid: (enabled, dn) for guid, enabled, dn in await asyncio.to_thread(self._read)}
        for guid, (enabled, dn) in found.items():
            in_scope = any(dn.casefold().endswith(f",{ou}".casefold()) for ou in self._settings.scope)
            if in_scope or guid in self._seen:
                self._seen[guid] = enabled
                self._tell(guid, enabled, in_scope)
        for guid in self._seen.keys() - found.keys():
            self._tell(guid, self._seen[guid], False)
        self.rounds += 1

    async def _for_ever(self) -> None:
        while True:
            # A directory that is away for a moment is read at the next round, as the real one does.
            with contextlib.suppress(LDAPException, OSError):
                await self.once()
            await asyncio.sleep(self._settings.interval)

    def _read(self) -> Iterable[tuple[str, bool, str]]:
        try:
            connection = self._connection or self._connect()
            items = connection.extend.standard.paged_search(
                self._settings.base_dn,
                _PEOPLE,
                attributes=["objectGUID", "userAccountControl"],
                paged_size=500,
                generator=False,
            )
        except (LDAPException, OSError):
            self._hang_up()
            raise
        return [_account(item) for item in items if item["type"] == "searchResEntry"]

    def _connect(self) -> Connection:
        it = self._settings
        self._connection = bound(it.url, it.ca_file, it.bind_dn, it.bind_password, strict=True)
        return self._connection

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            hang_up(connection)


def _account(item: dict[str, dict[str, list[bytes]]]) -> tuple[str, bool, str]:
    raw = item["raw_attributes"]
    enabled = not int(raw["userAccountControl"][0]) & _DISABLED
    return base64.b64encode(raw["objectGUID"][0]).decode(), enabled, str(item["dn"])
