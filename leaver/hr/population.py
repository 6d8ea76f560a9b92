"""HR's list for the sealer's own look: the files that HR exports, read by another process and another way.

The newest complete file counts, or all files of a folder together. Nothing is written or moved. What is told
names a file by its hash, because what it is called may name a person.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from leaver.domain.delivery import UnreadableRow, about
from leaver.domain.event import EventType, LeaverEvent
from leaver.domain.ids import case_id, person_ref
from leaver.domain.population import PopulationRow, Pull, PullFailedError
from leaver.domain.words import Mode
from leaver.hr.ingest import read
from leaver.hr.model import IngestContext, IngestError, IngestResult, SetAside, SourceKind

ContextMaker = Callable[[str, datetime], IngestContext]
"""Makes the reader's context for a file name and the moment of reading."""

QUIET: Final = timedelta(seconds=5)
"""A file that changed more recently may still be being written: it is read twice."""
BETWEEN: Final = 1.0
"""Seconds between the two readings."""

_COMPANION: Final = ".sha256"
_GLOB: Final = re.compile(r"[*?\[]")


def same_context(context: IngestContext) -> ContextMaker:
    """A maker that changes nothing but file and moment, so that both ways read HR's files alike."""
    return lambda file, at: replace(context, file=file, observed_at=at)


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    data: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True)
class FilePopulation:
    """HR's list from files, as ``leaver hr ingest`` reads them.

    Args:
        files: a file, a folder, or a pattern such as ``/srv/hr/*.csv``.
        kind: what kind of documents they are (a webhook is no list).
        context: makes the reader's context.
        id_key: the key of case ids and pseudonyms.
        mode: of the policy; rehearsals have case ids of their own.
        take: ``newest`` for exports that are complete each time, ``all`` for a folder of parts.
        companion: refuse a file without its ``.sha256`` beside it. One that is there is always checked.
    """

    files: Path
    kind: SourceKind
    context: ContextMaker
    id_key: bytes
    mode: Mode
    take: Literal["newest", "all"] = "newest"
    companion: bool = False

    @property
    def name(self) -> str:
        """The source as records name it."""
        return self.context(self.files.name, datetime.now(UTC)).source(self.kind.value)

    async def pull(self, now: datetime) -> Pull:
        """Read the newest complete file, or all of them.

        Raises:
            PullFailedError: there is no complete file, or it cannot be read as a whole.
        """
        return await asyncio.to_thread(self._pull, now)

    def _pull(self, now: datetime) -> Pull:
        files, problems = self._complete(now)
        results = [self._read(file, now) for file in files]
        rows = _Rows(self.id_key, self.mode)
        for result in results:
            rows.take(result)
        return Pull(
            source=self.name,
            query=self._query(files),
            mode=self.mode,
            pulled_at=now,
            raw_sha256=_digest(files),
            rows=sum(result.read for result in results),
            leavers=tuple(rows.leavers.values()),
            staying=frozenset(rows.staying),
            unreadable=tuple(rows.unreadable.values()),
            problems=tuple(problems),
            files=tuple(file.path.name for file in files),
        )

    def _complete(self, now: datetime) -> tuple[list[_File], list[str]]:
        """The files to read, oldest first, and remarks about those passed over."""
        found, problems = [], []
        for number, path in enumerate(self._candidates(), 1):
            try:
                file = _File(path, path.read_bytes())
                fault = self._fault(file, now)
            except OSError as err:
                problems.append(_passed_over(number, f"cannot be read ({err.strerror})"))
                continue
            if fault:
                problems.append(_passed_over(number, f"SHA-256 {file.sha256}, {fault}"))
                continue
            found.append(file)
            if self.take == "newest":
                break
        if not found:
            raise PullFailedError(
                "; ".join(problems) or f"there is no file {self.files.name} to read HR's list from"
            )
        return found[::-1], problems

    def _candidates(self) -> list[Path]:
        """Newest first."""
        if _GLOB.search(self.files.name):
            paths: Iterator[Path] = self.files.parent.glob(self.files.name)
        else:
            paths = self.files.iterdir() if self.files.is_dir() else iter([self.files])
        try:
            documents = [
                (path.stat().st_mtime_ns, path.name, path)
                for path in paths
                if path.is_file() and path.suffix != _COMPANION and not path.name.startswith(".")
            ]
        except OSError as err:
            raise PullFailedError(f"{self.files.name}: cannot be listed ({err.strerror})") from err
        return [path for _, _, path in sorted(documents, reverse=True)]

    def _fault(self, file: _File, now: datetime) -> str:
        """Why the file is not complete, or nothing."""
        path = file.path
        companion = path.with_name(path.name + _COMPANION)
        if companion.is_file():
            words = companion.read_text(encoding="utf-8", errors="replace").split()
            right = bool(words) and words[0].lower() == file.sha256
            return "" if right else f"does not have the hash in its {_COMPANION}"
        if self.companion:
            return f"has no {_COMPANION} beside it"
        changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        if abs(now - changed) >= QUIET:
            return ""
        time.sleep(BETWEEN)
        return "" if path.read_bytes() == file.data else "is being written right now"

    def _read(self, file: _File, now: datetime) -> IngestResult:
        try:
            return read(file.data, self.kind, self.context(f"SHA-256 {file.sha256}", now))
        except IngestError as err:
            raise PullFailedError(str(err)) from err

    def _query(self, files: list[_File]) -> str:
        hashes = ", ".join(file.sha256 for file in files[-3:])
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""  # noqa: PLR2004 - the hashes shown
        return f"{self.take} of {self.files} read as {self.kind.value}: SHA-256 {hashes}{more}"


class _Rows:
    """The leavers of one or several documents, each case once; a later document counts."""

    def __init__(self, id_key: bytes, mode: Mode) -> None:
        self._key = id_key
        self._rehearsal = mode is Mode.NOTIFICATION_ONLY
        self.leavers: dict[str, PopulationRow] = {}
        self.staying: set[str] = set()
        self.unreadable: dict[tuple[str, int], UnreadableRow] = {}

    def take(self, result: IngestResult) -> None:
        for each in result.set_aside:
            if each.event is not None:
                self._enter(each.event, each)
            else:
                self._not_read(each)
        for event in result.events:
            self._enter(event, None)
        for stays in result.staying:
            case = self._case(stays.source, stays.worker, stays.spell)
            self.leavers.pop(case, None)
            self.staying.add(case)

    def _enter(self, event: LeaverEvent, aside: SetAside | None) -> None:
        case = self._case(event.source, event.subject, event.data.employment.source_id)
        self.staying.discard(case)
        provenance = event.data.provenance
        self.leavers[case] = PopulationRow(
            case=case,
            person_ref=self._person(event.source, event.subject),
            source=event.source,
            event_id=event.id,
            effective_at=event.data.separation.effective_at,
            entered_at=provenance.source_changed_at,
            leaving=event.type is not EventType.RESCINDED,
            set_aside=aside.why if aside else None,
            about=about(event),
        )

    def _not_read(self, row: SetAside) -> None:
        who = self._person(row.source, row.worker) if row.worker else ""
        self.unreadable[who, row.line] = UnreadableRow(person_ref=who, line=row.line, why=row.reason[:300])

    def _case(self, source: str, worker: str, spell: str) -> str:
        return case_id(self._key, source=source, worker=worker, spell=spell, rehearsal=self._rehearsal)

    def _person(self, source: str, worker: str) -> str:
        return person_ref(self._key, source=source, worker=worker)


def _passed_over(number: int, fault: str) -> str:
    return f"file {number}, counted from the newest: {fault}; it was passed over"


def _digest(files: list[_File]) -> str:
    """The hash of the one file; of several, the hash over their hashes in the order they were read."""
    hashes = [hashlib.sha256(file.data).hexdigest() for file in files]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()
