"""From what a reader found to the leaver event: the cut-off instant, the content id, the provenance."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Literal

import rfc8785

from leaver.domain.cutoff import cutoff_instant
from leaver.domain.event import (
    Category,
    Employment,
    EventType,
    Knowledge,
    LeaverData,
    LeaverEvent,
    Moment,
    Person,
    Provenance,
    Separation,
)
from leaver.hr.model import IngestContext


@dataclass(frozen=True, slots=True)
class Found:
    """One separation as a source states it. ``moment`` with ``at`` and ``tz`` give the cut-off."""

    source: str
    subject: str
    person: Person
    employment: Employment
    last_working_day: date
    moment: Moment
    at: time | None
    tz: str
    via: Literal["webhook", "poll", "csv"]
    raw: bytes
    rescinded: bool = False
    category: Category = Category.UNKNOWN
    reason_code: str | None = None
    immediate: bool = False
    confidential: bool = False
    legal_hold: Knowledge = Knowledge.UNKNOWN
    revision: int = 0
    changed_at: datetime | None = None
    mapping_version: str = "1"


def event_id(source: str, subject: str, spell: str, revision: int, content: object) -> str:
    """The content hash (64 hexadecimal digits) that makes a repeated delivery the same event (trap T4).

    ``content`` is plain JSON. Parts are hashed with their lengths, so that no two lists of parts collide.
    """
    parts = (source, subject, spell, str(revision))
    hashed = hashlib.sha256()
    for part in (*(part.encode() for part in parts), rfc8785.dumps(content)):  # type: ignore[arg-type]
        hashed.update(len(part).to_bytes(8, "big") + part)
    return hashed.hexdigest()


def content_id(event: LeaverEvent, scheduled: datetime | None = None) -> str:
    """The id of an event by its content, without what changes between deliveries of the same message.

    ``scheduled`` is the cut-off by date, moment and zone: that of an immediate separation is the hour of
    receipt, which a second delivery must not change.
    """
    data = event.data
    separation = data.separation
    if scheduled is not None:
        separation = separation.model_copy(update={"effective_at": scheduled})
    content = {
        "type": event.type.value,
        "person": data.person.model_dump(mode="json"),
        "employment": data.employment.model_dump(mode="json"),
        "separation": separation.model_dump(mode="json"),
    }
    revision = data.provenance.source_revision
    return event_id(event.source, event.subject, data.employment.source_id, revision, content)


def make_event(found: Found, context: IngestContext) -> LeaverEvent:
    """Build the event. An immediate separation takes effect on receipt, or earlier where HR's date is past.

    Raises:
        CutoffError: the cut-off cannot be computed.
    """
    observed = context.observed_at.astimezone(UTC)
    scheduled = cutoff_instant(found.last_working_day, found.moment, found.tz, at=found.at)
    separation = Separation(
        last_working_day=found.last_working_day,
        effective_at=min(scheduled, observed) if found.immediate else scheduled,
        tz=found.tz,
        moment=found.moment,
        category=found.category,
        reason_code=found.reason_code,
        immediate=found.immediate,
        confidential=found.confidential,
        legal_hold=found.legal_hold,
    )
    provenance = Provenance(
        received_via=found.via,
        source_revision=found.revision,
        source_changed_at=found.changed_at,
        observed_at=observed,
        raw_sha256=hashlib.sha256(found.raw).hexdigest(),
        mapping_version=found.mapping_version,
    )
    draft = LeaverEvent(
        id="draft",
        source=found.source,
        type=_type(found),
        subject=found.subject,
        time=observed,
        data=LeaverData(
            person=found.person, employment=found.employment, separation=separation, provenance=provenance
        ),
    )
    return draft.model_copy(update={"id": content_id(draft, scheduled)})


def zone_name(worker: str | None, location: str | None, context: IngestContext) -> str:
    """The zone that decides: the worker's own, else the location's, else the company's."""
    if worker:
        return worker
    places = {name.casefold(): tz for name, tz in context.location_timezones.items()}
    return places.get(location.casefold(), context.default_timezone) if location else context.default_timezone


def _type(found: Found) -> EventType:
    if found.rescinded:
        return EventType.RESCINDED
    return EventType.IMMEDIATE if found.immediate else EventType.SCHEDULED
