"""Telling the sealer of a delivery before its cases start, without ever waiting for it for long."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError

from leaver.domain.delivery import (
    DeliveredRow,
    DeliveryCounts,
    Exclusion,
    ExpectInput,
    ExpectResult,
    UnreadableRow,
    about,
)
from leaver.domain.event import EventType, LeaverEvent
from leaver.domain.ids import (
    WORKFLOW_QUEUE,
    case_id,
    delivery_id,
    delivery_workflow_id,
    person_ref,
)
from leaver.domain.words import Mode
from leaver.hr.model import IngestResult
from leaver.hr.screening import HeldReason, Screening
from workflows.delivery import DeliveryWorkflow

PATIENCE: Final = timedelta(seconds=3)
"""How long the start of cases waits for the sealer's record."""
ACCEPTANCE: Final = timedelta(seconds=10)
"""How long it waits for Temporal to take the delivery at all."""
ROWS_PER_PART: Final = 200
"""A payload of Temporal's is best kept below 256 kB."""

_WHY: Final = {Exclusion.RESCINDED: "HR took the separation back"}


class Announced(StrEnum):
    """What became of the announcement when the cases start."""

    NOTED = "noted"
    """The sealer's records are in the log, before any record of the cases."""
    PENDING = "pending"
    """Temporal has it; the sealer was not quick enough. The comparison will call the records late."""
    NOT_ACCEPTED = "not_accepted"
    """Temporal did not take it, or the sealer refused it. The comparison will call the cases unexpected."""
    NOTHING = "nothing"
    """The delivery names nobody."""


@dataclass(frozen=True, slots=True)
class Namer:
    """Makes the ids of one installation; rehearsals have case ids of their own."""

    key: bytes
    mode: Mode

    def case(self, event: LeaverEvent) -> str:
        """The event's case id."""
        spell, rehearsal = event.data.employment.source_id, self.mode is Mode.NOTIFICATION_ONLY
        return case_id(self.key, source=event.source, worker=event.subject, spell=spell, rehearsal=rehearsal)

    def person(self, source: str, worker: str) -> str:
        """A worker's pseudonym; empty where nobody knows whose row it is."""
        return person_ref(self.key, source=source, worker=worker) if worker else ""


def delivery_parts(
    namer: Namer, result: IngestResult, screening: Screening, received: datetime
) -> tuple[ExpectInput, ...]:
    """What the sealer has to know of a delivery, in parts that fit a payload; empty when it names nobody.

    The same content gives the same id, whenever and however often it is delivered.
    """
    rows = tuple(_rows(namer, result, screening))
    unreadable = tuple(
        UnreadableRow(
            person_ref=namer.person(each.source, each.worker), line=each.line, why=each.reason[:300]
        )
        for each in result.set_aside
        if each.event is None
    )
    if not rows and not unreadable:
        return ()
    counts = DeliveryCounts(
        read=result.read,
        events=len(result.events),
        refused=result.refused,
        duplicates=len(result.duplicates),
        staying=len(result.staying),
        former=result.former,
    )
    delivery = delivery_id(namer.key, _content(namer.mode, result.raw_sha256, rows, unreadable))
    starts = range(0, max(len(rows), len(unreadable)), ROWS_PER_PART)
    return tuple(
        ExpectInput(
            delivery=delivery,
            part=part,
            parts=len(starts),
            mode=namer.mode,
            received_at=received,
            raw_sha256=result.raw_sha256,
            counts=counts,
            rows=rows[start : start + ROWS_PER_PART],
            unreadable=unreadable[start : start + ROWS_PER_PART],
        )
        for part, start in enumerate(starts, start=1)
    )


async def announce(
    client: Client, parts: Sequence[ExpectInput], *, patience: timedelta = PATIENCE
) -> Announced:
    """Hand the delivery to Temporal and wait a moment for the sealer. Never raises, never waits for long.

    Cutting off access does not depend on evidence: whatever this answers, the cases are started.

    Args:
        client: connected, with payload encryption: the parts hold names.
        parts: of ``delivery_parts``.
        patience: how long to wait for the sealer after Temporal has taken them.
    """
    if not parts:
        return Announced.NOTHING
    try:
        async with asyncio.timeout(ACCEPTANCE.total_seconds()):
            handles = await asyncio.gather(*(_start(client, part) for part in parts))
    except (RPCError, TimeoutError):
        return Announced.NOT_ACCEPTED
    try:
        async with asyncio.timeout(patience.total_seconds()):
            await asyncio.gather(*(handle.result() for handle in handles))
    except TimeoutError:
        return Announced.PENDING
    except (WorkflowFailureError, RPCError):
        return Announced.NOT_ACCEPTED
    return Announced.NOTED


async def _start(client: Client, part: ExpectInput) -> WorkflowHandle[DeliveryWorkflow, ExpectResult]:
    # The same delivery again is noted again: the ledger knows what it has, and a row that was held the last
    # time may have been let go meanwhile.
    return await client.start_workflow(
        DeliveryWorkflow.run,
        part,
        id=delivery_workflow_id(part.delivery, part.part),
        task_queue=WORKFLOW_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=f"HR delivery, part {part.part} of {part.parts}",
    )


def _rows(namer: Namer, result: IngestResult, screening: Screening) -> Iterator[DeliveredRow]:
    """Every employment that the delivery shows as ending, each case once."""
    told: set[str] = set()
    for event, excluded, why in _fates(result, screening):
        row = _row(namer, event, excluded, why)
        if row.case not in told:
            told.add(row.case)
            yield row


def _fates(result: IngestResult, screening: Screening) -> Iterator[tuple[LeaverEvent, Exclusion | None, str]]:
    for event in screening.start:
        rescinded = Exclusion.RESCINDED if event.type is EventType.RESCINDED else None
        yield event, rescinded, _WHY[rescinded] if rescinded else ""
    for held in screening.held:
        # A protected person's case opens and waits: it is expected like any other.
        braked = held.reason is HeldReason.MASS_BRAKE
        yield held.event, Exclusion.MASS_BRAKE if braked else None, held.text if braked else ""
    for each in result.set_aside:
        if each.event is not None:
            yield each.event, each.why, each.reason


def _row(namer: Namer, event: LeaverEvent, excluded: Exclusion | None, why: str) -> DeliveredRow:
    separation, provenance = event.data.separation, event.data.provenance
    return DeliveredRow(
        case=namer.case(event),
        person_ref=namer.person(event.source, event.subject),
        source=event.source,
        event_id=event.id,
        raw_sha256=provenance.raw_sha256,
        cutoff=separation.effective_at,
        entered_at=provenance.source_changed_at,
        immediate=separation.immediate,
        legal_hold=separation.legal_hold,
        excluded=excluded,
        why=why[:300],
        about=about(event),
    )


def _content(
    mode: Mode, raw_sha256: str, rows: Sequence[DeliveredRow], unreadable: Sequence[UnreadableRow]
) -> str:
    """What makes two deliveries the same; not when they came, nor what only the hour of receipt decides."""
    content = {
        "mode": mode.value,
        "raw_sha256": raw_sha256,
        "rows": [[row.case, row.event_id, row.excluded.value if row.excluded else ""] for row in rows],
        "unreadable": [[row.person_ref, row.line] for row in unreadable],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
