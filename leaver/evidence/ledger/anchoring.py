"""Checkpoints, what anchors them outside, and what kept an anchor from being had."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Table, func, select

from leaver.evidence.errors import (
    CheckpointConflictError,
    LedgerDamagedError,
    NoteError,
    NotStoredError,
)
from leaver.evidence.ledger.database import Database, instant, micros
from leaver.evidence.ledger.model import Anchor, AnchorKind, AnchorRow, StoredCheckpoint, Trouble
from leaver.evidence.ledger.tables import ANCHOR, CHECKPOINT, TROUBLE
from leaver.evidence.ledger.tree import log_size, tree_root
from leaver.evidence.log.checkpoint import parse_unverified


class Anchoring:
    """The part of the ledger that keeps checkpoints and their anchors. All of it is insert-only."""

    _db: Database

    def add_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        """Store a signed checkpoint; the same one again changes nothing.

        Raises:
            CheckpointConflictError: the log is shorter, its root there is another, the note says something
                else, another note of that size is stored, or a larger checkpoint exists already.
        """
        if why := contradiction(checkpoint.size, checkpoint.root, checkpoint.note):
            raise CheckpointConflictError(why)
        with self._db.write() as connection:
            stored = _checkpoint(connection, checkpoint.size)
            if stored is not None:
                if (stored.root, stored.note) != (checkpoint.root, checkpoint.note):
                    raise CheckpointConflictError(f"another checkpoint of size {checkpoint.size} is stored")
                return
            _check_fit(connection, checkpoint)
            row = (checkpoint.size, checkpoint.root, checkpoint.note, micros(checkpoint.at))
            self._db.insert(connection, CHECKPOINT, [row])

    def checkpoints(self, since: int = 0) -> tuple[StoredCheckpoint, ...]:
        """The checkpoints of at least that size, in order."""
        query = select(CHECKPOINT).where(CHECKPOINT.c.size >= since).order_by(CHECKPOINT.c.size)
        with self._db.read() as connection:
            return tuple(_to_checkpoint(row) for row in connection.execute(query))

    def checkpoint(self, size: int) -> StoredCheckpoint | None:
        """The checkpoint of exactly that size; None when there is none."""
        with self._db.read() as connection:
            return _checkpoint(connection, size)

    def latest_checkpoint(self) -> StoredCheckpoint | None:
        """The largest checkpoint; None before the first."""
        with self._db.read() as connection:
            return latest(connection)

    def add_anchor(self, size: int, kind: AnchorKind, name: str, content: bytes, at: datetime) -> None:
        """Store an anchor of the checkpoint of ``size``; the same content again changes nothing.

        Raises:
            NotStoredError: no checkpoint has that size.
        """
        with self._db.write() as connection:
            _check_checkpoint(connection, size)
            known = select(ANCHOR.c.id).where(
                ANCHOR.c.size == size,
                ANCHOR.c.kind == kind.value,
                ANCHOR.c.name == name,
                ANCHOR.c.content == content,
            )
            if connection.execute(known).first() is None:
                row = (_next_id(connection, ANCHOR), size, kind.value, name, content, micros(at))
                self._db.insert(connection, ANCHOR, [row])

    def anchors(self, size: int | None = None) -> tuple[Anchor, ...]:
        """The anchors of a checkpoint, of all without a size, in the order they came."""
        query = select(ANCHOR).order_by(ANCHOR.c.id)
        if size is not None:
            query = query.where(ANCHOR.c.size == size)
        with self._db.read() as connection:
            return tuple(
                Anchor(int(row.size), AnchorKind(row.kind), row.name, bytes(row.content), instant(row.at))
                for row in connection.execute(query)
            )

    def anchored(self, *, after: int = 0) -> tuple[AnchorRow, ...]:
        """Which anchors came after that row, without their contents, in the order they came."""
        query = (
            select(ANCHOR.c.id, ANCHOR.c.size, ANCHOR.c.kind, ANCHOR.c.name, ANCHOR.c.at)
            .where(ANCHOR.c.id > after)
            .order_by(ANCHOR.c.id)
        )
        with self._db.read() as connection:
            return tuple(
                AnchorRow(int(row.id), int(row.size), AnchorKind(row.kind), row.name, instant(row.at))
                for row in connection.execute(query)
            )

    def note_trouble(self, size: int, kind: AnchorKind, name: str, text: str, at: datetime) -> None:
        """Store that an anchor could not be had, and why (without personal data or secrets).

        Raises:
            NotStoredError: no checkpoint has that size.
        """
        with self._db.write() as connection:
            _check_checkpoint(connection, size)
            # An error's text may hold anything; PostgreSQL takes neither NUL nor half a surrogate pair.
            told = text.encode(errors="replace").decode().replace("\0", "")
            row = (_next_id(connection, TROUBLE), size, kind.value, name, told, micros(at))
            self._db.insert(connection, TROUBLE, [row])

    def troubles(self, size: int | None = None) -> tuple[Trouble, ...]:
        """What anchors of a checkpoint could not be had, of all without a size, in the order it came."""
        query = select(TROUBLE).order_by(TROUBLE.c.id)
        if size is not None:
            query = query.where(TROUBLE.c.size == size)
        with self._db.read() as connection:
            return tuple(
                Trouble(int(row.size), AnchorKind(row.kind), row.name, row.text, instant(row.at))
                for row in connection.execute(query)
            )


def latest(connection: Connection) -> StoredCheckpoint | None:
    """The largest checkpoint; None before the first."""
    row = connection.execute(select(CHECKPOINT).order_by(CHECKPOINT.c.size.desc()).limit(1)).first()
    return _to_checkpoint(row) if row else None


def _checkpoint(connection: Connection, size: int) -> StoredCheckpoint | None:
    row = connection.execute(select(CHECKPOINT).where(CHECKPOINT.c.size == size)).first()
    return _to_checkpoint(row) if row else None


def _check_fit(connection: Connection, checkpoint: StoredCheckpoint) -> None:
    size = log_size(connection)
    if not 0 <= checkpoint.size <= size:
        raise CheckpointConflictError(f"the checkpoint is of {checkpoint.size} records, the log has {size}")
    newest = latest(connection)
    if newest is not None and newest.size > checkpoint.size:
        raise CheckpointConflictError(f"a checkpoint of {newest.size} records is published already")
    if tree_root(connection, checkpoint.size) != checkpoint.root:
        raise CheckpointConflictError(
            f"the log of {checkpoint.size} records has another root than the checkpoint"
        )


def _check_checkpoint(connection: Connection, size: int) -> None:
    if _checkpoint(connection, size) is None:
        raise NotStoredError(f"there is no checkpoint of size {size}")


def _next_id(connection: Connection, table: Table) -> int:
    # Numbered here, under the sequencer's lock: the sealer's role needs no right to a sequence for it.
    last: int | None = connection.scalar(select(func.max(table.c.id)))
    return 1 if last is None else last + 1


def contradiction(size: int, root: bytes, note: bytes) -> str:
    """Why a signed note is not the checkpoint of this size and root; empty when it is.

    Signatures are not looked at. But whoever rewrites the log and its roots cannot rewrite the notes as well
    without the log's key, so nothing that the note does not say is believed.
    """
    try:
        told = parse_unverified(note)
    except NoteError as err:
        return f"the stored note of the checkpoint of {size} records is none: {err}"
    if (told.size, told.root) == (size, root):
        return ""
    return f"the signed note of the checkpoint of {size} records says another size or root than is stored"


def _to_checkpoint(row: Row[Any]) -> StoredCheckpoint:
    stored = StoredCheckpoint(int(row.size), bytes(row.root), bytes(row.note), instant(row.at))
    if why := contradiction(stored.size, stored.root, stored.note):
        raise LedgerDamagedError(f"{why}: the table of checkpoints was changed")
    return stored
