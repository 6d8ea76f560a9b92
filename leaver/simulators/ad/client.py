"""An LDAP client for seeding, synchronisation and tests; blocking."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path

from ldap3 import Connection, Server, Tls
from ldap3.core.exceptions import LDAPBindError, LDAPException


class _StrictTls(Tls):
    """Verifies names and addresses by OpenSSL: ldap3's own check ends with Python 3.11."""

    def __init__(self, ca_file: Path) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._context = ssl.create_default_context(cafile=str(ca_file))

    def wrap_socket(self, connection: Connection, do_handshake: bool = False) -> None:
        connection.socket = self._context.wrap_socket(
            connection.socket, server_hostname=connection.server.host, do_handshake_on_connect=do_handshake
        )


def bound(  # noqa: PLR0913 - what a connection consists of
    url: str,
    ca_file: Path,
    name: str | None = None,
    password: str | None = None,
    *,
    strict: bool = False,
    schema: bool = False,
) -> Connection:
    """A bound connection over LDAPS.

    Args:
        url: ``ldaps://…``.
        ca_file: the authority to trust.
        name: DN, user principal name or down-level logon name; None binds as nobody.
        password: its password.
        strict: raise for every result other than success.
        schema: load root DSE and schema first, as ldap3 does by default.

    Raises:
        LDAPException: no connection, or the bind was refused.
    """
    server = Server(url, tls=_StrictTls(ca_file), get_info="ALL" if schema else "NO_INFO", connect_timeout=5)
    connection = Connection(
        server,
        name,
        password,
        auto_bind=False,
        check_names=schema,
        auto_referrals=False,
        raise_exceptions=strict,
        receive_timeout=20,
    )
    try:
        if not connection.bind():
            raise LDAPBindError(f"{connection.result['description']}: {connection.result['message']}")
    except (LDAPException, OSError):
        hang_up(connection)
        raise
    return connection


def hang_up(connection: Connection) -> None:
    """Close a connection, in whatever state it is."""
    with contextlib.suppress(LDAPException, OSError):
        connection.unbind()
    if connection.socket is not None:
        connection.socket.close()
