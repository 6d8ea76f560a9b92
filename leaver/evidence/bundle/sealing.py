"""Sealing a case from the ledger: checkpoint, input, pages, bundle."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, TypeAlias

from leaver.domain.base import Facts
from leaver.domain.words import RecordType
from leaver.evidence.anchors.dates import note_dates
from leaver.evidence.bundle.collect import Material, collect
from leaver.evidence.bundle.model import BundleInput
from leaver.evidence.bundle.store import Bundle, BundleStore
from leaver.evidence.errors import BundleError
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.records import Chain, Record
from leaver.evidence.verify.layout import BundleKind

Pages: TypeAlias = Callable[[BundleInput], Mapping[str, bytes]]
"""Makes the readable and machine-readable files of a bundle from the rest of it, by path."""

_TRIES: Final = 10


class Sealing:
    """Seals bundles of cases.

    Args:
        ledger: the log; the histories of the case have to be sealed in it before.
        store: where the bundles go.
        publish: signs and anchors a checkpoint if the log has grown.
        material: the keys of log, authorities and witnesses; a function is asked at every sealing, so that a
            sealer whose key service is away starts and takes records all the same.
        pages: makes the files for people and programs.
        clock: the time now, UTC.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the sealing's parts
        self,
        ledger: Ledger,
        store: BundleStore,
        publish: Callable[[], Awaitable[object]],
        material: Material | Callable[[], Material],
        pages: Pages | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._publish = publish
        self._material = material if callable(material) else lambda: material
        self._pages = pages
        self._clock = clock

    async def find(self, case: str, kind: BundleKind = BundleKind.CASE) -> Bundle | None:
        """The case's bundle if it is sealed already.

        Raises:
            CaseNotClosedError, UnknownCaseError, LedgerError: the ledger has no such closed case.
            BundleError: what lies there does not verify, or holds other records.
        """
        return await asyncio.to_thread(self._find, case, kind)

    async def seal(self, case: str, kind: BundleKind = BundleKind.CASE) -> Bundle:
        """Note what belongs to the bundle, publish a checkpoint over it, and seal the case with that.

        A bundle that exists is returned as it is. An anchor that cannot be had now does not stop the bundle:
        it is sealed without, and every verification says which anchors there are.

        Raises:
            CaseNotClosedError, UnknownCaseError, LedgerError: the ledger has no such closed case.
            BundleError: it would not verify, or another bundle lies there.
            EvidenceError: no checkpoint could be signed.
            OSError: the disk refuses.
        """
        if existing := await self.find(case, kind):
            return existing
        noted = await asyncio.to_thread(self._note, case, kind)
        await self._publish()
        return await asyncio.to_thread(self._seal, case, kind, noted.seq)

    def _find(self, case: str, kind: BundleKind) -> Bundle | None:
        return self._store.find_same(self._records(case, kind), kind)

    def _records(self, case: str, kind: BundleKind) -> tuple[Record, ...]:
        closed = self._ledger.closed_records(case)
        return closed if kind is BundleKind.CASE else (closed[-1], *self._ledger.records(case, Chain.WATCH))

    def _note(self, case: str, kind: BundleKind) -> Record:
        """The sealer's last record about the case here: how many every chain has, so that no end can be cut.

        A bundle that was noted and not finished is gone on with. Whatever the sealer notes in between about
        the same case makes the counts wrong: then it is counted again.
        """
        # What publishing would note about the case's dates, before the records are counted.
        note_dates(self._ledger, self._ledger.latest_checkpoint(), self._clock())
        for _ in range(_TRIES):
            counts: Facts = {
                "case_records": len(self._ledger.closed_records(case)),
                "watch_records": len(self._ledger.records(case, Chain.WATCH)),
            }
            noted = self._ledger.records(case, Chain.SEALER)
            if noted and noted[-1].body == _sealing(kind, counts, len(noted)):
                return noted[-1]
            number = len(noted) + 1
            body = _sealing(kind, counts, number)
            key = f"sealing:{kind.value}:{number}"
            record = self._ledger.note(
                Chain.SEALER, case, RecordType.BUNDLE_SEALING, self._clock(), body, key=key
            )
            if record.case_seq + 1 == number:
                return record
        raise BundleError("the sealer goes on noting things about the case; it is sealed later")

    def _seal(self, case: str, kind: BundleKind, noted: int) -> Bundle:
        # Not the newest one: that may be of a case that is sealed beside this one, and not anchored yet. The
        # first one over our records was finished, by whoever signed it, when our own publishing returned.
        covering = self._ledger.checkpoints(noted + 1)
        if not covering:
            raise BundleError("the log has no checkpoint over the case yet")
        given = collect(self._ledger, case, kind, covering[0].size, material=self._material())
        # What the sealer noted about the case after it had counted belongs to the next bundle.
        counted = tuple(each for each in given.records if each.record.seq <= noted)
        given = replace(given, records=counted)
        if self._pages is not None:
            given = replace(given, pages=dict(self._pages(given)))
        return self._store.seal(given)


def _sealing(kind: BundleKind, counts: Facts, number: int) -> Facts:
    return {"kind": kind.value, **counts, "sealer_records": number}
