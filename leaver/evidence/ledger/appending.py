"""One transaction's worth of appends: numbers, links, hashes and tree nodes, then rows.

Everything is decided here in memory and written at the end of the transaction, so that a batch that is
refused leaves nothing behind and the batches beside it are stored all the same.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import ColumnElement, Connection, select

from leaver.domain.base import Facts
from leaver.domain.records import AppendResult, RecordDraft
from leaver.domain.words import RecordType
from leaver.evidence.errors import (
    CaseNotClosedError,
    ChainClosedError,
    DraftConflictError,
    GapError,
    LedgerDamagedError,
    UnfitDraftError,
)
from leaver.evidence.ledger.database import Database, Value, micros
from leaver.evidence.ledger.model import Note
from leaver.evidence.ledger.tables import ENTRY, LEAF, NODE, OPENING, RECORD
from leaver.evidence.ledger.tree import read_node
from leaver.evidence.log.merkle import completed, leaf_hash
from leaver.evidence.records import NO_RECORD, Chain, Prepared, Record, parse_record, plain_json, prepare

_REMEMBERED: Final = 20_000
_SALT: Final = 16
_KEY_LENGTH: Final = 200

Name = tuple[str, str]
"""A chain: case and chain word."""


@dataclass(frozen=True, slots=True)
class Tail:
    """A chain's end: how many records, the last one's type and leaf hash (hex)."""

    count: int
    type: str
    leaf: str


@dataclass
class Memory:
    """What the last transaction of this process knew, good for as long as nobody else has written."""

    size: int = 0
    last: bytes = b""
    tails: dict[Name, Tail] = field(default_factory=dict)
    edge: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    """By level, the last complete node: index and hash."""

    def refresh(self, connection: Connection) -> None:
        """Find out how long the log is, and forget the rest if it does not end where we left it."""
        row = connection.execute(_LAST_LEAF).first()
        size, last = (int(row.seq) + 1, bytes(row.hash)) if row else (0, b"")
        if (size, last) != (self.size, self.last) or len(self.tails) > _REMEMBERED:
            self.forget()
            self.size, self.last = size, last

    def forget(self) -> None:
        """Trust nothing but the database from here on."""
        self.size, self.last = 0, b""
        self.tails.clear()
        self.edge.clear()


_LAST_LEAF: Final = select(LEAF).order_by(LEAF.c.seq.desc()).limit(1)


class Appender:
    """The appends of one transaction; ``flush`` writes them, ``remember`` is for after the commit."""

    def __init__(self, database: Database, connection: Connection, memory: Memory) -> None:
        memory.refresh(connection)
        self._database = database
        self._connection = connection
        self._memory = memory
        self._tails: dict[Name, Tail] = {}
        self._edge: dict[int, tuple[int, bytes]] = {}
        self._leaves: list[bytes] = []
        self._entries: list[tuple[Value, ...]] = []
        self._records: list[tuple[Value, ...]] = []
        self._openings: list[tuple[Value, ...]] = []
        self._drafted: dict[tuple[str, str, int], str] = {}
        self._keys: dict[tuple[str, str, str], bytes] = {}

    def append(self, batch: Sequence[Prepared]) -> AppendResult:
        """Take in consecutive drafts of one chain, all or none.

        Raises:
            LedgerError: as ``Ledger.append`` says; nothing of the batch is taken in.
        """
        name = (batch[0].draft.case, batch[0].draft.chain)
        before, mark = self._tails.get(name), len(self._leaves)
        try:
            stored = self._stored(name, batch)
            for prepared in batch:
                self._take(name, prepared, stored)
        except BaseException:
            self._undo(name, before, mark)
            raise
        tail = self._tail(name)
        if tail is None:  # impossible after a batch of at least one; keeps the type honest
            raise LedgerDamagedError(f"{name[0]}/{name[1]}: the chain has no end")
        return AppendResult(head=tail.leaf, count=tail.count)

    def note(self, note: Note) -> Record:
        """Number the sealer's own record and take it in, unless its key is known.

        Raises:
            UnfitDraftError: it cannot become a record of that chain.
        """
        _check_note(note)
        name, body = (note.case, note.chain.value), note.body
        stored = self._by_key(name, note.key)
        if stored is not None:
            return parse_record(stored)
        opened = _opened(note.opening) if note.opening is not None else None
        if opened is not None:
            body = {**body, "person_commit": opened[2]}
        tail = self._tail(name)
        number = tail.count if tail else 0
        draft = RecordDraft(
            case=note.case, chain=name[1], case_seq=number, type=note.type, at=note.at, body=body
        )
        raw = self._add(name, prepare(draft), tail.leaf if tail else NO_RECORD, key=note.key)
        if opened is not None:
            self._openings.append((self._size - 1, note.case, *opened[:2]))
        return parse_record(raw)

    def flush(self) -> None:
        """Write what was taken in: leaves, tree nodes, index, records, openings."""
        start = self._memory.size
        nodes: list[tuple[Value, ...]] = []
        for level, index, hashed in completed(start, self._leaves, self._node):
            if level:
                nodes.append((level, index, hashed))
            self._edge[level] = (index, hashed)
        for table, rows in (
            (LEAF, list(enumerate(self._leaves, start))),
            (NODE, nodes),
            (ENTRY, self._entries),
            (RECORD, self._records),
            (OPENING, self._openings),
        ):
            self._database.insert(self._connection, table, rows)

    def remember(self) -> None:
        """Keep what is now stored for the next transaction."""
        memory = self._memory
        memory.size = self._size
        memory.last = self._leaves[-1] if self._leaves else memory.last
        memory.tails.update(self._tails)
        memory.edge.update(self._edge)

    @property
    def _size(self) -> int:
        return self._memory.size + len(self._leaves)

    def _take(self, name: Name, prepared: Prepared, stored: dict[int, str]) -> None:
        draft = prepared.draft
        tail = self._tail(name)
        if tail is not None and draft.case_seq < tail.count:
            known = stored.get(draft.case_seq) or self._drafted.get((*name, draft.case_seq))
            if known != prepared.sha256:
                raise DraftConflictError(
                    f"{_where(draft)}: a different draft is already stored under this number"
                )
            return
        _check_place(draft, tail)
        self._add(name, prepared, tail.leaf if tail else self._link(draft))

    def _add(self, name: Name, prepared: Prepared, prev: str, key: str | None = None) -> bytes:
        draft, seq = prepared.draft, self._size
        raw = prepared.record(seq=seq, salt=secrets.token_hex(_SALT), prev_case=prev)
        leaf = leaf_hash(raw)
        kind = draft.type.value
        self._leaves.append(leaf)
        self._entries.append((seq, *name, draft.case_seq, kind, micros(draft.at), key))
        self._records.append((seq, prepared.sha256, raw))
        self._tails[name] = Tail(draft.case_seq + 1, kind, leaf.hex())
        self._drafted[*name, draft.case_seq] = prepared.sha256
        if key is not None:
            self._keys[*name, key] = raw
        return raw

    def _undo(self, name: Name, before: Tail | None, mark: int) -> None:
        for entry in self._entries[mark:]:
            self._drafted.pop((*name, int(str(entry[3]))), None)
        del self._leaves[mark:], self._entries[mark:], self._records[mark:]
        if before is None:
            self._tails.pop(name, None)
        else:
            self._tails[name] = before

    def _stored(self, name: Name, batch: Sequence[Prepared]) -> dict[int, str]:
        """The hashes of the drafts that are stored under the batch's numbers."""
        tail = self._tail(name)
        first = min(prepared.draft.case_seq for prepared in batch)
        if tail is None or first >= tail.count:
            return {}
        last = max(prepared.draft.case_seq for prepared in batch)
        rows = self._connection.execute(
            select(ENTRY.c.case_seq, RECORD.c.draft_sha256)
            .join(RECORD, RECORD.c.seq == ENTRY.c.seq)
            .where(*_in_chain(name), ENTRY.c.case_seq.between(first, last))
        )
        return {int(row.case_seq): str(row.draft_sha256) for row in rows}

    def _by_key(self, name: Name, key: str) -> bytes | None:
        pending = self._keys.get((*name, key))
        if pending is not None:
            return pending
        raw = self._connection.scalar(
            select(RECORD.c.bytes)
            .join(ENTRY, ENTRY.c.seq == RECORD.c.seq)
            .where(*_in_chain(name), ENTRY.c.key == key)
        )
        return bytes(raw) if raw is not None else None

    def _tail(self, name: Name) -> Tail | None:
        found = self._tails.get(name) or self._memory.tails.get(name)
        if found is None and self._memory.size:
            row = self._connection.execute(
                select(ENTRY.c.case_seq, ENTRY.c.type, LEAF.c.hash)
                .join(LEAF, LEAF.c.seq == ENTRY.c.seq)
                .where(*_in_chain(name))
                .order_by(ENTRY.c.case_seq.desc())
                .limit(1)
            ).first()
            if row:
                found = Tail(int(row.case_seq) + 1, str(row.type), bytes(row.hash).hex())
                self._memory.tails[name] = found
        return found

    def _link(self, draft: RecordDraft) -> str:
        """What a chain's first record links to: the closed case for ``watch``, else nothing."""
        if draft.chain != Chain.WATCH:
            return NO_RECORD
        case = self._tail((draft.case, Chain.CASE.value))
        if case is None or case.type != RecordType.CASE_CLOSED:
            raise CaseNotClosedError(
                f"{_where(draft)}: re-verification is recorded only after the case is closed"
            )
        return case.leaf

    def _node(self, level: int, index: int) -> bytes:
        known = self._memory.edge.get(level)
        if known is not None and known[0] == index:
            return known[1]
        return read_node(self._connection, level, index)


def prepare_batch(drafts: Sequence[RecordDraft]) -> list[Prepared]:
    """Check the drafts of a workflow.

    Raises:
        UnfitDraftError: none, several chains, a chain that the ledger numbers, or a draft that cannot become
            a record.
    """
    chains = {(draft.case, draft.chain) for draft in drafts}
    if len(chains) != 1:
        raise UnfitDraftError("a batch holds the drafts of exactly one chain, and at least one")
    chain = drafts[0].chain
    if chain not in {Chain.CASE, Chain.WATCH}:
        raise UnfitDraftError(f"chain: {chain!r} is neither 'case' nor 'watch'")
    return [prepare(draft) for draft in drafts]


def commitment(salt: bytes, content: bytes) -> str:
    """What stands in a record for personal data: SHA-256 (hex) of the salt and their canonical JSON."""
    return hashlib.sha256(salt + content).hexdigest()


def _opened(content: Facts) -> tuple[bytes, bytes, str]:
    """A fresh salt, the canonical JSON, and the commitment to both."""
    salt, raw = secrets.token_bytes(_SALT), plain_json(content)
    return salt, raw, commitment(salt, raw)


def _check_note(note: Note) -> None:
    if note.chain not in {Chain.SEALER, Chain.LOG}:
        raise UnfitDraftError(f"chain: {note.chain.value!r} is numbered by the workflow")
    if note.type is RecordType.CASE_CLOSED:
        raise UnfitDraftError("type: only the workflow closes a case")
    if not 0 < len(note.key) <= _KEY_LENGTH or not note.key.isprintable():
        raise UnfitDraftError(f"key: 1 to {_KEY_LENGTH} printable characters are needed")
    if note.opening is not None and "person_commit" in note.body:
        raise UnfitDraftError("body.person_commit: the ledger writes it")


def _check_place(draft: RecordDraft, tail: Tail | None) -> None:
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


def _in_chain(name: Name) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return ENTRY.c.case_id == name[0], ENTRY.c.chain == name[1]


def _where(draft: RecordDraft) -> str:
    return f"{draft.case}/{draft.chain}/{draft.case_seq}"
