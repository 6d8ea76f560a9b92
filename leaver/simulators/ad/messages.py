"""LDAP messages (RFC 4511 section 4): requests decoded, answers encoded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from leaver.simulators.ad import ber
from leaver.simulators.ad.ber import BerError, Element
from leaver.simulators.ad.filters import Filter, parse_filter

PAGED_RESULTS: Final = "1.2.840.113556.1.4.319"
START_TLS: Final = "1.3.6.1.4.1.1466.20037"
WHO_AM_I: Final = "1.3.6.1.4.1.4203.1.11.3"

ENTRY_TAG: Final = 0x64
_REFERENCE_TAG: Final = 0x73
_CONTROLS_TAG: Final = 0xA0
_CONTEXT_0: Final = 0x80


class Code(IntEnum):
    """Result codes (RFC 4511 appendix A) that Active Directory gives here."""

    SUCCESS = 0
    OPERATIONS_ERROR = 1
    PROTOCOL_ERROR = 2
    SIZE_LIMIT_EXCEEDED = 4
    STRONGER_AUTH_REQUIRED = 8
    UNAVAILABLE_CRITICAL_EXTENSION = 12
    NO_SUCH_ATTRIBUTE = 16
    CONSTRAINT_VIOLATION = 19
    ATTRIBUTE_OR_VALUE_EXISTS = 20
    NO_SUCH_OBJECT = 32
    INVALID_DN_SYNTAX = 34
    INVALID_CREDENTIALS = 49
    INSUFFICIENT_ACCESS = 50
    BUSY = 51
    UNAVAILABLE = 52
    UNWILLING_TO_PERFORM = 53
    NOT_ALLOWED_ON_NON_LEAF = 66
    ENTRY_ALREADY_EXISTS = 68
    OTHER = 80


class LdapError(Exception):
    """An answer other than success."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code: Final = code
        self.message: Final = message


class Scope(IntEnum):
    """How deep a search goes."""

    BASE = 0
    LEVEL = 1
    SUBTREE = 2


class Change(IntEnum):
    """What a modification does with its values."""

    ADD = 0
    DELETE = 1
    REPLACE = 2


@dataclass(frozen=True, slots=True)
class Bind:
    """A bind; ``password`` is None for anything but a simple one."""

    dn: str
    password: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unbind:
    """The client goes."""


@dataclass(frozen=True, slots=True)
class Search:
    """A search request."""

    base: str
    scope: Scope
    size_limit: int
    filter: Filter
    attributes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Modification:
    """One change of a modify request."""

    change: Change
    attribute: str
    values: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Modify:
    """A modify request."""

    dn: str
    changes: tuple[Modification, ...]


@dataclass(frozen=True, slots=True)
class Add:
    """An add request."""

    dn: str
    attributes: Mapping[str, tuple[bytes, ...]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Delete:
    """A delete request."""

    dn: str


@dataclass(frozen=True, slots=True)
class ModifyDn:
    """A rename or move."""

    dn: str
    new_rdn: str
    new_superior: str | None


@dataclass(frozen=True, slots=True)
class Extended:
    """An extended operation by its OID."""

    name: str


@dataclass(frozen=True, slots=True)
class Other:
    """A request this server does not serve (compare), or does not answer (abandon)."""

    tag: int


Request = Bind | Unbind | Search | Modify | Add | Delete | ModifyDn | Extended | Other


@dataclass(frozen=True, slots=True)
class Message:
    """A request with its number and controls (value and criticality by OID)."""

    number: int
    request: Request
    controls: Mapping[str, tuple[bool, bytes]]
    answer_tag: int
    """The tag of the final answer; 0 where none is due."""


def decode(data: bytes) -> Message:
    """A client's message.

    Raises:
        BerError: it is none.
    """
    envelope, _ = ber.parse(data)
    number, operation, *rest = envelope.children()
    controls = _controls(rest[0]) if rest and rest[0].tag == _CONTROLS_TAG else {}
    decoder, answer = _DECODERS.get(
        operation.tag, (lambda element: Other(element.tag), _no_answer(operation))
    )
    try:
        return Message(number.number, decoder(operation), controls, answer)
    except (ValueError, IndexError) as err:
        raise BerError("a request of the wrong shape") from err


def result(message: Message, code: Code = Code.SUCCESS, text: str = "", *parts: bytes) -> bytes:
    """The final answer to a message; ``parts`` follow the result (an extended response's value)."""
    return result_for(message.number, message.answer_tag, code, text, *parts)


def result_for(number: int, tag: int, code: Code, text: str, *parts: bytes) -> bytes:
    """The final answer by message number and tag."""
    body = (ber.integer(code, ber.ENUMERATED), ber.octets(""), ber.octets(text))
    return ber.element(ber.SEQUENCE, ber.integer(number), ber.element(tag, *body, *parts))


def entry(message: Message, dn: str, attributes: Mapping[str, Sequence[bytes]]) -> bytes:
    """One object of a search answer."""
    items = (
        ber.element(ber.SEQUENCE, ber.octets(name), ber.element(ber.SET, *map(ber.octets, values)))
        for name, values in attributes.items()
    )
    body = ber.element(ENTRY_TAG, ber.octets(dn), ber.element(ber.SEQUENCE, *items))
    return ber.element(ber.SEQUENCE, ber.integer(message.number), body)


def reference(message: Message, url: str) -> bytes:
    """A continuation reference of a search answer: the rest of the forest is held elsewhere."""
    body = ber.element(_REFERENCE_TAG, ber.octets(url))
    return ber.element(ber.SEQUENCE, ber.integer(message.number), body)


def renumbered(data: bytes, number: int) -> bytes:
    """A server's message under another message number."""
    parts = [ber.element(part.tag, part.content) for part in ber.parse(data)[0].children()]
    return ber.element(ber.SEQUENCE, ber.integer(number), *parts[1:])


def paged(final: bytes, cookie: bytes) -> bytes:
    """A search's final answer with the paged results control (RFC 2696)."""
    envelope, _ = ber.parse(final)
    value = ber.element(ber.SEQUENCE, ber.integer(0), ber.octets(cookie))
    control = ber.element(ber.SEQUENCE, ber.octets(PAGED_RESULTS), ber.octets(value))
    return ber.element(ber.SEQUENCE, envelope.content, ber.element(_CONTROLS_TAG, control))


def page_request(value: bytes) -> tuple[int, bytes]:
    """Size and cookie of a paged results control.

    Raises:
        BerError: it is none.
    """
    size, cookie = ber.parse(value)[0].children()
    return size.number, cookie.content


def answer_parts(data: bytes) -> tuple[int, Element]:
    """Message number and operation of a server's message.

    Raises:
        BerError: it is none.
    """
    number, operation, *_ = ber.parse(data)[0].children()
    return number.number, operation


def attribute_values(element: Element) -> dict[str, tuple[bytes, ...]]:
    """A PartialAttributeList as lower-case names and values."""
    pairs = (item.children() for item in element.children())
    return {name.text.lower(): tuple(value.content for value in values.children()) for name, values in pairs}


def _controls(element: Element) -> dict[str, tuple[bool, bytes]]:
    found: dict[str, tuple[bool, bytes]] = {}
    for control in element.children():
        name, *rest = control.children()
        critical = any(part.truth for part in rest if part.tag == ber.BOOLEAN)
        value = next((part.content for part in rest if part.tag == ber.OCTETS), b"")
        found[name.text] = (critical, value)
    return found


def _bind(element: Element) -> Bind:
    _, dn, credentials = element.children()
    return Bind(dn.text, credentials.text if credentials.tag == _CONTEXT_0 else None)


def _search(element: Element) -> Search:
    base, scope, _, size, _, _, condition, attributes = element.children()
    names = tuple(item.text for item in attributes.children())
    return Search(base.text, Scope(scope.number), size.number, parse_filter(condition), names)


def _modify(element: Element) -> Modify:
    dn, changes = element.children()
    return Modify(dn.text, tuple(_modification(change.children()) for change in changes.children()))


def _modification(parts: Sequence[Element]) -> Modification:
    kind, attribute = parts
    name, values = attribute.children()
    return Modification(Change(kind.number), name.text, _contents(values.children()))


def _add(element: Element) -> Add:
    dn, attributes = element.children()
    pairs = (item.children() for item in attributes.children())
    return Add(dn.text, {name.text: _contents(values.children()) for name, values in pairs})


def _modify_dn(element: Element) -> ModifyDn:
    dn, rdn, _, *superior = element.children()
    return ModifyDn(dn.text, rdn.text, superior[0].text if superior else None)


def _extended(element: Element) -> Extended:
    return Extended(element.children()[0].text)


def _contents(elements: Iterable[Element]) -> tuple[bytes, ...]:
    return tuple(element.content for element in elements)


def _no_answer(operation: Element) -> int:
    compare = 0x6E
    return operation.tag + 1 if operation.tag == compare else 0


_DECODERS: Final = {
    0x60: (_bind, 0x61),
    0x42: (lambda _: Unbind(), 0),
    0x63: (_search, 0x65),
    0x66: (_modify, 0x67),
    0x68: (_add, 0x69),
    0x4A: (lambda element: Delete(element.text), 0x6B),
    0x6C: (_modify_dn, 0x6D),
    0x77: (_extended, 0x78),
}
"""By the tag of the request: how to read it, and the tag of its answer."""
