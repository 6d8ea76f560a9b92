"""The part of Active Directory's schema that people, groups and OUs need."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Syntax(StrEnum):
    """How values look; the LDAP syntax's OID below 1.3.6.1.4.1.1466.115.121.1."""

    TEXT = "15"
    NUMBER = "27"
    BINARY = "40"
    NAME = "12"
    TIME = "24"
    OID = "38"


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute. ``read_only`` ones are the server's own."""

    name: str
    oid: str
    syntax: Syntax = Syntax.TEXT
    single: bool = True
    read_only: bool = False

    @property
    def attid(self) -> int | None:
        """Its ATTRTYP by the default prefix table (MS-DRSR); None outside of that table."""
        prefix, _, arc = self.oid.rpartition(".")
        return (_PREFIXES[prefix] << 16) | int(arc) if prefix in _PREFIXES else None

    @property
    def definition(self) -> str:
        """As the subschema entry tells it (RFC 4512 section 4.1.2)."""
        single = " SINGLE-VALUE" if self.single else ""
        fixed = " NO-USER-MODIFICATION" if self.read_only else ""
        syntax = f"1.3.6.1.4.1.1466.115.121.1.{self.syntax.value}"
        return f"( {self.oid} NAME '{self.name}' SYNTAX '{syntax}'{single}{fixed} )"


_PREFIXES: Final = {
    "2.5.4": 0,
    "2.5.6": 1,
    "1.2.840.113556.1.2": 2,
    "1.2.840.113556.1.3": 3,
    "1.2.840.113556.1.4": 9,
    "0.9.2342.19200300.100.1": 21,
}
_MS: Final = "1.2.840.113556.1"

_ROWS: Final = (
    Attribute("objectClass", "2.5.4.0", Syntax.OID, single=False),
    Attribute("cn", "2.5.4.3"),
    Attribute("sn", "2.5.4.4"),
    Attribute("ou", "2.5.4.11", single=False),
    Attribute("title", "2.5.4.12"),
    Attribute("description", "2.5.4.13", single=False),
    Attribute("telephoneNumber", "2.5.4.20"),
    Attribute("member", "2.5.4.31", Syntax.NAME, single=False),
    Attribute("givenName", "2.5.4.42"),
    Attribute("distinguishedName", "2.5.4.49", Syntax.NAME, read_only=True),
    Attribute("mail", "0.9.2342.19200300.100.1.3"),
    Attribute("manager", "0.9.2342.19200300.100.1.10", Syntax.NAME),
    Attribute("dc", "0.9.2342.19200300.100.1.25"),
    Attribute("whenCreated", f"{_MS}.2.2", Syntax.TIME, read_only=True),
    Attribute("whenChanged", f"{_MS}.2.3", Syntax.TIME, read_only=True),
    Attribute("displayName", f"{_MS}.2.13"),
    Attribute("uSNCreated", f"{_MS}.2.19", Syntax.NUMBER, read_only=True),
    Attribute("memberOf", f"{_MS}.2.102", Syntax.NAME, single=False, read_only=True),
    Attribute("uSNChanged", f"{_MS}.2.120", Syntax.NUMBER, read_only=True),
    Attribute("department", f"{_MS}.2.141"),
    Attribute("proxyAddresses", f"{_MS}.2.210", single=False),
    Attribute("mailNickname", f"{_MS}.2.447"),
    Attribute("name", f"{_MS}.4.1", read_only=True),
    Attribute("objectGUID", f"{_MS}.4.2", Syntax.BINARY, read_only=True),
    Attribute("replPropertyMetaData", f"{_MS}.4.3", Syntax.BINARY, read_only=True),
    Attribute("userAccountControl", f"{_MS}.4.8", Syntax.NUMBER),
    Attribute("employeeID", f"{_MS}.4.35"),
    Attribute("unicodePwd", f"{_MS}.4.90", Syntax.BINARY),
    Attribute("pwdLastSet", f"{_MS}.4.96", Syntax.NUMBER),
    Attribute("primaryGroupID", f"{_MS}.4.98", Syntax.NUMBER),
    Attribute("adminCount", f"{_MS}.4.150", Syntax.NUMBER),
    Attribute("accountExpires", f"{_MS}.4.159", Syntax.NUMBER),
    Attribute("sAMAccountName", f"{_MS}.4.221"),
    Attribute("userPrincipalName", f"{_MS}.4.656"),
    Attribute("groupType", f"{_MS}.4.750", Syntax.NUMBER),
    Attribute("objectCategory", f"{_MS}.4.782", Syntax.NAME, read_only=True),
    Attribute("allowedChildClassesEffective", f"{_MS}.4.912", Syntax.OID, single=False, read_only=True),
    Attribute("mS-DS-ConsistencyGuid", f"{_MS}.4.1360", Syntax.BINARY),
    Attribute("msDS-ReplAttributeMetaData", f"{_MS}.4.1707", single=False, read_only=True),
)

ATTRIBUTES: Final = {row.name.lower(): row for row in _ROWS}
"""Every known attribute by lower-case name."""

ON_REQUEST: Final = frozenset(
    {"replpropertymetadata", "msds-replattributemetadata", "allowedchildclasseseffective"}
)
"""Only sent when asked for by name."""

NEVER_SENT: Final = frozenset({"unicodepwd"})

CLASSES: Final = {
    "user": ("top", "person", "organizationalPerson", "user"),
    "group": ("top", "group"),
    "organizationalunit": ("top", "organizationalUnit"),
    "domain": ("top", "domain", "domainDNS"),
}
"""Structural classes an object may be made of, each with its ancestors."""

CATEGORIES: Final = {
    "user": "Person",
    "group": "Group",
    "organizationalunit": "Organizational-Unit",
    "domain": "Domain-DNS",
}


def is_binary(name: str) -> bool:
    """Whether values are compared octet by octet, and not ignoring case."""
    attribute = ATTRIBUTES.get(name.lower())
    return attribute is not None and attribute.syntax is Syntax.BINARY


def proper_name(name: str) -> str:
    """An attribute's name as the schema spells it."""
    attribute = ATTRIBUTES.get(name.lower())
    return attribute.name if attribute else name
