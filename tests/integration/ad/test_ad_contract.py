"""The stand-in's contract: for what we use, it answers as a real Samba domain does.

Every test runs against both with one expectation, in raw LDAP, without our connector.
"""

from __future__ import annotations

import struct
import uuid
from typing import Any, Literal

import pytest
from ldap3 import Connection, Server
from ldap3.core.exceptions import LDAPBindError

from leaver.simulators.ad.client import bound
from tests.support.ad_world import LEAVERS, STAFF, World

Scope = Literal["BASE", "LEVEL", "SUBTREE"]
PEOPLE = "(&(objectCategory=person)(objectClass=user){})"


def code(connection: Connection, method: str, *arguments: Any) -> int:
    getattr(connection, method)(*arguments)
    return int(connection.result["result"])


def names(connection: Connection, base: str, filter_: str, scope: Scope = "SUBTREE") -> list[str]:
    connection.search(base, filter_, scope, attributes=["cn"])
    return sorted(item["dn"] for item in connection.response or () if item["type"] == "searchResEntry")


def versions(blob: bytes) -> dict[int, int]:
    layout, _, count, _ = struct.unpack_from("<IIII", blob)
    assert layout == 1
    assert len(blob) == 16 + 48 * count
    rows = [struct.unpack_from("<IIQ16sQQ", blob, 16 + 48 * index) for index in range(count)]
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    return {row[0]: row[1] for row in rows}


@pytest.mark.parametrize("who", ["user_name", "dn"])
def test_binds_say_why_not(world: World, who: str) -> None:
    someone = world.employee()
    name = getattr(someone, who)
    bound(world.ad.url, world.ad.ca_file, name, someone.password).unbind()

    def refusal(password: str) -> str:
        connection = bound(world.ad.url, world.ad.ca_file, world.ad.bind_dn, world.ad.bind_password)
        assert not connection.rebind(user=name, password=password)
        assert connection.result["result"] == 49
        message = str(connection.result["message"])
        connection.unbind()
        return message

    start = "80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data {}, v1db1"
    assert refusal("Wrong-Passw0rd") == start.format("52e")
    world.ask("modify", someone.dn, {"userAccountControl": [("MODIFY_REPLACE", ["514"])]})
    assert refusal(someone.password) == start.format("533")
    assert refusal("Wrong-Passw0rd") == start.format("52e")


def test_unknown_accounts_look_like_wrong_passwords(world: World) -> None:
    with pytest.raises(LDAPBindError, match="invalidCredentials"):
        bound(world.ad.url, world.ad.ca_file, "nobody@nowhere.example", "Some-Passw0rd")


def test_a_bind_in_the_clear_is_refused(world: World) -> None:
    connection = Connection(
        Server(world.ad.plain_url, get_info="NO_INFO"), world.ad.bind_dn, world.ad.bind_password
    )
    assert not connection.bind()
    assert connection.result["description"] == "strongerAuthRequired"
    connection.unbind()


def test_anonymous_sees_the_root_dse_and_nothing_else(world: World) -> None:
    connection = bound(world.ad.url, world.ad.ca_file)
    connection.search(
        "", "(objectClass=*)", "BASE", attributes=["defaultNamingContext", "supportedCapabilities"]
    )
    assert connection.response
    root = connection.response[0]
    assert root["raw_attributes"]["defaultNamingContext"] == [world.ad.base_dn.encode()]
    assert b"1.2.840.113556.1.4.800" in root["raw_attributes"]["supportedCapabilities"]
    assert b"1.2.840.113556.1.4.1920" not in root["raw_attributes"]["supportedCapabilities"]
    assert code(connection, "search", world.ad.base_dn, "(objectClass=user)") == 1
    connection.unbind()


def test_objects_are_found_by_guid_in_every_form(world: World) -> None:
    someone = world.employee()
    guid = uuid.UUID(someone.guid)
    assert names(world.admin, f"<GUID={guid}>", "(objectClass=*)", "BASE") == [someone.dn]
    assert names(world.admin, f"<GUID={guid.bytes_le.hex()}>", "(objectClass=*)", "BASE") == [someone.dn]
    octets = "".join(f"\\{octet:02x}" for octet in guid.bytes_le)
    assert names(world.admin, world.ad.base_dn, f"(objectGUID={octets})") == [someone.dn]
    assert names(world.admin, f"<GUID={guid}>", "(employeeID=other)", "BASE") == []
    assert code(world.admin, "search", f"<GUID={uuid.uuid4()}>", "(objectClass=*)", "BASE") == 32
    assert code(world.admin, "search", f"OU=Nowhere,{world.ad.base_dn}", "(objectClass=*)") == 32


def test_filters(world: World) -> None:
    group = world.group()
    unique = uuid.uuid4().hex[:8]
    first = world.employee(name=f"Anna Filter {unique}", groups=(group,))
    second = world.employee(name=f"Bert Filter {unique}", department="Sales")
    both = sorted([first.dn, second.dn])

    def found(condition: str) -> list[str]:
        return names(world.admin, STAFF, PEOPLE.format(f"(cn=*{unique}){condition}"))

    assert found("") == both
    assert found("(cn=anna FILTER*)") == [first.dn]
    assert found("(cn=*nna*ilter*)") == [first.dn]
    assert found("(!(department=*))") == [first.dn]
    assert found("(department=sales)") == [second.dn]
    assert found(f"(|(employeeID={first.number})(employeeID={second.number}))") == both
    assert found(f"(memberOf={group})") == [first.dn]
    assert found("(userAccountControl:1.2.840.113556.1.4.803:=2)") == []
    assert found("(userAccountControl:1.2.840.113556.1.4.803:=512)") == both
    assert found("(employeeID=\\2a)") == []
    assert names(world.admin, STAFF, f"(cn=*{unique})", "LEVEL") == both
    assert names(world.admin, world.ad.base_dn, f"(cn=*{unique})", "LEVEL") == []


def test_membership_is_followed_through_nested_groups(world: World) -> None:
    inner, outer = world.group(), world.group()
    someone = world.employee(groups=(inner,))
    world.ask("modify", outer, {"member": [("MODIFY_ADD", [inner])]})
    chain = "1.2.840.113556.1.4.1941"
    assert names(world.admin, STAFF, f"(member={someone.dn})") == [inner]
    assert names(world.admin, STAFF, f"(member:{chain}:={someone.dn})") == sorted([inner, outer])
    assert names(world.admin, STAFF, f"(memberOf:{chain}:={outer})") == sorted([inner, someone.dn])
    assert world.read(someone.dn, "memberOf")["memberOf"] == [inner.encode()]


def test_pages(world: World) -> None:
    unique = uuid.uuid4().hex[:8]
    people = sorted(world.employee(name=f"{unique} {index}").dn for index in range(5))
    sizes, found, cookie = [], [], None
    while cookie is None or cookie:
        world.admin.search(
            STAFF,
            f"(cn={unique}*)",
            attributes=["cn"],
            paged_size=2,
            paged_cookie=cookie,
            paged_criticality=True,
        )
        page = [item["dn"] for item in world.admin.response or () if item["type"] == "searchResEntry"]
        sizes.append(len(page))
        found += page
        cookie = world.admin.result["controls"]["1.2.840.113556.1.4.319"]["value"]["cookie"]
    assert sizes == [2, 2, 1]
    assert sorted(found) == people


@pytest.mark.parametrize(
    ("password", "expected", "win32"),
    [
        ('"Str0ng-enough!"', 0, ""),
        ('"weak"', 19, "0000052D"),
        ('"alllowercase"', 19, "0000052D"),
        ("Str0ng-but-unquoted!", 53, "00002035"),
    ],
)
def test_passwords(world: World, password: str, expected: int, win32: str) -> None:
    someone = world.employee()
    change = {"unicodePwd": [("MODIFY_REPLACE", [password.encode("utf-16-le")])]}
    assert code(world.admin, "modify", someone.dn, change) == expected
    assert str(world.admin.result["message"]).startswith(win32)
    assert not world.read(someone.dn, "*", "unicodePwd")["unicodePwd"]


def test_metadata_counts_every_write(world: World) -> None:
    someone = world.employee()
    control, secret, set_at = 0x90008, 0x9005A, 0x90060

    def read() -> tuple[dict[int, int], int, int]:
        values = world.read(someone.guid, "replPropertyMetaData", "uSNChanged", "pwdLastSet")
        blob = values["replPropertyMetaData"][0]
        return versions(blob), int(values["uSNChanged"][0]), int(values["pwdLastSet"][0])

    before, usn, was_set = read()
    world.set_password(someone.dn, "An0ther-Passw0rd!")
    after, later, is_set = read()
    assert after[secret] == before[secret] + 1
    assert after[set_at] > before[set_at]
    assert after[control] == before[control]
    assert later > usn
    assert is_set > was_set
    world.ask("modify", someone.dn, {"userAccountControl": [("MODIFY_REPLACE", ["514"])]})
    last, _, unchanged = read()
    assert last[control] > before[control]
    assert last[secret] == after[secret]
    assert unchanged == is_set
    xml = world.read(someone.guid, "msDS-ReplAttributeMetaData")
    assert not xml["msDS-ReplAttributeMetaData"]


def test_membership_changes(world: World) -> None:
    group, someone = world.group(), world.employee()
    by_dn, by_guid = someone.dn, f"<GUID={someone.guid}>"

    def change(kind: str, value: str, target: str = group) -> int:
        return code(world.admin, "modify", target, {"member": [(f"MODIFY_{kind}", [value])]})

    assert change("ADD", by_dn) == 0
    assert change("ADD", by_dn) == 68
    assert change("DELETE", by_dn) == 0
    assert change("DELETE", by_dn) == 53
    assert change("ADD", by_guid) == 0
    assert change("DELETE", by_guid) == 0
    assert change("DELETE", f"CN=Nobody,{STAFF}") == 53
    assert change("DELETE", by_dn, f"<GUID={uuid.uuid4()}>") == 32


def test_a_renamed_member_stays_one(world: World) -> None:
    group = world.group()
    someone = world.employee(groups=(group,))
    world.ask("modify_dn", someone.dn, someone.dn.partition(",")[0], True, LEAVERS)
    [member] = world.read(group, "member")["member"]
    assert member.decode().endswith(f",{LEAVERS}")
    assert names(world.admin, STAFF, f"(member=<GUID={someone.guid}>)") == [group]


def test_attribute_changes(world: World) -> None:
    someone = world.employee()

    def change(attribute: str, kind: str, *values: str) -> int:
        return code(
            world.admin, "modify", f"<GUID={someone.guid}>", {attribute: [(f"MODIFY_{kind}", list(values))]}
        )

    assert change("department", "ADD", "Sales") == 0
    assert change("department", "ADD", "Finance") == 20
    assert change("department", "DELETE", "Nothing") == 16
    assert change("department", "DELETE") == 0
    assert change("department", "DELETE") == 16
    assert change("noSuchThing", "REPLACE", "x") == 16
    assert (
        code(world.admin, "modify", f"<GUID={uuid.uuid4()}>", {"department": [("MODIFY_REPLACE", ["x"])]})
        == 32
    )


def test_moves(world: World) -> None:
    someone = world.employee()
    rdn = someone.dn.partition(",")[0]
    by_guid = f"<GUID={someone.guid}>"

    def move(dn: str, parent: str) -> int:
        return code(world.admin, "modify_dn", dn, rdn, True, parent)

    assert move(by_guid, f"OU=Nowhere,{world.ad.base_dn}") == 80
    assert move(by_guid, LEAVERS) == 0
    assert move(by_guid, LEAVERS) == 0
    assert move(someone.dn, LEAVERS) == 32
    assert names(world.admin, by_guid, "(objectClass=*)", "BASE") == [f"{rdn},{LEAVERS}"]
    other = world.employee(name=rdn.partition("=")[2])
    assert move(other.dn, LEAVERS) == 68


def test_adding_what_is_there_is_refused(world: World) -> None:
    someone = world.employee()
    assert code(world.admin, "add", someone.dn, "user", {"sAMAccountName": "another"}) == 68
    assert code(world.admin, "add", f"CN=x,OU=Nowhere,{world.ad.base_dn}", "user") == 32


def test_the_service_account_has_its_rights_and_no_more(world: World) -> None:
    group = world.group()
    someone = world.employee(groups=(group,))
    rdn = someone.dn.partition(",")[0]
    service = bound(world.ad.url, world.ad.ca_file, world.ad.bind_dn, world.ad.bind_password)
    replace = "MODIFY_REPLACE"
    secret = ['"New-Passw0rd-1"'.encode("utf-16-le")]
    assert code(service, "modify", someone.dn, {"userAccountControl": [(replace, ["514"])]}) == 0
    assert code(service, "modify", someone.dn, {"unicodePwd": [(replace, secret)]}) == 0
    assert code(service, "modify", someone.dn, {"department": [(replace, ["x"])]}) == 50
    assert code(service, "modify", someone.dn, {"employeeID": [(replace, ["x"])]}) == 50
    assert code(service, "modify", group, {"member": [("MODIFY_DELETE", [someone.dn])]}) == 0
    assert code(service, "modify_dn", someone.dn, rdn, True, LEAVERS) == 0
    service.unbind()


def test_an_ordinary_user_changes_nothing(world: World) -> None:
    victim, someone = world.employee(), world.employee()
    connection = bound(world.ad.url, world.ad.ca_file, someone.user_name, someone.password)
    for attribute, value in (("userAccountControl", "514"), ("department", "x")):
        change = {attribute: [("MODIFY_REPLACE", [value])]}
        assert code(connection, "modify", victim.dn, change) == 50
    connection.unbind()


def test_clients_that_load_the_schema_can(world: World) -> None:
    connection = bound(world.ad.url, world.ad.ca_file, world.ad.bind_dn, world.ad.bind_password, schema=True)
    someone = world.employee()
    assert connection.server.info.naming_contexts[0] == world.ad.base_dn
    assert "userAccountControl" in connection.server.schema.attribute_types
    connection.search(
        someone.dn, "(objectClass=user)", "BASE", attributes=["objectGUID", "userAccountControl"]
    )
    [entry] = connection.entries
    assert entry.userAccountControl.value == 512
    assert uuid.UUID(entry.objectGUID.value) == uuid.UUID(someone.guid)
    connection.unbind()
