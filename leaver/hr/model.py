"""What ingest is given and what it answers: context, mappings, events, and every row that gave none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, field_validator

from leaver.domain.base import Document
from leaver.domain.delivery import Exclusion
from leaver.domain.event import Category, LeaverEvent, Moment

MAX_BYTES: Final = 64 * 1024 * 1024
"""A larger delivery is refused whole: no feed of leavers is that large, and parsing would take the host."""

MAX_REVISION: Final = 2**53 - 1
"""Canonical JSON (RFC 8785) has no larger integers."""

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class SourceKind(StrEnum):
    """What kind of document HR delivered."""

    CSV = "csv"
    BAMBOOHR = "bamboohr"
    BAMBOOHR_WEBHOOK = "bamboohr-webhook"
    EVENT = "event"


class IngestError(Exception):
    """The delivery cannot be read at all: no event came out of it. The text says what to do."""


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """Why one row gave no event, or what was left unused of it.

    ``line`` is the line on which a CSV or JSON-lines row begins (the first line of the file is 1), or the
    row's position in a JSON array (the first is 1). ``field`` is the source's own name of the field, a path
    in JSON. ``reason`` never repeats names or addresses.
    """

    source: str
    line: int
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Staying:
    """Somebody whom the delivery shows as employed: compared with open cases, it tells a withdrawn leaver."""

    source: str
    worker: str
    spell: str
    line: int


@dataclass(frozen=True, slots=True)
class SetAside:
    """An employment that the delivery shows as ending, or may show so, and that gave no event; and why.

    ``worker`` is empty where the row does not even say whose it is; ``event`` is None where unreadable.
    """

    source: str
    worker: str
    line: int
    why: Exclusion
    reason: str
    event: LeaverEvent | None = None


@dataclass(frozen=True, slots=True)
class IngestResult:
    """Everything a delivery held; nothing of it is dropped silently.

    ``read`` counts rows (CSV, events) or employees (BambooHR), and equals events + ``refused`` +
    ``duplicates`` + ``staying`` + ``former``. ``rejected`` may name several errors of one row; ``former``
    left before the date from which leavers count. ``set_aside`` explains, person by person, the leavers among
    ``refused`` and ``duplicates``; ``raw_sha256`` is the hash of the delivered bytes.
    """

    events: tuple[LeaverEvent, ...] = ()
    rejected: tuple[RejectedRow, ...] = ()
    duplicates: tuple[RejectedRow, ...] = ()
    staying: tuple[Staying, ...] = ()
    warnings: tuple[RejectedRow, ...] = ()
    read: int = 0
    refused: int = 0
    former: int = 0
    set_aside: tuple[SetAside, ...] = ()
    raw_sha256: str = field(default="", compare=False)


CSV_FIELDS: Final = (
    "employee_number",
    "employment_id",
    "hire_date",
    "user_name",
    "email",
    "display_name",
    "manager_number",
    "manager_email",
    "department",
    "location",
    "timezone",
    "last_working_day",
    "cutoff_moment",
    "status",
    "category",
    "immediate",
    "confidential",
    "legal_hold",
    "revision",
    "changed_at",
)


class CsvMapping(Document):
    """How an HR file's columns become ours. A column of the same name needs no entry in ``columns``.

    ``date_format`` is a ``strptime`` format and applies instead of ISO 8601, never beside it: a spreadsheet's
    02/03/2026 has two readings. Columns that nobody mapped are refused unless they are named in
    ``ignore_columns`` or ``unknown_columns`` is ``ignore``, because a misspelt ``status`` must not turn a
    withdrawn leaver into a leaver.
    """

    version: Name = "1"
    columns: dict[Name, Name] = Field(default_factory=dict)
    delimiter: Literal["auto", ",", ";", "\t"] = "auto"
    date_format: Name | None = None
    ignore_columns: tuple[Name, ...] = ()
    unknown_columns: Literal["refuse", "ignore"] = "refuse"

    @field_validator("columns")
    @classmethod
    def _ours(cls, value: dict[str, str]) -> dict[str, str]:
        if foreign := sorted(set(value) - set(CSV_FIELDS)):
            raise ValueError(f"unknown field {foreign[0]!r}; fields are {', '.join(CSV_FIELDS)}")
        headers = [header.casefold() for header in value.values()]
        if len(set(headers)) != len(headers):
            raise ValueError("two fields are mapped to the same column")
        return value

    @field_validator("date_format")
    @classmethod
    def _round_trips(cls, value: str | None) -> str | None:
        if value is None:
            return None
        probe = datetime(2026, 11, 23)  # noqa: DTZ001 - a calendar date
        # Asked first, because from Python 3.13 on reading a date without a year warns by itself.
        whole = any(year in value for year in ("%Y", "%y", "%G", "%x", "%c", "%D", "%F"))
        if not whole or datetime.strptime(probe.strftime(value), value) != probe:  # noqa: DTZ007
            raise ValueError("must hold year, month and day, e.g. %d.%m.%Y")
        return value


def _bamboohr_fields() -> dict[str, str]:
    return {
        "employee_number": "employeeNumber",
        "email": "workEmail",
        "display_name": "displayName",
        "department": "department",
        "location": "location",
    }


class BambooHrMapping(Document):
    """How a BambooHR company keeps its records.

    ``fields`` maps our person fields (``employee_number, user_name, email, display_name, department,
    location, timezone, immediate, confidential, legal_hold``) to the aliases of the employee fields.
    ``date_means`` says whether the date of a termination row is the last day worked or the first day out.
    Terminations before ``leavers_since`` are history: the table of all employees holds every one ever made.
    """

    version: Name = "1"
    terminated_statuses: tuple[Name, ...] = ("Terminated",)
    contractor_statuses: tuple[Name, ...] = ("Contractor",)
    date_means: Literal["last_day_worked", "first_day_out"] = "last_day_worked"
    categories: dict[Name, Category] = Field(
        default_factory=lambda: {
            "Resignation (Voluntary)": Category.VOLUNTARY,
            "Termination (Involuntary)": Category.INVOLUNTARY,
            "Death": Category.DEATH,
        }
    )
    fields: dict[Name, Name] = Field(default_factory=_bamboohr_fields)
    leavers_since: date | None = None

    @field_validator("fields")
    @classmethod
    def _ours(cls, value: dict[str, str]) -> dict[str, str]:
        allowed = {*_bamboohr_fields(), "user_name", "timezone", "immediate", "confidential", "legal_hold"}
        if foreign := sorted(set(value) - allowed):
            raise ValueError(f"unknown field {foreign[0]!r}; fields are {', '.join(sorted(allowed))}")
        return _bamboohr_fields() | value


@dataclass(frozen=True, slots=True)
class IngestContext:
    """What the reader needs besides the bytes.

    ``tenant`` names the company within the source (``hris/<kind>/<tenant>``); ``file`` is named in rejected
    rows; ``observed_at`` (aware) is when the delivery reached us. The zone of a cut-off is the worker's own,
    else that of the location (compared without case), else ``default_timezone``.

    Raises:
        ValueError: ``observed_at`` is naive.
    """

    tenant: str
    file: str
    observed_at: datetime
    default_timezone: str = "UTC"
    moment: Moment = Moment.END_OF_DAY
    location_timezones: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    csv: CsvMapping = field(default_factory=CsvMapping)
    bamboohr: BambooHrMapping = field(default_factory=BambooHrMapping)

    def __post_init__(self) -> None:
        if self.observed_at.utcoffset() is None:
            raise ValueError("observed_at must be aware of its time zone")

    def source(self, kind: str) -> str:
        """The CloudEvents source of this tenant's documents of one kind."""
        return f"hris/{kind}/{self.tenant}"
