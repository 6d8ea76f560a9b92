"""BambooHR: from the status history of an employee to a leaver event.

The table is a history, unsorted, with future rows; a termination counts when it is the employee's last state.
A record that is deleted or absent says nothing about employment and is never read as a termination.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Final, Literal

from pydantic import JsonValue

from leaver.domain.cutoff import CutoffError
from leaver.domain.event import Category, Employment, Manager, Person
from leaver.hr.assemble import Found, make_event, zone_name
from leaver.hr.bamboohr_tables import History, Object, Parts, Problem, StatusRow, read_document
from leaver.hr.bamboohr_webhook import FetchHint
from leaver.hr.feed import Candidate, FieldNames, Standing, handles, settle
from leaver.hr.jsondoc import as_text, raw
from leaver.hr.model import IngestContext, IngestResult, RejectedRow
from leaver.hr.values import MAX_NUMBER, Values, text_fault

NAMES: Final = FieldNames(
    worker="employeeId",
    spell="employmentStatus",
    date="date",
    status="employmentStatus",
    handle="workEmail",
)

DELETED: Final = (
    "was deleted in BambooHR, which is not a termination; ask HR, and enter a termination if it is"
)
NOT_DELIVERED: Final = (
    "the webhook names this employee, but no employmentStatus rows were delivered; fetch them"
)
TWO_DATES: Final = "several terminations with different dates follow each other; keep one"
TWO_STATES: Final = "the same day both ends and begins an employment; correct the dates"
NO_RECORD: Final = (
    "no employee record delivered; add the answer of GET /employees/{id}?fields=… to 'employees'"
)
PLANNED_RETURN: Final = (
    "a later row employs this person again; review it as a move: nobody is offboarded with a return planned"
)


def read_bamboohr(
    document: JsonValue, context: IngestContext, *, hint: FetchHint | None = None
) -> IngestResult:
    """Read a table answer with employee records; one decision per employee.

    Args:
        document: one of the shapes of :mod:`leaver.hr.bamboohr_tables`.
        context: tenant, policy moment, zones, mapping.
        hint: read only the employees that a webhook names.

    Raises:
        IngestError: the document has no accepted shape.
    """
    parts = read_document(document, context.bamboohr, context.file)
    reader = _Reader(parts, context, "webhook" if hint else "poll")
    if hint is None:
        candidates = [reader.stray(*problem) for problem in parts.stray]
        candidates += [reader.candidate(history) for history in parts.histories.values()]
    else:
        candidates = [reader.hinted(employee) for employee in hint.employee_ids]
        candidates += [reader.unreadable(employee, 0, DELETED) for employee in hint.deleted]
    return settle(
        candidates,
        file=context.file,
        names=NAMES,
        rejected=[RejectedRow(context.file, *problem) for problem in reader.problems],
        warnings=[RejectedRow(context.file, *note) for note in reader.notes],
    )


@dataclass(frozen=True, slots=True)
class _Ending:
    """The termination that stands, or why none can be told."""

    row: StatusRow | None
    spell: int
    started: date | None
    fault: Problem | None = None


class _Reader:
    def __init__(self, parts: Parts, context: IngestContext, via: Literal["poll", "webhook"]) -> None:
        self.source: Final = context.source("bamboohr")
        self.problems: list[Problem] = []
        self.notes: list[Problem] = []
        self._now = (0, context.observed_at)
        self._parts = parts
        self._context = context
        self._mapping = context.bamboohr
        self._via = via

    def stray(self, line: int, field: str, reason: str) -> Candidate:
        """A row that cannot be told whose it is."""
        self.problems.append((line, field, reason))
        return Candidate(line, Standing.UNREADABLE, self.source, "", self._now)

    def hinted(self, employee: str) -> Candidate:
        """The employee a webhook named, if anything was fetched about them."""
        history = self._parts.histories.get(employee)
        return self.unreadable(employee, 0, NOT_DELIVERED) if history is None else self.candidate(history)

    def unreadable(self, employee: str, line: int, reason: str) -> Candidate:
        """An employee about whom nothing can be decided."""
        self.problems.append((line, f"employees.{employee}", reason))
        return Candidate(line, Standing.UNREADABLE, self.source, employee, self._now)

    def candidate(self, history: History) -> Candidate:
        """The decision about one employee."""
        problems = list(history.problems)
        if fault := text_fault(history.employee, identifier=True, longest=MAX_NUMBER):
            problems.append((history.line, "employeeId", fault))
        candidate = None if problems else self._decide(history, problems)
        if candidate is not None:
            return candidate
        self.problems += problems
        return self._plain(history, Standing.UNREADABLE, handles=self._handles(history.employee))

    def _decide(self, history: History, problems: list[Problem]) -> Candidate | None:
        """The candidate, or None with what is wrong added to ``problems``."""
        ending = self._ending(history)
        if ending.fault is not None:
            problems.append(ending.fault)
            return None
        if ending.row is None:
            return self._plain(
                history,
                Standing.ACTIVE,
                spell=_spell(history, ending),
                handles=self._handles(history.employee),
            )
        since = self._mapping.leavers_since
        if since is not None and ending.row.day < since:
            # No handles: the address of somebody long gone may have been given to another.
            return self._plain(history, Standing.FORMER, spell=_spell(history, ending))
        return self._leaving(history, ending, ending.row, problems)

    def _plain(
        self, history: History, standing: Standing, *, spell: str = "", handles: frozenset[str] = frozenset()
    ) -> Candidate:
        return Candidate(
            history.line, standing, self.source, history.employee, self._now, spell=spell, handles=handles
        )

    def _ending(self, history: History) -> _Ending:
        """The last state decides: terminated, or employed (again)."""
        rows = sorted(history.rows, key=lambda row: row.order)
        runs = [list(run) for _, run in groupby(rows, key=lambda row: row.terminated)]
        employed = [run for run in runs if not run[0].terminated]
        started = employed[-1][0].day if employed and employed[-1][0].day != date.min else None
        last = runs[-1]
        end = last[-1] if last[0].terminated else None
        return _Ending(end, max(1, len(employed)), started, self._unclear(runs))

    def _unclear(self, runs: list[list[StatusRow]]) -> Problem | None:
        """What only a person can decide: two dates, two states on one day, a return that is planned."""
        last = runs[-1]
        before = runs[-2][-1] if len(runs) > 1 else None
        today = self._context.observed_at.astimezone(UTC).date()
        since = self._mapping.leavers_since
        if last[0].terminated and len({row.day for row in last}) > 1:
            return last[-1].line, "date", f"{TWO_DATES} (rows {', '.join(str(row.line) for row in last)})"
        if before is None or (before.terminated and since is not None and before.day < since):
            return None
        if before.day == last[0].day and (last[0].terminated or last[0].day > today):
            return last[-1].line, "date", f"{TWO_STATES} (row {before.line})"
        if before.terminated and last[0].day > today:
            return before.line, "employmentStatus", PLANNED_RETURN
        return None

    def _handles(self, employee: str) -> frozenset[str]:
        record = self._parts.people.get(employee, {})
        fields = (self._mapping.fields.get(name) for name in ("user_name", "email"))
        return handles(*(as_text(record.get(alias)) for alias in fields if alias))

    def _leaving(
        self, history: History, ending: _Ending, row: StatusRow, problems: list[Problem]
    ) -> Candidate | None:
        record = self._parts.people.get(history.employee)
        if record is None:
            problems.append((row.line, "employees", NO_RECORD))
            return None
        names = self._mapping.fields
        values = Values({ours: as_text(record.get(theirs)) for ours, theirs in names.items()}, names)
        found = self._found(history, ending, row, record, values)
        if values.problems:
            problems += [(row.line, f"employees.{name}", reason) for name, reason in values.problems]
            return None
        try:
            event = make_event(found, self._context)
        except CutoffError as err:
            problems.append((row.line, "date", err.reason))
            return None
        return Candidate.of(history.line, event)

    def _found(
        self, history: History, ending: _Ending, row: StatusRow, record: Object, values: Values
    ) -> Found:
        first_day_out = self._mapping.date_means == "first_day_out"
        last_day = row.day - timedelta(days=1) if first_day_out else row.day
        number, mail = values.number("employee_number", required=True), values.mail("email")
        location, timezone = values.text("location"), values.timezone("timezone")
        return Found(
            source=self.source,
            subject=history.employee,
            person=Person(
                external_id=number or "unknown",
                user_name=values.mail("user_name"),
                emails=(mail,) if mail else (),
                display_name=values.text("display_name") or _full_name(record),
                manager=self._manager(history, row, record),
                department=values.text("department"),
                location=location,
                timezone=timezone,
            ),
            employment=Employment(
                source_id=_spell(history, ending),
                type=self._employment_type(history),
                start_date=ending.started,
                end_date=last_day,
            ),
            last_working_day=last_day,
            moment=self._context.moment,
            at=None,
            tz=zone_name(timezone, location, self._context),
            via=self._via,
            raw=raw({"employee": record, "employmentStatus": [each.content for each in history.rows]}),
            category=self._category(row),
            reason_code=_reason_code(row),
            immediate=values.flag("immediate") or False,
            confidential=values.flag("confidential") or False,
            legal_hold=values.knowledge("legal_hold"),
            changed_at=_instant(history.last_changed),
            mapping_version=self._mapping.version,
        )

    def _employment_type(self, history: History) -> Literal["employee", "contractor"]:
        before = [row for row in sorted(history.rows, key=lambda row: row.order) if not row.terminated]
        contractor = {word.casefold() for word in self._mapping.contractor_statuses}
        return "contractor" if before and before[-1].status.casefold() in contractor else "employee"

    def _category(self, row: StatusRow) -> Category:
        words = {word.casefold(): category for word, category in self._mapping.categories.items()}
        return words.get(as_text(row.content.get("terminationTypeId")).casefold(), Category.UNKNOWN)

    def _manager(self, history: History, row: StatusRow, record: Object) -> Manager | None:
        """The manager by BambooHR id, as approvals name them; the address comes from their own record."""
        value = as_text(record.get("reportsToId")) or as_text(record.get("supervisorId"))
        if not value or value == history.employee or text_fault(value, identifier=True, longest=MAX_NUMBER):
            reason = "names no manager (reportsToId); the fallback approvers are asked"
            self.notes.append((row.line, "employees.reportsToId", reason))
            return None
        own = self._parts.people.get(value, {})
        alias = self._mapping.fields["email"]
        mail = Values({"email": as_text(own.get(alias))}, {}).mail("email")
        return Manager(value=value, email=mail)


def _spell(history: History, ending: _Ending) -> str:
    """The n-th employment of this employee: BambooHR keeps the id over a rehire, a case must not."""
    return f"{history.employee}:{ending.spell}"


def _full_name(record: Object) -> str | None:
    name = f"{as_text(record.get('firstName'))} {as_text(record.get('lastName'))}".strip()
    return name if name and text_fault(name) is None else None


def _reason_code(row: StatusRow) -> str | None:
    code = as_text(row.content.get("terminationReasonId")).strip()
    return code if code and text_fault(code) is None else None


def _instant(text: str) -> datetime | None:
    return Values({"lastChanged": text}, {}).instant("lastChanged")
