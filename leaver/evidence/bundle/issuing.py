"""Issuing a period report: made by the sealer itself, noted in the log, sealed as a bundle.

The report is as of one checkpoint. Then ``report.issued`` is noted with the SHA-256 of every file, a
checkpoint over it is published, and files and record are sealed together. The files are kept in the ledger
before they are noted: made again later they may differ, because anchors and bundles arrive that were not
there before.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from leaver.domain.base import Facts
from leaver.domain.report import ReportInput
from leaver.domain.words import Mode, RecordType
from leaver.evidence.bundle.collect import Material, collect
from leaver.evidence.bundle.period import ISSUED, Compared, compare, count, written
from leaver.evidence.bundle.store import Bundle, BundleStore, bundle_name
from leaver.evidence.errors import BundleError
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.records import LOG, Chain, Record
from leaver.evidence.reports.sources import Outsiders
from leaver.evidence.verify.layout import BundleKind, record_name

SEALER: Final = "the sealer"
"""Who runs a sealed report: a process. The log names nobody."""

_NAME_LIMIT: Final = 60


@dataclass(frozen=True, slots=True)
class Issued:
    """A sealed report: its record, its bundle, and what ``issued.json`` says."""

    record: Record
    bundle: Bundle
    figures: Facts


class Issuing:
    """Issues period reports, one at a time: a large one takes half a minute and half a gigabyte.

    Args:
        ledger: open for writing.
        store: where the bundles go.
        folder: the same folder, to count the cases' bundles in.
        publish: signs and anchors a checkpoint if the log has grown.
        material: tells the keys of log, authorities and witnesses.
        outsiders: the anchors that the operator does not run.
        clock: the present, aware.
    """

    def __init__(  # noqa: PLR0913 - the parts, all named
        self,
        ledger: Ledger,
        store: BundleStore,
        folder: Path,
        publish: Callable[[], Awaitable[object]],
        material: Callable[[], Material],
        *,
        outsiders: Outsiders = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._folder = folder
        self._publish = publish
        self._material = material
        self._outsiders = outsiders
        self._clock = clock
        self._turn = asyncio.Lock()

    def newest(self) -> int:
        """The size of the last checkpoint published; 0 before the first. Blocks on the ledger."""
        last = self._ledger.latest_checkpoint()
        return last.size if last else 0

    async def issue(self, wanted: ReportInput) -> Issued:
        """Make, note and seal a report. The same period at the same checkpoint is the same record and bundle.

        Raises:
            ReportError: the period or the checkpoint cannot be reported on; nothing was noted.
            BundleError: it would not verify, or another bundle lies there.
            EvidenceError: the ledger refused, or no checkpoint could be signed.
            OSError: the disk refuses.
        """
        async with self._turn:
            subject, record = await asyncio.to_thread(self._noted, wanted)
            bundle = await asyncio.to_thread(self._find, subject, record)
            if bundle is None:
                await self._publish()
                bundle = await asyncio.to_thread(self._seal, subject, record)
            return Issued(record, bundle, await asyncio.to_thread(self._figures, record))

    def _noted(self, wanted: ReportInput) -> tuple[str, Record]:
        """The report's name and its record; a report that was noted before is not made again."""
        compared = compare(self._ledger, wanted, outsiders=self._outsiders, bundles=self._folder)
        subject = period_subject(wanted, compared)
        key = f"{RecordType.REPORT_ISSUED.value}:{subject}"
        record = self._ledger.by_key(Chain.LOG, key)
        if record is None:
            now = self._clock()
            body = self._made(wanted, compared, now)
            body["bundle"] = bundle_name(BundleKind.PERIOD, subject)
            record = self._ledger.note(Chain.LOG, LOG, RecordType.REPORT_ISSUED, now, body, key=key)
        return subject, record

    def _made(self, wanted: ReportInput, compared: Compared, now: datetime) -> Facts:
        """Make the files, keep them, and tell what the record says of them."""
        report = count(self._ledger, compared)
        files, figures = written(report, run_by=SEALER, run_at=now)
        for content in files.values():
            self._ledger.store_content(content)
        hashes: Facts = {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)}
        told = ("report", "version", "checkpoint_size", "checkpoint_root", "control_hash")
        return {
            **{name: figures[name] for name in told},
            "from": wanted.first.isoformat(),
            "to": wanted.last.isoformat(),
            "zone": wanted.zone,
            "mode": compared.found.mode.value,
            "files": hashes,
        }

    def _find(self, subject: str, record: Record) -> Bundle | None:
        bundle = self._store.find(subject, BundleKind.PERIOD)
        if bundle is not None and not _holds(bundle, record):
            raise BundleError(f"{bundle.path} holds another record than the ledger; it was left as it is")
        return bundle

    def _seal(self, subject: str, record: Record) -> Bundle:
        pages = {name: self._ledger.content(sha256) for name, sha256 in _files(record).items()}
        given = collect(
            self._ledger,
            subject,
            BundleKind.PERIOD,
            self.newest(),
            material=self._material(),
            pages=pages,
            issued=record.seq,
        )
        return self._store.seal(given)

    def _figures(self, record: Record) -> Facts:
        figures: Facts = json.loads(self._ledger.content(_files(record)[ISSUED]))
        return figures


def period_subject(wanted: ReportInput, compared: Compared) -> str:
    """A report's name in the store: days and checkpoint, then what is not usual about it.

    ``2026-11-01.2026-11-30.4711``, with ``.rehearsal`` and the time zone where it is not UTC; a long zone by
    its hash.
    """
    base = f"{wanted.first}.{wanted.last}.{compared.last.size}"
    if compared.found.mode is not Mode.ENFORCE:
        base += ".rehearsal"
    if wanted.zone == "UTC":
        return base
    zone = wanted.zone.lower().replace("/", ".").replace("+", "plus")
    if len(base) + 1 + len(zone) > _NAME_LIMIT:
        zone = hashlib.sha256(wanted.zone.encode()).hexdigest()[:16]
    return f"{base}.{zone}"


def _files(record: Record) -> Mapping[str, str]:
    told = record.body["files"]
    return {name: str(sha256) for name, sha256 in told.items()} if isinstance(told, dict) else {}


def _holds(bundle: Bundle, record: Record) -> bool:
    file = bundle.path / record_name(record.seq)
    return file.is_file() and file.read_bytes() == record.raw
