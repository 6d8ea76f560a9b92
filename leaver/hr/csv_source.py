"""HR files in CSV, as spreadsheets and HR systems export them.

One row is one employment; it states what is so (``leaving``, ``rescinded``, ``active``), not what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time
from enum import StrEnum

from leaver.domain.cutoff import CutoffError
from leaver.domain.event import Category, Employment, Knowledge, Manager, Moment, Person
from leaver.hr.assemble import Found, make_event, zone_name
from leaver.hr.csv_layout import Layout, Record, read_layout
from leaver.hr.feed import Candidate, FieldNames, Standing, handles, settle
from leaver.hr.model import IngestContext, IngestResult, RejectedRow
from leaver.hr.values import Values


class Status(StrEnum):
    """What a row says about the employment."""

    LEAVING = "leaving"
    RESCINDED = "rescinded"
    ACTIVE = "active"


@dataclass(frozen=True, slots=True)
class _Row:
    """The typed values of a row; good for an event only where ``Values`` has no problems."""

    number: str
    status: Status
    spell: str
    hired: date | None
    last_day: date | None
    moment: Moment
    at: time | None
    user_name: str | None
    email: str | None
    display_name: str | None
    manager_number: str | None
    manager_email: str | None
    department: str | None
    location: str | None
    timezone: str | None
    category: Category
    immediate: bool
    confidential: bool
    legal_hold: Knowledge
    revision: int
    changed_at: datetime | None


def read_csv(text: str, context: IngestContext) -> IngestResult:
    """Read a whole file.

    Raises:
        IngestError: no header, missing, unknown or repeated columns, broken quoting, an empty file.
    """
    layout, records = read_layout(text, context)
    candidates: list[Candidate] = []
    rejected: list[RejectedRow] = []
    warnings: list[RejectedRow] = []
    for record in records:
        candidate, problems, notes = _read_row(record, layout, context)
        candidates.append(candidate)
        rejected += [RejectedRow(context.file, record.line, *problem) for problem in problems]
        warnings += [RejectedRow(context.file, record.line, *note) for note in notes]
    names = FieldNames(
        worker=layout.name("employee_number"),
        spell=layout.name("employment_id"),
        date=layout.name("last_working_day"),
        status=layout.name("status"),
        handle=layout.name("user_name" if "user_name" in layout.names else "email"),
    )
    return settle(candidates, file=context.file, names=names, rejected=rejected, warnings=warnings)


Notes = list[tuple[str, str]]


def _read_row(record: Record, layout: Layout, context: IngestContext) -> tuple[Candidate, Notes, Notes]:
    """The row as a candidate, with its problems (then it is unreadable) and what of it stays unused."""
    source = context.source("csv")
    received = (0, context.observed_at)
    if len(record.cells) != layout.width:
        count = f"has {len(record.cells)} fields, the header has {layout.width}"
        problem = ("row", f"{count}; check quotes and separators")
        return Candidate(record.line, Standing.UNREADABLE, source, "", received), [problem], []
    values = layout.values(record)
    row = _parse(values, layout, context)
    known = handles(row.user_name, row.email)
    if not values.problems and row.status is Status.ACTIVE:
        order = (row.revision, row.changed_at or context.observed_at)
        stays = Candidate(record.line, Standing.ACTIVE, source, row.number, order, row.spell, known)
        return stays, [], []
    if not values.problems:
        try:
            event = make_event(_found(row, record, context), context)
            return Candidate.of(record.line, event), [], _notes(row, layout, context)
        except CutoffError as err:
            values.fault(err.field, err.reason)
    return (
        Candidate(record.line, Standing.UNREADABLE, source, row.number, received, handles=known),
        values.problems,
        [],
    )


def _parse(values: Values, layout: Layout, context: IngestContext) -> _Row:
    form = context.csv.date_format
    number = values.number("employee_number", required=True) or ""
    hired = values.day("hire_date", form=form)
    status = _status(values, layout)
    last_day = values.day("last_working_day", required=status is not Status.ACTIVE, form=form)
    if hired and last_day and last_day < hired:
        values.fault("last_working_day", "is before the hire date")
    moment, at = values.moment("cutoff_moment", context.moment)
    return _Row(
        number=number,
        status=status,
        spell=values.number("employment_id") or f"{number}:{hired.isoformat() if hired else '1'}",
        hired=hired,
        last_day=last_day,
        moment=moment,
        at=at,
        user_name=values.mail("user_name"),
        email=values.mail("email"),
        display_name=values.text("display_name"),
        manager_number=values.number("manager_number"),
        manager_email=values.mail("manager_email"),
        department=values.text("department"),
        location=values.text("location"),
        timezone=values.timezone("timezone"),
        category=values.choice("category", Category, Category.UNKNOWN),
        immediate=values.flag("immediate") or False,
        confidential=values.flag("confidential") or False,
        legal_hold=values.knowledge("legal_hold"),
        revision=values.revision("revision"),
        changed_at=values.instant("changed_at"),
    )


def _status(values: Values, layout: Layout) -> Status:
    """Without the column every row is a leaver; with it, an empty cell could mean anything."""
    if "status" in layout.names and not values.has("status"):
        values.fault("status", f"is empty; must be one of {', '.join(Status)}")
    return values.choice("status", Status, Status.LEAVING)


def _found(row: _Row, record: Record, context: IngestContext) -> Found:
    """What the row states. The caller has seen to it that nothing required is missing."""
    if row.last_day is None:
        raise CutoffError("last_working_day", "is empty")
    rescinded = row.status is Status.RESCINDED
    return Found(
        source=context.source("csv"),
        subject=row.number,
        person=Person(
            external_id=row.number,
            user_name=row.user_name,
            emails=(row.email,) if row.email else (),
            display_name=row.display_name,
            manager=_manager(row),
            department=row.department,
            location=row.location,
            timezone=row.timezone,
        ),
        employment=Employment(
            source_id=row.spell,
            status="active" if rescinded else "terminated",
            start_date=row.hired,
            end_date=None if rescinded else row.last_day,
        ),
        last_working_day=row.last_day,
        moment=row.moment,
        at=row.at,
        tz=zone_name(row.timezone, row.location, context),
        via="csv",
        raw=record.raw.encode(),
        rescinded=rescinded,
        category=row.category,
        immediate=row.immediate,
        confidential=row.confidential,
        legal_hold=row.legal_hold,
        revision=row.revision,
        changed_at=row.changed_at,
        mapping_version=context.csv.version,
    )


def _manager(row: _Row) -> Manager | None:
    if row.manager_number is None or row.manager_number.casefold() == row.number.casefold():
        return None
    return Manager(value=row.manager_number, email=row.manager_email)


def _notes(row: _Row, layout: Layout, context: IngestContext) -> Notes:
    """What was left unused. A missing manager or location never holds up the cut-off (trap T9)."""
    notes: Notes = []
    if row.manager_email and row.manager_number is None:
        reason = "is not used without the manager's number; the fallback approvers are asked"
        notes.append((layout.name("manager_email"), reason))
    if row.manager_number is not None and _manager(row) is None:
        reason = "is the leaver's own; the fallback approvers are asked"
        notes.append((layout.name("manager_number"), reason))
    places = {place.casefold() for place in context.location_timezones}
    if places and row.timezone is None and row.location and row.location.casefold() not in places:
        reason = f"has no time zone in the configuration; {context.default_timezone} was used"
        notes.append((layout.name("location"), reason))
    return notes
