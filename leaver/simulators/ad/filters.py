"""Search filters (RFC 4511 section 4.5.1.7): decoded and applied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from leaver.simulators.ad.ber import BerError, Element
from leaver.simulators.ad.schema import is_binary

IN_CHAIN: Final = "1.2.840.113556.1.4.1941"
"""LDAP_MATCHING_RULE_TRANSITIVE_EVAL (MS-ADTS 3.1.1.3.4.4.3): follows a link to its end."""
BIT_AND: Final = "1.2.840.113556.1.4.803"
_LINKS: Final = ("member", "memberof")


@dataclass(frozen=True, slots=True)
class And:
    """Every part holds."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any part holds."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Filter


@dataclass(frozen=True, slots=True)
class Compare:
    """An attribute has a value that is ``=``, ``>=`` or ``<=`` to one; ``rule`` names an extensible match."""

    attribute: str
    value: bytes
    operator: str = "="
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Present:
    """An attribute has a value."""

    attribute: str


@dataclass(frozen=True, slots=True)
class Substring:
    """An attribute has a value that begins, goes on and ends like this."""

    attribute: str
    initial: bytes
    middle: tuple[bytes, ...]
    final: bytes


Filter = And | Or | Not | Compare | Present | Substring


def parse_filter(element: Element) -> Filter:
    """A filter as it came over the wire.

    Raises:
        BerError: an unknown kind of filter.
    """
    reader = _READERS.get(element.tag)
    if reader is None:
        raise BerError("an unknown kind of filter")
    return reader(element)


def matches(
    condition: Filter, values: Callable[[str], tuple[bytes, ...]], linked: Callable[[Compare], bool]
) -> bool:
    """Whether an object fulfils a filter.

    Args:
        condition: the filter.
        values: the object's values of an attribute, by name.
        linked: decides comparisons on links (``member``, ``memberOf``), which need the rest of the tree.
    """
    match condition:
        case And(parts):
            return all(matches(part, values, linked) for part in parts)
        case Or(parts):
            return any(matches(part, values, linked) for part in parts)
        case Not(part):
            return not matches(part, values, linked)
        case _:
            return _holds(condition, values, linked)


def _holds(
    test: Compare | Present | Substring,
    values: Callable[[str], tuple[bytes, ...]],
    linked: Callable[[Compare], bool],
) -> bool:
    if isinstance(test, Compare) and test.attribute.lower() in _LINKS:
        return linked(test)
    found = values(test.attribute)
    if isinstance(test, Present):
        return bool(found)
    if isinstance(test, Substring):
        return any(_has_parts(value.lower(), test) for value in found)
    return any(_compares(value, test) for value in found)


def _compares(value: bytes, condition: Compare) -> bool:
    wanted = condition.value
    if condition.rule == BIT_AND:
        return int(value) & int(wanted) == int(wanted)
    if condition.operator == "=":
        return value == wanted if is_binary(condition.attribute) else _folded(value) == _folded(wanted)
    left, right = (int(value), int(wanted)) if value.isdigit() and wanted.isdigit() else (value, wanted)
    return left >= right if condition.operator == ">=" else left <= right  # type: ignore[operator]


def _folded(value: bytes) -> str:
    return value.decode("utf-8", errors="surrogateescape").casefold()


def _has_parts(value: bytes, condition: Substring) -> bool:
    initial, final = condition.initial.lower(), condition.final.lower()
    if not value.startswith(initial):
        return False
    position = len(initial)
    for part in condition.middle:
        found = value.find(part.lower(), position)
        if found < 0:
            return False
        position = found + len(part)
    return value[position:].endswith(final)


def _compare(operator: str) -> Callable[[Element], Filter]:
    def read(element: Element) -> Filter:
        name, value = element.children()
        return Compare(name.text, value.content, operator)

    return read


def _substring(element: Element) -> Filter:
    name, parts = element.children()
    by_tag: dict[int, list[bytes]] = {0x80: [], 0x81: [], 0x82: []}
    for part in parts.children():
        by_tag[part.tag].append(part.content)
    return Substring(name.text, b"".join(by_tag[0x80]), tuple(by_tag[0x81]), b"".join(by_tag[0x82]))


def _extensible(element: Element) -> Filter:
    parts = {part.tag: part for part in element.children()}
    if 0x82 not in parts:  # noqa: PLR2004 - the context tag of "type"
        raise BerError("an extensible match without an attribute")
    rule = parts[0x81].text if 0x81 in parts else ""  # noqa: PLR2004 - the context tag of "matchingRule"
    return Compare(parts[0x82].text, parts[0x83].content, "=", rule)


def _several(element: Element) -> tuple[Filter, ...]:
    return tuple(parse_filter(part) for part in element.children())


_READERS: Final[dict[int, Callable[[Element], Filter]]] = {
    0xA0: lambda element: And(_several(element)),
    0xA1: lambda element: Or(_several(element)),
    0xA2: lambda element: Not(_several(element)[0]),
    0xA3: _compare("="),
    0xA4: _substring,
    0xA5: _compare(">="),
    0xA6: _compare("<="),
    0x87: lambda element: Present(element.text),
    0xA9: _extensible,
}
