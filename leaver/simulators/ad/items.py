"""Objects of the stand-in, and how they are kept in a file."""

from __future__ import annotations

import base64
import struct
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from leaver.simulators.ad.schema import ATTRIBUTES


class Role(StrEnum):
    """What a bound account may do."""

    ADMIN = "admin"
    DELEGATE = "delegate"
    """The rights the connector's service account needs, and no more."""


@dataclass(slots=True)
class Stamp:
    """When an attribute was last written, and how often."""

    version: int
    time: int
    """Seconds since 1601, as in replPropertyMetaData."""
    usn: int


@dataclass(slots=True)
class Item:
    """One object. ``members`` are GUIDs, so that a rename needs no repair of links."""

    guid: str
    rdn: str
    parent: str | None
    kind: str
    attributes: dict[str, list[bytes]] = field(default_factory=dict)
    """By lower-case name."""
    stamps: dict[str, Stamp] = field(default_factory=dict)
    members: list[str] = field(default_factory=list)
    secret: str = field(default="", repr=False)
    role: Role | None = None

    def number(self, name: str) -> int:
        """An attribute as a number; 0 where it is not set."""
        return int(next(iter(self.attributes.get(name.lower(), ())), b"0"))

    def metadata(self, invocation: uuid.UUID) -> bytes:
        """``replPropertyMetaData``: a header and 48 octets for each attribute that was ever written."""
        rows = sorted((_attid(name), stamp) for name, stamp in self.stamps.items() if _attid(name) >= 0)
        return struct.pack("<IIII", 1, 0, len(rows), 0) + b"".join(
            struct.pack(
                "<IIQ16sQQ", attid, stamp.version, stamp.time, invocation.bytes_le, stamp.usn, stamp.usn
            )
            for attid, stamp in rows
        )


def dump(item: Item) -> dict[str, object]:
    """An object as JSON."""
    return {
        "guid": item.guid,
        "rdn": item.rdn,
        "parent": item.parent,
        "kind": item.kind,
        "attributes": {
            name: [base64.b64encode(value).decode() for value in values]
            for name, values in item.attributes.items()
        },
        "stamps": {name: [stamp.version, stamp.time, stamp.usn] for name, stamp in item.stamps.items()},
        "members": item.members,
        "secret": item.secret,
        "role": item.role,
    }


def restore(row: dict[str, Any]) -> Item:
    """An object from its JSON."""
    return Item(
        guid=row["guid"],
        rdn=row["rdn"],
        parent=row["parent"],
        kind=row["kind"],
        attributes={
            name: [base64.b64decode(value) for value in values] for name, values in row["attributes"].items()
        },
        stamps={name: Stamp(*stamp) for name, stamp in row["stamps"].items()},
        members=row["members"],
        secret=row["secret"],
        role=Role(row["role"]) if row["role"] else None,
    )


def _attid(name: str) -> int:
    attribute = ATTRIBUTES.get(name)
    attid = attribute.attid if attribute else None
    return -1 if attid is None else attid
