"""Searching: the root DSE, the subschema, and objects as a client asked to see them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Final

from leaver.simulators.ad.filters import IN_CHAIN, Compare, matches
from leaver.simulators.ad.items import Item
from leaver.simulators.ad.messages import PAGED_RESULTS, START_TLS, WHO_AM_I, Scope, Search
from leaver.simulators.ad.schema import ATTRIBUTES, CATEGORIES, CLASSES, NEVER_SENT, ON_REQUEST, proper_name
from leaver.simulators.ad.tree import Tree, View

Attributes = dict[str, list[bytes]]

_CAPABILITIES: Final = (
    "1.2.840.113556.1.4.800",
    "1.2.840.113556.1.4.1670",
    "1.2.840.113556.1.4.1791",
    "1.2.840.113556.1.4.1935",
    "1.2.840.113556.1.4.2080",
)
"""What a writable domain controller says it can (MS-ADTS 3.1.1.3.4.3)."""


_READ_ONLY: Final = "1.2.840.113556.1.4.1920"


class Reader:
    """Answers the searches of one bound account."""

    def __init__(self, tree: Tree, view: View, actor: Item | None) -> None:
        self._tree = tree
        self._view = view
        self._actor = actor

    def search(self, request: Search) -> Iterator[tuple[str, Attributes]]:
        """DN and attributes of each object that matches, in a stable order.

        Raises:
            LdapError: there is no such base.
        """
        base = self._view.existing(request.base)
        links = _Links(self._view)
        for item in self._in_scope(base, request.scope):
            if matches(request.filter, self._values_of(item), partial(links.hold, item)):
                yield self._view.dn(item.guid), self._shown(item, request.attributes)

    def _in_scope(self, base: Item, scope: Scope) -> Iterator[Item]:
        if scope is Scope.BASE:
            yield base
        elif scope is Scope.LEVEL:
            yield from (item for item in self._view.items.values() if item.parent == base.guid)
        else:
            yield from (
                item for item in self._view.items.values() if self._view.is_below(item.guid, base.guid)
            )

    def _values_of(self, item: Item) -> Callable[[str], tuple[bytes, ...]]:
        def values(name: str) -> tuple[bytes, ...]:
            key = name.lower()
            if key == "objectcategory":
                # The class's short name is as good as the category's DN (MS-ADTS 3.1.1.3.1.3.5).
                return (*self._value(item, key), CATEGORIES[item.kind].lower().encode())
            return tuple(self._value(item, key))

        return values

    def _shown(self, item: Item, wanted: tuple[str, ...]) -> Attributes:
        names = {name.lower() for name in wanted} or {"*"}
        if "1.1" in names:
            return {}
        if names & {"*", "+"}:
            names |= set(ATTRIBUTES) - ON_REQUEST
        shown = {proper_name(name): self._value(item, name) for name in sorted(names - NEVER_SENT)}
        return {name: values for name, values in shown.items() if values}

    def _value(self, item: Item, name: str) -> list[bytes]:
        computed = _COMPUTED.get(name)
        if computed is not None:
            return computed(self._tree, self._view, item)
        if name == "allowedchildclasseseffective":
            return [b"user"] if self._actor is not None and self._actor.role else []
        return item.attributes.get(name, [])


class _Links:
    """Comparisons on ``member`` and ``memberOf``; remembers what the DNs of one search mean."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._targets: dict[bytes, Item | None] = {}

    def hold(self, item: Item, compare: Compare) -> bool:
        """Whether the link that is asked for exists."""
        if compare.value not in self._targets:
            self._targets[compare.value] = self._view.find(compare.value.decode("utf-8", errors="replace"))
        target = self._targets[compare.value]
        if target is None:
            return False
        group, member = (item, target) if compare.attribute.lower() == "member" else (target, item)
        chain = self._view.members_in_chain(group) if compare.rule == IN_CHAIN else group.members
        return member.guid in chain


def root_dse(tree: Tree, host: str, now: datetime, *, read_only: bool) -> Attributes:
    """What the server tells about itself to anyone."""
    base = tree.base_dn
    schema = f"CN=Schema,CN=Configuration,{base}"
    texts: dict[str, tuple[str, ...]] = {
        "defaultNamingContext": (base,),
        "rootDomainNamingContext": (base,),
        "configurationNamingContext": (f"CN=Configuration,{base}",),
        "schemaNamingContext": (schema,),
        "subschemaSubentry": (f"CN=Aggregate,{schema}",),
        "namingContexts": (base,),
        "supportedCapabilities": (*_CAPABILITIES, *([_READ_ONLY] if read_only else [])),
        "supportedControl": (PAGED_RESULTS,),
        "supportedExtension": (START_TLS, WHO_AM_I),
        "supportedLDAPVersion": ("2", "3"),
        "dnsHostName": (host,),
        "currentTime": (f"{now:%Y%m%d%H%M%S}.0Z",),
        "highestCommittedUSN": (str(tree.usn),),
        "isSynchronized": ("TRUE",),
        "domainFunctionality": ("4",),
        "forestFunctionality": ("4",),
        "domainControllerFunctionality": ("4",),
    }
    return {name: [value.encode() for value in values] for name, values in texts.items()}


def subschema() -> Attributes:
    """The schema in RFC 4512 form, for clients that load it."""
    classes = (
        f"( 1.2.840.113556.1.5.{index} NAME '{names[-1]}' )" for index, names in enumerate(CLASSES.values())
    )
    return {
        "objectClass": [b"top", b"subSchema"],
        "attributeTypes": [row.definition.encode() for row in ATTRIBUTES.values()],
        "objectClasses": [text.encode() for text in classes],
    }


def only(attributes: Mapping[str, list[bytes]], wanted: tuple[str, ...]) -> Attributes:
    """The attributes a client asked for; all, if it named none or ``*``."""
    names = {name.lower() for name in wanted}
    if not names or names & {"*", "+"}:
        return dict(attributes)
    return {name: values for name, values in attributes.items() if name.lower() in names}


def who_am_i(tree: Tree, actor: Item | None) -> str:
    """The authorization identity of RFC 4532: empty for nobody."""
    return f"dn:{tree.view.dn(actor.guid)}" if actor is not None else ""


def _member(_: Tree, view: View, item: Item) -> list[bytes]:
    return [view.dn(guid).encode() for guid in item.members if guid in view.items]


def _member_of(_: Tree, view: View, item: Item) -> list[bytes]:
    return [view.dn(group.guid).encode() for group in view.groups_of(item.guid)]


def _category(tree: Tree, _: View, item: Item) -> list[bytes]:
    return [f"CN={CATEGORIES[item.kind]},CN=Schema,CN=Configuration,{tree.base_dn}".encode()]


def _guid(_: Tree, __: View, item: Item) -> list[bytes]:
    return [uuid.UUID(item.guid).bytes_le]


_COMPUTED: Final[dict[str, Callable[[Tree, View, Item], list[bytes]]]] = {
    "objectclass": lambda _, __, item: [name.encode() for name in CLASSES[item.kind]],
    "objectcategory": _category,
    "objectguid": _guid,
    "distinguishedname": lambda _, view, item: [view.dn(item.guid).encode()],
    "cn": lambda _, __, item: item.attributes.get("name", []) if item.rdn[:3].upper() == "CN=" else [],
    "ou": lambda _, __, item: item.attributes.get("name", []) if item.rdn[:3].upper() == "OU=" else [],
    "member": _member,
    "memberof": _member_of,
    "replpropertymetadata": lambda tree, _, item: [item.metadata(tree.invocation)],
}
