"""Which checkpoint is anchored where, and what is missing."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from leaver.evidence.anchors.layout import CHECKPOINT, CONSISTENCY, cosignature_file, timestamp_file
from leaver.evidence.ledger.model import AnchorKind, StoredCheckpoint
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.log.merkle import EMPTY_ROOT

_FILE: Final = "/"
"""Stands between a store's name and the file in the name of its anchors."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An anchor that is configured. ``independent``: run by somebody else, out of the operator's reach."""

    kind: AnchorKind
    name: str
    independent: bool = False


@dataclass(frozen=True, slots=True)
class AnchorStatus:
    """How far an anchor reaches.

    Attributes:
        anchored_up_to: the size of the largest checkpoint it holds; 0: none. It covers all records before.
        pending: checkpoints beyond that, which it does not hold yet.
        trouble: why the last attempt failed; empty when it did not, or when a later one succeeded.
    """

    kind: AnchorKind
    name: str
    independent: bool
    anchored_up_to: int
    pending: int
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class SealStatus:
    """How far the log is signed, and how far each anchor holds it.

    Attributes:
        size: records under the last signed checkpoint; 0 before the first.
        root: its root.
        at: when it was signed.
        unsealed: records beyond it.
        anchors: every configured anchor.
    """

    size: int
    root: bytes
    at: datetime | None
    unsealed: int
    anchors: tuple[AnchorStatus, ...]

    @property
    def independent(self) -> bool:
        """Whether any anchor is out of the operator's reach and holds something."""
        return self.independent_up_to > 0

    @property
    def independent_up_to(self) -> int:
        """The size up to which somebody who is not the operator holds the log; 0: nobody, print it in red."""
        return max((one.anchored_up_to for one in self.anchors if one.independent), default=0)

    @property
    def anchored_up_to(self) -> int:
        """The size up to which any timestamp authority or witness holds the log."""
        outside = (AnchorKind.TIMESTAMP, AnchorKind.WITNESS)
        return max((one.anchored_up_to for one in self.anchors if one.kind in outside), default=0)

    @property
    def pending(self) -> int:
        """Checkpoints that some anchor does not hold yet."""
        return max((one.pending for one in self.anchors), default=0)

    @property
    def troubles(self) -> tuple[str, ...]:
        """What failed last and has not succeeded since."""
        return tuple(one.trouble for one in self.anchors if one.trouble)


def sink_file(sink: str, file: str) -> str:
    """The name of the anchor that says that a store holds this file of a checkpoint."""
    return f"{sink}{_FILE}{file}"


def foreign(sink: str) -> str:
    """The name under which it is marked that something lies in a store that the log's key did not sign."""
    return sink_file(sink, "?")


def sink_of(name: str) -> str:
    """The store's name in the name of an anchor of kind ``sink``."""
    return name.partition(_FILE)[0]


class AnchorBook:
    """The ledger's anchors by kind and name; reads only what was added since it last looked. Thread-safe.

    Args:
        ledger: where checkpoints and anchors are.
        stores: the names of the stores whose backlog will be asked for.
    """

    def __init__(self, ledger: Ledger, stores: Iterable[str] = ()) -> None:
        self._ledger = ledger
        self._touched: dict[str, set[int]] = {name: set() for name in stores}
        self._lock = threading.RLock()
        self._read = 0
        self._sizes: list[int] = []
        self._last: StoredCheckpoint | None = None
        self._holds: defaultdict[tuple[AnchorKind, str], set[int]] = defaultdict(set)
        self._troubles: defaultdict[tuple[AnchorKind, str], dict[int, str]] = defaultdict(dict)
        self._stamps: defaultdict[int, list[str]] = defaultdict(list)
        self._begun = False

    def refresh(self) -> None:
        """Read what is new in the ledger.

        Raises:
            LedgerError: it cannot be read.
        """
        with self._lock:
            if not self._begun:
                for trouble in self._ledger.troubles():
                    self._troubles[trouble.kind, trouble.name][trouble.size] = trouble.text
                self._begun = True
            last = self._sizes[-1] if self._sizes else 0
            for stored in self._ledger.checkpoints(since=last):
                if stored.size > last:
                    self._sizes.append(stored.size)
                    self._last = stored
                    self._touch(stored.size)
            for row in self._ledger.anchored(after=self._read):
                self._read = row.row
                self._holds[row.kind, row.name].add(row.size)
                if row.kind is not AnchorKind.SINK:
                    self._touch(row.size)
                if row.kind is AnchorKind.TIMESTAMP and row.name not in self._stamps[row.size]:
                    self._stamps[row.size].append(row.name)

    @property
    def sizes(self) -> Sequence[int]:
        """The sizes of all checkpoints, smallest first."""
        return self._sizes

    def before(self, size: int) -> int:
        """The size of the checkpoint before this one; 0 before the first."""
        place = bisect_left(self._sizes, size)
        return self._sizes[place - 1] if place else 0

    def up_to(self, kind: AnchorKind, name: str) -> int:
        """The largest checkpoint that this anchor holds; 0: none."""
        key = sink_file(name, CHECKPOINT) if kind is AnchorKind.SINK else name
        with self._lock:
            return max(self._holds.get((kind, key), ()), default=0)

    def holds(self, kind: AnchorKind, name: str, size: int) -> bool:
        """Whether the ledger has this anchor of this checkpoint."""
        return size in self._holds.get((kind, name), ())

    def gaps(self, kind: AnchorKind, name: str) -> list[int]:
        """Checkpoints that an authority does not hold since it was first asked, newest first."""
        with self._lock:
            held, troubled = self._holds.get((kind, name), set()), self._troubles.get((kind, name), {})
            first = min((*held, *troubled), default=self._sizes[-1] if self._sizes else 0)
            return [size for size in reversed(self._sizes) if size >= first and size not in held]

    def lacking(self, store: str, size: int) -> list[str]:
        """The files of a checkpoint that there are and that a store lacks, the checkpoint itself last."""
        with self._lock:
            stamps = [timestamp_file(number) for number, _ in enumerate(self._stamps.get(size, ()), 1)]
            lines = [cosignature_file(name) for name in self._cosigners(size)]
            files = (CONSISTENCY, *stamps, *lines, CHECKPOINT)
            return [one for one in files if not self.holds(AnchorKind.SINK, sink_file(store, one), size)]

    def backlog(self, store: str, limit: int) -> list[int]:
        """The checkpoints of which a store lacks a file, newest first, at most ``limit``."""
        found: list[int] = []
        with self._lock:
            touched = self._touched[store]
            for size in sorted(touched, reverse=True):
                if len(found) == limit:
                    break
                if self.lacking(store, size):
                    found.append(size)
                else:
                    touched.discard(size)
        return found

    def _cosigners(self, size: int) -> list[str]:
        """Every witness that cosigned a checkpoint, also one that is no longer configured."""
        kind = AnchorKind.WITNESS
        return sorted(name for (there, name), sizes in self._holds.items() if there is kind and size in sizes)

    def _touch(self, size: int) -> None:
        for touched in self._touched.values():
            touched.add(size)

    def trouble(self, kind: AnchorKind, name: str, size: int) -> str:
        """Why the last attempt for this checkpoint failed; empty when none did."""
        return self._troubles.get((kind, name), {}).get(size, "")

    def troubled(self, kind: AnchorKind, name: str, size: int, text: str) -> None:
        """Remember that an attempt failed."""
        with self._lock:
            self._troubles[kind, name][size] = text

    def status(self, wanted: Iterable[Wanted]) -> SealStatus:
        """The whole picture for the configured anchors, as of the last ``refresh``."""
        with self._lock:
            last = self._last
            anchors = tuple(self._status(one) for one in wanted)
        size = last.size if last else 0
        root = last.root if last else EMPTY_ROOT
        return SealStatus(size, root, last.at if last else None, self._ledger.size() - size, anchors)

    def _status(self, wanted: Wanted) -> AnchorStatus:
        reached = self.up_to(wanted.kind, wanted.name)
        newest = self._sizes[-1] if self._sizes else 0
        strange = self.trouble(wanted.kind, foreign(wanted.name), newest)
        open_troubles = {
            s: t for s, t in self._troubles.get((wanted.kind, wanted.name), {}).items() if s > reached
        }
        return AnchorStatus(
            wanted.kind,
            wanted.name,
            wanted.independent,
            reached,
            len(self._sizes) - bisect_right(self._sizes, reached),
            open_troubles[max(open_troubles)] if open_troubles else strange,
        )


def seal_status(ledger: Ledger, wanted: Iterable[Wanted]) -> SealStatus:
    """The picture for a report, from the ledger alone; ``wanted`` says which anchors are independent.

    Raises:
        LedgerError: it cannot be read.
    """
    book = AnchorBook(ledger)
    book.refresh()
    return book.status(wanted)
