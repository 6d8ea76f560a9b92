"""Distinguished names (RFC 4514) as the stand-in compares them."""

from __future__ import annotations

import re
import uuid
from typing import Final

from leaver.simulators.ad.messages import Code, LdapError

_GUID_DN: Final = re.compile(r"^<GUID=([0-9a-fA-F-]{32,36})>$", re.IGNORECASE)
_ESCAPED: Final = re.compile(r"\\([0-9a-fA-F]{2}|.)", re.DOTALL)
_HEX_PAIR: Final = 2


def parts(dn: str) -> list[str]:
    """The relative names of a DN as written, the object's own first."""
    found, start, escaped = [], 0, False
    for index, char in enumerate(dn):
        if char == "," and not escaped:
            found.append(dn[start:index])
            start = index + 1
        escaped = char == "\\" and not escaped
    return [*found, dn[start:]]


def rdn_key(rdn: str) -> str:
    """A relative name so that equal names give equal keys.

    Raises:
        LdapError: invalidDNSyntax.
    """
    kind, equals, value = rdn.partition("=")
    if not equals or not kind.strip() or not value.strip():
        raise LdapError(Code.INVALID_DN_SYNTAX, "0000208F: NameErr: DSID-03100225, problem 2006 (BAD_NAME)")
    return f"{kind.strip().lower()}={rdn_value(rdn).casefold()}"


def rdn_value(rdn: str) -> str:
    """The value of a relative name, without its escapes."""
    raw = rdn.partition("=")[2].strip().encode()
    plain = _ESCAPED.sub(_unescape, raw.decode("latin-1"))
    return plain.encode("latin-1").decode("utf-8", errors="replace")


def guid_of(dn: str) -> str | None:
    """The GUID of a ``<GUID=…>`` name; without dashes it is the octets in their order on the wire."""
    match = _GUID_DN.match(dn)
    if match is None:
        return None
    try:
        if "-" in match[1]:
            return str(uuid.UUID(match[1]))
        return str(uuid.UUID(bytes_le=bytes.fromhex(match[1])))
    except ValueError:
        return None


def _unescape(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if len(match[1]) == _HEX_PAIR else match[1]
