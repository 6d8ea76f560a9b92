"""The leaver event: what HR says, in one shape, whatever the source.

A CloudEvents 1.0 envelope round person, employment, separation and provenance.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from leaver.domain.base import Document, Instant

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=320)]


class EventType(StrEnum):
    """What happened in HR."""

    SCHEDULED = "leaver.scheduled.v1"
    CHANGED = "leaver.changed.v1"
    RESCINDED = "leaver.rescinded.v1"
    IMMEDIATE = "leaver.immediate.v1"


class Moment(StrEnum):
    """When on the last working day access ends."""

    END_OF_DAY = "end_of_day"
    START_OF_DAY = "start_of_day"
    AT = "at"


class Category(StrEnum):
    """Why the employment ends, as far as HR says."""

    VOLUNTARY = "voluntary"
    INVOLUNTARY = "involuntary"
    DEATH = "death"
    CONTRACT_END = "contract_end"
    UNKNOWN = "unknown"


class Knowledge(StrEnum):
    """A fact that may simply not be known; unknown is never read as no."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Manager(Document):
    """The manager as HR knows them: ``value`` is their worker id in the same source."""

    value: Text
    email: Text | None = None


class Person(Document):
    """Who leaves. ``external_id`` is the employee number."""

    external_id: Text = Field(alias="externalId")
    user_name: Text | None = Field(default=None, alias="userName")
    emails: tuple[Text, ...] = ()
    display_name: Text | None = Field(default=None, alias="displayName")
    manager: Manager | None = None
    department: Text | None = None
    location: Text | None = None
    timezone: Text | None = None


class Employment(Document):
    """The employment spell that ends; ``source_id`` is immutable in the source."""

    source_id: Text
    type: Literal["employee", "contractor"] = "employee"
    status: Text = "terminated"
    start_date: date | None = None
    end_date: date | None = None
    is_active: bool = True
    other_active: tuple[Text, ...] = ()


class Separation(Document):
    """When and how. ``effective_at`` is the cut-off instant that our ingest computed, in UTC."""

    last_working_day: date
    effective_at: Instant
    tz: Text
    moment: Moment = Moment.END_OF_DAY
    category: Category = Category.UNKNOWN
    reason_code: Text | None = None
    immediate: bool = False
    confidential: bool = False
    legal_hold: Knowledge = Knowledge.UNKNOWN


class Provenance(Document):
    """Where the event came from; ``raw_sha256`` is the hash of the bytes as received."""

    received_via: Literal["webhook", "poll", "scim", "csv", "manual"]
    source_revision: int = Field(default=0, ge=0, le=2**53 - 1)
    source_changed_at: Instant | None = None
    observed_at: Instant
    raw_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    mapping_version: Text = "1"


class LeaverData(Document):
    """The event's ``data``."""

    person: Person
    employment: Employment
    separation: Separation
    provenance: Provenance


class LeaverEvent(Document):
    """The canonical HR message.

    ``id`` is a content hash, so that a repeated delivery is the same event; ``source`` is
    ``hris/<kind>/<tenant>``; ``subject`` is the worker's immutable id in that source; ``time`` is when we
    observed it (UTC).
    """

    specversion: Literal["1.0"] = "1.0"
    id: Text
    source: Annotated[str, StringConstraints(pattern=r"^hris/[a-z0-9_-]+/[A-Za-z0-9._-]+$")]
    type: EventType
    subject: Text
    time: Instant
    datacontenttype: Literal["application/json"] = "application/json"
    data: LeaverData

    @property
    def revision(self) -> tuple[int, Instant]:
        """What orders events of one case: the source's revision, then when we saw it."""
        provenance = self.data.provenance
        return (provenance.source_revision, provenance.source_changed_at or provenance.observed_at)
