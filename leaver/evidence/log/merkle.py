"""The Merkle tree of RFC 6962 section 2 (the same tree as RFC 9162 section 2): roots, proofs, their checks.

A tree over ``size`` leaves is made of complete subtrees, each named by its level (0 is a leaf) and its index
at that level; node (level, index) covers the leaves ``index * 2**level`` to ``(index + 1) * 2**level - 1``.
Complete subtrees never change once they are full, so a store keeps each of them once and every root and
every proof, of today's tree and of every earlier one, is made from O(log size) of them.

The checks insist on more than RFC 9162's algorithms do: a size above 0, hashes of exactly 32 bytes, a path of
exactly the length that index and size call for. Plain code of the RFC accepts degenerate proofs there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final

HASH: Final = 32
"""Length of every hash, in bytes."""

EMPTY_ROOT: Final = sha256(b"").digest()
"""The root of the tree without leaves."""

Nodes = Callable[[int, int], bytes]
"""Reads the hash of a complete subtree by (level, index). It is asked for complete ones only."""


def leaf_hash(raw: bytes) -> bytes:
    """The hash of a leaf: SHA-256(0x00 || bytes)."""
    return sha256(b"\x00" + raw).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash over two subtrees: SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes that are all at hand; O(n). ``root`` is for a log that stores its nodes."""
    edge: list[tuple[int, bytes]] = []
    for leaf in leaves:
        level, hashed = 0, leaf
        while edge and edge[-1][0] == level:
            level, hashed = level + 1, node_hash(edge.pop()[1], hashed)
        edge.append((level, hashed))
    return _joined([hashed for _level, hashed in edge])


def root(nodes: Nodes, size: int) -> bytes:
    """The root of the tree over the first ``size`` leaves.

    Raises:
        ValueError: ``size`` is negative.
    """
    if size < 0:
        raise ValueError(f"a tree has no size {size}")
    return _span(nodes, 0, size)


def inclusion_path(nodes: Nodes, index: int, size: int) -> tuple[bytes, ...]:
    """The proof that leaf ``index`` is in the tree over the first ``size`` leaves, from the leaf upwards.

    Raises:
        ValueError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of size {size} has no leaf {index}")
    return tuple(_climb(nodes, index, size, 0))


def consistency_path(nodes: Nodes, old: int, new: int) -> tuple[bytes, ...]:
    """The proof that the tree over ``new`` leaves begins with the tree over ``old`` leaves.

    Empty when ``old`` is 0 (nothing to keep; ``consistent`` does not accept that case) or equal to ``new``.

    Raises:
        ValueError: ``old`` is negative or above ``new``.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of size {new} does not begin with one of size {old}")
    if old in {0, new}:
        return ()
    level = _zeros(old)
    path = _climb(nodes, old - 1, new, level)
    # A verifier who knows the old root starts from it when the old tree is a single complete subtree.
    return tuple(path) if old == 1 << level else (nodes(level, (old >> level) - 1), *path)


def included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether ``path`` proves that the leaf with this hash is number ``index`` of the tree with this root."""
    if not 0 <= index < size or len(leaf) != HASH:
        return False
    inner = (index ^ (size - 1)).bit_length()
    if len(path) != inner + (index >> inner).bit_count():
        return False
    hashed = leaf
    for place, sibling in enumerate(path):
        if len(sibling) != HASH:
            return False
        if place < inner and not index >> place & 1:
            hashed = sha256(b"\x01" + hashed + sibling).digest()
        else:
            hashed = sha256(b"\x01" + sibling + hashed).digest()
    return hashed == root


def consistent(old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Whether ``path`` proves that the new tree begins with all leaves of the old one, in their order."""
    if not 0 < old <= new or any(len(part) != HASH for part in (old_root, new_root, *path)):
        return False
    if old == new:
        return not path and old_root == new_root
    level = _zeros(old)
    alone = old == 1 << level
    if not alone and not path:
        return False
    start = old_root if alone else path[0]
    rest = path if alone else path[1:]
    index = (old - 1) >> level
    inner = (index ^ ((new - 1) >> level)).bit_length()
    if len(rest) != inner + (index >> inner).bit_count():
        return False
    before = after = start
    for place, sibling in enumerate(rest):
        if place < inner and not index >> place & 1:
            after = node_hash(after, sibling)
        else:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
    return before == old_root and after == new_root


def completed(size: int, leaves: Iterable[bytes], nodes: Nodes) -> Iterator[tuple[int, int, bytes]]:
    """The complete subtrees that appending these leaf hashes to a tree of ``size`` leaves brings about.

    Args:
        size: leaves already in the tree.
        leaves: hashes of the new ones, in their order.
        nodes: reads what was complete before; at most one node a level, and only where it is needed.

    Yields:
        (level, index, hash), the leaves themselves (level 0) included, each subtree after its parts. About
        two for each leaf. What is yielded for one leaf never depends on the leaves after it.
    """
    waiting: dict[int, bytes] = {}
    for index, leaf in enumerate(leaves, size):
        level, hashed = 0, leaf
        yield 0, index, hashed
        while index >> level & 1:
            left = waiting.pop(level, None) or nodes(level, (index >> level) - 1)
            level, hashed = level + 1, node_hash(left, hashed)
            yield level, index >> level, hashed
        waiting[level] = hashed


def _climb(nodes: Nodes, index: int, size: int, level: int) -> Iterator[bytes]:
    """The siblings met on the way from the node that holds leaf ``index`` at ``level`` up to the root.

    Up to the level where the way joins the tree's right edge each node has a sibling, the last of them
    perhaps cut short by the end of the tree; from there on only left siblings exist, one for each bit set.
    """
    inner = (index ^ (size - 1)).bit_length()
    for height in range(level, inner):
        sibling = (index >> height) ^ 1
        yield _span(nodes, sibling << height, min(size, (sibling + 1) << height))
    for height in range(max(level, inner), index.bit_length()):
        if index >> height & 1:
            yield nodes(height, (index >> height) - 1)


def _span(nodes: Nodes, start: int, end: int) -> bytes:
    """The hash over leaves ``start`` to ``end - 1``; ``start`` is a multiple of the span's own full width."""
    parts = []
    for level in range((end - start).bit_length() - 1, -1, -1):
        if (end - start) >> level & 1:
            parts.append(nodes(level, start >> level))
            start += 1 << level
    return _joined(parts)


def _joined(parts: Sequence[bytes]) -> bytes:
    """Complete subtrees, the widest first, hashed together from the right."""
    if not parts:
        return EMPTY_ROOT
    *rest, hashed = parts
    for part in reversed(rest):
        hashed = node_hash(part, hashed)
    return hashed


def _zeros(number: int) -> int:
    """How many zero bits a positive number ends with."""
    return (number & -number).bit_length() - 1
