"""The ledger: an append-only log of records with its Merkle tree, in SQLite or PostgreSQL.

One process writes (the evidence worker); any number may read. Records, leaves and tree nodes go into the
database in one transaction with full synchronisation, so a process or a server killed at any moment has
either stored a batch or not.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from leaver.domain.base import Facts
from leaver.domain.records import AppendResult, RecordDraft
from leaver.domain.words import RecordType
from leaver.evidence.errors import LedgerDamagedError, LedgerError, LedgerUnavailableError
from leaver.evidence.ledger.anchoring import Anchoring
from leaver.evidence.ledger.appending import Appender, Memory, prepare_batch
from leaver.evidence.ledger.checks import Checks
from leaver.evidence.ledger.database import Database
from leaver.evidence.ledger.erasable import Erasables, Files
from leaver.evidence.ledger.model import Note
from leaver.evidence.ledger.postgres import postgres_engine
from leaver.evidence.ledger.reading import RecordReads
from leaver.evidence.ledger.sqlite import sqlite_engine
from leaver.evidence.ledger.tree import TreeReads
from leaver.evidence.records import Chain, Prepared, Record


class Ledger(RecordReads, TreeReads, Anchoring, Erasables, Files, Checks):
    """An open ledger. Methods may be called from any thread; writes take turns, reads run beside them.

    Every method may raise ``LedgerUnavailableError`` when the database cannot be used now, and
    ``LedgerDamagedError`` when what is stored contradicts itself.

    Example::

        with Ledger.open("state/ledger.db") as ledger:
            ledger.append([draft])
            ledger.records(draft.case)
    """

    def __init__(self, database: Database) -> None:
        self._db = database
        self._memory = Memory()
        self._turn = threading.Lock()

    @classmethod
    def open(cls, where: str | Path, *, read_only: bool = False) -> Self:
        """Open the ledger, or create it unless ``read_only``.

        Args:
            where: the path of an SQLite file (made readable by its owner only), or a
                ``postgresql+pg8000://`` URL, see ``postgres_engine``.
            read_only: for reports and checks beside the writer.

        Raises:
            LedgerVersionError: there is something else, or a ledger of another version, or none and it may
                not be created.
            LedgerUnavailableError: the database cannot be reached now.
        """
        if isinstance(where, str) and "://" in where:
            engine = postgres_engine(where, read_only=read_only)
        else:
            engine = sqlite_engine(Path(where), read_only=read_only)
        return cls(Database(engine, read_only=read_only))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; the ledger cannot be used afterwards."""
        self._db.close()

    def append(self, drafts: Sequence[RecordDraft]) -> AppendResult:
        """Store consecutive drafts of one chain, all or none.

        A draft that is already stored is left as it is, so a repeated call changes nothing.

        Returns:
            The chain's last leaf hash and its number of records after the call.

        Raises:
            UnfitDraftError: no drafts, drafts of several chains, of a chain that the ledger numbers, a body
                without canonical form, or a ``case.closed`` whose count is not the number of records.
            DraftConflictError: a different draft is stored under the same number.
            GapError: the next number was skipped.
            ChainClosedError: the chain has ended.
            CaseNotClosedError: a ``watch`` record before its case was closed.
        """
        answer = self.append_many([drafts])[0]
        if isinstance(answer, LedgerError):
            raise answer
        return answer

    def append_many(self, batches: Sequence[Sequence[RecordDraft]]) -> list[AppendResult | LedgerError]:
        """Store many batches in one transaction; one that is refused does not spoil the others.

        Returns:
            For each batch what ``append`` returns, or the error it raises.

        Raises:
            LedgerUnavailableError: the database cannot be used now; nothing of any batch is known to be
                stored.
        """
        prepared = [_prepared(drafts) for drafts in batches]
        if all(isinstance(batch, LedgerError) for batch in prepared):
            return [batch for batch in prepared if isinstance(batch, LedgerError)]
        with self._appending() as appender:
            return [
                batch if isinstance(batch, LedgerError) else _appended(appender, batch) for batch in prepared
            ]

    def note(  # noqa: PLR0913 - the fields of a note
        self,
        chain: Chain,
        case: str,
        type: RecordType,  # noqa: A002
        at: datetime,
        body: Facts,
        *,
        key: str,
        opening: Facts | None = None,
    ) -> Record:
        """Store a record of the sealer's own, numbered here; ``chain`` is ``sealer`` or ``log``.

        Idempotent: the same ``key`` in the same chain again stores nothing, whatever the rest says.

        Args:
            chain: about a case, or about the log and the installation.
            case: the case id, or ``log``.
            type: the kind of record.
            at: when it happened or was seen.
            body: no personal data.
            key: names the record within its chain, 1 to 200 printable characters.
            opening: personal data; stored apart under a fresh salt, with ``person_commit`` in the body.

        Returns:
            The record as it is stored.

        Raises:
            UnfitDraftError: it cannot become a record of that chain.
        """
        return self.notes([Note(chain, type, at, body, key, case, opening)])[0]

    def notes(self, notes: Sequence[Note]) -> list[Record]:
        """Store several of the sealer's own records, all or none; see ``note``."""
        with self._appending() as appender:
            return [appender.note(note) for note in notes]

    @contextmanager
    def _appending(self) -> Iterator[Appender]:
        """A transaction to append in; what is known of the log's end lives on if it is stored."""
        with self._turn:
            try:
                with self._db.write() as connection:
                    appender = Appender(self._db, connection, self._memory)
                    yield appender
                    appender.flush()
            except BaseException:
                self._memory.forget()
                raise
            appender.remember()


def _prepared(drafts: Sequence[RecordDraft]) -> list[Prepared] | LedgerError:
    try:
        return prepare_batch(drafts)
    except LedgerError as err:
        return err


def _appended(appender: Appender, batch: list[Prepared]) -> AppendResult | LedgerError:
    try:
        return appender.append(batch)
    except (LedgerUnavailableError, LedgerDamagedError):
        raise
    except LedgerError as err:
        return err
