"""The sample company's part of Active Directory: OUs, hybrid people, their groups, our service account."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ldap3 import Connection
from ldap3.core.exceptions import LDAPException

from leaver.simulators import company
from leaver.simulators.ad.items import Item, Role
from leaver.simulators.ad.samba import SambaDomain
from leaver.simulators.ad.tree import Tree
from leaver.simulators.ad.writes import Writer, relative_name
from leaver.simulators.company import SamplePerson

SERVICE_ACCOUNT: Final = "svc-leaver"
ADMINISTRATOR: Final = "Administrator"
_ENABLED: Final = "512"

_USER: Final = "bf967aba-0de6-11d0-a285-00aa003049e2"
_GROUP: Final = "bf967a9c-0de6-11d0-a285-00aa003049e2"
_RIGHTS: Final = (
    # Reset Password; write userAccountControl, name and cn: on users below.
    f"(OA;CIIO;CR;00299570-246d-11d0-a768-00aa006e0529;{_USER};{{sid}})",
    f"(OA;CIIO;WP;bf967a68-0de6-11d0-a285-00aa003049e2;{_USER};{{sid}})",
    f"(OA;CIIO;WP;bf967a0e-0de6-11d0-a285-00aa003049e2;{_USER};{{sid}})",
    f"(OA;CIIO;WP;bf96793f-0de6-11d0-a285-00aa003049e2;{_USER};{{sid}})",
    # Create and delete users, for moving them; write member on groups below.
    f"(OA;CI;CCDC;{_USER};;{{sid}})",
    f"(OA;CIIO;WP;bf9679c0-0de6-11d0-a285-00aa003049e2;{_GROUP};{{sid}})",
)
"""The delegation the connector asks for, as access control entries (GUIDs: MS-ADA, MS-ADTS 5.1.3.2.1)."""


class SeedError(Exception):
    """The directory refused a part of the sample data."""


@dataclass(frozen=True, slots=True)
class Seeded:
    """Where things are. ``guids`` are the people's objectGUIDs by employee number."""

    bind_dn: str
    guids: Mapping[str, str]
    dns: Mapping[str, str] = field(repr=False)
    """The people's DNs by employee number."""


def hybrid_people() -> tuple[SamplePerson, ...]:
    """Those who live in Active Directory."""
    return tuple(person for person in company.PEOPLE if person.hybrid)


def seed_tree(
    tree: Tree, people: Sequence[SamplePerson], *, service_password: str, admin_password: str
) -> Seeded:
    """Fill the stand-in. The people's GUIDs are ``company.stable_id("ad", number)``.

    A tree that was restored from its file is left as it is.
    """
    writer = Writer(tree, None)
    staff, leavers = company.AD_STAFF_OU, company.AD_LEAVERS_OU
    service = f"CN={SERVICE_ACCOUNT},{tree.base_dn}"
    if not tree.restored:
        base = tree.view.existing(tree.base_dn).guid
        for dn in (staff, leavers):
            writer.create(
                Item(company.stable_id("ad", dn), dn.partition(",")[0], base, "organizationalunit"), {}
            )
        for name, password, role in (
            (ADMINISTRATOR, admin_password, Role.ADMIN),
            (SERVICE_ACCOUNT, service_password, Role.DELEGATE),
        ):
            item = Item(company.stable_id("ad", name), f"CN={name}", base, "user", role=role)
            writer.create(item, _encoded({"sAMAccountName": name, "unicodePwd": password}))
        parent = tree.view.existing(staff).guid
        for person in people:
            guid = company.stable_id("ad", person.number)
            item = Item(guid, relative_name("CN", person.display_name), parent, "user")
            writer.create(item, _encoded({**_person(person), "unicodePwd": _initial_password()}))
        for group, members in _groups(people).items():
            dns = [tree.view.dn(company.stable_id("ad", number)).encode() for number in members]
            item = Item(company.stable_id("ad-group", group), f"CN={group}", parent, "group")
            writer.create(item, {**_encoded({"sAMAccountName": group}), "member": dns})
    guids = {person.number: company.stable_id("ad", person.number) for person in people}
    dns_now = {number: tree.view.dn(guid) for number, guid in guids.items() if guid in tree.items}
    return Seeded(service, guids, dns_now)


def seed_domain(
    connection: Connection, base_dn: str, people: Sequence[SamplePerson], *, service_password: str
) -> Seeded:
    """Fill a real domain over LDAP, bound as its administrator.

    What is there already is left as it is, save that the service account gets the given password.

    Raises:
        SeedError: the domain refused something.
    """
    staff = company.AD_STAFF_OU
    for dn in (staff, company.AD_LEAVERS_OU):
        _add(connection, dn, "organizationalUnit", {})
    service = f"CN={SERVICE_ACCOUNT},CN=Users,{base_dn}"
    _add_user(connection, service, {"sAMAccountName": SERVICE_ACCOUNT}, service_password)
    for person in people:
        if find_person(connection, base_dn, person.number) is None:
            dn = f"{relative_name('CN', person.display_name)},{staff}"
            _add_user(connection, dn, _person(person), _initial_password())
    places = {person.number: find_person(connection, base_dn, person.number) for person in people}
    found = {number: place for number, place in places.items() if place is not None}
    for group, members in _groups(people).items():
        dns = [found[number][0] for number in members if number in found]
        _add(connection, f"CN={group},{staff}", "group", {"sAMAccountName": group, "member": dns})
    guids = {number: guid for number, (_, guid) in found.items()}
    return Seeded(service, guids, {number: dn for number, (dn, _) in found.items()})


async def delegate(domain: SambaDomain, connection: Connection, service_dn: str) -> None:
    """Give the service account its rights on the OUs of staff and leavers, and no more.

    Raises:
        SeedError: there is no such account.
        SambaError: the access control entries were refused.
    """
    connection.search(service_dn, "(objectClass=*)", "BASE", attributes=["objectSid"])
    if not connection.response:
        raise SeedError(f"{service_dn}: not in the directory")
    sid = _sid_text(connection.response[0]["raw_attributes"]["objectSid"][0])
    entries = "".join(_RIGHTS).format(sid=sid)
    for ou in (company.AD_STAFF_OU, company.AD_LEAVERS_OU):
        await domain.grant(ou, entries)


def find_person(connection: Connection, base_dn: str, number: str) -> tuple[str, str] | None:
    """DN and objectGUID of the user with this employee number."""
    connection.search(base_dn, f"(&(objectClass=user)(employeeID={number}))", attributes=["objectGUID"])
    for item in connection.response or ():
        if item["type"] == "searchResEntry":
            return item["dn"], str(uuid.UUID(bytes_le=item["raw_attributes"]["objectGUID"][0]))
    return None


def _add_user(connection: Connection, dn: str, attributes: Mapping[str, str], password: str) -> None:
    _add(connection, dn, "user", attributes)
    secret = [("MODIFY_REPLACE", [f'"{password}"'.encode("utf-16-le")])]
    _ask(connection, "modify", dn, changes={"unicodePwd": secret})
    _ask(connection, "modify", dn, changes={"userAccountControl": [("MODIFY_REPLACE", [_ENABLED])]})


def _add(connection: Connection, dn: str, kind: str, attributes: Mapping[str, str | list[str]]) -> bool:
    wanted = {name: value for name, value in attributes.items() if value}
    return _ask(connection, "add", dn, object_class=kind, attributes=wanted)


def _ask(connection: Connection, method: str, dn: str, **arguments: object) -> bool:
    exists = 68
    try:
        getattr(connection, method)(dn, **arguments)
    except LDAPException as err:
        raise SeedError(f"{method} {dn}: {err}") from err
    if connection.result["result"] not in (0, exists):
        raise SeedError(f"{method} {dn}: {connection.result['description']}: {connection.result['message']}")
    return bool(connection.result["result"] == 0)


def _person(person: SamplePerson) -> dict[str, str]:
    return {
        "sAMAccountName": person.user_name.partition("@")[0][:20],
        "employeeID": person.number,
        "userPrincipalName": person.user_name,
        "mail": person.user_name,
        "givenName": person.given_name,
        "sn": person.surname,
        "displayName": person.display_name,
        "department": person.department,
    }


def _groups(people: Iterable[SamplePerson]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for person in people:
        for group in person.ad_groups:
            groups.setdefault(group, []).append(person.number)
    return groups


def _encoded(attributes: Mapping[str, str]) -> dict[str, list[bytes]]:
    return {
        name.lower(): [f'"{value}"'.encode("utf-16-le") if name == "unicodePwd" else value.encode()]
        for name, value in attributes.items()
    }


def _initial_password() -> str:
    return f"Aa1!{secrets.token_urlsafe(24)}"


def _sid_text(raw: bytes) -> str:
    authority = int.from_bytes(raw[2:8], "big")
    parts = (int.from_bytes(raw[at : at + 4], "little") for at in range(8, len(raw), 4))
    return "-".join(map(str, ("S", raw[0], authority, *parts)))
