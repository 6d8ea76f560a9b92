"""Getting a bound LDAP session: which server, over which TLS, as whom; kept for reuse."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ldap3 import Connection, Server, Tls
from ldap3.core.exceptions import LDAPException, LDAPStartTLSError

from leaver.connectors.ad.results import bind_error
from leaver.connectors.ad.session import Session, drop
from leaver.connectors.ad.settings import SERVER_URL, AdSettings
from leaver.connectors.errors import ConnectorError, Rejected, Unavailable

_READ_ONLY_DC: Final = "1.2.840.113556.1.4.1920"
"""LDAP_CAP_ACTIVE_DIRECTORY_PARTIAL_SECRETS_OID: the server is a read-only DC (MS-ADTS 3.1.1.3.4.3)."""
_TRUST_AFTER_IDLE: Final = 5.0
_CLOSE_AFTER_IDLE: Final = 60.0


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
        tls = _VerifiedTls(self._settings.ca_file)
        connection = _connection(self._settings, url, tls)
        try:
            connection.open(read_server_info=False)
            if not url.startswith("ldaps:") and not connection.start_tls(read_server_info=False):
                raise LDAPStartTLSError("not started")
            connection.bind(read_server_info=False)
        except (LDAPException, OSError) as err:
            drop(connection)
            if tls.refused:
                text = f"{url}: its certificate is not trusted: {tls.refused}; check ca_file"
                raise Unavailable(text) from err
            raise Unavailable(f"{url}: no connection ({type(err).__name__})") from err
        session = Session(connection, url)
        try:
            _admit(session, connection)
        except ConnectorError:
            session.close()
            raise
        return session


def _admit(session: Session, connection: Connection) -> None:
    """Whether we are let in, and by a domain controller that takes writes."""
    refusal = bind_error(int(connection.result["result"]), str(connection.result["message"]))
    if refusal is not None:
        raise refusal
    root = session.read("rootDSE", "", ["supportedCapabilities"])
    if root is not None and _READ_ONLY_DC.encode() in root.values("supportedCapabilities"):
        text = f"{session.url} is a read-only domain controller; name a writable one"
        raise Rejected(text, code="readOnlyDC")


def _connection(settings: AdSettings, url: str, tls: _VerifiedTls) -> Connection:
    match = SERVER_URL.match(url)
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
