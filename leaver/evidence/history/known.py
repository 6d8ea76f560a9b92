"""What is known of runs: learnt from the ledger, so that a restarted sealer knows as much as before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from leaver.domain.base import Facts, Message
from leaver.domain.ids import case_of_workflow
from leaver.domain.words import RecordType
from leaver.evidence.history.bodies import HistoryFinal, RunException
from leaver.evidence.history.findings import Cause
from leaver.evidence.ledger.model import RawRecord
from leaver.evidence.records import Chain, parse_record

TYPES: Final = (
    RecordType.CASE_OPENED,
    RecordType.HISTORY_PREFIX,
    RecordType.HISTORY_FINAL,
    RecordType.EXCEPTION_RAISED,
)
"""The records that ``Known.learn`` reads, and the chains they stand in:"""
CHAINS: Final = (Chain.CASE, Chain.SEALER, Chain.LOG)


@dataclass(slots=True)
class OpenRun:
    """A run that was open when it was last heard of. Times are UTC.

    ``alive_at`` is the latest moment at which it is known to have been open, ``prefix_at`` when its events
    were last compared with what was recorded.
    """

    case: str
    workflow_id: str
    run_id: str
    alive_at: datetime
    prefix_at: datetime | None = None


class _Place(Message):
    workflow_id: str
    run_id: str


class Known:
    """Open runs and sealed ones. ``gone`` are those that can never be sealed; each was reported."""

    def __init__(self) -> None:
        self.open: dict[str, OpenRun] = {}
        self.sealed: set[str] = set()
        self.gone: set[str] = set()
        self.workflows: set[str] = set()
        self.next_seq = 0

    def learn(self, stored: RawRecord) -> RunException | None:
        """Take in one record of ``TYPES``; the exception that the sealer raised by it, if it is one."""
        self.next_seq = max(self.next_seq, stored.seq + 1)
        record = parse_record(stored.raw)
        try:
            if record.type is RecordType.HISTORY_FINAL:
                self.finish(HistoryFinal.model_validate(record.body))
            elif record.type is RecordType.EXCEPTION_RAISED:
                return self._exception(record.body) if record.chain is not Chain.CASE else None
            else:
                self._place(record.at, record.body, compared=record.type is RecordType.HISTORY_PREFIX)
        except ValidationError:
            # A record that names no run, from a later version or from another part of the sealer.
            return None
        return None

    def meet(self, case: str, workflow_id: str, run_id: str, alive_at: datetime) -> OpenRun:
        """A run that is open at that moment."""
        self.workflows.add(workflow_id)
        run = self.open.setdefault(run_id, OpenRun(case, workflow_id, run_id, alive_at))
        run.alive_at = max(run.alive_at, alive_at)
        return run

    def finish(self, final: HistoryFinal) -> None:
        """A run that is sealed; what it started is known to exist."""
        self.sealed.add(final.run_id)
        self.workflows.add(final.workflow_id)
        self.open.pop(final.run_id, None)
        for child in final.children:
            case = case_of_workflow(child.workflow_id)
            if case is not None and not self.settled(child.run_id):
                self.meet(case, child.workflow_id, child.run_id, final.closed_at)

    def lose(self, run_id: str) -> None:
        """A run that can never be sealed."""
        self.gone.add(run_id)
        self.open.pop(run_id, None)

    def settled(self, run_id: str) -> bool:
        """Whether nothing is left to do about a run."""
        return run_id in self.sealed or run_id in self.gone

    def _place(self, at: datetime, body: Facts, *, compared: bool) -> None:
        place = _Place.model_validate(body)
        case = case_of_workflow(place.workflow_id)
        if case is None or self.settled(place.run_id):
            return
        run = self.meet(case, place.workflow_id, place.run_id, at)
        if compared:
            run.prefix_at = at

    def _exception(self, body: Facts) -> RunException | None:
        raised = RunException.model_validate(body)
        if raised.cause not in set(Cause):
            return None
        if raised.lost or raised.cause == Cause.RUN_DELETED:
            self.lose(raised.run_id)
        return raised
