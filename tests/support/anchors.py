"""A log that grows, signs and is watched, for tests of anchors."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from leaver.domain.words import RecordType
from leaver.evidence.anchors.publisher import Outside, Publisher
from leaver.evidence.anchors.witness_wire import Submission
from leaver.evidence.keys.files import FileLogSigner
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.log.checkpoint import Checkpoint, parse_unverified
from leaver.evidence.log.merkle import consistency_path, node_hash, root_of
from leaver.evidence.log.notes import NoteVerifier, note_bytes
from leaver.evidence.records import LOG, Chain

ORIGIN = "northwind.example/leaver"
START = datetime(2026, 11, 20, 17, 0, tzinfo=UTC)


@dataclass
class Clock:
    """Stands still until it is moved."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **words: float) -> None:
        self.now += timedelta(**words)


class PlainLog:
    """A log without a ledger: leaves in a list. ``fork`` makes one whose history differs from a place on."""

    def __init__(self, signer: FileLogSigner, leaves: list[bytes] | None = None) -> None:
        self.signer = signer
        self.leaves = leaves if leaves is not None else []

    @property
    def vkey(self) -> str:
        return self.signer.vkey

    def grow(self, count: int, word: str = "leaf") -> PlainLog:
        start = len(self.leaves)
        self.leaves += [node_hash(word.encode(), str(start + n).encode()) for n in range(count)]
        return self

    def fork(self, at: int) -> PlainLog:
        return PlainLog(self.signer, self.leaves[:at])

    def note(self, size: int | None = None) -> bytes:
        size = len(self.leaves) if size is None else size
        text = Checkpoint(self.signer.name, size, root_of(self.leaves[:size])).text()
        return note_bytes(text, [self.signer.sign_note(text)])

    def path(self, old: int, size: int | None = None) -> tuple[bytes, ...]:
        size = len(self.leaves) if size is None else size

        def node(level: int, index: int) -> bytes:
            return root_of(self.leaves[index << level : (index + 1) << level])

        return consistency_path(node, old, size)

    def submission(self, old: int, size: int | None = None) -> Submission:
        return Submission(old, self.path(old, size), parse_unverified(self.note(size)))


@dataclass
class SealedLog:
    """A ledger with its log key and, where asked for, a publisher."""

    folder: Path
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.ledger = Ledger.open(self.folder / "ledger.db")
        self.signer = FileLogSigner(self.folder / "log.pem", ORIGIN)
        self.verifier = NoteVerifier.from_vkey(self.signer.vkey)
        self._made = 0
        self._publishers = 0

    def grow(self, count: int = 1, word: str = "row") -> None:
        for _ in range(count):
            self._made += 1
            self.ledger.note(
                Chain.LOG, LOG, RecordType.CONFIG_CHANGE, self.clock(), {"what": f"{word} {self._made}"},
                key=f"{word}-{self._made}",
            )  # fmt: skip

    def publisher(self, *, kept: bool = False, limit: float = 5.0, **outside: object) -> Publisher:
        """``kept``: remember what was signed over several publishers; else each one's file was lost."""
        self._publishers += 1
        name = "last-checkpoint" if kept else f"last-checkpoint-{self._publishers}"
        return Publisher(
            self.ledger,
            self.signer,
            Outside(**outside, limit=limit),  # type: ignore[arg-type]
            clock=self.clock,
            kept=self.folder / name,
        )


def older_copy(log: SealedLog) -> Path:
    """A backup of the ledger as it is now."""
    log.ledger.close()
    copy = log.folder / "older.db"
    shutil.copy(log.folder / "ledger.db", copy)
    log.ledger = Ledger.open(log.folder / "ledger.db")
    return copy


def put_back(log: SealedLog, copy: Path) -> None:
    """The backup in place of the ledger."""
    log.ledger.close()
    for file in log.folder.glob("ledger.db*"):
        file.unlink()
    shutil.copy(copy, log.folder / "ledger.db")
    log.ledger = Ledger.open(log.folder / "ledger.db")
