"""The Merkle tree against the RFC's own recursive definitions, an independent verifier, and attacks."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from random import Random

import pytest
from sigstore._internal.merkle import verify_merkle_inclusion
from sigstore.errors import VerificationError
from sigstore.models import TransparencyLogEntry
from sigstore_models.rekor import v1 as rekor

from leaver.evidence.log.merkle import (
    EMPTY_ROOT,
    completed,
    consistency_path,
    consistent,
    included,
    inclusion_path,
    leaf_hash,
    node_hash,
    root,
    root_of,
)

SMALL = 70


class Stored:
    """The nodes of a tree, kept as a ledger keeps them; counts what is read."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.hashes: dict[tuple[int, int], bytes] = {}
        self.reads = 0
        self.extend(0, leaves)

    def extend(self, size: int, leaves: Sequence[bytes]) -> None:
        for level, index, hashed in completed(size, leaves, self):
            assert (level, index) not in self.hashes
            self.hashes[level, index] = hashed

    def __call__(self, level: int, index: int) -> bytes:
        self.reads += 1
        return self.hashes[level, index]


def records(count: int) -> list[bytes]:
    return [b"record %d" % number for number in range(count)]


def hashed(count: int) -> list[bytes]:
    return [leaf_hash(raw) for raw in records(count)]


def rfc_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(rfc_root(leaves[:split]), rfc_root(leaves[split:]))


def rfc_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 6962 section 2.1.1."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*rfc_path(index, leaves[:split]), rfc_root(leaves[split:])]
    return [*rfc_path(index - split, leaves[split:]), rfc_root(leaves[:split])]


def rfc_subproof(old: int, leaves: Sequence[bytes], *, whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962 section 2.1.2."""
    if old == len(leaves):
        return [] if whole else [rfc_root(leaves)]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if old <= split:
        return [*rfc_subproof(old, leaves[:split], whole=whole), rfc_root(leaves[split:])]
    return [*rfc_subproof(old - split, leaves[split:], whole=False), rfc_root(leaves[:split])]


@pytest.fixture(scope="module")
def small() -> Stored:
    return Stored(hashed(SMALL))


def test_the_empty_tree() -> None:
    empty = Stored(())
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert root(empty, 0) == root_of([]) == EMPTY_ROOT


def test_roots_of_all_small_trees(small: Stored) -> None:
    leaves = hashed(SMALL)
    for size in range(SMALL + 1):
        assert root(small, size) == root_of(leaves[:size]) == rfc_root(leaves[:size]), size


def test_inclusion_in_all_small_trees(small: Stored) -> None:
    leaves = hashed(SMALL)
    for size in range(1, SMALL + 1):
        top = rfc_root(leaves[:size])
        for index in range(size):
            path = inclusion_path(small, index, size)
            assert list(path) == rfc_path(index, leaves[:size]), (index, size)
            assert included(leaves[index], index, size, path, top), (index, size)


def test_consistency_of_all_small_trees(small: Stored) -> None:
    leaves = hashed(SMALL)
    tops = [rfc_root(leaves[:size]) for size in range(SMALL + 1)]
    for new in range(1, SMALL + 1):
        for old in range(1, new + 1):
            path = consistency_path(small, old, new)
            assert list(path) == rfc_subproof(old, leaves[:new], whole=True), (old, new)
            assert consistent(old, new, path, tops[old], tops[new]), (old, new)


def test_every_small_change_of_an_inclusion_proof_is_noticed(small: Stored) -> None:
    leaves = hashed(SMALL)
    for size in range(1, 20):
        top = root(small, size)
        for index in range(size):
            path = inclusion_path(small, index, size)
            for other in range(size):
                assert included(leaves[other], index, size, path, top) is (other == index)
                assert included(leaves[index], other, size, path, top) is (other == index)
            for place in range(len(path)):
                for bad in (bytes(32), path[place][:-1], path[place] + b"\0", b""):
                    assert not included(
                        leaves[index], index, size, (*path[:place], bad, *path[place + 1 :]), top
                    )
                assert not included(leaves[index], index, size, path[:place] + path[place + 1 :], top)
            assert not included(leaves[index], index, size, (*path, bytes(32)), top)
            assert not included(leaves[index], index, size, (bytes(32), *path), top)
            assert not included(leaves[index], index, size, path, bytes(32))
            assert not included(leaves[index], index, size, path, b"")


def test_every_small_change_of_a_consistency_proof_is_noticed(small: Stored) -> None:
    tops = [root(small, size) for size in range(SMALL)]
    for new in range(1, 20):
        for old in range(1, new + 1):
            path = consistency_path(small, old, new)
            for place in range(len(path)):
                for bad in (bytes(32), path[place][:-1], b""):
                    changed = (*path[:place], bad, *path[place + 1 :])
                    assert not consistent(old, new, changed, tops[old], tops[new]), (old, new)
                assert not consistent(old, new, path[:place] + path[place + 1 :], tops[old], tops[new])
            assert not consistent(old, new, (*path, bytes(32)), tops[old], tops[new])
            assert not consistent(old, new, path, bytes(32), tops[new])
            assert not consistent(old, new, path, tops[old], bytes(32))
            assert not consistent(new, old, path, tops[new], tops[old]) or old == new


def test_what_is_no_tree_or_no_leaf_proves_nothing(small: Stored) -> None:
    leaf, top = hashed(1)[0], root(small, 1)
    assert included(leaf, 0, 1, (), top)
    assert not included(leaf, 0, 0, (), EMPTY_ROOT)
    assert not included(leaf, 1, 1, (), top)
    assert not included(leaf, -1, 1, (), top)
    assert not included(b"", 0, 1, (), b"")
    assert not consistent(0, 0, (), EMPTY_ROOT, EMPTY_ROOT)
    assert not consistent(0, 1, (), EMPTY_ROOT, top)
    assert not consistent(1, 1, (), b"", b"")
    assert not consistent(-1, 1, (), top, top)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 1), (70, 70)])
def test_a_leaf_that_is_not_there_has_no_proof(small: Stored, index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_path(small, index, size)


@pytest.mark.parametrize(("old", "new"), [(2, 1), (-1, 1)])
def test_a_log_that_shrank_has_no_proof(small: Stored, old: int, new: int) -> None:
    with pytest.raises(ValueError, match="does not begin with"):
        consistency_path(small, old, new)


def test_a_tree_has_no_negative_size(small: Stored) -> None:
    with pytest.raises(ValueError, match="no size"):
        root(small, -1)


def test_nothing_is_proven_from_the_empty_tree(small: Stored) -> None:
    assert consistency_path(small, 0, 5) == consistency_path(small, 5, 5) == ()


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 16, 64, 70])
def test_appending_in_batches_gives_the_same_tree(small: Stored, batch: int) -> None:
    leaves, grown = hashed(SMALL), Stored(())
    for start in range(0, SMALL, batch):
        grown.extend(start, leaves[start : start + batch])
    assert grown.hashes == small.hashes
    assert grown.reads <= SMALL // batch * 7


def test_large_trees() -> None:
    random, size = Random(20261122), 100_003  # noqa: S311 - repeatable samples
    leaves = hashed(size)
    stored = Stored(leaves)
    assert stored.reads == 0, "appending to an empty tree reads nothing"
    assert len(stored.hashes) < 2 * size
    sizes = [size, 65_536, 65_537, *random.sample(range(1, size), 20)]
    tops = {some: root(stored, some) for some in sizes}
    assert tops[65_537] == root_of(leaves[:65_537])
    for some in sizes:
        for index in {0, some - 1, *(random.randrange(some) for _ in range(20))}:
            stored.reads = 0
            path = inclusion_path(stored, index, some)
            assert stored.reads <= 34, "a proof is made from O(log n) nodes"
            assert included(leaves[index], index, some, path, tops[some])
            assert not included(leaves[index], index ^ 1, some, path, tops[some])
        old = random.choice([older for older in sizes if older <= some])
        stored.reads = 0
        path = consistency_path(stored, old, some)
        assert stored.reads <= 51
        assert consistent(old, some, path, tops[old], tops[some])


def entry(raw: bytes, index: int, size: int, path: Sequence[bytes], top: bytes) -> TransparencyLogEntry:
    """A log entry as sigstore's clients verify it; only what the Merkle check reads matters."""
    proof = {
        "logIndex": str(index),
        "treeSize": str(size),
        "rootHash": base64.b64encode(top).decode(),
        "hashes": [base64.b64encode(part).decode() for part in path],
        "checkpoint": {"envelope": "not read"},
    }
    return TransparencyLogEntry(
        rekor.TransparencyLogEntry.model_validate(
            {
                "logIndex": str(index),
                "logId": {"keyId": base64.b64encode(bytes(32)).decode()},
                "kindVersion": {"kind": "leaver", "version": "1"},
                "inclusionProof": proof,
                "canonicalizedBody": base64.b64encode(raw).decode(),
            }
        )
    )


def test_an_independent_verifier_accepts_our_proofs_and_refuses_forged_ones(small: Stored) -> None:
    raws, random = records(SMALL), Random(7)  # noqa: S311 - repeatable samples
    for size in range(1, SMALL + 1):
        top, index = root(small, size), random.randrange(size)
        path = inclusion_path(small, index, size)
        verify_merkle_inclusion(entry(raws[index], index, size, path, top))
        with pytest.raises(VerificationError):
            verify_merkle_inclusion(entry(b"another record", index, size, path, top))
