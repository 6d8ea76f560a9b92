"""BambooHR's ``employmentStatus`` table and employee records, as its API answers them.

Accepted documents:

- the bare answer of ``GET /employees/{id or all}/tables/employmentStatus`` (an array of rows) or of
  ``GET /employees/changed/tables/employmentStatus`` (rows grouped by employee);
- ``{"employmentStatus": <either of them>, "employees": [<answers of GET /employees/{id}?fields=…>]}``,
  because a status row knows neither employee number nor address.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

from pydantic import JsonValue

from leaver.hr.jsondoc import as_text
from leaver.hr.model import BambooHrMapping, IngestError
from leaver.hr.values import parse_day

NO_DATE = "0000-00-00"
"""How BambooHR writes an empty date."""

Object = dict[str, JsonValue]
Problem = tuple[int, str, str]
"""Position of the row, field, reason."""


@dataclass(frozen=True, slots=True)
class StatusRow:
    """One row of the history: from ``day`` on the employee has this status."""

    line: int
    day: date
    row_id: str
    status: str
    terminated: bool
    content: Object

    @property
    def order(self) -> tuple[date, int, str]:
        """Chronological; rows of one day in the order of their ids, which BambooHR counts up."""
        return (self.day, len(self.row_id), self.row_id)


@dataclass(slots=True)
class History:
    """Everything the document says about one employee's status."""

    employee: str
    line: int
    rows: list[StatusRow] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    last_changed: str = ""


@dataclass(frozen=True, slots=True)
class Parts:
    """The document taken apart. ``stray`` are rows that name no employee."""

    histories: dict[str, History]
    people: dict[str, Object]
    stray: list[Problem]


def read_document(document: JsonValue, mapping: BambooHrMapping, file: str) -> Parts:
    """Take the document apart.

    Raises:
        IngestError: it has none of the accepted shapes.
    """
    table: JsonValue = document
    people: JsonValue = []
    if isinstance(document, dict) and "employmentStatus" in document:
        table, people = document["employmentStatus"], document.get("employees", [])
    histories: dict[str, History] = {}
    stray: list[Problem] = []
    for line, (employee, row, changed) in enumerate(_rows(table, file), start=1):
        if not isinstance(row, dict):
            stray.append((line, "employmentStatus", "a row must be a JSON object"))
        elif not employee:
            stray.append((line, "employeeId", "is missing; the row cannot be told whose it is"))
        else:
            history = histories.setdefault(employee, History(employee, line))
            history.last_changed = changed
            _add(history, line, row, mapping)
    return Parts(histories, _people(people, file), stray)


def _rows(table: JsonValue, file: str) -> Iterator[tuple[str, JsonValue, str]]:
    """Employee id, row, and when the employee's record changed, for both forms of the table answer."""
    if isinstance(table, list):
        for row in table:
            yield (as_text(row.get("employeeId")) if isinstance(row, dict) else ""), row, ""
        return
    groups = table.get("employees") if isinstance(table, dict) and "table" in table else None
    if not isinstance(table, dict) or not isinstance(groups, dict):
        raise IngestError(
            f"{file}: is no employmentStatus table; expected the array that BambooHR answers, or an object"
            " with 'employmentStatus' and 'employees'"
        )
    if table.get("table") != "employmentStatus":
        raise IngestError(f"{file}: is another table than employmentStatus; fetch that one")
    for employee, group in groups.items():
        rows = group.get("rows") if isinstance(group, dict) else None
        if not isinstance(group, dict) or not isinstance(rows, list):
            yield employee, None, ""
            continue
        for row in rows:
            yield employee, row, as_text(group.get("lastChanged"))


def _add(history: History, line: int, row: Object, mapping: BambooHrMapping) -> None:
    status = as_text(row.get("employmentStatus"))
    if not status:
        reason = "is empty or not visible to the API key; grant it access to the employmentStatus table"
        history.problems.append((line, "employmentStatus", reason))
    terminated = status.casefold() in {word.casefold() for word in mapping.terminated_statuses}
    text = as_text(row.get("date"))
    if text == NO_DATE and not terminated:
        day = date.min
    else:
        try:
            day = parse_day(text)
        except ValueError as err:
            history.problems.append((line, "date", str(err) if text else "is empty"))
            return
    history.rows.append(StatusRow(line, day, as_text(row.get("id")), status, terminated, row))


def _people(people: JsonValue, file: str) -> dict[str, Object]:
    if isinstance(people, dict):
        people = list(people.values())
    if not isinstance(people, list):
        raise IngestError(f"{file}: 'employees' must be an array of employee records")
    grouped: dict[str, list[Object]] = defaultdict(list)
    for record in people:
        if not isinstance(record, dict) or not as_text(record.get("id")):
            raise IngestError(f"{file}: every record in 'employees' must be an object with its 'id'")
        grouped[as_text(record["id"])].append(record)
    for employee, records in grouped.items():
        if any(record != records[0] for record in records):
            raise IngestError(f"{file}: employee {employee[:40]!r} has two different records; fetch it again")
    return {employee: records[0] for employee, records in grouped.items()}
