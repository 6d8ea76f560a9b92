"""Checking the ledger against itself: all of it, or what was added since the last checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, exists, select

from leaver.evidence.errors import LedgerDamagedError, NoteError
from leaver.evidence.ledger.anchoring import contradiction, latest
from leaver.evidence.ledger.appending import commitment
from leaver.evidence.ledger.audit import Audit, LogRow
from leaver.evidence.ledger.database import Database
from leaver.evidence.ledger.erasable import unpacked
from leaver.evidence.ledger.model import Damage, DamageKind, TreeHead
from leaver.evidence.ledger.tables import CHECKPOINT, CONTENT, ENTRY, LEAF, NODE, OPENING, RECORD
from leaver.evidence.ledger.tree import gathered, log_size, read_node, tree_root
from leaver.evidence.log import merkle
from leaver.evidence.log.checkpoint import parse_signed
from leaver.evidence.log.notes import NoteVerifier
from leaver.evidence.records import parse_record

_AT_ONCE: Final = 2_000
_LIMIT: Final = 1_000


class Checks:
    """The part of the ledger that looks for damage."""

    _db: Database

    def check(self, *, erasable: bool = True, log_keys: Sequence[str] = ()) -> tuple[Damage, ...]:
        """Compute the whole log anew from the records' bytes and compare everything with it.

        Places and numbers, leaf hashes, the index, links, tree nodes, size and root of every checkpoint as
        its note says them, the hashes of stored files, the commitments of openings. Reads everything once.

        Args:
            erasable: look at the openings too; a role for reports may not read them.
            log_keys: all verifier keys of the log; without them nobody looks at the checkpoints' signatures.

        Returns:
            What is wrong, at most 1,000 findings; empty when everything fits.

        Raises:
            MalformedNoteError: a key is none.
        """
        keys = [NoteVerifier.from_vkey(vkey) for vkey in log_keys]
        with self._db.read(snapshot=True) as connection:
            audit = Audit(_roots(connection), log_size(connection))
            _check_notes(connection, audit, keys)
            _check_records(connection, audit)
            audit.finish()
            _check_counts(connection, audit)
            _check_nodes(connection, audit)
            _check_files(connection, audit)
            if erasable:
                _check_openings(connection, audit)
        return tuple(audit.found[:_LIMIT])

    def check_grown(self) -> TreeHead:
        """Make sure that the log only grew since its last checkpoint, before the next one is signed.

        The stored tree still has the last checkpoint's root; every record since then has its leaf's hash, and
        appending these leaves to the old tree gives the stored tree. Costs as much as there are new records.

        Returns:
            Size and root that were checked: what may be signed.

        Raises:
            LedgerDamagedError: saying what does not fit. Nothing may be signed then.
        """
        with self._db.read() as connection:
            known, size = latest(connection), log_size(connection)
            old = known.size if known else 0
            if known is not None:
                _check_known(connection, known.size, known.root, size)
            root = tree_root(connection, size)
            if root != _regrown(connection, old, size):
                raise LedgerDamagedError(
                    f"the tree of {size} records is not the one that the records since {old} give"
                )
        return TreeHead(size, root)


def _check_known(connection: Connection, old: int, root: bytes, size: int) -> None:
    if size < old:
        raise LedgerDamagedError(
            f"the log has {size} records, but a checkpoint of {old} is published: records are lost"
        )
    if tree_root(connection, old) != root:
        raise LedgerDamagedError(f"the first {old} records are not those of the published checkpoint")


def _regrown(connection: Connection, old: int, size: int) -> bytes:
    """The root over ``size`` leaves, made from the old tree and the bytes of the records after it."""
    fresh: dict[tuple[int, int], bytes] = {}
    query = (
        select(LEAF.c.seq, LEAF.c.hash, RECORD.c.bytes)
        .outerjoin(RECORD, RECORD.c.seq == LEAF.c.seq)
        .where(LEAF.c.seq >= old, LEAF.c.seq < size)
        .order_by(LEAF.c.seq)
    )
    leaves: list[bytes] = []
    for seq, hashed, raw in connection.execution_options(yield_per=_AT_ONCE).execute(query):
        if seq != old + len(leaves) or raw is None or merkle.leaf_hash(bytes(raw)) != bytes(hashed):
            raise LedgerDamagedError(f"record {seq} is not the one that its leaf was made from")
        leaves.append(bytes(hashed))
    if len(leaves) != size - old:
        raise LedgerDamagedError(f"the log has no record {old + len(leaves)}")

    def before(level: int, index: int) -> bytes:
        return read_node(connection, level, index)

    for level, index, hashed in merkle.completed(old, leaves, before):
        fresh[level, index] = hashed

    def grown(nodes: merkle.Nodes) -> bytes:
        return merkle.root(lambda level, index: fresh.get((level, index)) or nodes(level, index), size)

    return gathered(connection, grown)


def _roots(connection: Connection) -> dict[int, bytes]:
    return {int(row.size): bytes(row.root) for row in connection.execute(select(CHECKPOINT))}


def _check_notes(connection: Connection, audit: Audit, keys: Sequence[NoteVerifier]) -> None:
    for size, root, note, _at in connection.execute(select(CHECKPOINT).order_by(CHECKPOINT.c.size)):
        why = contradiction(int(size), bytes(root), bytes(note))
        if not why and keys:
            why = _unsigned(bytes(note), keys)
        if why:
            audit.add(DamageKind.CHECKPOINT, f"checkpoint {size}", why)


def _unsigned(note: bytes, keys: Sequence[NoteVerifier]) -> str:
    try:
        parse_signed(note, keys)
    except NoteError as err:
        return f"the log did not sign its note: {err}"
    return ""


def _check_records(connection: Connection, audit: Audit) -> None:
    query = (
        select(
            LEAF.c.seq,
            LEAF.c.hash,
            ENTRY.c.case_id,
            ENTRY.c.chain,
            ENTRY.c.case_seq,
            ENTRY.c.type,
            ENTRY.c.at,
            RECORD.c.draft_sha256,
            RECORD.c.bytes,
        )
        .outerjoin(ENTRY, ENTRY.c.seq == LEAF.c.seq)
        .outerjoin(RECORD, RECORD.c.seq == LEAF.c.seq)
        .order_by(LEAF.c.seq)
    )
    for row in connection.execution_options(yield_per=_AT_ONCE).execute(query):
        audit.take(LogRow._make(row))


def _check_counts(connection: Connection, audit: Audit) -> None:
    """Rows without a leaf would not be met on the way along the leaves."""
    for table in (ENTRY, RECORD):
        query = select(table.c.seq).where(~exists().where(LEAF.c.seq == table.c.seq))
        for seq in connection.scalars(query.limit(_LIMIT)):
            audit.add(DamageKind.NUMBERING, f"{table.name} {seq}", "there is no leaf for it")


def _check_nodes(connection: Connection, audit: Audit) -> None:
    query = select(NODE).order_by(NODE.c.level, NODE.c.idx)
    for level, index, hashed in connection.execution_options(yield_per=_AT_ONCE).execute(query):
        audit.take_node(int(level), int(index), bytes(hashed))
    audit.finish_nodes()


def _check_files(connection: Connection, audit: Audit) -> None:
    for sha256, packed in connection.execution_options(yield_per=20).execute(select(CONTENT)):
        try:
            unpacked(sha256, bytes(packed))
        except LedgerDamagedError as err:
            audit.add(DamageKind.CONTENT, f"content {sha256}", str(err))


def _check_openings(connection: Connection, audit: Audit) -> None:
    query = (
        select(OPENING.c.seq, OPENING.c.case_id, OPENING.c.salt, OPENING.c.content, RECORD.c.bytes)
        .outerjoin(RECORD, RECORD.c.seq == OPENING.c.seq)
        .order_by(OPENING.c.seq)
    )
    for seq, case, salt, content, raw in connection.execution_options(yield_per=_AT_ONCE).execute(query):
        try:
            record = parse_record(bytes(raw or b""))
        except LedgerDamagedError:
            audit.add(DamageKind.OPENING, f"opening {seq}", "its record cannot be read")
            continue
        told = record.body.get("person_commit")
        if record.case != case or told != commitment(bytes(salt), bytes(content)):
            audit.add(DamageKind.OPENING, f"opening {seq}", "it does not fit the commitment in its record")
