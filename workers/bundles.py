"""What the sealer does with bundles by itself: seals those of the watch, and puts all into the stores."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import structlog

from leaver.domain.ids import CASE_ID, watch_workflow_id
from leaver.domain.words import RecordType
from leaver.evidence.anchors.publisher import Publisher
from leaver.evidence.bundle import BundleKind, Sealing, bundle_name
from leaver.evidence.bundle.pack import packed
from leaver.evidence.errors import BundleError, SinkError
from leaver.evidence.history.bodies import HistoryFinal
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.records import parse_record

_STORED: Final = ".stored"
"""Beside the bundles: an empty file per bundle that every store has."""
_WATCH: Final = ".watch"

log = structlog.get_logger(__name__)


class BundleRound:
    """One round of it. What fails is said and tried again in the next.

    A workflow cannot seal itself, so the watch's bundle is made when the watch's history has been sealed.

    Args:
        ledger: tells which watches have ended.
        bundles: seals.
        publisher: knows the stores.
        folder: where the bundles lie.
    """

    def __init__(self, ledger: Ledger, bundles: Sealing, publisher: Publisher, folder: Path) -> None:
        self._ledger = ledger
        self._bundles = bundles
        self._publisher = publisher
        self._folder = folder
        self._next = 0
        self._ended: list[str] = []

    async def tick(self) -> None:
        """Seal what ended since the last round, then store what no store has yet."""
        self._ended += await asyncio.to_thread(lambda: list(self._news()))
        left = []
        for case in self._ended:
            try:
                await self._bundles.seal(case, BundleKind.WATCH)
            except BundleError as err:
                log.error("watch_not_sealed", case=case, problem=str(err))  # noqa: TRY400 - expected
                left.append(case)
        self._ended = left
        for name in await asyncio.to_thread(self._unstored):
            await self._store(name)

    def _news(self) -> Iterator[str]:
        """The cases whose watch has ended with a sealed history and which have no bundle of it."""
        for streamed in self._ledger.stream((RecordType.HISTORY_FINAL,), since_seq=self._next):
            self._next = streamed.seq + 1
            final = HistoryFinal.model_validate(parse_record(streamed.raw).body)
            ended = final.workflow_id == watch_workflow_id(streamed.case) and not final.continued_as
            if ended and not (self._folder / bundle_name(BundleKind.WATCH, streamed.case)).exists():
                yield streamed.case

    def _unstored(self) -> list[str]:
        if not self._folder.is_dir():
            return []
        done = self._folder / _STORED
        names = sorted(path.name for path in self._folder.iterdir() if CASE_ID.match(path.name.split(".")[0]))
        return [name for name in names if not (done / name).exists()]

    async def _store(self, name: str) -> None:
        case, kind = name.removesuffix(_WATCH), "watch" if name.endswith(_WATCH) else "case"
        try:
            content = await asyncio.to_thread(packed, self._folder / name)
            await self._publisher.store_bundle(case, content, kind)
        except SinkError as err:
            log.warning("bundle_not_stored", case=case, problem=str(err))
            return
        marks = self._folder / _STORED
        marks.mkdir(exist_ok=True)
        (marks / name).touch()
