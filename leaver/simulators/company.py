"""The sample company: the people whom simulators hold, demo and tests offboard. All invented."""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass, field
from typing import Final

DOMAIN: Final = "northwind.example"
TENANT_ID: Final = "7d9a4c1e-52b0-4f6e-9d3b-0c1f8e6a2b40"
AD_REALM: Final = "CORP.NORTHWIND.EXAMPLE"
AD_BASE_DN: Final = "DC=corp,DC=northwind,DC=example"
AD_STAFF_OU: Final = f"OU=Staff,{AD_BASE_DN}"
AD_LEAVERS_OU: Final = f"OU=Leavers,{AD_BASE_DN}"

_NAMESPACE: Final = uuid.UUID("0b5f6f6c-5f6f-4c8e-8a55-8f0d5c9be001")


def stable_id(*parts: str) -> str:
    """The same GUID for the same words, so that runs can be compared."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(parts)))


@dataclass(frozen=True, slots=True)
class SamplePerson:
    """One employee. ``hybrid`` people live in Active Directory and are synced to Entra."""

    number: str
    given_name: str
    surname: str
    department: str
    manager: str | None = None
    hybrid: bool = False
    auth_methods: tuple[str, ...] = ("phone", "microsoftAuthenticator")
    """In listing order; the first is the default method."""
    direct_licences: tuple[str, ...] = ("SPE_E3",)
    groups: tuple[str, ...] = ("all-staff", "sec-vpn", "m365-licences")
    ad_groups: tuple[str, ...] = field(default=())

    @property
    def user_name(self) -> str:
        """User principal name and mail address."""
        return f"{self.given_name}.{self.surname}@{DOMAIN}".lower()

    @property
    def display_name(self) -> str:
        """The name as people read it."""
        return f"{self.given_name} {self.surname}"

    @property
    def object_id(self) -> str:
        """The Entra object id."""
        return stable_id("user", self.number)

    @property
    def ad_object_guid(self) -> str:
        """The objectGUID in Active Directory, where the directory lets us choose one."""
        return stable_id("ad", self.number)

    @property
    def immutable_id(self) -> str | None:
        """``onPremisesImmutableId``: base64 of the objectGUID's bytes as Active Directory stores them."""
        if not self.hybrid:
            return None
        return base64.b64encode(uuid.UUID(self.ad_object_guid).bytes_le).decode("ascii")


@dataclass(frozen=True, slots=True)
class SampleGroup:
    """One Entra group. ``kind`` decides which API may remove a member, and what the wrong one answers."""

    key: str
    kind: str
    """security, unified, mail_security, distribution, dynamic, synced, role_assignable"""
    licences: tuple[str, ...] = ()

    @property
    def object_id(self) -> str:
        """The Entra object id."""
        return stable_id("group", self.key)


SKUS: Final[dict[str, str]] = {
    name: stable_id("sku", name) for name in ("SPE_E3", "POWER_BI_PRO", "EMSPREMIUM", "VISIOCLIENT")
}

GROUPS: Final[tuple[SampleGroup, ...]] = (
    SampleGroup("all-staff", "dynamic"),
    SampleGroup("sec-vpn", "security"),
    SampleGroup("team-finance", "unified"),
    SampleGroup("dl-announcements", "distribution"),
    SampleGroup("mail-sec-finance", "mail_security"),
    SampleGroup("m365-licences", "security", licences=("EMSPREMIUM",)),
    SampleGroup("ad-file-share", "synced"),
    SampleGroup("role-helpdesk", "role_assignable"),
)

PEOPLE: Final[tuple[SamplePerson, ...]] = (
    SamplePerson(
        "E1001",
        "Mira",
        "Lindqvist",
        "Marketing",
        manager="E2001",
        auth_methods=("phone", "microsoftAuthenticator", "fido2"),
        direct_licences=("SPE_E3", "POWER_BI_PRO"),
        groups=("all-staff", "sec-vpn", "team-finance", "dl-announcements", "m365-licences"),
    ),
    SamplePerson(
        "E1002",
        "Tomas",
        "Berger",
        "Engineering",
        manager="E2001",
        hybrid=True,
        groups=("all-staff", "sec-vpn", "m365-licences", "ad-file-share"),
        ad_groups=("ad-file-share", "ad-engineers"),
    ),
    SamplePerson(
        "E1003",
        "Priya",
        "Nair",
        "Finance",
        manager="E2002",
        groups=("all-staff", "team-finance", "mail-sec-finance", "m365-licences"),
    ),
    SamplePerson("E1004", "Jonas", "Weber", "Sales", manager="E2001"),
    SamplePerson("E1006", "Ingrid", "Solberg", "IT", manager="E2002", groups=("all-staff", "role-helpdesk")),
    SamplePerson("E2001", "Helena", "Marsh", "Management"),
    SamplePerson("E2002", "Oscar", "Demir", "Management"),
    SamplePerson("E3001", "Noor", "Haddad", "IT"),
)


def person(number: str) -> SamplePerson:
    """The sample employee with this number.

    Raises:
        KeyError: nobody has it.
    """
    for candidate in PEOPLE:
        if candidate.number == number:
            return candidate
    raise KeyError(number)
