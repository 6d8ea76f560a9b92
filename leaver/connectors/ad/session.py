"""One bound LDAP connection: each call with a receipt and a typed error.

ldap3 is used with raw values, without its schema cache, its retries and its referral chasing: what is sent is
what the methods here say, once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from ldap3 import Connection
from ldap3.core.exceptions import LDAPException, LDAPSocketSendError

from leaver.connectors.ad.results import SUCCESS, result_error
from leaver.connectors.errors import ProtocolError, Unavailable, UnknownOutcomeError
from leaver.connectors.receipts import record
from leaver.domain.effect import Receipt

Scope = Literal["BASE", "LEVEL", "SUBTREE"]

PAGE_SIZE: Final = 500
_PAGED: Final = "1.2.840.113556.1.4.319"


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a search answer: its DN and raw values by lower-case attribute name."""

    dn: str
    attributes: Mapping[str, tuple[bytes, ...]]

    def values(self, name: str) -> tuple[bytes, ...]:
        """All values of an attribute; empty where it is not set or not readable."""
        return self.attributes.get(name.lower(), ())

    def first(self, name: str) -> bytes | None:
        """The first value, or None."""
        return next(iter(self.values(name)), None)

    def required(self, name: str) -> bytes:
        """The first value.

        Raises:
            ProtocolError: the server did not send one.
        """
        value = self.first(name)
        if value is None:
            raise ProtocolError(f"the directory did not return {name}; may the account read it?")
        return value


class Session:
    """One bound connection. Not for two threads at once."""

    def __init__(self, connection: Connection, url: str) -> None:
        self.url: Final = url
        self.broken = False
        self.last_used = time.monotonic()
        self._connection = connection

    def read(self, path: str, base: str, attributes: Sequence[str], *, filter_: str = "") -> Entry | None:
        """One object by DN; None where there is none, or it does not match ``filter_``."""
        entries = self.search(path, base, filter_ or "(objectClass=*)", attributes, scope="BASE")
        return entries[0] if entries else None

    def search(
        self, path: str, base: str, filter_: str, attributes: Sequence[str], *, scope: Scope = "SUBTREE"
    ) -> list[Entry]:
        """Every object that matches, page by page. ``path`` is what the receipt may tell of ``base``.

        Raises:
            Rejected: with code ``noSuchObject`` where ``base`` does not exist.
            Unavailable: the connection broke.
        """
        found: list[Entry] = []
        cookie: bytes | None = None
        while True:
            self._call(
                "search",
                path,
                search_base=base,
                search_filter=filter_,
                search_scope=scope,
                attributes=list(attributes),
                paged_size=None if scope == "BASE" else PAGE_SIZE,
                paged_cookie=cookie,
                auto_escape=False,
            )
            found += [
                _entry(item) for item in self._connection.response or () if item["type"] == "searchResEntry"
            ]
            cookie = self._cookie()
            if not cookie:
                return found

    def modify(
        self, path: str, dn: str, attribute: str, change: Literal["REPLACE", "DELETE"], value: bytes
    ) -> None:
        """Replace an attribute by one value, or delete one value of it. Ask the write guard first."""
        self._call("modify", path, mutating=True, dn=dn, changes={attribute: [(f"MODIFY_{change}", [value])]})

    def rename(self, path: str, dn: str, rdn: str, new_parent: str) -> None:
        """Move an object under another parent. Ask the write guard first."""
        self._call("modify_dn", path, mutating=True, dn=dn, relative_dn=rdn, new_superior=new_parent)

    def close(self) -> None:
        """Say goodbye where that is still possible."""
        with contextlib.suppress(LDAPException, OSError):
            self._connection.unbind()
        drop(self._connection)

    def _call(self, method: str, path: str, *, mutating: bool = False, **arguments: object) -> None:
        try:
            getattr(self._connection, method)(**arguments)
        except LDAPSocketSendError as err:
            # A TLS record that could not be handed over whole cannot be read by the other side: not sent.
            raise self._lost(f"LDAP {method}: the connection was lost before the request was sent") from err
        except (LDAPException, OSError) as err:
            if mutating:
                self.broken = True
                raise UnknownOutcomeError(f"LDAP {method}: sent, but the connection was lost") from err
            raise self._lost(f"LDAP {method}: the connection was lost") from err
        self.last_used = time.monotonic()
        result = self._connection.result
        code = int(result["result"])
        record(
            Receipt(method=f"LDAP {method}", path=path, status=code, mutating=mutating, at=datetime.now(UTC))
        )
        if code != SUCCESS:
            raise result_error(method, code, str(result["description"]), str(result["message"]))

    def _lost(self, message: str) -> Unavailable:
        self.broken = True
        return Unavailable(message)

    def _cookie(self) -> bytes | None:
        control = (self._connection.result.get("controls") or {}).get(_PAGED)
        return control["value"]["cookie"] or None if control else None


def drop(connection: Connection) -> None:
    """Close the socket: ldap3 forgets one that could not be connected, secured or said goodbye to."""
    if connection.socket is not None:
        connection.socket.close()


def _entry(item: Mapping[str, object]) -> Entry:
    raw = item["raw_attributes"]
    if not isinstance(raw, Mapping):
        raise ProtocolError("a search answer without attributes")
    return Entry(str(item["dn"]), {str(name).lower(): tuple(values) for name, values in raw.items()})
