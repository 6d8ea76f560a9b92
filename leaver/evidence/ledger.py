"""The ledger: an append-only store of records in SQLite.

One process writes (the evidence worker); any number may read. Every batch is one transaction with full
synchronisation, so a process killed at any moment has either stored a batch or not.

The tables are in ``schema.py``.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from leaver.domain.records import AppendResult, RecordDraft
from leaver.domain.words import RecordType
from leaver.evidence.errors import (
    CaseNotClosedError,
    ChainClosedError,
    DraftConflictError,
    GapError,
    LedgerDamagedError,
    LedgerError,
    LedgerVersionError,
    UnfitDraftError,
    UnknownCaseError,
)
from leaver.evidence.records import (
    NO_RECORD,
    Chain,
    Record,
    draft_hash,
    leaf_hash,
    parse_record,
    record_bytes,
)
from leaver.evidence.schema import APPLICATION_ID, VERSION, statements

_BUSY_SECONDS: Final = 20.0

_Row = tuple[bytes | int | str, ...]


@dataclass(frozen=True, slots=True)
class CaseEntry:
    """A case in the ledger: how many records its case chain has, and whether it has ended."""

    case: str
    count: int
    closed: bool


@dataclass(frozen=True, slots=True)
class _Tail:
    """A chain's end: how many records, the last one's type and leaf hash (hex)."""

    count: int
    type: str
    leaf: str


class Ledger:
    """An open ledger. Methods may be called from any thread; calls are serialised.

    Example::

        with Ledger(Path("state/ledger.sqlite")) as ledger:
            ledger.append([draft])
            ledger.records(draft.case)
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the ledger, or create it (readable by its owner only) unless ``read_only``.

        Raises:
            LedgerVersionError: the file is something else, was written by another version, or is missing and
                may not be created.
        """
        self._lock = threading.Lock()
        if read_only and not path.is_file():
            raise LedgerVersionError(f"there is no ledger at {path}")
        if not read_only:
            _create_private(path)
        target = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"
        self._db = sqlite3.connect(
            target, uri=True, isolation_level=None, timeout=_BUSY_SECONDS, check_same_thread=False
        )
        try:
            self._prepare(path, read_only=read_only)
        except sqlite3.DatabaseError as err:
            self._db.close()
            raise LedgerVersionError(f"{path} cannot be opened as a ledger: {err}") from err
        except LedgerError:
            self._db.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; the ledger cannot be used afterwards."""
        with self._lock:
            self._db.close()

    def append(self, drafts: Sequence[RecordDraft]) -> AppendResult:
        """Store consecutive drafts of one chain, all or none.

        A draft that is already stored is left as it is, so a repeated call changes nothing.

        Returns:
            The chain's last leaf hash and its number of records after the call.

        Raises:
            UnfitDraftError: no drafts, drafts of several chains, a body without canonical form, or a
                ``case.closed`` whose count is not the number of records.
            DraftConflictError: a different draft is stored under the same number.
            GapError: the next number was skipped.
            ChainClosedError: the chain has ended.
            CaseNotClosedError: a ``watch`` record before its case was closed.
        """
        case, chain = _one_chain(drafts)
        hashes = [draft_hash(draft) for draft in drafts]
        with self._transaction():
            for draft, drafted in zip(drafts, hashes, strict=True):
                stored = self._stored_draft(draft)
                if stored is None:
                    self._insert(draft, drafted)
                elif stored != drafted:
                    raise DraftConflictError(
                        f"{_where(draft)}: a different draft is already stored under this number"
                    )
            tail = self._tail(case, chain)
        if tail is None:  # impossible after an insert; keeps the type honest
            raise UnknownCaseError(f"{case}: no record")
        return AppendResult(head=tail.leaf, count=tail.count)

    def records(self, case: str, chain: Chain = Chain.CASE) -> tuple[Record, ...]:
        """A chain's records in order; empty when there are none.

        Raises:
            LedgerDamagedError: stored bytes do not match their leaf hash.
        """
        rows = self._read(
            "SELECT e.seq, l.hash, r.bytes FROM entry e JOIN leaf l USING (seq) JOIN record r USING (seq)"
            " WHERE e.case_id = ? AND e.chain = ? ORDER BY e.case_seq",
            (case, chain.value),
        )
        return tuple(_checked(row) for row in rows)

    def closed_records(self, case: str) -> tuple[Record, ...]:
        """The records of a case that has ended.

        Raises:
            UnknownCaseError: no such case.
            CaseNotClosedError: the case goes on.
            LedgerDamagedError: as for ``records``.
        """
        records = self.records(case)
        if not records:
            raise UnknownCaseError(f"{case}: the ledger has no record of this case")
        if records[-1].type is not RecordType.CASE_CLOSED:
            raise CaseNotClosedError(f"{case}: the case is not closed yet")
        return records

    def cases(self) -> tuple[CaseEntry, ...]:
        """Every case, in the order of their first record."""
        rows = self._read(
            "SELECT case_id, COUNT(*), MAX(type = ?) FROM entry WHERE chain = ?"
            " GROUP BY case_id ORDER BY MIN(seq)",
            (RecordType.CASE_CLOSED.value, Chain.CASE.value),
        )
        return tuple(CaseEntry(str(case), int(count), bool(closed)) for case, count, closed in rows)

    def leaves(self, start: int = 0) -> tuple[bytes, ...]:
        """All leaf hashes from place ``start`` on, without gaps: what a Merkle tree is built of."""
        rows = self._read("SELECT hash FROM leaf WHERE seq >= ? ORDER BY seq", (start,))
        return tuple(_blob(row[0]) for row in rows)

    def _prepare(self, path: Path, *, read_only: bool) -> None:
        if not read_only:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
            with self._transaction():
                if self._number("PRAGMA user_version") == 0 and not self._number(
                    "SELECT COUNT(*) FROM sqlite_master"
                ):
                    self._create()
        version = self._number("PRAGMA user_version")
        if self._number("PRAGMA application_id") != APPLICATION_ID or version != VERSION:
            raise LedgerVersionError(f"{path} is not a ledger of version {VERSION}; nothing was changed")

    def _create(self) -> None:
        for statement in statements():
            self._db.execute(statement)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _read(self, query: str, values: tuple[str | int, ...] = ()) -> list[_Row]:
        with self._lock, closing(self._db.execute(query, values)) as rows:
            return list(rows)

    def _number(self, query: str) -> int:
        with closing(self._db.execute(query)) as rows:
            return int(rows.fetchone()[0])

    def _stored_draft(self, draft: RecordDraft) -> str | None:
        row = self._db.execute(
            "SELECT r.draft_sha256 FROM entry e JOIN record r USING (seq)"
            " WHERE e.case_id = ? AND e.chain = ? AND e.case_seq = ?",
            (draft.case, draft.chain, draft.case_seq),
        ).fetchone()
        return str(row[0]) if row else None

    def _tail(self, case: str, chain: Chain) -> _Tail | None:
        row = self._db.execute(
            "SELECT e.case_seq, e.type, l.hash FROM entry e JOIN leaf l USING (seq)"
            " WHERE e.case_id = ? AND e.chain = ? ORDER BY e.case_seq DESC LIMIT 1",
            (case, chain.value),
        ).fetchone()
        return _Tail(count=int(row[0]) + 1, type=str(row[1]), leaf=bytes(row[2]).hex()) if row else None

    def _insert(self, draft: RecordDraft, drafted: str) -> None:
        chain = Chain(draft.chain)
        tail = self._tail(draft.case, chain)
        _check_place(draft, tail)
        seq = self._number("SELECT COALESCE(MAX(seq) + 1, 0) FROM leaf")
        prev = tail.leaf if tail else self._link(draft, chain)
        raw = record_bytes(draft, seq=seq, salt=secrets.token_hex(16), prev_case=prev)
        self._db.execute("INSERT INTO leaf VALUES (?, ?)", (seq, leaf_hash(raw)))
        self._db.execute(
            "INSERT INTO entry VALUES (?, ?, ?, ?, ?)",
            (seq, draft.case, chain.value, draft.case_seq, draft.type.value),
        )
        self._db.execute("INSERT INTO record VALUES (?, ?, ?)", (seq, drafted, raw))

    def _link(self, draft: RecordDraft, chain: Chain) -> str:
        """What a chain's first record links to: the closed case for ``watch``, else nothing."""
        if chain is Chain.CASE:
            return NO_RECORD
        case = self._tail(draft.case, Chain.CASE)
        if case is None or case.type != RecordType.CASE_CLOSED:
            raise CaseNotClosedError(
                f"{_where(draft)}: re-verification is recorded only after the case is closed"
            )
        return case.leaf


def _create_private(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return


def _one_chain(drafts: Sequence[RecordDraft]) -> tuple[str, Chain]:
    chains = {(draft.case, draft.chain) for draft in drafts}
    if len(chains) != 1:
        raise UnfitDraftError("a batch holds the drafts of exactly one chain, and at least one")
    case, chain = chains.pop()
    if chain not in set(Chain):
        raise UnfitDraftError(f"chain: {chain!r} is neither 'case' nor 'watch'")
    return case, Chain(chain)


def _check_place(draft: RecordDraft, tail: _Tail | None) -> None:
    count = tail.count if tail else 0
    if tail is not None and tail.type == RecordType.CASE_CLOSED:
        raise ChainClosedError(f"{_where(draft)}: the chain ended with record {count - 1}")
    if draft.case_seq != count:
        raise GapError(f"{_where(draft)}: the chain's next record is number {count}")
    told = draft.body.get("count")
    if draft.type is RecordType.CASE_CLOSED and (type(told) is not int or told != count + 1):
        raise UnfitDraftError(
            f"{_where(draft)}: body.count must be {count + 1}, the number of records with this one"
        )


def _blob(value: bytes | int | str) -> bytes:
    if isinstance(value, bytes):
        return value
    raise LedgerDamagedError("the ledger holds text where bytes belong")


def _checked(row: _Row) -> Record:
    raw = _blob(row[2])
    if leaf_hash(raw) != _blob(row[1]):
        raise LedgerDamagedError(f"record {row[0]!r} of the ledger does not have the hash it was stored with")
    return parse_record(raw)


def _where(draft: RecordDraft) -> str:
    return f"{draft.case}/{draft.chain}/{draft.case_seq}"
