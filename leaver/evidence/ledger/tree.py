"""Reading the stored Merkle tree: roots, inclusion and consistency proofs.

A proof needs a few dozen nodes. Which ones depends on index and size alone, so they are found out first and
read in one go.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from leaver.evidence.errors import LedgerDamagedError, NotStoredError
from leaver.evidence.ledger.database import Database, among
from leaver.evidence.ledger.model import TreeHead
from leaver.evidence.ledger.tables import LEAF, NODE
from leaver.evidence.log import merkle

Place = tuple[int, int]
"""Level and index of a complete subtree; level 0 are the leaves."""

T = TypeVar("T")

_AT_ONCE: Final = 400
"""SQLite takes at most 999 parameters in its oldest builds (sqlite.org/limits.html); a node needs two."""


class TreeReads:
    """The part of the ledger that answers for the tree."""

    _db: Database

    def size(self) -> int:
        """How many records the log has."""
        with self._db.read() as connection:
            return log_size(connection)

    def root(self, size: int | None = None) -> bytes:
        """The root over the first ``size`` records, over all without one.

        Raises:
            NotStoredError: the log is shorter.
        """
        with self._db.read() as connection:
            return tree_root(connection, size)

    def head(self) -> TreeHead:
        """Size and root of the log as it is now."""
        with self._db.read() as connection:
            size = log_size(connection)
            return TreeHead(size, tree_root(connection, size))

    def nodes(self, level: int, index: int) -> bytes:
        """The hash of one complete subtree: what ``merkle`` reads a tree through.

        Raises:
            LedgerDamagedError: it is not stored.
        """
        with self._db.read() as connection:
            return read_node(connection, level, index)

    def leaves(self, start: int = 0, stop: int | None = None) -> tuple[bytes, ...]:
        """Leaf hashes from place ``start`` on, up to ``stop`` (exclusive), without gaps."""
        query = select(LEAF.c.hash).where(LEAF.c.seq >= start).order_by(LEAF.c.seq)
        if stop is not None:
            query = query.where(LEAF.c.seq < stop)
        with self._db.read() as connection:
            return tuple(bytes(hashed) for hashed in connection.scalars(query))

    def inclusion(self, seq: int, size: int) -> tuple[bytes, ...]:
        """The proof that record ``seq`` is in the log's first ``size`` records.

        Raises:
            NotStoredError: there is no such record in it, or the log is shorter.
        """
        return self.inclusions([seq], size)[0]

    def inclusions(self, seqs: Sequence[int], size: int) -> list[tuple[bytes, ...]]:
        """The proofs for many records at once, in the given order: most of their nodes are the same.

        Raises:
            NotStoredError: as for ``inclusion``.
        """
        if any(not 0 <= seq < size for seq in seqs):
            raise NotStoredError(f"a log of {size} records does not have all of these")
        with self._db.read() as connection:
            _check_size(connection, size)
            return gathered(
                connection,
                lambda nodes: [merkle.inclusion_path(nodes, seq, size) for seq in seqs],
            )

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """The proof that the log of ``new`` records begins with that of ``old`` ones.

        Raises:
            NotStoredError: ``old`` is above ``new``, or the log is shorter.
        """
        if not 0 <= old <= new:
            raise NotStoredError(f"a log of {new} records does not begin with one of {old}")
        with self._db.read() as connection:
            _check_size(connection, new)
            return gathered(connection, lambda nodes: merkle.consistency_path(nodes, old, new))


def log_size(connection: Connection) -> int:
    """How many leaves there are."""
    last: int | None = connection.scalar(select(func.max(LEAF.c.seq)))
    return 0 if last is None else last + 1


def tree_root(connection: Connection, size: int | None = None) -> bytes:
    """The root over the first ``size`` leaves, from the stored nodes.

    Raises:
        NotStoredError: the log is shorter.
        LedgerDamagedError: a node is missing.
    """
    wanted = log_size(connection) if size is None else size
    _check_size(connection, wanted)
    return gathered(connection, lambda nodes: merkle.root(nodes, wanted))


def read_node(connection: Connection, level: int, index: int) -> bytes:
    """One complete subtree's hash.

    Raises:
        LedgerDamagedError: it is not stored.
    """
    return _read(connection, {(level, index)})[level, index]


def gathered(connection: Connection, make: Callable[[merkle.Nodes], T]) -> T:
    """Run ``make`` over the stored nodes, having read all that it asks for together.

    Raises:
        LedgerDamagedError: a node is missing.
    """
    wanted: set[Place] = set()

    def ask(level: int, index: int) -> bytes:
        wanted.add((level, index))
        return merkle.EMPTY_ROOT

    make(ask)
    found = _read(connection, wanted)
    return make(lambda level, index: found[level, index])


def _check_size(connection: Connection, size: int) -> None:
    there = log_size(connection)
    if not 0 <= size <= there:
        raise NotStoredError(f"the log has {there} records, not {size}")


def _read(connection: Connection, wanted: set[Place]) -> dict[Place, bytes]:
    found: dict[Place, bytes] = {}
    for chunk in _chunks(sorted(wanted)):
        leaves = [index for level, index in chunk if level == 0]
        if leaves:
            query = select(LEAF).where(among(connection, LEAF.c.seq, leaves))
            found.update({(0, int(row.seq)): bytes(row.hash) for row in connection.execute(query)})
        if len(leaves) < len(chunk):
            nodes = select(NODE).where(_any_of(chunk))
            found.update(
                {(int(row.level), int(row.idx)): bytes(row.hash) for row in connection.execute(nodes)}
            )
    if len(found) != len(wanted):
        level, index = min(wanted - found.keys())
        raise LedgerDamagedError(f"node {index} of level {level} of the ledger's tree is missing")
    return found


def _any_of(places: Sequence[Place]) -> ColumnElement[bool]:
    """Level by level: SQLite finds these by the index, but reads all nodes for a list of pairs."""
    levels: defaultdict[int, list[int]] = defaultdict(list)
    for level, index in places:
        levels[level].append(index)
    return or_(
        *(and_(NODE.c.level == level, NODE.c.idx.in_(listed)) for level, listed in levels.items() if level)
    )


def _chunks(places: Sequence[Place]) -> Iterator[Sequence[Place]]:
    return (places[start : start + _AT_ONCE] for start in range(0, len(places), _AT_ONCE))
