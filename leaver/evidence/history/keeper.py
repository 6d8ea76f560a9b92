"""One run at a time: its history into the ledger, with the exceptions that it gives cause for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from leaver.domain.ids import case_of_workflow
from leaver.domain.ids import workflow_id as case_workflow_id
from leaver.domain.words import RecordType
from leaver.evidence.errors import LedgerError, LedgerUnavailableError
from leaver.evidence.history.bodies import ChildRun, HistoryFinal, HistoryPrefix
from leaver.evidence.history.chain import history_head
from leaver.evidence.history.findings import Cause, Examined, Past, as_recorded, exception, findings
from leaver.evidence.ledger.model import Note
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.records import Chain, Record
from leaver.temporal.event_diff import only_adds
from leaver.temporal.history import (
    LIBRARY,
    HistoryFile,
    HistoryMissingError,
    RunSource,
    check_numbers,
    history_file,
)
from leaver.temporal.run_facts import parse_events, run_facts


@dataclass(frozen=True, slots=True)
class SealedRun:
    """A run whose history is in the ledger: the files, the record's body, and the record's place."""

    file: HistoryFile
    final: HistoryFinal
    seq: int


class RunKeeper:
    """Seals closed runs and notes the prefixes of open ones. Everything may be done twice.

    Args:
        ledger: open for writing.
        source: where histories are; only read.
        late_after: a run that is sealed longer than this after its close is an exception.
    """

    def __init__(self, ledger: Ledger, source: RunSource, late_after: timedelta) -> None:
        self._ledger = ledger
        self._source = source
        self._late_after = late_after

    async def seal(self, case: str, workflow_id: str, run_id: str, now: datetime) -> SealedRun:
        """Fetch a closed run's history and seal it.

        Raises:
            NotClosedError: the history has no closing event yet.
            HistoryError: it cannot be had whole; nothing was recorded.
            LedgerError: the ledger refused.
        """
        raw = await self._source.history(workflow_id, run_id)
        return await self.seal_file(case, workflow_id, history_file(workflow_id, run_id, raw), now)

    async def seal_file(self, case: str, workflow_id: str, file: HistoryFile, now: datetime) -> SealedRun:
        """Seal a closed run's history that is at hand already. Raises as ``seal``."""
        facts = run_facts(file.run_id, parse_events(file.proto))
        run = Examined(
            case=case,
            workflow_id=workflow_id,
            run_id=file.run_id,
            raw=file.proto,
            facts=facts,
            reset_to=await self._reset_to(workflow_id, file.run_id) if facts.claims_reset else "",
        )
        return await asyncio.to_thread(self._seal, run, file, now)

    async def compare(self, case: str, workflow_id: str, run_id: str, now: datetime) -> SealedRun | None:
        """Compare an open run with what was recorded of it, and record what it has become.

        Returns:
            None, or the sealed run when it turns out to be closed.

        Raises:
            HistoryError: the history cannot be had; nothing was recorded.
            LedgerError: the ledger refused.
        """
        raw = await self._source.history(workflow_id, run_id)
        events = parse_events(raw)
        facts = run_facts(run_id, events)
        if facts.close_status:
            return await self.seal_file(case, workflow_id, history_file(workflow_id, run_id, raw), now)
        check_numbers(workflow_id, run_id, events)
        run = Examined(case=case, workflow_id=workflow_id, run_id=run_id, raw=raw, facts=facts)
        await asyncio.to_thread(self._note_prefix, run, now)
        return None

    def held(self, case: str, workflow_id: str, first_run_id: str) -> dict[str, SealedRun]:
        """The sealed runs of one chain of a workflow, by run id, in the order of their sealing.

        Raises:
            LedgerError: the ledger refused, or a stored file is damaged.
        """
        found = {}
        for record in self._ledger.records(case, Chain.SEALER):
            if record.type is not RecordType.HISTORY_FINAL:
                continue
            final = HistoryFinal.model_validate(record.body)
            if (final.workflow_id, final.first_run_id) == (workflow_id, first_run_id):
                found[final.run_id] = self._stored(record)
        return found

    def last_sign_of_life(self, case: str, workflow_id: str) -> datetime | None:
        """When the workflow itself last recorded something."""
        chain = Chain.CASE if workflow_id == case_workflow_id(case) else Chain.WATCH
        records = self._ledger.records(case, chain)
        return records[-1].at if records else None

    async def _reset_to(self, workflow_id: str, run_id: str) -> str:
        try:
            return (await self._source.describe(workflow_id, run_id)).reset_run_id
        except HistoryMissingError:
            return ""

    def _seal(self, run: Examined, file: HistoryFile, now: datetime) -> SealedRun:
        stored = self._ledger.by_key(Chain.SEALER, run.case, _final_key(run.run_id))
        if stored is None:
            run, notes = self._examine(run, now)
            if run.raw != file.proto:
                file = history_file(run.workflow_id, run.run_id, run.raw)
            sha256, json_sha256 = (self._ledger.store_content(raw) for raw in (file.proto, file.json))
            notes.append(_note(run, _final(run, sha256, json_sha256), now))
            stored = self._ledger.notes(notes)[-1]
        sealed = self._stored(stored)
        if not _same(sealed, file):
            self._ledger.notes([_changed_since(run, sealed, now)])
        return sealed

    def _note_prefix(self, run: Examined, now: datetime) -> None:
        run, notes = self._examine(run, now)
        count, head = history_head(run.raw)
        key = f"prefix:{run.run_id}:{count}"
        if self._ledger.by_key(Chain.SEALER, run.case, key) is None:
            prefix = HistoryPrefix(
                workflow_id=run.workflow_id,
                run_id=run.run_id,
                first_run_id=run.facts.first_run_id,
                events=count,
                head=head,
                sha256=self._ledger.store_content(run.raw),
                library=LIBRARY,
            )
            body = prefix.model_dump(mode="json")
            notes.append(Note(Chain.SEALER, RecordType.HISTORY_PREFIX, now, body, key, run.case))
        if notes:
            self._ledger.notes(notes)

    def _examine(self, run: Examined, now: datetime) -> tuple[Examined, list[Note]]:
        """The run as it is to be recorded, and the exceptions that it gives cause for."""
        records = self._ledger.records(run.case, Chain.SEALER)
        past = Past.of(run.workflow_id, records, self._opened(run))
        run = replace(run, raw=as_recorded(run.run_id, run.raw, past, self._content))
        found = findings(run, past, now=now, late_after=self._late_after, content=self._content)
        return run, list(found)

    def _opened(self, run: Examined) -> str | None:
        """The run that opened the case, if it is one of the workflow's."""
        record = self._ledger.last(Chain.CASE, run.case, RecordType.CASE_OPENED)
        if record is None or record.body.get("workflow_id") != run.workflow_id:
            return None
        opened = record.body.get("run_id")
        return opened if isinstance(opened, str) else None

    def _content(self, sha256: str) -> bytes | None:
        try:
            return self._ledger.content(sha256)
        except LedgerUnavailableError:
            raise
        except LedgerError:
            return None

    def _stored(self, record: Record) -> SealedRun:
        final = HistoryFinal.model_validate(record.body)
        file = HistoryFile(
            run_id=final.run_id,
            json=self._ledger.content(final.json_sha256),
            proto=self._ledger.content(final.sha256),
            event_count=final.events,
        )
        return SealedRun(file=file, final=final, seq=record.seq)


def _final_key(run_id: str) -> str:
    return f"final:{run_id}"


def _final(run: Examined, sha256: str, json_sha256: str) -> HistoryFinal:
    facts = run.facts
    count, head = history_head(run.raw)
    return HistoryFinal(
        workflow_id=run.workflow_id,
        run_id=run.run_id,
        workflow_type=facts.workflow_type,
        first_run_id=facts.first_run_id,
        continued_from=facts.continued_from or None,
        continued_as=facts.continued_as or None,
        reset_of=facts.reset_of or None,
        close_status=facts.close_status,
        started_at=facts.started_at,
        closed_at=facts.closed_at or facts.started_at,
        events=count,
        head=head,
        sha256=sha256,
        json_sha256=json_sha256,
        children=tuple(
            ChildRun(workflow_id=child.workflow_id, run_id=child.run_id)
            for child in facts.children
            if case_of_workflow(child.workflow_id) == run.case
        ),
        library=LIBRARY,
    )


def _note(run: Examined, final: HistoryFinal, now: datetime) -> Note:
    body = final.model_dump(mode="json")
    return Note(Chain.SEALER, RecordType.HISTORY_FINAL, now, body, _final_key(run.run_id), run.case)


def _same(sealed: SealedRun, file: HistoryFile) -> bool:
    """Whether a history is the sealed one, but for what another version of the library reads more."""
    if sealed.file.proto == file.proto:
        return True
    if sealed.final.library == LIBRARY or sealed.final.events != file.event_count:
        return False
    return only_adds(sealed.file.proto, file.proto)


def _changed_since(run: Examined, sealed: SealedRun, now: datetime) -> Note:
    return exception(
        Cause.HISTORY_CHANGED,
        case=run.case,
        workflow_id=run.workflow_id,
        run_id=run.run_id,
        at=now,
        part="final",
        events=sealed.final.events,
        detail=f"run {run.run_id} is sealed with the head {sealed.final.head}; Temporal now serves another "
        "history of it",
    )
