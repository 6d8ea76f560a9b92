"""The simulators themselves: state that survives, the log on disk, faults, synchronisation."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ldap3.core.exceptions import LDAPException
from pydantic import SecretStr

from leaver.connectors.ad.client import LdapDirectory
from leaver.connectors.ad.protocol import Key
from leaver.connectors.ad.settings import AdSettings
from leaver.connectors.errors import Rejected
from leaver.connectors.guard import WriteGuard, write_scope
from leaver.domain.words import Mode
from leaver.simulators import company
from leaver.simulators.ad.client import bound
from leaver.simulators.ad.front import LdapFront
from leaver.simulators.ad.running import RunningDirectory, running_directory
from leaver.simulators.ad.samba import SambaDomain, SambaError, samba_available
from leaver.simulators.ad.seed import seed_tree
from leaver.simulators.ad.standin import StandInBackend
from leaver.simulators.ad.sync import DirectorySync, SyncSettings
from leaver.simulators.ad.tree import Tree
from leaver.simulators.faults import FaultBook, FaultKind
from leaver.simulators.request_log import RequestLog
from leaver.simulators.tls import issue_loopback_tls
from tests.support.ad_world import LEAVERS, SERVICE_PASSWORD, STAFF, World

KINDS = ["standin", pytest.param("samba", marks=pytest.mark.samba)]


def client_of(ad: RunningDirectory) -> LdapDirectory:
    settings = AdSettings((ad.url,), ad.base_dn, ad.bind_dn, SecretStr(ad.bind_password), ad.ca_file)
    return LdapDirectory(settings, WriteGuard(Mode.ENFORCE))


def disable_and_move(ad: RunningDirectory, guid: str) -> None:
    client = client_of(ad)
    with write_scope(Mode.ENFORCE, [guid]):
        client.disable(guid)
        client.set_random_password(guid)
        client.move(guid, LEAVERS)
    client.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_state_and_log_survive_a_restart(tmp_path: Path, kind: Any) -> None:
    if kind == "samba" and (reason := samba_available()):
        pytest.skip(reason)
    log_folder = tmp_path / "state"
    log = RequestLog(log_folder)
    given: dict[str, Any] = {"service_password": SERVICE_PASSWORD, "kind": kind, "log": log}
    async with running_directory(tmp_path / "ad", **given) as ad:
        assert ad.kind == kind
        [(number, guid)] = ad.guids.items()
        assert number == "E1002"
        if kind == "standin":
            assert guid == company.stable_id("ad", number)
        await asyncio.to_thread(disable_and_move, ad, guid)
    given["service_password"] = "An0ther-Service-Pw!"
    async with running_directory(tmp_path / "ad", **given) as ad:
        assert ad.guids == {number: guid}
        assert ad.bind_password == "An0ther-Service-Pw!"
        client = client_of(ad)
        account = await asyncio.to_thread(client.find, Key.EMPLOYEE_ID, number)
        assert account is not None
        assert account.guid == guid
        assert not account.enabled
        assert await asyncio.to_thread(client.is_under, guid, LEAVERS)
        assert len(await asyncio.to_thread(client.groups, guid)) == 2
        client.close()
    log.close()
    lines = [json.loads(line) for line in (log_folder / "requests-ad.jsonl").read_text().splitlines()]
    written = [line for line in lines if line["mutating"]]
    assert [line["method"] for line in written] == ["modify", "modify", "modifyDN"]
    assert all(line["object"] == [guid] and line["status"] == 0 for line in written)
    assert written[0]["summary"] == {"userAccountControl": 514}
    assert written[1]["summary"] == {"unicodePwd": [True]}
    assert {line["method"] for line in lines} == {"bind", "search", "modify", "modifyDN"}
    assert SERVICE_PASSWORD not in (log_folder / "requests-ad.jsonl").read_text()


async def test_auto_takes_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leaver.simulators.ad.samba.os.geteuid", lambda: 1000)
    assert samba_available() == "a Samba domain controller needs root"
    async with running_directory(tmp_path, service_password=SERVICE_PASSWORD) as ad:
        assert ad.kind == "standin"


@pytest.mark.samba
async def test_samba_says_why_it_does_not_start(tmp_path: Path) -> None:
    if reason := samba_available():
        pytest.skip(reason)
    domain = SambaDomain(tmp_path, "CORP.BROKEN.EXAMPLE")
    (tmp_path / "provisioned").touch()
    with pytest.raises(SambaError, match="did not answer"):
        await domain.start()


async def test_a_read_only_domain_controller_is_passed_over(tmp_path: Path) -> None:
    tree = Tree(company.AD_BASE_DN)
    seeded = seed_tree(tree, (), service_password=SERVICE_PASSWORD, admin_password=SERVICE_PASSWORD)
    tls = issue_loopback_tls(tmp_path)
    fronts = [
        LdapFront(StandInBackend(tree, read_only=read_only), tls=tls, log=RequestLog(), faults=FaultBook())
        for read_only in (True, False)
    ]
    for front in fronts:
        await front.start()

    def check(*urls: str) -> str:
        settings = AdSettings(urls, tree.base_dn, seeded.bind_dn, SecretStr(SERVICE_PASSWORD), tls.ca_file)
        client = LdapDirectory(settings, WriteGuard(Mode.ENFORCE))
        try:
            return client.check_connection().server
        finally:
            client.close()

    assert await asyncio.to_thread(check, fronts[0].url, fronts[1].url)
    with pytest.raises(Rejected, match="read-only domain controller") as caught:
        await asyncio.to_thread(check, fronts[0].url)
    assert caught.value.code == "readOnlyDC"
    for front in fronts:
        await front.stop()


def test_stale_reads_show_the_state_before_the_last_write(world: World) -> None:
    someone = world.employee()
    client = world.client()
    assert client.get(someone.guid) is not None
    with write_scope(Mode.ENFORCE, [someone.guid]):
        client.disable(someone.guid)
    world.ad.faults.add(FaultKind.STALE_READS, method="search", times=1)
    stale, fresh = client.get(someone.guid), client.get(someone.guid)
    assert stale is not None
    assert fresh is not None
    assert (stale.enabled, fresh.enabled) == (True, False)


def test_a_lagging_replica_of_the_stand_in_lags_by_seconds(standin: RunningDirectory) -> None:
    tree = Tree(company.AD_BASE_DN)
    seed_tree(tree, (company.person("E1002"),), service_password="Aa1!aaaa", admin_password="Aa1!aaaa")
    item = tree.items[company.stable_id("ad", "E1002")]
    for department in (b"one", b"two", b"three"):
        tree.change(item, {"department": [department]})
    assert tree.stale(0).items[item.guid].attributes["department"] == [b"two"]
    assert item.guid not in tree.stale(60).items
    assert tree.view.items[item.guid].attributes["department"] == [b"three"]
    assert standin.kind == "standin"


def test_slow_answers_are_late_and_right(world: World) -> None:
    someone = world.employee()
    world.ad.faults.add(FaultKind.SLOW, method="search", path=someone.guid, seconds=0.2)
    account = world.client().get(someone.guid)
    assert account is not None
    [slow] = [record for record in world.ad.log.records if record.fault == "slow"]
    assert slow.status == 0


def test_garbage_ends_the_connection_and_nothing_else(world: World) -> None:
    raw = bound(world.ad.url, world.ad.ca_file)
    raw.socket.sendall(b"GET / HTTP/1.1\r\n" + b"Host: dc1.example\r\n" * 9)
    raw.socket.settimeout(5)
    assert raw.socket.recv(100) == b""
    raw.socket.close()
    assert world.client().check_connection().problems == ()


async def eventually(so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not so():  # noqa: ASYNC110 - what changes is another process's state
            await asyncio.sleep(0.01)


def sync_settings(ad: RunningDirectory, **changed: Any) -> SyncSettings:
    given: dict[str, Any] = {
        "url": ad.url,
        "ca_file": ad.ca_file,
        "base_dn": ad.base_dn,
        "bind_dn": ad.bind_dn,
        "bind_password": ad.bind_password,
        "interval": 0.05,
        **changed,
    }
    return SyncSettings(**given)


async def test_the_cloud_follows_the_directory(world: World) -> None:
    someone = await asyncio.to_thread(world.employee)
    immutable = base64.b64encode(uuid.UUID(someone.guid).bytes_le).decode()
    told: dict[str, tuple[bool, bool]] = {}

    def follow(who: str, enabled: bool, in_scope: bool) -> None:
        told[who] = (enabled, in_scope)

    async def until(expected: tuple[bool, bool]) -> None:
        await eventually(lambda: told.get(immutable) == expected)

    async with DirectorySync(sync_settings(world.ad, scope=(STAFF,)), follow) as sync:
        await until((True, True))
        disabled = {"userAccountControl": [("MODIFY_REPLACE", ["514"])]}
        await asyncio.to_thread(world.ask, "modify", someone.dn, disabled)
        await until((False, True))
        rdn = someone.dn.partition(",")[0]
        await asyncio.to_thread(world.ask, "modify_dn", someone.dn, rdn, True, LEAVERS)
        await until((False, False))
        assert sync.rounds >= 3
        await asyncio.to_thread(world.ask, "delete", f"{rdn},{LEAVERS}")
        told.clear()
        await until((False, False))
    outside = base64.b64encode(b"x" * 16).decode()
    assert outside not in told


async def test_both_ous_are_in_scope_unless_told_otherwise(world: World) -> None:
    someone = await asyncio.to_thread(lambda: world.employee(ou=LEAVERS))
    told: dict[str, bool] = {}
    sync = DirectorySync(sync_settings(world.ad), lambda who, _, in_scope: told.__setitem__(who, in_scope))
    await sync.once()
    assert told[base64.b64encode(uuid.UUID(someone.guid).bytes_le).decode()] is True
    await sync.__aexit__()


async def test_synchronisation_outlives_a_directory_that_is_away(world: World) -> None:
    def ignore(*_: object) -> None: ...

    async with DirectorySync(sync_settings(world.ad), ignore) as sync:
        await eventually(lambda: sync.rounds >= 1)
        world.ad.faults.add(FaultKind.DROP_BEFORE_COMMIT, method="search", times=3)
        before = sync.rounds
        await eventually(lambda: sync.rounds >= before + 2)
        assert world.ad.faults.open == ()
    alone = DirectorySync(sync_settings(world.ad, bind_password="Wrong-Passw0rd"), ignore)
    with pytest.raises(LDAPException):
        await alone.once()
