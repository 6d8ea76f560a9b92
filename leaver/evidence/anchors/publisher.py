"""Publishing the log: signed checkpoints, held by outsiders.

A checkpoint is signed only over a log that contains everything that was signed before: by the ledger's own
table, by the file beside the key, and by what the stores hold. It is in the ledger before anything leaves the
house. Then timestamp authorities and witnesses are asked side by side, each
within a limit of time; then the stores get the checkpoint, the proof from the one before, and whatever
anchors came. An anchor that could not be had is marked in the ledger and asked for again later; none holds up
another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from leaver.evidence.anchors.book import AnchorBook, SealStatus, foreign
from leaver.evidence.anchors.dates import note_dates
from leaver.evidence.anchors.jobs import RETRIES, Jobs, Outside, in_turn, text_of
from leaver.evidence.anchors.kept import Held, KeptCheckpoint, check_contains, published_in
from leaver.evidence.anchors.layout import bundle_file
from leaver.evidence.anchors.sealed import seal_bytes
from leaver.evidence.anchors.sinks import Sink
from leaver.evidence.errors import LedgerDamagedError, NoteError, SinkError
from leaver.evidence.keys.handout import log_keys
from leaver.evidence.keys.in_force import require_in_force
from leaver.evidence.keys.model import LogSigner
from leaver.evidence.keys.rotation import KeyHolder
from leaver.evidence.ledger.model import AnchorKind, StoredCheckpoint
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.log.checkpoint import Checkpoint, parse_signed
from leaver.evidence.log.notes import NoteVerifier, note_bytes

__all__ = ["Outside", "Published", "Publisher"]


@dataclass(frozen=True, slots=True)
class Published:
    """A checkpoint that was signed: its size, root and time, and which anchors failed, with the reason."""

    size: int
    root: bytes
    at: datetime
    troubles: tuple[str, ...]


class _Strange(NamedTuple):
    """What is odd about a store, and the name of the anchor that it is marked with."""

    name: str
    text: str


class Publisher:
    """Signs and publishes checkpoints of one ledger. One per ledger; safe to call from several tasks.

    Args:
        ledger: the log.
        signer: the log key; its name is the log's origin.
        outside: authorities, witnesses and stores; none of them is needed.
        clock: the time that checkpoints and anchors are stored with.
        kept: a file, beside the log key and not in the database, that remembers what was signed last.

    Before each signature it is noted where records that came since the last one carry dates that do not fit,
    see ``dates``.
    """

    def __init__(
        self,
        ledger: Ledger,
        signer: LogSigner,
        outside: Outside | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        kept: Path,
    ) -> None:
        self._ledger = ledger
        self._signer = signer
        self._outside = outside or Outside()
        self._clock = clock
        self._kept = KeptCheckpoint(kept)
        self._book = AnchorBook(ledger, [sink.name for sink in self._outside.sinks])
        self._jobs = Jobs(ledger, self._book, signer.name, self._outside.limit, clock)
        self._asking: dict[str, asyncio.Task[Held]] = {}
        self._compared: set[str] = set()
        self._turn = asyncio.Lock()

    async def tick(self) -> Published | None:
        """What the sealer does every few minutes: publish what is new, ask again for what is missing."""
        published = await self.publish()
        await self.retry()
        return published

    async def publish(self) -> Published | None:
        """Sign and publish a checkpoint, if the log has grown since the last one.

        Returns:
            None when there was nothing new.

        Raises:
            LedgerDamagedError: the log does not continue its last checkpoint, or the log's key did not sign
                that one. Nothing was signed.
            RolledBackError: the ledger lacks what was signed or published before. Nothing was signed.
            KeyServiceError: the log key could not be used. Nothing was signed.
            RotationError: the log key is not the one in force. Nothing was signed.
            LedgerError, AnchorError: the ledger, or the file of the last checkpoint, cannot be used.
        """
        async with self._turn:
            grown = await asyncio.to_thread(self._grown)
            if not grown and self._compared >= {sink.name for sink in self._outside.sinks}:
                return None
            strange = await self._compare_stores(await asyncio.to_thread(self._keys))
            if not grown:
                return None
            stored = await asyncio.to_thread(self._sign)
            await asyncio.to_thread(self._book.refresh)
            texts = await self._anchor(stored)
            texts += await asyncio.to_thread(self._mark, stored.size, strange)
            return Published(stored.size, stored.root, stored.at, tuple(text for text in texts if text))

    async def retry(self) -> tuple[str, ...]:
        """Ask again for anchors that are missing, the newest checkpoints first.

        Also what was left by a process that was killed between signing and sending. A witness is asked for
        the newest checkpoint only: it cosigns nothing older than what it has seen.

        Returns:
            What failed again.
        """
        async with self._turn:
            await asyncio.to_thread(self._book.refresh)
            asks: list[Coroutine[Any, Any, list[str]]] = []
            for authority in self._outside.timestamps:
                gaps = self._book.gaps(AnchorKind.TIMESTAMP, authority.name)[:RETRIES]
                asks.append(in_turn([self._jobs.stamp(authority, size) for size in gaps]))
            newest = self._book.sizes[-1:]
            for witness in self._outside.asked:
                behind = [s for s in newest if s > self._book.up_to(AnchorKind.WITNESS, witness.name)]
                asks.append(in_turn([self._jobs.witness(witness, size) for size in behind]))
            texts = [text for found in await asyncio.gather(*asks) for text in found]
            await asyncio.to_thread(self._book.refresh)
            asks = [in_turn(self._jobs.backlog(sink)) for sink in self._outside.sinks]
            texts += [text for found in await asyncio.gather(*asks) for text in found]
            return tuple(text for text in texts if text)

    def status(self) -> SealStatus:
        """How far the log is signed and anchored. Blocks on the ledger: call it in a thread."""
        self._book.refresh()
        return self._book.status(self._outside.wanted)

    async def check(self) -> tuple[str, ...]:
        """Ask every store whether it can keep files as promised; writes nothing.

        Returns:
            What is wrong, a text each.
        """

        async def one(sink: Sink) -> str:
            return await text_of(asyncio.to_thread(sink.check), self._outside.limit, f"store {sink.name}")

        return tuple(text for text in await asyncio.gather(*map(one, self._outside.sinks)) if text)

    async def store_bundle(self, case: str, content: bytes, kind: str = "case") -> dict[str, str]:
        """Put a case's bundle into every store, encrypted with the case's own key.

        Doing it again with the same content changes nothing.

        Args:
            case: its id.
            content: the bundle as one file.
            kind: ``case``, or what stands beside the case's own bundle, such as ``watch``.

        Returns:
            The stored version, by the store's name.

        Raises:
            SinkError: a store did not take it; the others have it.
            LedgerError: the case's key cannot be had.
        """
        key = await asyncio.to_thread(self._ledger.case_key, case, create=True)
        if key is None:
            raise SinkError("the case has no key: its bundle was erased")
        name = bundle_file(case, kind)
        sealed = await asyncio.to_thread(seal_bytes, key, content, name)
        versions: dict[str, str] = {}

        async def put(sink: Sink) -> str:
            async def work() -> None:
                versions[sink.name] = await asyncio.to_thread(sink.put, name, sealed)

            return await text_of(work(), self._outside.limit, f"store {sink.name}")

        failed = [text for text in await asyncio.gather(*map(put, self._outside.sinks)) if text]
        if failed:
            raise SinkError("; ".join(failed))
        return versions

    def _grown(self) -> bool:
        """Whether the log has grown; it contains what was signed before."""
        last, head = self._ledger.latest_checkpoint(), self._ledger.check_grown()
        kept = self._kept.load()
        if kept is not None:
            check_contains(self._ledger, kept, self._signer.name, "the file of the last signed checkpoint")
        return head.size > (last.size if last else 0)

    def _keys(self) -> tuple[NoteVerifier, ...]:
        """The keys of the log, if ours is in force and one of them signed the last checkpoint."""
        last = self._ledger.latest_checkpoint()
        require_in_force(self._ledger, KeyHolder.of_log(self._signer))
        keys = tuple(NoteVerifier.from_vkey(vkey) for vkey in log_keys(self._ledger, self._signer))
        if last is not None:
            _check_signed(last, keys)
        return keys

    def _sign(self) -> StoredCheckpoint:
        """Sign the log as it stands, if it holds; it is in the ledger when this returns."""
        last, now = self._ledger.latest_checkpoint(), self._clock()
        note_dates(self._ledger, last, now)
        head = self._ledger.check_grown()
        text = Checkpoint(self._signer.name, head.size, head.root).text()
        note = note_bytes(text, [self._signer.sign_note(text)])
        stored = StoredCheckpoint(head.size, head.root, note, now)
        self._ledger.add_checkpoint(stored)
        self._kept.save(note)
        return stored

    async def _compare_stores(self, keys: Sequence[NoteVerifier]) -> list[_Strange]:
        """The stores must hold nothing signed that the ledger lacks.

        A store that does not answer in time is asked again before the next signature; it must not stop the
        sealing, and neither must anything that somebody else put there.

        Returns:
            What lies there that the log's key did not sign, or why nobody knows.

        Raises:
            RolledBackError: the ledger lacks a checkpoint that the log's key signed.
        """
        limit = self._outside.limit

        async def held(sink: Sink) -> Held:
            # A store that hangs keeps one thread busy, not one more each time.
            task = self._asking.get(sink.name)
            if task is None or task.done():
                task = asyncio.create_task(asyncio.to_thread(published_in, sink, keys, limit))
                task.add_done_callback(lambda done: done.cancelled() or done.exception())
                self._asking[sink.name] = task
            return await asyncio.wait_for(asyncio.shield(task), limit)

        sinks = self._outside.sinks
        found = await asyncio.gather(*map(held, sinks), return_exceptions=True)
        strange: list[_Strange] = []
        for sink, one in zip(sinks, found, strict=True):
            if isinstance(one, Exception):
                why = str(one) if isinstance(one, SinkError) else type(one).__name__
                text = f"store {sink.name}: what it holds was not compared: {why}"
                strange.append(_Strange(sink.name, text))
                continue
            if isinstance(one, BaseException):
                raise one
            if one.trouble:
                strange.append(_Strange(foreign(sink.name), one.trouble))
            if one.checkpoint is not None:
                where = f"the store {sink.name}"
                await asyncio.to_thread(
                    check_contains, self._ledger, one.checkpoint, self._signer.name, where
                )
            self._compared.add(sink.name)
        return strange

    def _mark(self, size: int, strange: Sequence[_Strange]) -> list[str]:
        """Mark in the ledger what lies in a store and is not the log's, unless the store failed anyway."""
        told = []
        for name, text in strange:
            if not self._book.trouble(AnchorKind.SINK, name, size):
                self._ledger.note_trouble(size, AnchorKind.SINK, name, text, self._clock())
                self._book.troubled(AnchorKind.SINK, name, size, text)
                told.append(text)
        return told

    async def _anchor(self, stored: StoredCheckpoint) -> list[str]:
        outside = self._outside
        texts = await asyncio.gather(
            *(self._jobs.stamp(authority, stored.size)() for authority in outside.timestamps),
            *(self._jobs.witness(witness, stored.size)() for witness in outside.asked),
        )
        await asyncio.to_thread(self._book.refresh)
        sent = await asyncio.gather(*(self._jobs.sink(sink, stored.size)() for sink in outside.sinks))
        await asyncio.to_thread(self._book.refresh)
        return [*texts, *sent]


def _check_signed(last: StoredCheckpoint, keys: Sequence[NoteVerifier]) -> None:
    try:
        parse_signed(last.note, keys)
    except NoteError as err:
        raise LedgerDamagedError(
            f"the ledger's last checkpoint, of {last.size} records, was not signed by the log: {err}"
        ) from None
