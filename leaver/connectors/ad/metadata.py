"""Replication metadata: how often an attribute was written in the whole domain.

Active Directory builds ``msDS-ReplAttributeMetaData`` (XML) on request; Samba leaves it empty but keeps the
``replPropertyMetaData`` blob it is built from (MS-ADTS 3.1.1.1.9). Both tell the version, which goes
up by one with each originating write: proof that a password was set, without knowing it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from typing import Final

from leaver.connectors.errors import ProtocolError

UNICODE_PWD: Final = "unicodePwd"  # noqa: S105 - an attribute's name
_ATTRIBUTE_IDS: Final = {UNICODE_PWD: 0x0009_005A}
"""attributeID 1.2.840.113556.1.4.90: prefix 9 of the default prefix table (MS-DRSR), arc 90."""

_HEADER: Final = struct.Struct("<IIII")
_ROW: Final = struct.Struct("<IIQ16sQQ")
_NAME: Final = re.compile(r"<pszAttributeName>\s*([^<\s]+)\s*</pszAttributeName>")
_VERSION: Final = re.compile(r"<dwVersion>\s*(\d+)\s*</dwVersion>")


def attribute_version(attribute: str, xml_values: Iterable[bytes], blobs: Iterable[bytes]) -> int | None:
    """The version of one attribute, from the XML values where there are any, else from the blob.

    Returns:
        None where neither is readable, or the attribute was never written.

    Raises:
        ProtocolError: the blob is not what the vendor documents.
    """
    for value in xml_values:
        text = value.decode("utf-8", errors="replace")
        name, version = _NAME.search(text), _VERSION.search(text)
        if name and version and name[1].casefold() == attribute.casefold():
            return int(version[1])
    for blob in blobs:
        return blob_versions(blob).get(_ATTRIBUTE_IDS[attribute])
    return None


def blob_versions(blob: bytes) -> dict[int, int]:
    """Version by attribute id (ATTRTYP) of a ``replPropertyMetaData`` value.

    Raises:
        ProtocolError: unknown layout version, or a length that does not fit the count.
    """
    if len(blob) < _HEADER.size:
        raise ProtocolError("replPropertyMetaData is too short")
    layout, _, count, _ = _HEADER.unpack_from(blob)
    if layout != 1 or len(blob) != _HEADER.size + count * _ROW.size:
        raise ProtocolError("replPropertyMetaData has an unknown layout")
    rows = (_ROW.unpack_from(blob, _HEADER.size + index * _ROW.size) for index in range(count))
    return {row[0]: row[1] for row in rows}
