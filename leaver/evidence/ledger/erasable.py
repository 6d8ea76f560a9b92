"""Openings and case keys, which may be erased, and the content store, which may not."""

from __future__ import annotations

import hashlib
import json
import secrets
import zlib
from collections.abc import Collection
from typing import Final, cast

from sqlalchemy import Delete, Select, delete, select

from leaver.domain.base import Facts
from leaver.domain.words import RecordType
from leaver.evidence.errors import LedgerDamagedError, NotStoredError
from leaver.evidence.ledger.appending import commitment
from leaver.evidence.ledger.database import Database
from leaver.evidence.ledger.model import Opening
from leaver.evidence.ledger.tables import CASE_KEY, CONTENT, ENTRY, OPENING
from leaver.evidence.records import Chain

_KEY_BYTES: Final = 32


class Files:
    """The part of the ledger that keeps files by their hash: histories, snapshots, answers of systems."""

    _db: Database

    def store_content(self, raw: bytes) -> str:
        """Store bytes under their SHA-256; the same bytes again change nothing. Not erasable.

        Returns:
            The SHA-256, hex.
        """
        sha256 = hashlib.sha256(raw).hexdigest()
        packed = zlib.compress(raw)
        with self._db.write() as connection:
            if connection.scalar(select(CONTENT.c.sha256).where(CONTENT.c.sha256 == sha256)) is None:
                self._db.insert(connection, CONTENT, [(sha256, packed)])
        return sha256

    def content(self, sha256: str) -> bytes:
        """The bytes with this SHA-256 (hex).

        Raises:
            NotStoredError: there are none.
            LedgerDamagedError: what is stored has another hash.
        """
        with self._db.read() as connection:
            packed = connection.scalar(select(CONTENT.c.bytes).where(CONTENT.c.sha256 == sha256))
        if packed is None:
            raise NotStoredError(f"no content with the SHA-256 {sha256} is stored")
        return unpacked(sha256, bytes(packed))


class Erasables:
    """The part of the ledger that holds what may be erased: personal data, and keys of bundles."""

    _db: Database

    def opening(self, case: str | None = None, *, seqs: Collection[int] = ()) -> tuple[Opening, ...]:
        """The personal data that are still there: of a case, of these records, or all, in log order."""
        query = select(OPENING).order_by(OPENING.c.seq)
        if case is not None:
            query = query.where(OPENING.c.case_id == case)
        if seqs:
            query = query.where(OPENING.c.seq.in_(sorted(seqs)))
        with self._db.read() as connection:
            return tuple(
                _opening(int(row.seq), row.case_id, bytes(row.salt), bytes(row.content))
                for row in connection.execute(query)
            )

    def erase_openings(self, case: str, *, seqs: Collection[int] = ()) -> int:
        """Delete personal data of a case, or only those behind these records; the log stays as it is.

        On SQLite the bytes are overwritten. On PostgreSQL they are gone from the table at once and from the
        disk when the table is vacuumed; backups and archived WAL have to be dealt with by their owners.

        Returns:
            How many were deleted.
        """
        query = delete(OPENING).where(OPENING.c.case_id == case)
        if seqs:
            query = query.where(OPENING.c.seq.in_(sorted(seqs)))
        return self._erase(query)

    def case_key(self, case: str, *, create: bool = False) -> bytes | None:
        """The key (32 bytes) that bundles of this case are encrypted with where they cannot be deleted.

        Args:
            case: the case id.
            create: make one when there is none, unless the case was erased: that stands for ever.

        Returns:
            None when there is none.
        """
        query = select(CASE_KEY.c.key).where(CASE_KEY.c.case_id == case)
        with self._db.read() as connection:
            found: bytes | None = connection.scalar(query)
        if found is None and create:
            with self._db.write() as connection:
                found = connection.scalar(query)
                if found is None and connection.execute(_erasure(case)).first() is None:
                    found = secrets.token_bytes(_KEY_BYTES)
                    self._db.insert(connection, CASE_KEY, [(case, found)])
        return None if found is None else bytes(found)

    def drop_case_key(self, case: str) -> bool:
        """Delete the key: what is encrypted with it cannot be read by anybody from then on.

        Returns:
            Whether there was one.
        """
        return self._erase(delete(CASE_KEY).where(CASE_KEY.c.case_id == case)) > 0

    def scrub(self) -> None:
        """Make sure that SQLite's write-ahead log keeps no trace of what was erased.

        The pages themselves are overwritten as they are freed. On PostgreSQL nothing is done, see
        ``erase_openings``.

        Raises:
            LedgerUnavailableError: a reader keeps the write-ahead log alive; try again.
        """
        self._db.scrub()

    def _erase(self, query: Delete) -> int:
        with self._db.write() as connection:
            count = connection.execute(query).rowcount
        if count:
            self._db.clean()
        return count


def _erasure(case: str) -> Select[int]:
    """The record that says that the case was erased, if any."""
    return (
        select(ENTRY.c.seq)
        .where(
            ENTRY.c.case_id == case,
            ENTRY.c.chain == Chain.SEALER.value,
            ENTRY.c.type == RecordType.ERASURE.value,
        )
        .limit(1)
    )


def unpacked(sha256: str, packed: bytes) -> bytes:
    """The bytes that were stored under a hash.

    Raises:
        LedgerDamagedError: they have another hash.
    """
    try:
        raw = zlib.decompress(packed)
    except zlib.error:
        raise LedgerDamagedError(f"the content {sha256} cannot be unpacked") from None
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise LedgerDamagedError(f"the content stored as {sha256} has another hash")
    return raw


def _opening(seq: int, case: str, salt: bytes, content: bytes) -> Opening:
    return Opening(seq, case, salt, cast("Facts", json.loads(content)), commitment(salt, content))
