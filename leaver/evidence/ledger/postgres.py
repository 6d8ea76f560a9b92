"""Opening a PostgreSQL ledger through pg8000.

The server must not acknowledge what it has not written to disk: a session of a server with
``synchronous_commit = off`` turns it on for itself.
"""

from __future__ import annotations

import logging
import ssl
from typing import Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError

from leaver.evidence.errors import LedgerVersionError
from leaver.evidence.ledger.database import sqlstate, translated
from leaver.evidence.ledger.guards import postgres_schema
from leaver.evidence.ledger.tables import APPLICATION_ID, META, VERSION

DRIVER: Final = "postgresql+pg8000"

_CONNECT_SECONDS: Final = 60
_LOCK_MILLISECONDS: Final = 20_000
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_INSUFFICIENT_PRIVILEGE: Final = "42501"


def postgres_engine(where: str, *, read_only: bool) -> Engine:
    """Connect, and make an empty schema a ledger unless ``read_only``.

    Args:
        where: ``postgresql+pg8000://user:password@host:5432/database``. In the query ``sslmode`` is
            ``verify-full`` (the default, except on the same machine), or ``disable``; ``sslrootcert`` names
            the PEM file of the server's authority; ``unix_sock`` a socket in place of host and port.
        read_only: every transaction is one that PostgreSQL itself lets change nothing.

    Raises:
        LedgerVersionError: the address is not one of a PostgreSQL ledger, or the ledger is of another
            version, or there is none and it may not be created.
        LedgerUnavailableError: the server cannot be reached now.
    """
    url, arguments = _arguments(where)
    arguments["startup_params"] = {
        "default_transaction_isolation": "read committed",
        "default_transaction_read_only": "on" if read_only else "off",
        "lock_timeout": str(_LOCK_MILLISECONDS),
    }
    # It would tell, with tracebacks, of every connection that we drop; the error that we raise says enough.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    engine = create_engine(url, connect_args=arguments, pool_pre_ping=True, hide_parameters=True)
    event.listen(engine, "connect", _durable)
    try:
        with translated():
            _prepare(engine, read_only=read_only)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _arguments(where: str) -> tuple[URL, dict[str, object]]:
    try:
        url = make_url(where)
    except (ArgumentError, ValueError):
        raise LedgerVersionError("the ledger's address is not a database URL") from None
    if url.drivername != DRIVER:
        raise LedgerVersionError(f"the ledger's address begins with {url.drivername}, not with {DRIVER}")
    query = {name: value for name, value in url.query.items() if isinstance(value, str)}
    local = "unix_sock" in query or url.host in _LOOPBACK
    mode = query.pop("sslmode", "disable" if local else "verify-full")
    authority = query.pop("sslrootcert", None)
    if mode not in {"disable", "verify-full"} or set(query) - {"unix_sock"}:
        raise LedgerVersionError(
            "the ledger's address: sslmode is disable or verify-full; besides it only sslrootcert and"
            " unix_sock are understood"
        )
    arguments: dict[str, object] = {"timeout": _CONNECT_SECONDS, "application_name": "leaver ledger"}
    if mode == "verify-full":
        try:
            arguments["ssl_context"] = ssl.create_default_context(cafile=authority)
        except OSError as err:
            raise LedgerVersionError(f"sslrootcert cannot be read: {err.strerror}") from None
    return url.set(query=query), arguments


def _durable(connection: DBAPIConnection, _entry: object) -> None:
    cursor = connection.cursor()
    cursor.execute(
        "SELECT set_config('synchronous_commit', 'on', false)"
        " WHERE current_setting('synchronous_commit') = 'off'"
    )
    cursor.fetchall()
    connection.commit()


def _prepare(engine: Engine, *, read_only: bool) -> None:
    with engine.connect() as connection:
        there = _is_there(connection)
    if not there and read_only:
        raise LedgerVersionError("there is no ledger in this database")
    if not there:
        _create(engine)
    with engine.connect() as connection:
        version = connection.scalar(select(META.c.version))
    if version != VERSION:
        raise LedgerVersionError(
            f"the database holds a ledger of version {version}, not {VERSION}; nothing was changed"
        )


def _is_there(connection: Connection) -> bool:
    found = connection.exec_driver_sql(f"SELECT to_regclass('{META.name}')::text").scalar()
    return found is not None


def _create(engine: Engine) -> None:
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({APPLICATION_ID})")
            if not _is_there(connection):
                for statement in postgres_schema():
                    connection.exec_driver_sql(statement)
    except DBAPIError as err:
        if sqlstate(err) != _INSUFFICIENT_PRIVILEGE:
            raise
        raise LedgerVersionError(
            "there is no ledger in this database, and this role may not create one; see the set-up SQL"
        ) from None
