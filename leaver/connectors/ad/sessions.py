"""Bound LDAP connections to one domain controller at a time, each call with a receipt and a typed error.

ldap3 is used with raw values, without its schema cache, its retries and its referral chasing: what is sent is
what the methods here say, once.
"""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from ldap3 import Connection, Server, Tls
from ldap3.core.exceptions import LDAPException, LDAPSocketSendError
from pydantic import SecretStr

from leaver.connectors.ad.results import SUCCESS, bind_error, result_error
from leaver.connectors.errors import ConnectorError, ProtocolError, Rejected, Unavailable, UnknownOutcomeError
from leaver.connectors.receipts import record
from leaver.domain.effect import Receipt

Scope = Literal["BASE", "LEVEL", "SUBTREE"]

_READ_ONLY_DC: Final = "1.2.840.113556.1.4.1920"
"""LDAP_CAP_ACTIVE_DIRECTORY_PARTIAL_SECRETS_OID: the server is a read-only DC (MS-ADTS 3.1.1.3.4.3)."""
_PAGED: Final = "1.2.840.113556.1.4.319"
_PAGE_SIZE: Final = 500
_TRUST_AFTER_IDLE: Final = 5.0
_CLOSE_AFTER_IDLE: Final = 60.0
_URL: Final = re.compile(r"^(ldaps?)://(\[[0-9a-fA-F:]+\]|[^/:\s]+)(?::(\d{1,5}))?/?$")


@dataclass(frozen=True, slots=True)
class AdSettings:
    """Where the domain is and who we are there.

    ``servers`` are URLs of writable domain controllers in order of preference: ``ldaps://dc1.corp.example``
    or ``ldap://dc1.corp.example``, which is upgraded with StartTLS before anything is said; there is no way
    to talk in the clear. ``ca_file`` (PEM) is the authority that issued their certificates; None means the
    machine's own trust store. Timeouts are in seconds.
    """

    servers: tuple[str, ...]
    base_dn: str
    bind_dn: str
    password: SecretStr
    ca_file: Path | None = None
    connect_timeout: float = 5.0
    receive_timeout: int = 15

    def __post_init__(self) -> None:
        if not self.servers:
            raise ValueError("servers: name at least one domain controller, e.g. ldaps://dc1.corp.example")
        for url in self.servers:
            if not _URL.match(url):
                raise ValueError(f"servers: {url!r} is not ldaps://host[:port] or ldap://host[:port]")


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


class _VerifiedTls(Tls):
    """ldap3's own host name check does not know IP addresses from Python 3.12 on; OpenSSL's does."""

    def __init__(self, ca_file: Path | None) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        self.refused = ""

    def wrap_socket(self, connection: Connection, do_handshake: bool = False) -> None:
        try:
            connection.socket = self._context.wrap_socket(
                connection.socket,
                server_hostname=connection.server.host.strip("[]"),
                do_handshake_on_connect=do_handshake,
            )
        except ssl.SSLCertVerificationError as err:
            self.refused = err.verify_message
            raise


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
                paged_size=None if scope == "BASE" else _PAGE_SIZE,
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
        try:
            self._connection.unbind()
        except (LDAPException, OSError):
            self.broken = True

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


class Sessions:
    """Keeps bound sessions for reuse: a fresh TLS connection with bind costs a hundred times a read.

    All go to the first server that answers and stay there until it fails, so that what was written is read
    back from the domain controller that took it, not from one it has not reached yet.
    """

    def __init__(self, settings: AdSettings) -> None:
        self._settings = settings
        self._idle: list[Session] = []
        self._lock = threading.Lock()
        self._preferred = 0

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A bound session for one piece of work.

        Raises:
            InvalidCredentials: the directory refused our account.
            Unavailable: no server answered.
            Rejected: only read-only domain controllers answered.
        """
        session = self._reuse() or self._connect()
        try:
            yield session
        finally:
            if session.broken:
                session.close()
            else:
                with self._lock:
                    self._idle.append(session)

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    def _reuse(self) -> Session | None:
        while True:
            with self._lock:
                session = self._idle.pop() if self._idle else None
            if session is None or self._alive(session):
                return session
            session.close()

    @staticmethod
    def _alive(session: Session) -> bool:
        # A write on a connection that the server closed meanwhile would be an unknown outcome: ask first.
        idle = time.monotonic() - session.last_used
        if idle > _CLOSE_AFTER_IDLE:
            return False
        if idle > _TRUST_AFTER_IDLE:
            try:
                session.read("rootDSE", "", ["dnsHostName"])
            except ConnectorError:
                return False
        return True

    def _connect(self) -> Session:
        servers = self._settings.servers
        start = self._preferred
        failure: ConnectorError = Unavailable("no domain controller answered")
        for index in (*range(start, len(servers)), *range(start)):
            try:
                session = self._open(servers[index])
            except (Unavailable, Rejected) as err:
                # Not after a refused password: trying it at every server would lock the account out.
                failure = err
                continue
            self._preferred = index
            return session
        raise failure

    def _open(self, url: str) -> Session:
        settings = self._settings
        tls = _VerifiedTls(settings.ca_file)
        connection = _connection(settings, url, tls)
        try:
            connection.open(read_server_info=False)
            if not url.startswith("ldaps:"):
                connection.start_tls(read_server_info=False)
            connection.bind(read_server_info=False)
        except (LDAPException, OSError) as err:
            if tls.refused:
                raise Unavailable(
                    f"{url}: its certificate is not trusted: {tls.refused}; check ca_file"
                ) from err
            raise Unavailable(f"{url}: no connection ({type(err).__name__})") from err
        session = Session(connection, url)
        refusal = bind_error(int(connection.result["result"]), str(connection.result["message"]))
        if refusal is None:
            root = session.read("rootDSE", "", ["supportedCapabilities"])
            if root is None or _READ_ONLY_DC.encode() not in root.values("supportedCapabilities"):
                return session
            refusal = Rejected(
                f"{url} is a read-only domain controller; name a writable one", code="readOnlyDC"
            )
        session.close()
        raise refusal


def _connection(settings: AdSettings, url: str, tls: _VerifiedTls) -> Connection:
    match = _URL.match(url)
    assert match is not None, "AdSettings checked it"  # noqa: S101 - narrows the type
    secure = match[1] == "ldaps"
    server = Server(
        match[2].strip("[]"),
        port=int(match[3]) if match[3] else (636 if secure else 389),
        use_ssl=secure,
        tls=tls,
        get_info="NO_INFO",
        connect_timeout=settings.connect_timeout,
    )
    return Connection(
        server,
        settings.bind_dn,
        settings.password.get_secret_value(),
        auto_bind="NONE",
        authentication="SIMPLE",
        auto_referrals=False,
        auto_range=True,
        check_names=False,
        raise_exceptions=False,
        return_empty_attributes=False,
        receive_timeout=settings.receive_timeout,
    )


def _entry(item: Mapping[str, object]) -> Entry:
    raw = item["raw_attributes"]
    if not isinstance(raw, Mapping):
        raise ProtocolError("a search answer without attributes")
    return Entry(str(item["dn"]), {str(name).lower(): tuple(values) for name, values in raw.items()})
