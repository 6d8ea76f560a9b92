"""A stand-in for a domain controller, good enough for LDAP clients that offboard people.

It keeps objects with replication metadata, enforces the write rules that clients trip over and answers with
Active Directory's codes and texts. It is not a directory: no schema changes, no access control lists beyond
"administrator", "delegated service account" and "reader", no replication.
"""

from __future__ import annotations

import itertools
from typing import Final

from leaver.simulators.ad import ber, messages
from leaver.simulators.ad.filters import matches
from leaver.simulators.ad.items import Item
from leaver.simulators.ad.messages import (
    PAGED_RESULTS,
    WHO_AM_I,
    Add,
    Bind,
    Code,
    Delete,
    Extended,
    LdapError,
    Message,
    Modify,
    ModifyDn,
    Scope,
    Search,
)
from leaver.simulators.ad.reads import Attributes, Reader, only, root_dse, subschema, who_am_i
from leaver.simulators.ad.tree import Tree
from leaver.simulators.ad.writes import Writer

HOST: Final = "dc1-standin"
_DISABLED: Final = 0x2
_CONTROLS: Final = frozenset({PAGED_RESULTS})
_EXTENDED_VALUE: Final = 0x8B
_BIND_ERROR: Final = "80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data {}, v1db1"


class StandInBackend:
    """Answers from a tree of its own; ``read_only`` makes it say that it is a read-only domain controller."""

    def __init__(self, tree: Tree, *, read_only: bool = False) -> None:
        self.tree: Final = tree
        self._read_only = read_only

    async def open(self) -> StandInSession:
        """A session that is nobody's yet."""
        return StandInSession(self.tree, read_only=self._read_only)

    def guid_of(self, dn: str) -> str | None:
        """The object a DN means now."""
        try:
            item = self.tree.view.find(dn)
        except LdapError:
            return None
        return item.guid if item else None

    def is_person(self, guid: str) -> bool:
        """Whether the object is a user."""
        return self.tree.items[guid].kind == "user"


class StandInSession:
    """One client's connection."""

    def __init__(self, tree: Tree, *, read_only: bool) -> None:
        self._tree = tree
        self._read_only = read_only
        self._actor: Item | None = None
        self._pages: dict[bytes, list[bytes]] = {}
        self._cookies = itertools.count(1)

    async def close(self) -> None:
        """Nothing is held."""

    async def answer(
        self, message: Message, _raw: bytes, /, *, encrypted: bool, stale: float | None
    ) -> list[bytes]:
        """The encoded answers to one request."""
        try:
            return self._answers(message, encrypted=encrypted, stale=stale)
        except LdapError as err:
            return [messages.result(message, err.code, err.message)]

    def _answers(self, message: Message, *, encrypted: bool, stale: float | None) -> list[bytes]:
        request = message.request
        if any(critical and name not in _CONTROLS for name, (critical, _) in message.controls.items()):
            raise LdapError(Code.UNAVAILABLE_CRITICAL_EXTENSION, "00000057: unsupported critical control")
        if isinstance(request, Bind):
            self._bind(request, encrypted=encrypted)
            return [messages.result(message)]
        if isinstance(request, Search):
            return self._search(message, request, stale)
        if isinstance(request, Extended):
            return self._extended(message, request)
        self._authenticated()
        writer = Writer(self._tree, self._actor)
        match request:
            case Modify():
                writer.modify(request, encrypted=encrypted)
            case ModifyDn():
                writer.rename(request)
            case Add():
                writer.add(request)
            case Delete():
                writer.delete(request)
            case _:
                raise LdapError(Code.UNWILLING_TO_PERFORM, "00002035: this operation is not served here")
        return [messages.result(message)]

    def _bind(self, request: Bind, *, encrypted: bool) -> None:
        if request.password is None:
            raise LdapError(Code.INVALID_CREDENTIALS, "only simple binds are served here")
        self._actor = None
        if not request.dn and not request.password:
            return
        if not encrypted:
            raise LdapError(Code.STRONGER_AUTH_REQUIRED, "BindSimple: Transport encryption required.")
        item = self._account(request.dn)
        if item is None or not self._tree.password_fits(item, request.password):
            raise LdapError(Code.INVALID_CREDENTIALS, _BIND_ERROR.format("52e"))
        if item.number("userAccountControl") & _DISABLED:
            raise LdapError(Code.INVALID_CREDENTIALS, _BIND_ERROR.format("533"))
        self._actor = item

    def _account(self, name: str) -> Item | None:
        """By DN, user principal name or down-level name (MS-ADTS 5.1.1.1.1)."""
        if "=" in name:
            return self._tree.view.find(name)
        realm = ".".join(part.partition("=")[2] for part in self._tree.base_dn.split(",")).lower()
        account = name.rpartition("\\")[2].lower()
        for item in self._tree.items.values():
            principal, sam = (
                next(iter(item.attributes.get(key, ())), b"").decode().lower()
                for key in ("userprincipalname", "samaccountname")
            )
            if name.lower() in (principal, f"{sam}@{realm}") or ("\\" in name and account == sam):
                return item
        return None

    def _authenticated(self) -> None:
        if self._actor is None:
            raise LdapError(Code.OPERATIONS_ERROR, "00002020: Operation unavailable without authentication")

    def _search(self, message: Message, request: Search, stale: float | None) -> list[bytes]:
        special = self._special(request)
        if special is not None:
            # The root DSE has no class, and yet is what (objectClass=*) finds (RFC 4512 section 5.1).
            values = {"objectclass": (b"top",), **{name.lower(): tuple(v) for name, v in special.items()}}
            if not matches(request.filter, lambda name: values.get(name.lower(), ()), lambda _: False):
                return [messages.result(message)]
            return [
                messages.entry(message, request.base, only(special, request.attributes)),
                messages.result(message),
            ]
        self._authenticated()
        paging = message.controls.get(PAGED_RESULTS)
        if paging is not None:
            return self._page(message, request, stale, paging[1])
        return self._whole(message, request, stale)

    def _whole(self, message: Message, request: Search, stale: float | None) -> list[bytes]:
        found = self._found(message, request, stale)
        if request.size_limit and len(found) > request.size_limit:
            limited = found[: request.size_limit]
            return [*limited, messages.result(message, Code.SIZE_LIMIT_EXCEEDED, "")]
        return [*found, messages.result(message)]

    def _page(self, message: Message, request: Search, stale: float | None, control: bytes) -> list[bytes]:
        size, cookie = messages.page_request(control)
        rest = self._pages.pop(cookie, None) if cookie else self._found(message, request, stale)
        if rest is None:
            raise LdapError(Code.UNAVAILABLE_CRITICAL_EXTENSION, "00000057: the cookie is not known")
        page, rest = rest[:size], rest[size:]
        following = b""
        if rest:
            following = str(next(self._cookies)).encode()
            self._pages[following] = rest
        final = messages.paged(messages.result(message), following)
        return [*(messages.renumbered(item, message.number) for item in page), final]

    def _found(self, message: Message, request: Search, stale: float | None) -> list[bytes]:
        view = self._tree.view if stale is None else self._tree.stale(stale)
        found = Reader(self._tree, view, self._actor).search(request)
        entries = [messages.entry(message, dn, attributes) for dn, attributes in found]
        if request.scope is Scope.SUBTREE and request.base.lower() == self._tree.base_dn.lower():
            url = f"ldaps://{HOST}/CN=Configuration,{self._tree.base_dn}"
            entries.append(messages.reference(message, url))
        return entries

    def _special(self, request: Search) -> Attributes | None:
        if request.scope is not Scope.BASE:
            return None
        if not request.base:
            return root_dse(self._tree, HOST, self._tree.clock(), read_only=self._read_only)
        if request.base.lower().startswith("cn=aggregate,cn=schema,cn=configuration,"):
            return subschema()
        return None

    def _extended(self, message: Message, request: Extended) -> list[bytes]:
        if request.name != WHO_AM_I:
            raise LdapError(
                Code.PROTOCOL_ERROR, "0000203D: LdapErr: DSID-0C0912A4, comment: Unknown extended request"
            )
        value = ber.octets(who_am_i(self._tree, self._actor), _EXTENDED_VALUE)
        return [messages.result(message, Code.SUCCESS, "", value)]
