"""Connections and transactions: one way to read, one way to write, one kind of error.

Every error of a driver becomes ``LedgerUnavailableError``, and the connection it happened on is thrown away:
after a lost connection nobody knows in which state the protocol is. Texts of errors never hold values.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Table,
    Text,
    cast,
    func,
    literal,
    select,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from leaver.evidence.errors import EvidenceError, LedgerDamagedError, LedgerError, LedgerUnavailableError
from leaver.evidence.ledger.tables import APPLICATION_ID

WRITES: Final = "leaver_writes"
"""Execution option of a connection that is about to write: SQLite takes its write lock at once."""

Value = int | str | bytes | None
Rows = Sequence[tuple[Value, ...]]

_INTEGRITY: Final = "23"
"""The class of SQLSTATE codes of violated constraints."""
_LONGEST: Final = 200
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Database:
    """An engine with the ledger's ways to use it. Safe to share between threads; writes take turns."""

    def __init__(self, engine: Engine, *, read_only: bool) -> None:
        self._engine = engine
        self._read_only = read_only
        self._turn = threading.Lock()
        self._closed = False
        self.postgres = engine.dialect.name == "postgresql"

    def close(self) -> None:
        """Give back the connections; nothing can be read or written afterwards."""
        self._closed = True
        with self._turn:
            self._engine.dispose()

    @contextmanager
    def read(self, *, snapshot: bool = False) -> Iterator[Connection]:
        """A connection to read with.

        Args:
            snapshot: all queries see the same state, whatever is added meanwhile. On SQLite they always do.

        Raises:
            LedgerUnavailableError: the database cannot be used now.
        """
        with self._guarded(), self._engine.connect() as connection, _dropped_on_error(connection):
            if snapshot and self.postgres:
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction, one at a time over all processes: all of it is stored, or nothing.

        Raises:
            LedgerError: the ledger was opened for reading only.
            LedgerUnavailableError: the database cannot be used now. If that happened while the transaction
                was being committed, nobody knows whether it was.
            LedgerDamagedError: the database refused a row that the ledger's own rules allow.
        """
        if self._read_only:
            raise LedgerError("the ledger was opened for reading only")
        with self._turn, self._guarded(), self._engine.connect() as plain:
            connection = plain.execution_options(**{WRITES: True})
            with _dropped_on_error(connection), connection.begin():
                if self.postgres:
                    # The one sequencer: whoever holds this lock is the only one to give out numbers.
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({APPLICATION_ID})")
                yield connection

    def insert(self, connection: Connection, table: Table, rows: Rows) -> None:
        """Add rows, each with a value for every column in the table's order, in one round trip."""
        if not rows:
            return
        if not self.postgres:
            marks = ", ".join("?" * len(table.columns))
            connection.exec_driver_sql(f"INSERT INTO {table.name} VALUES ({marks})", list(rows))  # noqa: S608
            return
        # pg8000's executemany makes a round trip for each row; arrays make one for all of them.
        types = [column.type.compile(dialect=connection.dialect) for column in table.columns]
        arrays = ", ".join(f"CAST(%s AS {kind}[])" for kind in types)
        columns = tuple(_array(values) for values in zip(*rows, strict=True))
        connection.exec_driver_sql(f"INSERT INTO {table.name} SELECT * FROM unnest({arrays})", columns)  # noqa: S608

    def clean(self) -> None:
        """After an erasure: let SQLite's write-ahead log not keep what was erased.

        Where a reader is at work the log stays until the next time. PostgreSQL has its own vacuum, which the
        sealer's role may not call.
        """
        if self.postgres:
            return
        with self._turn, self._guarded():
            raw = self._engine.raw_connection()
            try:
                raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                raw.close()

    def scrub(self) -> None:
        """After erasures: as ``clean``, and say so when a reader keeps the write-ahead log alive.

        Raises:
            LedgerUnavailableError: what was erased may still be in the write-ahead log.
        """
        if self.postgres:
            return
        with self._turn, self._guarded():
            raw = self._engine.raw_connection()
            try:
                cursor = raw.cursor()
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                busy = cursor.fetchone()
            finally:
                raw.close()
        if busy is None or busy[0]:
            raise LedgerUnavailableError(
                "a reader holds the write-ahead log, which may still show what was erased; try again"
            )

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        if self._closed:
            raise LedgerUnavailableError("the ledger was closed")
        with translated():
            yield


@contextmanager
def translated() -> Iterator[None]:
    """Turn a driver's errors into ours.

    Raises:
        LedgerDamagedError: a unique key, a reference or a trigger refused.
        LedgerUnavailableError: anything else that the driver raises.
    """
    try:
        yield
    except (SQLAlchemyError, OSError) as err:
        if isinstance(err, IntegrityError) or sqlstate(err).startswith(_INTEGRITY):
            raise LedgerDamagedError(f"the ledger's database refused a row: {_told(err)}") from None
        raise LedgerUnavailableError(f"the ledger's database cannot be used now: {_told(err)}") from None


@contextmanager
def _dropped_on_error(connection: Connection) -> Iterator[None]:
    try:
        yield
    except (EvidenceError, GeneratorExit):
        raise
    except BaseException:
        if not connection.closed:
            connection.invalidate()
        raise


def among(connection: Connection, column: Column[int], numbers: Sequence[int]) -> ColumnElement[bool]:
    """That the column is one of these numbers, passed as one value: thousands of parameters are slow."""
    if connection.dialect.name == "postgresql":
        listed = select(func.unnest(cast(literal(_array(numbers), Text()), ARRAY(BigInteger))))
    else:
        listed = select(func.json_each(json.dumps(list(numbers))).table_valued("value").c.value)
    return column.in_(listed)


def _array(values: Iterable[Value]) -> str:
    """PostgreSQL's text form of an array (its manual, section 8.15.6); pg8000's own takes far longer."""
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: Value) -> str:
    if isinstance(value, int):
        return str(value)
    if isinstance(value, bytes):
        return rf'"\\x{value.hex()}"'
    if value is None:
        return "NULL"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def sqlstate(err: Exception) -> str:
    """PostgreSQL's code of an error (its manual, appendix A); empty where there is none."""
    told = _fields(err)
    return str(told.get("C", "")) if told else ""


def _fields(err: Exception) -> dict[str, str] | None:
    """The server's fields of an error, as pg8000 gives them."""
    cause = err.orig if isinstance(err, DBAPIError) else err
    told = cause.args[0] if cause is not None and cause.args else None
    return told if isinstance(told, dict) else None


def _told(err: Exception) -> str:
    """The driver's message without the values, which may be personal data."""
    fields = _fields(err)
    if fields is not None:  # not D, "detail", which repeats values
        return f"{fields.get('M', 'no message')} (SQLSTATE {sqlstate(err) or 'unknown'})"
    cause = err.orig if isinstance(err, DBAPIError) and err.orig is not None else err
    lines = str(cause).splitlines()
    return lines[0][:_LONGEST] if lines else type(cause).__name__


def micros(at: datetime) -> int:
    """A point in time as whole microseconds since 1970, which both databases compare alike."""
    return (at - _EPOCH) // _MICROSECOND


def instant(value: int) -> datetime:
    """The point in time back from microseconds, in UTC."""
    return _EPOCH + timedelta(microseconds=value)
