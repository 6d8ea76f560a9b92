"""The LDAP client against the stand-in and a real Samba domain."""

from __future__ import annotations

import socket
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ldap3.core.exceptions import LDAPBindError
from pydantic import SecretStr

from leaver.connectors.ad.protocol import AccountGone, Key
from leaver.connectors.errors import (
    AccessDenied,
    Ambiguous,
    InvalidCredentials,
    Rejected,
    Throttled,
    Unavailable,
    UnknownOutcomeError,
    WriteRefused,
)
from leaver.connectors.guard import write_scope
from leaver.connectors.receipts import recording
from leaver.domain.words import Mode
from leaver.simulators.ad.client import bound
from leaver.simulators.faults import FaultKind
from leaver.simulators.tls import issue_loopback_tls
from tests.support.ad_world import LEAVERS, STAFF, World

NOBODY = "9b2c5c1e-0000-4000-8000-00000000dead"


def test_finds_by_each_key_and_reads_the_state(world: World) -> None:
    started = datetime.now(UTC)
    someone = world.employee()
    client = world.client()
    account = client.get(someone.guid)
    assert account is not None
    for key, value in (
        (Key.EMPLOYEE_ID, someone.number),
        (Key.USER_NAME, someone.user_name.upper()),
        (Key.MAIL, someone.user_name),
    ):
        assert client.find(key, value) == account
    assert account.enabled
    assert not account.privileged
    assert account.employee_id == someone.number
    assert account.primary_group_id == 513
    assert account.password_version is not None
    assert account.password_set_at is not None
    assert abs(account.password_set_at - started) < timedelta(seconds=10)
    assert abs(account.changed_at - started) < timedelta(seconds=10)
    assert someone.number not in repr(account)
    assert "Person" not in repr(account)


@pytest.mark.parametrize(
    "value", ["*", "T*", "x)(objectClass=*", "a\\2ab", "*)(|(mail=*", "\x00", "(", ")", "\\"]
)
def test_a_value_is_never_taken_for_a_filter(world: World, value: str) -> None:
    world.employee()
    assert world.client().find(Key.EMPLOYEE_ID, value) is None


def test_values_and_names_with_special_characters_are_found_and_moved(world: World) -> None:
    unique = uuid.uuid4().hex[:6]
    group = world.group()
    odd = world.employee(
        name=f'Bräu, Ann "A+B" <C> {unique}\\; #=*()', employeeID=f"T*()\\{unique}", groups=(group,)
    )
    client = world.client()
    account = client.find(Key.EMPLOYEE_ID, f"T*()\\{unique}")
    assert account is not None
    assert account.guid == odd.guid
    assert client.groups(odd.guid) == (world.guid(group),)
    with write_scope(Mode.ENFORCE, [odd.guid]):
        client.remove_from_group(odd.guid, world.guid(group))
        client.move(odd.guid, LEAVERS)
    assert client.groups(odd.guid) == ()
    assert client.is_under(odd.guid, LEAVERS)
    assert world.read(odd.guid, "cn")["cn"] == [f'Bräu, Ann "A+B" <C> {unique}\\; #=*()'.encode()]


def test_two_accounts_with_one_number_are_ambiguous(world: World) -> None:
    first = world.employee()
    world.employee(employeeID=first.number)
    with pytest.raises(Ambiguous) as caught:
        world.client().find(Key.EMPLOYEE_ID, first.number)
    assert caught.value.count == 2
    assert first.number not in str(caught.value)


def test_what_is_not_there_is_none_or_gone(world: World) -> None:
    client = world.client()
    assert client.get(NOBODY) is None
    assert client.find_linked(NOBODY) is None
    with pytest.raises(AccountGone):
        client.groups(NOBODY)
    with pytest.raises(AccountGone):
        client.container(NOBODY)
    with write_scope(Mode.ENFORCE, [NOBODY]), pytest.raises(AccountGone):
        client.disable(NOBODY)
    with pytest.raises(Rejected) as caught:
        client.is_under(NOBODY, f"OU=Nowhere,{world.ad.base_dn}")
    assert caught.value.code == "noSuchObject"


def test_find_linked_knows_both_anchors(world: World) -> None:
    by_guid, migrated = world.employee(), world.employee()
    anchor = uuid.uuid4()
    change = {"mS-DS-ConsistencyGuid": [("MODIFY_REPLACE", [anchor.bytes_le])]}
    world.ask("modify", migrated.dn, change)
    client = world.client()
    linked = client.find_linked(by_guid.guid)
    assert linked is not None
    assert linked.guid == by_guid.guid
    linked = client.find_linked(str(anchor))
    assert linked is not None
    assert linked.guid == migrated.guid
    world.ask(
        "modify",
        migrated.dn,
        {"mS-DS-ConsistencyGuid": [("MODIFY_REPLACE", [uuid.UUID(by_guid.guid).bytes_le])]},
    )
    with pytest.raises(Ambiguous):
        client.find_linked(by_guid.guid)


def test_disable_keeps_the_other_flags(world: World) -> None:
    someone = world.employee()
    never_expires = 0x10000
    flags = str(512 | never_expires)
    world.ask("modify", someone.dn, {"userAccountControl": [("MODIFY_REPLACE", [flags])]})
    client = world.client()
    with write_scope(Mode.ENFORCE, [someone.guid]), recording() as receipts:
        client.disable(someone.guid)
    written = [receipt for receipt in receipts if receipt.mutating]
    assert [(r.method, r.path, r.status) for r in written] == [("LDAP modify", f"<GUID={someone.guid}>", 0)]
    [write] = world.writes
    assert write.objects == [someone.guid]
    assert write.operation == "modify userAccountControl"
    assert write.path == f"<GUID={someone.guid}>"
    now = world.read(someone.guid, "userAccountControl")["userAccountControl"]
    assert now == [str(512 | never_expires | 2).encode()]
    with pytest.raises(LDAPBindError, match=r"invalidCredentials"):
        bound(world.ad.url, world.ad.ca_file, someone.user_name, someone.password)


def test_a_reset_ends_the_old_password_and_counts(world: World) -> None:
    someone = world.employee()
    bound(world.ad.url, world.ad.ca_file, someone.user_name, someone.password).unbind()
    client = world.client()
    before = client.get(someone.guid)
    with write_scope(Mode.ENFORCE, [someone.guid]):
        client.set_random_password(someone.guid)
        client.set_random_password(someone.guid)
    after = client.get(someone.guid)
    assert before is not None
    assert after is not None
    assert before.password_version is not None
    assert after.password_version == before.password_version + 2
    assert before.password_set_at is not None
    assert after.password_set_at is not None
    assert after.password_set_at > before.password_set_at
    assert after.usn > before.usn
    with pytest.raises(LDAPBindError):
        bound(world.ad.url, world.ad.ca_file, someone.user_name, someone.password)


def test_leaving_a_group_twice_is_success_and_touches_the_leaver_only(world: World) -> None:
    group, nested = world.group(), world.group()
    someone, other = world.employee(groups=(group,)), world.employee(groups=(group,))
    world.ask("modify", nested, {"member": [("MODIFY_ADD", [group])]})
    client = world.client()
    assert client.groups(someone.guid) == (world.guid(group),)
    with write_scope(Mode.ENFORCE, [someone.guid]):
        client.remove_from_group(someone.guid, world.guid(group))
        client.remove_from_group(someone.guid, world.guid(group))
    assert client.groups(someone.guid) == ()
    assert client.groups(other.guid) == (world.guid(group),)


def test_the_log_names_the_person_whose_membership_ends(world: World) -> None:
    group = world.group()
    someone = world.employee(groups=(group,))
    group_guid = world.guid(group)
    with write_scope(Mode.ENFORCE, [someone.guid]):
        world.client().remove_from_group(someone.guid, group_guid)
    [write] = world.writes
    assert write.objects == [someone.guid]
    assert write.related == [group_guid]
    assert write.operation == "modify member"


def test_a_deleted_group_is_left(world: World) -> None:
    someone = world.employee()
    with write_scope(Mode.ENFORCE, [someone.guid]):
        world.client().remove_from_group(someone.guid, NOBODY)


def test_moving_keeps_identity_and_a_taken_name_is_refused(world: World) -> None:
    unique = f"Same Name {uuid.uuid4().hex[:6]}"
    staff = world.guid(STAFF)
    first, second = world.employee(name=unique, ou=LEAVERS), world.employee(name=unique)
    client = world.client()
    assert client.container(second.guid) == staff
    with write_scope(Mode.ENFORCE, [second.guid]), pytest.raises(Rejected) as caught:
        client.move(second.guid, LEAVERS)
    assert caught.value.code == "entryAlreadyExists"
    assert unique not in str(caught.value)
    assert client.is_under(second.guid, STAFF)
    assert client.is_under(first.guid, LEAVERS)


@pytest.mark.parametrize("operation", ["disable", "set_random_password", "remove_from_group", "move"])
@pytest.mark.parametrize("case", ["notification-only", "foreign", "no scope", "installation"])
def test_the_guard_stops_every_write_before_it_leaves(world: World, operation: str, case: str) -> None:
    group = world.group()
    someone = world.employee(groups=(group,))
    group_guid = world.guid(group)
    mode = Mode.NOTIFICATION_ONLY if case == "installation" else Mode.ENFORCE
    client = world.client(mode=mode)
    arguments = {"remove_from_group": (group_guid,), "move": (LEAVERS,)}.get(operation, ())
    scope = {
        "notification-only": (Mode.NOTIFICATION_ONLY, [someone.guid]),
        "foreign": (Mode.ENFORCE, [NOBODY, group_guid]),
        "no scope": (Mode.ENFORCE, []),
        "installation": (Mode.ENFORCE, [someone.guid]),
    }[case]
    world.ad.log.records.clear()
    with write_scope(*scope), pytest.raises(WriteRefused):
        getattr(client, operation)(someone.guid, *arguments)
    assert world.writes == []
    assert client.groups(someone.guid) == (group_guid,)


def test_a_protected_account_needs_a_person(world: World) -> None:
    someone = world.employee()
    world.protect(someone.dn)
    client = world.client()
    account = client.get(someone.guid)
    assert account is not None
    assert account.privileged
    with write_scope(Mode.ENFORCE, [someone.guid]):
        for write in (client.disable, client.set_random_password):
            with pytest.raises(AccessDenied) as caught:
                write(someone.guid)
            assert "Reset Password" in caught.value.needs
            assert someone.number not in str(caught.value)


def test_a_wrong_credential_says_so_and_is_tried_once(world: World) -> None:
    client = world.client(servers=(world.ad.url, world.ad.url), password=SecretStr("Wrong-Pass0rd"))
    with pytest.raises(InvalidCredentials, match="wrong password, or no such account"):
        client.get(NOBODY)
    binds = [record for record in world.ad.log.records if record.method == "bind"]
    assert len(binds) == 1
    assert binds[0].status == 49


def test_a_disabled_service_account_is_named_as_such(world: World) -> None:
    someone = world.employee()
    world.ask("modify", someone.dn, {"userAccountControl": [("MODIFY_REPLACE", ["514"])]})
    client = world.client(bind_dn=someone.user_name, password=SecretStr(someone.password))
    with pytest.raises(InvalidCredentials, match="the account is disabled"):
        client.get(NOBODY)


def test_the_next_server_is_asked_when_one_is_down(world: World) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = f"ldaps://127.0.0.1:{closed.getsockname()[1]}"
        someone = world.employee()
        assert world.client(servers=(dead, world.ad.url)).get(someone.guid) is not None
        with pytest.raises(Unavailable, match="no connection"):
            world.client(servers=(dead,)).get(someone.guid)


def test_starttls_is_used_on_the_plain_port(world: World) -> None:
    someone = world.employee()
    account = world.client(servers=(world.ad.plain_url,)).get(someone.guid)
    assert account is not None


def test_a_certificate_of_another_authority_is_refused(world: World, tmp_path: Path) -> None:
    other = issue_loopback_tls(tmp_path / "other")
    with pytest.raises(Unavailable, match=r"certificate is not trusted.*check ca_file"):
        world.client(ca_file=other.ca_file).get(NOBODY)


def test_a_server_that_never_answers_times_out(world: World) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        url = f"ldaps://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(Unavailable):
            world.client(servers=(url,), receive_timeout=1).get(NOBODY)


@pytest.mark.parametrize(
    ("kind", "error"), [(FaultKind.THROTTLE, Throttled), (FaultKind.UNAVAILABLE, Unavailable)]
)
def test_busy_and_unavailable_are_for_later(world: World, kind: FaultKind, error: type[Exception]) -> None:
    someone = world.employee()
    client = world.client()
    world.ad.faults.add(kind, method="modify")
    with write_scope(Mode.ENFORCE, [someone.guid]), pytest.raises(error):
        client.disable(someone.guid)
    account = client.get(someone.guid)
    assert account is not None
    assert account.enabled


@pytest.mark.parametrize(
    ("kind", "enabled"), [(FaultKind.DROP_AFTER_COMMIT, False), (FaultKind.DROP_BEFORE_COMMIT, True)]
)
def test_a_lost_reply_is_an_unknown_outcome(world: World, kind: FaultKind, enabled: bool) -> None:
    someone = world.employee()
    client = world.client()
    world.ad.faults.add(kind, method="modify")
    with write_scope(Mode.ENFORCE, [someone.guid]), pytest.raises(UnknownOutcomeError):
        client.disable(someone.guid)
    account = client.get(someone.guid)
    assert account is not None
    assert account.enabled is enabled


def test_a_lost_read_is_unavailable_and_the_connection_is_replaced(world: World) -> None:
    someone = world.employee()
    client = world.client()
    assert client.get(someone.guid) is not None
    world.ad.faults.add(FaultKind.DROP_BEFORE_COMMIT, method="search")
    with pytest.raises(Unavailable):
        client.get(someone.guid)
    assert client.get(someone.guid) is not None


def test_connections_are_reused(world: World) -> None:
    someone = world.employee()
    client = world.client()
    for _ in range(5):
        client.get(someone.guid)
    assert len([record for record in world.ad.log.records if record.method == "bind"]) == 1


def test_check_connection_writes_nothing_and_names_what_is_missing(world: World) -> None:
    client = world.client()
    found = client.check_connection(leavers_ou=LEAVERS)
    assert found.problems == ()
    assert found.server
    assert abs(found.clock_skew_seconds) < 30
    [problem] = client.check_connection(leavers_ou=f"OU=Nowhere,{world.ad.base_dn}").problems
    assert "ad.leavers_ou" in problem
    [problem] = world.client(base_dn="DC=other,DC=example").check_connection().problems
    assert problem.startswith("base_dn")
    someone = world.employee()
    reader = world.client(bind_dn=someone.user_name, password=SecretStr(someone.password))
    [problem] = reader.check_connection(leavers_ou=LEAVERS).problems
    assert "create user objects" in problem
    assert world.writes == []


def test_more_groups_than_a_page_holds_are_all_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leaver.connectors.ad.session.PAGE_SIZE", 3)
    groups = [world.group() for _ in range(8)]
    someone = world.employee(groups=tuple(groups))
    assert world.client().groups(someone.guid) == tuple(sorted(world.guid(group) for group in groups))
