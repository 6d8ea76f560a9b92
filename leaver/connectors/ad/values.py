"""Active Directory's attribute values as Python values, and Python values safe to put into requests."""

from __future__ import annotations

import secrets
import string
import uuid
from datetime import UTC, datetime, timedelta
from enum import IntFlag
from typing import Final

from ldap3.utils.conv import escape_filter_chars

from leaver.connectors.errors import ProtocolError

_EPOCH: Final = datetime(1601, 1, 1, tzinfo=UTC)
_NEVER: Final = (0, 0x7FFF_FFFF_FFFF_FFFF)
_BLOCKS: Final = 20
_GUID_OCTETS: Final = 16
_SYMBOLS: Final = "!#$%&()*+-./:;<=>?@[]^_{|}~"


class AccountControl(IntFlag):
    """userAccountControl bits that matter here (MS-ADTS 2.2.16)."""

    ACCOUNTDISABLE = 0x0002
    LOCKOUT = 0x0010
    PASSWORD_EXPIRED = 0x0080_0000


_COMPUTED: Final = AccountControl.LOCKOUT | AccountControl.PASSWORD_EXPIRED
"""Shown by the server, never stored: they are not written back."""


def disabled(control: int) -> int:
    """The userAccountControl that disables the account and keeps what else is stored."""
    return (control | AccountControl.ACCOUNTDISABLE) & ~_COMPUTED


def guid_text(raw: bytes) -> str:
    """An objectGUID, which travels little-endian (MS-DTYP 2.3.4.2), as text.

    Raises:
        ProtocolError: it is not 16 bytes long.
    """
    if len(raw) != _GUID_OCTETS:
        raise ProtocolError("objectGUID: expected 16 bytes")
    return str(uuid.UUID(bytes_le=raw))


def guid_dn(guid: str) -> str:
    """The ``<GUID=…>`` form that Active Directory takes wherever a DN is asked for (MS-ADTS 3.1.1.3.1.2.4).

    Raises:
        ValueError: it is not a GUID.
    """
    return f"<GUID={uuid.UUID(guid)}>"


def guid_filter(attribute: str, guid: str) -> str:
    """An equality filter on a binary GUID attribute.

    Raises:
        ValueError: it is not a GUID.
    """
    octets = "".join(f"\\{octet:02x}" for octet in uuid.UUID(guid).bytes_le)
    return f"({attribute}={octets})"


def text_filter(attribute: str, value: str) -> str:
    """An equality filter whose value cannot be anything but a value (RFC 4515 section 3)."""
    return f"({attribute}={escape_filter_chars(value)})"


def filetime(raw: bytes) -> datetime | None:
    """A count of 100 ns since 1601 as a time in UTC, cut to microseconds; None for the two "never"s.

    Raises:
        ProtocolError: it is not a number, or beyond the year 9999.
    """
    try:
        ticks = int(raw)
        return None if ticks in _NEVER else _EPOCH + timedelta(microseconds=ticks // 10)
    except (ValueError, OverflowError) as err:
        raise ProtocolError("a time attribute does not hold a file time") from err


def generalized_time(raw: bytes) -> datetime:
    """A generalized time such as ``20261122125142.0Z`` (RFC 4517 section 3.3.13) in UTC, to the second.

    Raises:
        ProtocolError: it is something else.
    """
    try:
        return datetime.strptime(raw.decode("ascii").split(".", 1)[0].rstrip("Z"), "%Y%m%d%H%M%S").replace(
            tzinfo=UTC
        )
    except ValueError as err:
        raise ProtocolError("a time attribute does not hold a generalized time") from err


def split_dn(dn: str) -> tuple[str, str]:
    r"""First relative DN and the parent's DN, as written: ``CN=A\, B,OU=C`` is ``CN=A\, B`` and ``OU=C``.

    Raises:
        ProtocolError: there is no parent.
    """
    escaped = False
    for index, char in enumerate(dn):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == ",":
            return dn[:index], dn[index + 1 :]
    raise ProtocolError("an object without a parent cannot be a person's account")


def random_password() -> str:
    """Sixty characters nobody knows (about 260 bits), meeting every complexity rule of Active Directory.

    Letter, digit and symbol take turns: the rules also refuse passwords that hold a part of the user's name
    of three characters or more, and a run of letters might.
    """
    letters = ""
    while letters in (letters.lower(), letters.upper()):
        letters = "".join(secrets.choice(string.ascii_letters) for _ in range(_BLOCKS))
    return "".join(letter + secrets.choice(string.digits) + secrets.choice(_SYMBOLS) for letter in letters)


def password_octets(password: str) -> bytes:
    """A password as ``unicodePwd`` wants it: quoted, UTF-16LE (MS-ADTS 3.1.1.3.1.5)."""
    return f'"{password}"'.encode("utf-16-le")
