"""The subset of ASN.1 BER that LDAP uses (RFC 4511 section 5.1): definite lengths, tags of one octet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
OCTETS: Final = 0x04
ENUMERATED: Final = 0x0A
SEQUENCE: Final = 0x30
SET: Final = 0x31

_LONG_FORM: Final = 0x80


class BerError(Exception):
    """The octets are not what they should be."""


@dataclass(frozen=True, slots=True)
class Element:
    """One tag with its content."""

    tag: int
    content: bytes

    def children(self) -> list[Element]:
        """The elements of a constructed one."""
        found: list[Element] = []
        offset = 0
        while offset < len(self.content):
            element, offset = parse(self.content, offset)
            found.append(element)
        return found

    @property
    def number(self) -> int:
        """The value of an INTEGER or ENUMERATED."""
        return int.from_bytes(self.content, "big", signed=True)

    @property
    def truth(self) -> bool:
        """The value of a BOOLEAN."""
        return any(self.content)

    @property
    def text(self) -> str:
        """An octet string as UTF-8.

        Raises:
            BerError: it is not.
        """
        try:
            return self.content.decode("utf-8")
        except UnicodeDecodeError as err:
            raise BerError("an LDAP string is not UTF-8") from err


def parse(data: bytes, offset: int = 0) -> tuple[Element, int]:
    """One element at ``offset``, and where the next one begins.

    Raises:
        BerError: the element is cut short.
    """
    span = extent(data, offset)
    if span is None or span[1] > len(data):
        raise BerError("an element is cut short")
    return Element(data[offset], data[span[0] : span[1]]), span[1]


def extent(data: bytes | bytearray, offset: int = 0) -> tuple[int, int] | None:
    """Where the content of the element at ``offset`` begins and ends; None while that cannot be told yet.

    Raises:
        BerError: an indefinite length, which LDAP forbids.
    """
    if len(data) < offset + 2:
        return None
    first = data[offset + 1]
    if first < _LONG_FORM:
        return offset + 2, offset + 2 + first
    octets = first - _LONG_FORM
    if not octets:
        raise BerError("indefinite lengths are not LDAP")
    begin = offset + 2 + octets
    if len(data) < begin:
        return None
    return begin, begin + int.from_bytes(data[offset + 2 : begin], "big")


def element(tag: int, *parts: bytes) -> bytes:
    """An element of the given parts, encoded."""
    content = b"".join(parts)
    size = len(content)
    if size < _LONG_FORM:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG_FORM + len(octets))) + octets + content


def integer(value: int, tag: int = INTEGER) -> bytes:
    """An INTEGER, or an ENUMERATED by its tag."""
    return element(tag, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def octets(value: bytes | str, tag: int = OCTETS) -> bytes:
    """An OCTET STRING; text goes as UTF-8."""
    return element(tag, value.encode() if isinstance(value, str) else value)
