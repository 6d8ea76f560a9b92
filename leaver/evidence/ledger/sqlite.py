"""Opening an SQLite ledger: one file, readable by its owner only, in WAL mode with full synchronisation."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, QueuePool
from sqlalchemy.schema import CreateIndex, CreateTable

from leaver.evidence.errors import LedgerUnavailableError, LedgerVersionError
from leaver.evidence.ledger.database import WRITES
from leaver.evidence.ledger.guards import sqlite_guards
from leaver.evidence.ledger.tables import APPLICATION_ID, METADATA, VERSION

_BUSY_SECONDS: Final = 20.0
_FILE: Final = "leaver_file"


def sqlite_engine(path: Path, *, read_only: bool) -> Engine:
    """Open the file, or create it unless ``read_only``.

    Raises:
        LedgerVersionError: the file is something else, was written by another version, or is missing and may
            not be created.
        LedgerUnavailableError: it cannot be opened now.
    """
    if read_only and not path.is_file():
        raise LedgerVersionError(f"there is no ledger at {path}")
    try:
        if not read_only:
            _create_private(path)
            _create_tables(path)
        _connect(path, read_only=read_only).close()
    except (sqlite3.OperationalError, OSError) as err:
        raise LedgerUnavailableError(f"{path} cannot be opened now: {err}") from err
    except sqlite3.DatabaseError as err:
        raise LedgerVersionError(f"{path} cannot be opened as a ledger: {err}") from err
    engine = create_engine(
        "sqlite://",
        creator=lambda: _connect(path, read_only=read_only),
        poolclass=QueuePool,
        hide_parameters=True,
    )
    _listen(engine, path)
    return engine


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    target = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"
    database = sqlite3.connect(
        target, uri=True, isolation_level=None, timeout=_BUSY_SECONDS, check_same_thread=False
    )
    try:
        if not read_only:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("PRAGMA foreign_keys = ON")
            # What is erased is overwritten, not only forgotten.
            database.execute("PRAGMA secure_delete = ON")
        _check_marks(database, path)
    except BaseException:
        database.close()
        raise
    return database


def _check_marks(database: sqlite3.Connection, path: Path) -> None:
    version = _number(database, "PRAGMA user_version")
    if _number(database, "PRAGMA application_id") != APPLICATION_ID or version != VERSION:
        raise LedgerVersionError(f"{path} is not a ledger of version {VERSION}; nothing was changed")


def _create_private(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return


def _create_tables(path: Path) -> None:
    """Make an empty database a ledger; leave any other alone."""
    database = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_SECONDS)
    try:
        database.execute("BEGIN IMMEDIATE")
        empty = not _number(database, "PRAGMA user_version") and not _number(
            database, "SELECT COUNT(*) FROM sqlite_master"
        )
        if empty:
            for statement in _schema():
                database.execute(statement)
        database.execute("COMMIT")
    finally:
        database.close()


def _schema() -> list[str]:
    dialect = sqlite.dialect()
    made: list[str] = []
    for table in METADATA.sorted_tables:
        made.append(str(CreateTable(table).compile(dialect=dialect)))
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        made.extend(str(CreateIndex(index).compile(dialect=dialect)) for index in indexes)
    return [*made, *sqlite_guards()]


def _number(database: sqlite3.Connection, query: str) -> int:
    return int(database.execute(query).fetchone()[0])


def _listen(engine: Engine, path: Path) -> None:
    @event.listens_for(engine, "connect")
    def remember(_database: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:
        entry.info[_FILE] = _identity(path)

    @event.listens_for(engine, "checkout")
    def same_file(
        _database: sqlite3.Connection, entry: ConnectionPoolEntry, _proxy: PoolProxiedConnection
    ) -> None:
        # A file that was removed or replaced under an open connection would be written to for nothing.
        if entry.info.get(_FILE) != _identity(path):
            raise DisconnectionError("the file was replaced")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # Python's sqlite3 begins transactions late and by its own rules; the ledger says when.
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)
