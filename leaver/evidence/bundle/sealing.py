"""Sealing a case from the ledger: checkpoint, input, pages, bundle."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

from leaver.evidence.bundle.collect import Material, collect
from leaver.evidence.bundle.model import BundleInput
from leaver.evidence.bundle.store import Bundle, BundleStore
from leaver.evidence.errors import BundleError
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.records import Chain, Record
from leaver.evidence.verify.layout import BundleKind

Pages: TypeAlias = Callable[[BundleInput], Mapping[str, bytes]]
"""Makes the readable and machine-readable files of a bundle from the rest of it, by path."""


class Sealing:
    """Seals bundles of cases.

    Args:
        ledger: the log; the histories of the case have to be sealed in it before.
        store: where the bundles go.
        publish: signs and anchors a checkpoint if the log has grown.
        material: the keys of log, authorities and witnesses.
        pages: makes the files for people and programs.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: BundleStore,
        publish: Callable[[], Awaitable[object]],
        material: Material,
        pages: Pages | None = None,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._publish = publish
        self._material = material
        self._pages = pages

    async def find(self, case: str, kind: BundleKind = BundleKind.CASE) -> Bundle | None:
        """The case's bundle if it is sealed already.

        Raises:
            CaseNotClosedError, UnknownCaseError, LedgerError: the ledger has no such closed case.
            BundleError: what lies there does not verify, or holds other records.
        """
        return await asyncio.to_thread(self._find, case, kind)

    async def seal(self, case: str, kind: BundleKind = BundleKind.CASE) -> Bundle:
        """Publish a checkpoint over everything the ledger has, and seal the case with it.

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
        await self._publish()
        return await asyncio.to_thread(self._seal, case, kind)

    def _find(self, case: str, kind: BundleKind) -> Bundle | None:
        return self._store.find_same(self._records(case, kind), kind)

    def _records(self, case: str, kind: BundleKind) -> tuple[Record, ...]:
        closed = self._ledger.closed_records(case)
        return closed if kind is BundleKind.CASE else (closed[-1], *self._ledger.records(case, Chain.WATCH))

    def _seal(self, case: str, kind: BundleKind) -> Bundle:
        checkpoint = self._ledger.latest_checkpoint()
        if checkpoint is None:
            raise BundleError("the log has no checkpoint yet")
        given = collect(self._ledger, case, kind, checkpoint.size, material=self._material)
        if self._pages is not None:
            given = replace(given, pages=dict(self._pages(given)))
        return self._store.seal(given)
