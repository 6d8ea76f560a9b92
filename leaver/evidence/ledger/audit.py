"""Recomputing a log record by record: what a full check compares the database with. No database in here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, NamedTuple

from leaver.domain.words import RecordType
from leaver.evidence.errors import LedgerDamagedError, UnfitDraftError
from leaver.evidence.ledger.database import micros
from leaver.evidence.ledger.model import Damage, DamageKind
from leaver.evidence.log.merkle import EMPTY_ROOT, HASH, leaf_hash, node_hash
from leaver.evidence.records import NO_RECORD, Chain, Record, parse_record, record_draft

_LIMIT: Final = 1_000


class LogRow(NamedTuple):
    """A leaf, its index entry and its record; None where there is none."""

    seq: int
    hash: bytes
    case: str | None
    chain: str | None
    case_seq: int | None
    type: str | None
    at: int | None
    draft_sha256: str | None
    raw: bytes | None


class Audit:
    """Takes the log in its order and notes what does not fit.

    Args:
        roots: size and root of every checkpoint.
        size: how many leaves there are to be.
    """

    def __init__(self, roots: Mapping[int, bytes], size: int) -> None:
        self.size = size
        self.found: list[Damage] = []
        self._roots = roots
        self._next = 0
        self._chains: dict[tuple[str, str], tuple[int, str, bool]] = {}
        """By case and chain: records so far, last leaf (hex), whether it has ended."""
        self._levels: list[bytearray] = [bytearray()]
        """By level, the hashes of the complete subtrees, one after the other."""
        self._seen: list[int] = []
        self._check_root(0)

    def add(self, kind: DamageKind, place: str, text: str) -> None:
        """Note something that is wrong."""
        if len(self.found) < _LIMIT:
            self.found.append(Damage(kind, place, text))

    def take(self, row: LogRow) -> None:
        """One leaf with what the index and the record table say of it."""
        place = f"record {row.seq}"
        if row.seq != self._next:
            self.add(DamageKind.NUMBERING, place, f"the log goes on from {self._next} with it")
        self._next = row.seq + 1
        self._grow(row.hash)
        self._check_root(len(self._levels[0]) // HASH)
        record = self._read(row, place)
        if record is None:
            self._skip(row)
        else:
            self._check_form(record, row.draft_sha256, place)
            self._follow(record, row.hash.hex(), place)

    def finish(self) -> None:
        """After the last leaf."""
        if self._next != self.size:
            self.add(DamageKind.NUMBERING, f"record {self._next}", "the log ends before it")
        for size in sorted(size for size in self._roots if size > len(self._levels[0]) // HASH):
            self.add(
                DamageKind.CHECKPOINT,
                f"checkpoint {size}",
                f"it covers more than the log's {self.size} records: records are lost",
            )

    def take_node(self, level: int, index: int, hashed: bytes) -> None:
        """One stored node, in the order of level and index."""
        while len(self._seen) <= level:
            self._seen.append(0)
        nodes = self._levels[level] if 0 < level < len(self._levels) else bytearray()
        start = index * HASH
        if start >= len(nodes):
            self.add(DamageKind.NODE, f"node {level}/{index}", "the tree has no such node")
            return
        self._seen[level] += 1
        if nodes[start : start + HASH] != hashed:
            self.add(DamageKind.NODE, f"node {level}/{index}", "it is not the hash of what is below it")

    def finish_nodes(self) -> None:
        """After the last node."""
        for level, nodes in enumerate(self._levels[1:], 1):
            seen = self._seen[level] if level < len(self._seen) else 0
            if missing := len(nodes) // HASH - seen:
                self.add(DamageKind.NODE, f"level {level}", f"{missing} nodes are missing")

    def _grow(self, hashed: bytes) -> None:
        level, index = 0, len(self._levels[0]) // HASH
        self._levels[0] += hashed
        while index & 1:
            below = self._levels[level]
            hashed = hashlib.sha256(b"\x01" + below[-2 * HASH :]).digest()
            level, index = level + 1, index >> 1
            if level == len(self._levels):
                self._levels.append(bytearray())
            self._levels[level] += hashed

    def _check_root(self, size: int) -> None:
        told = self._roots.get(size)
        if told is None:
            return
        edge = [bytes(nodes[-HASH:]) for level, nodes in enumerate(self._levels) if size >> level & 1]
        root = edge[0] if edge else EMPTY_ROOT
        for left in edge[1:]:
            root = node_hash(left, root)
        if root != told:
            self.add(DamageKind.CHECKPOINT, f"checkpoint {size}", "the records give another root")

    def _read(self, row: LogRow, place: str) -> Record | None:
        """The record, where bytes and index entry are there and it can be read."""
        if row.raw is None or row.case is None:
            self.add(DamageKind.RECORD, place, "its bytes or its index entry are missing")
            return None
        if leaf_hash(row.raw) != row.hash:
            self.add(DamageKind.RECORD, place, "its bytes do not have the hash of its leaf")
        try:
            record = parse_record(row.raw)
        except LedgerDamagedError as err:
            self.add(DamageKind.RECORD, place, str(err))
            return None
        told = (record.seq, record.case, record.chain, record.case_seq, record.type, micros(record.at))
        if told != (row.seq, row.case, row.chain, row.case_seq, row.type, row.at):
            self.add(DamageKind.RECORD, place, "the index says something else about it than its bytes")
        return record

    def _skip(self, row: LogRow) -> None:
        """Go on behind a record that cannot be read, so that its neighbours are not told about as well."""
        if row.case is not None and row.chain is not None and row.case_seq is not None:
            closes = row.type == RecordType.CASE_CLOSED
            self._chains[row.case, row.chain] = (row.case_seq + 1, row.hash.hex(), closes)

    def _check_form(self, record: Record, draft_sha256: str | None, place: str) -> None:
        """The one canonical form, and the hash that a repeated draft is known by."""
        try:
            prepared = record_draft(record)
        except UnfitDraftError as err:
            self.add(DamageKind.RECORD, place, str(err))
            return
        if prepared.record(seq=record.seq, salt=record.salt, prev_case=record.prev_case) != record.raw:
            self.add(DamageKind.RECORD, place, "its bytes are not in canonical form")
        if prepared.sha256 != draft_sha256:
            self.add(DamageKind.RECORD, place, "the hash of its draft is not that of its bytes")

    def _follow(self, record: Record, leaf: str, place: str) -> None:
        name = (record.case, record.chain.value)
        count, last, ended = self._chains.get(name, (0, self._begins(record), False))
        if ended:
            self.add(DamageKind.NUMBERING, place, "its chain had ended")
        if record.case_seq != count:
            self.add(DamageKind.NUMBERING, place, f"its chain goes on from {count} with {record.case_seq}")
        if record.prev_case != last:
            self.add(DamageKind.LINK, place, "it does not link to the record before it")
        closes = record.type is RecordType.CASE_CLOSED
        if closes and record.body.get("count") != record.case_seq + 1:
            self.add(DamageKind.NUMBERING, place, "it closes the case with another count of records")
        self._chains[name] = (record.case_seq + 1, leaf, closes)

    def _begins(self, record: Record) -> str:
        """What the first record of a chain links to."""
        if record.chain is not Chain.WATCH:
            return NO_RECORD
        _count, leaf, ended = self._chains.get((record.case, Chain.CASE.value), (0, "", False))
        return leaf if ended else "the case is not closed"
