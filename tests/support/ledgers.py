"""Ledgers on both databases for tests, drafts to fill them with, and ways round their own guards."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from leaver.domain.records import RecordDraft
from leaver.domain.words import RecordType
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.ledger.tables import METADATA
from leaver.evidence.log.checkpoint import Checkpoint
from leaver.evidence.log.notes import NoteSignature, note_bytes
from tests.support.postgres import PostgresServer

START = datetime(2026, 11, 20, 17, 0, tzinfo=UTC)
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


def case_id(number: int) -> str:
    """The id of a case; each number has its own."""
    letters = [_LETTERS[number // 32**place % 32] for place in range(6)]
    return "c-" + "".join(letters).rjust(26, "a")


def draft(case: str, number: int, *, length: int = 0, chain: str = "case") -> RecordDraft:
    """A draft of that number, always the same; the last of ``length`` closes the case."""
    last = length and number == length - 1
    body = {"count": length} if last else {"number": number, "text": "ü" * (number * 37 % 200)}
    return RecordDraft(
        case=case,
        chain=chain,
        case_seq=number,
        type=RecordType.CASE_CLOSED if last else RecordType.CHANGE,
        at=START + timedelta(seconds=number),
        body=body,
    )


def chain_of(case: str, length: int) -> list[RecordDraft]:
    """A whole closed case."""
    return [draft(case, number, length=length) for number in range(length)]


def note_of(size: int, root: bytes, words: bytes = b"") -> bytes:
    """A checkpoint's note with a signature line of no key: the ledger itself knows no keys."""
    text = Checkpoint("northwind.example/leaver", size, root).text()
    return note_bytes(text, [NoteSignature("northwind.example/leaver", b"none", words or b"no signature")])


class Place:
    """Where ledgers can be: an SQLite file, or a database of a PostgreSQL server."""

    name: str

    def new(self) -> str:
        """The address of a new ledger, empty or not made yet."""
        raise AssertionError

    def copy(self, where: str) -> str:
        """The address of a copy of a ledger that nobody has open."""
        raise AssertionError

    def tamper(self, where: str, *statements: str) -> None:
        """Run statements as an administrator who took the triggers away."""
        raise AssertionError

    def sql(self, where: str, *statements: str) -> list[Sequence[object]]:
        """Run statements outside of all our code; the rows of the last one."""
        raise AssertionError

    def open(self) -> Ledger:
        """A new, empty ledger."""
        return Ledger.open(self.new())


class SqlitePlace(Place):
    """Files in a folder."""

    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        self._files: Iterator[Path] = (folder / f"ledger-{number}.db" for number in count())

    def new(self) -> str:
        return str(next(self._files))

    def copy(self, where: str) -> str:
        return shutil.copyfile(where, self.new())

    def tamper(self, where: str, *statements: str) -> None:
        triggers = self.sql(where, "SELECT name FROM sqlite_master WHERE type = 'trigger'")
        self.sql(where, *(f"DROP TRIGGER {row[0]}" for row in triggers), *statements)

    def sql(self, where: str, *statements: str) -> list[Sequence[object]]:
        with closing(sqlite3.connect(where, isolation_level=None)) as database:
            rows: list[Sequence[object]] = []
            for statement in statements:
                rows = list(database.execute(statement))
            return rows


class PostgresPlace(Place):
    """Databases of one server."""

    name = "postgresql"

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self._template = ""

    def new(self) -> str:
        if not self._template:  # copying an empty ledger takes less time than making one
            self._template = self.server.database()
            Ledger.open(self.server.url(self._template)).close()
        return self.copy(self.server.url(self._template))

    def copy(self, where: str) -> str:
        return self.server.url(self.server.database(database_of(where)))

    def tamper(self, where: str, *statements: str) -> None:
        # As a superuser: without triggers, references included.
        off = [f"ALTER TABLE {table.name} DISABLE TRIGGER ALL" for table in METADATA.sorted_tables]
        self.sql(where, *off, *statements)

    def sql(self, where: str, *statements: str) -> list[Sequence[object]]:
        return self.server.run(*statements, database=database_of(where))


def database_of(where: str) -> str:
    """The database's name in a PostgreSQL address."""
    return where.partition("@/")[2].partition("?")[0]
