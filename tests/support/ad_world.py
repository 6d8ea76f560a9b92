"""Active Directory for tests: a directory in a thread, people made in it, units run as Temporal runs them."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import secrets
import threading
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ldap3 import Connection
from ldap3.protocol.microsoft import security_descriptor_control
from ldap3.utils.dn import escape_rdn
from pydantic import SecretStr
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.ad import AdActivities
from activities.unit import Progress, ReadBack
from leaver.connectors.ad.client import LdapDirectory
from leaver.connectors.ad.settings import AdSettings
from leaver.connectors.guard import WriteGuard
from leaver.domain.account import Account, LinkRule
from leaver.domain.effect import Effect, UnitInput, UnitResult
from leaver.domain.words import Mode, System
from leaver.simulators import company
from leaver.simulators.ad.running import RunningDirectory, running_directory
from leaver.simulators.request_log import RequestRecord

SERVICE_PASSWORD = "Worker-0f-Leavers!"
STAFF = company.AD_STAFF_OU
LEAVERS = company.AD_LEAVERS_OU
READ_BACK = ReadBack(
    agree=2,
    interval=timedelta(milliseconds=10),
    deadline=timedelta(seconds=2),
    rewrite_after=timedelta(minutes=2),
)


class DirectoryThread:
    """Runs a directory in an event loop of its own, so that blocking clients can talk to it."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self._ready: Future[RunningDirectory] = Future()
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._main, args=(folder, options))

    def start(self) -> RunningDirectory:
        self._thread.start()
        return self._ready.result(60)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _main(self, folder: Path, options: dict[str, Any]) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(folder, options))

    async def _serve(self, folder: Path, options: dict[str, Any]) -> None:
        try:
            async with running_directory(folder, service_password=SERVICE_PASSWORD, **options) as running:
                self._ready.set_result(running)
                await self._end.wait()
        except BaseException as err:
            if not self._ready.done():
                self._ready.set_exception(err)
                return
            raise


@dataclass(frozen=True)
class Employee:
    """A user that a test made."""

    number: str
    guid: str
    dn: str
    user_name: str
    password: str


_serial = itertools.count(1)


@dataclass
class World:
    """One test's view of a directory."""

    ad: RunningDirectory
    admin: Connection
    _clients: list[LdapDirectory] = field(default_factory=list)

    def employee(
        self, *, name: str | None = None, groups: tuple[str, ...] = (), ou: str = STAFF, **attributes: str
    ) -> Employee:
        """A new enabled user; further attributes overwrite the usual ones."""
        serial = f"{next(_serial)}x{uuid.uuid4().hex[:6]}"
        number, password = f"T{serial}", f"Aa1!{secrets.token_urlsafe(16)}"
        cn = name or f"Person {serial}"
        user_name = f"person.{serial}@{company.DOMAIN}"
        wanted = {
            "sAMAccountName": f"p{serial}",
            "employeeID": number,
            "userPrincipalName": user_name,
            "mail": user_name,
            **attributes,
        }
        dn = f"CN={escape_rdn(cn)},{ou}"
        self.ask("add", dn, "user", {key: value for key, value in wanted.items() if value})
        self.set_password(dn, password)
        self.ask("modify", dn, {"userAccountControl": [("MODIFY_REPLACE", ["512"])]})
        for group in groups:
            self.ask("modify", group, {"member": [("MODIFY_ADD", [dn])]})
        return Employee(wanted["employeeID"], self.guid(dn), dn, wanted["userPrincipalName"], password)

    def group(self, **attributes: str) -> str:
        """A new group's DN."""
        name = f"group-{next(_serial)}x{uuid.uuid4().hex[:6]}"
        dn = f"CN={name},{STAFF}"
        self.ask("add", dn, "group", {"sAMAccountName": name, **attributes})
        return dn

    def ask(self, method: str, *arguments: Any) -> None:
        """Do something as administrator; it must succeed and leaves no trace in the log."""
        getattr(self.admin, method)(*arguments)
        assert self.admin.result["result"] == 0, self.admin.result
        self.ad.log.records.clear()

    def guid(self, dn: str) -> str:
        raw = self.read(dn, "objectGUID")["objectGUID"][0]
        return str(uuid.UUID(bytes_le=raw))

    def read(self, dn: str, *attributes: str) -> dict[str, list[bytes]]:
        """Attributes as administrator; ``dn`` may be a GUID."""
        name = f"<GUID={dn}>" if "=" not in dn else dn
        assert self.admin.search(name, "(objectClass=*)", "BASE", attributes=list(attributes))
        assert self.admin.response
        values: dict[str, list[bytes]] = dict(self.admin.response[0]["raw_attributes"])
        self.ad.log.records.clear()
        return values

    def set_password(self, dn: str, password: str) -> None:
        secret = f'"{password}"'.encode("utf-16-le")
        self.ask("modify", dn, {"unicodePwd": [("MODIFY_REPLACE", [secret])]})

    def protect(self, dn: str) -> None:
        """Put an object under AdminSDHolder: delegated rights end there."""
        self.ask("modify", dn, {"adminCount": [("MODIFY_REPLACE", ["1"])]})
        if self.ad.kind == "samba":
            self._end_delegation(dn)

    def _end_delegation(self, dn: str) -> None:
        """What SDProp would do, which Samba has not (MS-ADTS 3.1.1.6.1): the inherited delegation goes."""
        service = self.read(self.ad.bind_dn, "objectSid")["objectSid"][0]
        controls = security_descriptor_control(sdflags=4)
        self.admin.search(
            dn, "(objectClass=*)", "BASE", attributes=["nTSecurityDescriptor"], controls=controls
        )
        assert self.admin.response
        old = self.admin.response[0]["raw_attributes"]["nTSecurityDescriptor"][0]
        change = {"nTSecurityDescriptor": [("MODIFY_REPLACE", [_protected(old, without=service)])]}
        self.ask("modify", dn, change, controls)

    def client(self, *, mode: Mode = Mode.ENFORCE, **settings: Any) -> LdapDirectory:
        given: dict[str, Any] = {
            "servers": (self.ad.url,),
            "base_dn": self.ad.base_dn,
            "bind_dn": self.ad.bind_dn,
            "password": SecretStr(self.ad.bind_password),
            "ca_file": self.ad.ca_file,
            "connect_timeout": 2,
            "receive_timeout": 5,
            **settings,
        }
        client = LdapDirectory(AdSettings(**given), WriteGuard(mode))
        self._clients.append(client)
        return client

    def activities(self, **settings: Any) -> AdActivities:
        return AdActivities(self.client(**settings), READ_BACK)

    @property
    def writes(self) -> list[RequestRecord]:
        """Mutating requests since the administrator last did something."""
        return self.ad.log.mutations("ad")

    def close(self) -> None:
        for client in self._clients:
            client.close()


@dataclass
class Run:
    """What came of one activity, with every failed attempt's error."""

    result: Any
    errors: list[ApplicationError] = field(default_factory=list)

    def effect(self, step: str) -> Effect:
        assert isinstance(self.result, UnitResult)
        return next(effect for effect in self.result.effects if effect.step == step)


async def perform(
    activity: Callable[[Any], Awaitable[Any]],
    arg: Any,
    *,
    attempts: int = 4,
    lose_heartbeats: bool = False,
) -> Run:
    """Run an activity as Temporal does: again after an error worth it, with the last heartbeat's details."""
    details: list[Any] = []
    run = Run(None)
    for number in range(1, attempts + 1):
        env = ActivityEnvironment()
        kept = [] if lose_heartbeats else details[-1:]
        env.info = dataclasses.replace(env.info, attempt=number, heartbeat_details=kept)

        def beat(*said: Any) -> None:
            assert isinstance(said[0], Progress)
            details.append(said[0].model_dump(mode="json"))

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


def unit_input(
    guid: str,
    *steps: str,
    mode: Mode = Mode.ENFORCE,
    before: dict[str, Any] | None = None,
    parameters: dict[str, Any] | None = None,
    not_before: datetime | None = None,
    run: int = 1,
) -> UnitInput:
    account = Account(system=System.AD, id=guid, rule=LinkRule.EMPLOYEE_ID, before=before or {})
    return UnitInput(
        case="c-test",
        unit="ad.contain",
        mode=mode,
        account=account,
        steps=steps,
        not_before=not_before or datetime.now(UTC),
        run=run,
        parameters=parameters or {},
    )


def _protected(descriptor: bytes, *, without: bytes) -> bytes:
    """A self-relative security descriptor (MS-DTYP 2.4.6) that inherits nothing and has no entry of a SID."""
    control = int.from_bytes(descriptor[2:4], "little") | 0x1000
    start = int.from_bytes(descriptor[16:20], "little")
    count = int.from_bytes(descriptor[start + 4 : start + 6], "little")
    entries, at = [], start + 8
    for _ in range(count):
        length = int.from_bytes(descriptor[at + 2 : at + 4], "little")
        entry = bytearray(descriptor[at : at + length])
        entry[1] &= ~0x10
        if not entry.endswith(without):
            entries.append(bytes(entry))
        at += length
    body = b"".join(entries)
    sizes = (8 + len(body)).to_bytes(2, "little") + len(entries).to_bytes(2, "little")
    acl = descriptor[start : start + 2] + sizes + b"\0\0" + body
    return descriptor[:2] + control.to_bytes(2, "little") + b"\0" * 12 + (20).to_bytes(4, "little") + acl
