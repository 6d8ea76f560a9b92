"""What is asked of one anchor for one checkpoint: bounded in time, marked in the ledger where it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from leaver.evidence.anchors.book import AnchorBook, Wanted, sink_file
from leaver.evidence.anchors.layout import (
    CHECKPOINT,
    CONSISTENCY,
    checkpoint_folder,
    continuation_bytes,
    cosignature_file,
    timestamp_file,
)
from leaver.evidence.anchors.sinks import Sink
from leaver.evidence.anchors.timestamp import TimestampAuthority, timestamped_bytes
from leaver.evidence.anchors.witness_client import WitnessClient
from leaver.evidence.errors import AnchorError, EvidenceError, LedgerError, SinkError
from leaver.evidence.ledger.model import Anchor, AnchorKind, StoredCheckpoint
from leaver.evidence.ledger.store import Ledger

RETRIES: Final = 50
"""Checkpoints that one round of retrying asks an anchor for, at most."""

Job = Callable[[], Coroutine[Any, Any, str]]
"""Asks one anchor for one checkpoint; returns why that failed, or nothing."""


@dataclass(frozen=True, slots=True)
class Outside:
    """Everybody outside. Names are unique within each kind.

    ``limit``: seconds that one anchor may take for one checkpoint. A witness without an address is not asked;
    its word comes by hand (``add_cosignature``).
    """

    timestamps: tuple[TimestampAuthority, ...] = ()
    witnesses: tuple[WitnessClient, ...] = ()
    sinks: tuple[Sink, ...] = ()
    limit: float = 30.0

    def __post_init__(self) -> None:
        """Refuse two anchors of one name: the ledger could not tell them apart.

        Raises:
            AnchorError: naming it.
        """
        names = [(one.kind, one.name) for one in self.wanted]
        twice = sorted({f"{kind} {name}" for kind, name in names if names.count((kind, name)) > 1})
        if twice:
            raise AnchorError(f"two anchors have the same name: {', '.join(twice)}")

    @property
    def asked(self) -> tuple[WitnessClient, ...]:
        """The witnesses that answer over HTTP."""
        return tuple(one for one in self.witnesses if one.url is not None)

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        """What is configured, for ``seal_status``."""
        return (
            *(Wanted(AnchorKind.TIMESTAMP, one.name, one.independent) for one in self.timestamps),
            *(Wanted(AnchorKind.WITNESS, one.name, one.independent) for one in self.witnesses),
            *(Wanted(AnchorKind.SINK, one.name, one.independent) for one in self.sinks),
        )


class Jobs:
    """Makes the jobs of one ledger.

    Args:
        ledger: where checkpoints are read and anchors go.
        book: what is anchored already.
        origin: the log's name.
        limit: seconds for one job.
        clock: the time that anchors are stored with.
    """

    def __init__(
        self, ledger: Ledger, book: AnchorBook, origin: str, limit: float, clock: Callable[[], datetime]
    ) -> None:
        self._ledger = ledger
        self._book = book
        self._origin = origin
        self._limit = limit
        self._clock = clock

    def stamp(self, authority: TimestampAuthority, size: int) -> Job:
        """Have an authority stamp a checkpoint."""

        async def work() -> None:
            stored = await asyncio.to_thread(self._stored, size)
            tsr = await authority.stamp(timestamped_bytes(stored.note))
            await self._add(size, AnchorKind.TIMESTAMP, authority.name, tsr)

        return self._job(work, AnchorKind.TIMESTAMP, authority.name, size)

    def witness(self, witness: WitnessClient, size: int) -> Job:
        """Have a witness cosign a checkpoint."""

        async def work() -> None:
            stored = await asyncio.to_thread(self._stored, size)
            seen = self._book.up_to(AnchorKind.WITNESS, witness.name)
            line = await witness.cosign(
                stored.note, size, seen, lambda old: self._ledger.consistency(old, size)
            )
            await self._add(size, AnchorKind.WITNESS, witness.name, line.encode())

        return self._job(work, AnchorKind.WITNESS, witness.name, size)

    def backlog(self, sink: Sink) -> list[Job]:
        """What a store still lacks, the newest checkpoints first."""
        return [self.sink(sink, size) for size in self._book.backlog(sink.name, RETRIES)]

    def sink(self, sink: Sink, size: int) -> Job:
        """Put into a store what it lacks of a checkpoint."""

        async def work() -> None:
            for file in self._book.lacking(sink.name, size):
                content = await asyncio.to_thread(self._content, size, file)
                version = await asyncio.to_thread(sink.put, checkpoint_folder(size) + file, content)
                await self._add(size, AnchorKind.SINK, sink_file(sink.name, file), version.encode())

        return self._job(work, AnchorKind.SINK, sink.name, size)

    def _content(self, size: int, file: str) -> bytes:
        if file == CHECKPOINT:
            return self._stored(size).note
        if file == CONSISTENCY:
            before = self._book.before(size)
            path = self._ledger.consistency(before, size)
            return continuation_bytes(self._origin, before, size, path)
        stamps = 0
        for anchor in _first_of_each(self._ledger.anchors(size)):
            stamps += anchor.kind is AnchorKind.TIMESTAMP
            named = timestamp_file(stamps)
            if anchor.kind is AnchorKind.WITNESS:
                named = cosignature_file(anchor.name)
            if anchor.kind is not AnchorKind.SINK and named == file:
                return anchor.content
        raise SinkError(f"the ledger has no {file} for the checkpoint of size {size}")

    def _stored(self, size: int) -> StoredCheckpoint:
        stored = self._ledger.checkpoint(size)
        if stored is None:
            raise AnchorError(f"the ledger has no checkpoint of size {size}")
        return stored

    async def _add(self, size: int, kind: AnchorKind, name: str, content: bytes) -> None:
        await asyncio.to_thread(self._ledger.add_anchor, size, kind, name, content, self._clock())

    def _job(self, work: Callable[[], Awaitable[None]], kind: AnchorKind, name: str, size: int) -> Job:
        """Make it bounded in time, and mark in the ledger what went wrong, once for each reason."""

        async def bounded() -> str:
            text = await text_of(work(), self._limit, f"{kind} {name}")
            if text and text != self._book.trouble(kind, name, size):
                await asyncio.to_thread(self._ledger.note_trouble, size, kind, name, text, self._clock())
                self._book.troubled(kind, name, size, text)
            return text

        return bounded


def _first_of_each(anchors: Sequence[Anchor]) -> list[Anchor]:
    """The first anchor of each kind and name, in the order they came: what was published stays so."""
    first: dict[tuple[AnchorKind, str], Anchor] = {}
    for anchor in anchors:
        first.setdefault((anchor.kind, anchor.name), anchor)
    return list(first.values())


async def in_turn(jobs: Sequence[Job]) -> list[str]:
    """One after the other; after a failure the rest would most likely fail as well, and waits."""
    texts: list[str] = []
    for job in jobs:
        texts.append(await job())
        if texts[-1]:
            break
    return texts


async def text_of(work: Awaitable[None], limit: float, who: str) -> str:
    """Run it within a limit of time; what is wrong with the outside becomes a text.

    Raises:
        LedgerError: our own ledger cannot be used.
    """
    try:
        await asyncio.wait_for(work, limit)
    except LedgerError:
        raise
    except EvidenceError as err:
        return str(err)
    except TimeoutError:
        return f"{who}: not done within {limit:g} s"
    except Exception as err:  # noqa: BLE001 - one broken anchor must not keep the others from being asked
        return f"{who}: {type(err).__name__}"
    return ""
