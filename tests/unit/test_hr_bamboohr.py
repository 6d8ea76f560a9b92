"""BambooHR's status table: histories, rehires, planned returns, missing records."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from itertools import permutations
from pathlib import Path

import pytest
from pydantic import JsonValue

from leaver.domain.event import Category, EventType
from leaver.hr.ingest import read
from leaver.hr.model import BambooHrMapping, IngestContext, IngestError, IngestResult, SourceKind

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
EXAMPLE = Path(__file__).parents[2] / "examples" / "hr" / "bamboohr-employment-status.json"
PLACES = {"Stockholm": "Europe/Stockholm", "Berlin": "Europe/Berlin", "Bengaluru": "Asia/Kolkata"}

Row = dict[str, JsonValue]


def row(number: int, day: str, status: str = "Full-Time", employee: str = "7", **more: JsonValue) -> Row:
    return {"id": str(number), "employeeId": employee, "date": day, "employmentStatus": status, **more}


def gone(number: int, day: str, employee: str = "7", **more: JsonValue) -> Row:
    return row(number, day, "Terminated", employee, **more)


def record(employee: str = "7", **more: JsonValue) -> Row:
    return {"id": employee, "employeeNumber": f"E{employee}", "workEmail": f"w{employee}@x.example", **more}


def ingest(document: object, mapping: BambooHrMapping | None = None) -> IngestResult:
    context = IngestContext(
        tenant="northwind",
        file="table.json",
        observed_at=NOW,
        location_timezones=PLACES,
        bamboohr=mapping or BambooHrMapping(),
    )
    result = read(json.dumps(document).encode(), SourceKind.BAMBOOHR, context)
    counted = len(result.events) + result.refused + len(result.duplicates) + len(result.staying)
    assert result.read == counted + result.former
    return result


def both(*rows: Row, people: tuple[Row, ...] = ()) -> dict[str, object]:
    return {"employmentStatus": list(rows), "employees": list(people or (record(),))}


def faults(result: IngestResult) -> list[tuple[int, str]]:
    return [(each.line, each.field) for each in result.rejected]


def test_the_shipped_document() -> None:
    result = ingest(json.loads(EXAMPLE.read_text()))
    assert [event.subject for event in result.events] == ["103", "101", "104"]
    assert [each.worker for each in result.staying] == ["301"]
    assert faults(result) == [(10, "employees")]
    assert "no employee record delivered" in result.rejected[0].reason
    contractor, ordinary, future = result.events
    assert contractor.source == "hris/bamboohr/northwind"
    assert contractor.data.employment.type == "contractor"
    assert contractor.data.separation.effective_at == datetime(2026, 11, 20, 18, 30, tzinfo=UTC)
    assert ordinary.data.person.external_id == "E1001"
    assert ordinary.data.separation.category is Category.INVOLUNTARY
    assert ordinary.data.separation.reason_code == "Position eliminated"
    assert ordinary.data.employment.start_date == date(2016, 9, 1)
    manager = ordinary.data.person.manager
    assert manager is not None
    assert (manager.value, manager.email) == ("201", "helena.marsh@northwind.example")
    assert future.data.separation.last_working_day == date(2036, 12, 31)
    assert future.type is EventType.SCHEDULED


def test_a_bare_table_answer_names_every_leaver_without_a_record() -> None:
    result = ingest([row(1, "2020-01-01"), gone(2, "2026-11-20"), row(3, "2020-01-01", employee="8")])
    assert result.events == ()
    assert faults(result) == [(2, "employees")]
    assert [each.worker for each in result.staying] == ["8"]


def test_the_table_of_changed_employees_is_the_same_table() -> None:
    groups = {
        "7": {
            "lastChanged": "2026-11-19T08:00:00+00:00",
            "rows": [row(1, "2020-01-01"), gone(2, "2026-11-20")],
        }
    }
    document = {
        "employmentStatus": {"table": "employmentStatus", "employees": groups},
        "employees": [record()],
    }
    event = ingest(document).events[0]
    assert event.data.provenance.source_changed_at == datetime(2026, 11, 19, 8, tzinfo=UTC)


def test_the_order_of_the_rows_does_not_matter() -> None:
    rows = (row(1, "2014-01-01"), gone(2, "2018-06-30"), row(10, "2021-01-01"), gone(9, "2026-11-20"))
    ids = {ingest(both(*order)).events[0].id for order in permutations(rows)}
    assert len(ids) == 1


def test_a_rehire_is_a_new_spell() -> None:
    first = ingest(both(row(1, "2014-01-01"), gone(2, "2018-06-30"))).events[0]
    second = ingest(
        both(row(1, "2014-01-01"), gone(2, "2018-06-30"), row(3, "2021-01-01"), gone(4, "2026-11-20"))
    ).events[0]
    assert (first.data.employment.source_id, second.data.employment.source_id) == ("7:1", "7:2")


def test_somebody_who_was_rehired_is_not_a_leaver() -> None:
    result = ingest(both(row(1, "2014-01-01"), gone(2, "2018-06-30"), row(3, "2021-01-01")))
    assert not result.events
    assert not result.rejected
    assert [each.spell for each in result.staying] == ["7:2"]


def test_a_planned_return_is_reviewed_as_a_move() -> None:
    result = ingest(both(row(1, "2014-01-01"), gone(2, "2026-11-30"), row(3, "2026-12-01", "Contractor")))
    assert result.events == ()
    assert faults(result) == [(2, "employmentStatus")]
    assert "move" in result.rejected[0].reason


def test_one_day_that_ends_and_begins_an_employment_is_a_question() -> None:
    leaving = ingest(both(row(1, "2014-01-01"), row(3, "2026-11-20"), gone(4, "2026-11-20")))
    assert leaving.events == ()
    assert faults(leaving) == [(3, "date")]
    staying = ingest(both(row(1, "2014-01-01"), gone(3, "2020-11-20"), row(4, "2020-11-20", "Part-Time")))
    assert len(staying.staying) == 1


def test_two_terminations_with_different_dates_are_a_question() -> None:
    result = ingest(both(row(1, "2014-01-01"), gone(2, "2026-11-20"), gone(3, "2026-12-20")))
    assert result.events == ()
    assert faults(result) == [(3, "date")]
    assert "rows 2, 3" in result.rejected[0].reason


def test_terminations_before_the_first_day_of_interest_are_history() -> None:
    mapping = BambooHrMapping(leavers_since=date(2026, 1, 1))
    result = ingest(
        both(row(1, "2014-01-01"), gone(2, "2018-06-30"), gone(3, "2026-11-20", "8"), people=(record("8"),)),
        mapping,
    )
    assert [event.subject for event in result.events] == ["8"]
    assert (result.former, result.staying) == (1, ())


def test_the_address_of_somebody_long_gone_may_belong_to_another() -> None:
    mapping = BambooHrMapping(leavers_since=date(2026, 1, 1))
    people = (record("7", workEmail="same@x.example"), record("8", workEmail="same@x.example"))
    rows = (gone(2, "2018-06-30"), gone(3, "2026-11-20", "8"))
    assert [event.subject for event in ingest(both(*rows, people=people), mapping).events] == ["8"]
    active = (row(2, "2018-06-30"), gone(3, "2026-11-20", "8"))
    result = ingest(both(*active, people=people), mapping)
    assert result.events == ()
    assert faults(result) == [(2, "workEmail")]


def test_what_the_date_means_is_the_companys_setting() -> None:
    document = both(row(1, "2014-01-01"), gone(2, "2026-11-20"))
    last = ingest(document).events[0].data.separation
    out = ingest(document, BambooHrMapping(date_means="first_day_out")).events[0].data.separation
    assert (last.last_working_day, out.last_working_day) == (date(2026, 11, 20), date(2026, 11, 19))


def test_status_words_are_the_companys_own() -> None:
    mapping = BambooHrMapping(terminated_statuses=("Ausgetreten", "Left"))
    result = ingest(both(row(1, "2014-01-01"), row(2, "2026-11-20", "AUSGETRETEN")), mapping)
    assert len(result.events) == 1
    assert len(ingest(both(gone(2, "2026-11-20")), mapping).staying) == 1


def test_custom_fields_are_mapped_and_the_private_address_is_never_used() -> None:
    mapping = BambooHrMapping(
        fields={"user_name": "customUPN", "timezone": "customZone", "immediate": "customNow"}
    )
    person = record(
        customUPN="upn@x.example", customZone="Asia/Kolkata", customNow="Yes", homeEmail="me@home.example"
    )
    event = ingest(both(gone(2, "2026-11-20"), people=(person,)), mapping).events[0]
    assert event.data.person.user_name == "upn@x.example"
    assert event.data.separation.tz == "Asia/Kolkata"
    assert event.type is EventType.IMMEDIATE
    assert "home.example" not in event.model_dump_json()


@pytest.mark.parametrize(
    ("rows", "people", "expected"),
    [
        ([gone(2, "0000-00-00")], [record()], [(1, "date")]),
        ([gone(2, "2026-02-31")], [record()], [(1, "date")]),
        ([row(1, "garbage"), gone(2, "2026-11-20")], [record()], [(1, "date")]),
        ([{"id": "1", "employeeId": "7", "date": "2026-11-20"}], [record()], [(1, "employmentStatus")]),
        ([{"id": "1", "date": "2026-11-20", "employmentStatus": "Terminated"}], [], [(1, "employeeId")]),
        (["row"], [], [(1, "employmentStatus")]),
        ([gone(2, "2026-11-20")], [{"id": "7"}], [(1, "employees.employeeNumber")]),
        ([gone(2, "2026-11-20")], [record(employeeNumber=None)], [(1, "employees.employeeNumber")]),
        (
            [gone(2, "2026-11-20")],
            [record(workEmail="nobody", employeeNumber="=1")],
            [(1, "employees.employeeNumber"), (1, "employees.workEmail")],
        ),
        ([gone(2, "2026-11-20", "a b")], [record("a b")], [(1, "employeeId")]),
    ],
)
def test_what_cannot_be_read_is_named(
    rows: list[JsonValue], people: list[JsonValue], expected: list[object]
) -> None:
    result = ingest({"employmentStatus": rows, "employees": people})
    assert result.events == ()
    assert faults(result) == expected


def test_an_imported_employee_without_a_hire_date_can_leave() -> None:
    event = ingest(both(row(1, "0000-00-00"), gone(2, "2026-11-20"))).events[0]
    assert event.data.employment.start_date is None


def test_a_missing_manager_holds_nothing_up() -> None:
    for manager in (None, "7"):
        result = ingest(both(gone(2, "2026-11-20"), people=(record(reportsToId=manager),)))
        assert result.events[0].data.person.manager is None
        assert [note.field for note in result.warnings] == ["employees.reportsToId"]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"error": {"code": 429}}, "no employmentStatus table"),
        ("text", "no employmentStatus table"),
        ({"table": "jobInfo", "employees": {}}, "another table"),
        ({"employmentStatus": [], "employees": 3}, "must be an array"),
        ({"employmentStatus": [], "employees": [{"employeeNumber": "1"}]}, "with its 'id'"),
        ({"employmentStatus": [], "employees": [record(), record(department="x")]}, "two different records"),
    ],
)
def test_a_document_of_another_shape_is_refused_whole(document: object, says: str) -> None:
    with pytest.raises(IngestError, match=r"^table\.json") as caught:
        ingest(document)
    assert says in str(caught.value)


def test_an_employee_who_is_not_in_the_table_is_no_leaver() -> None:
    result = ingest(
        {"employmentStatus": [], "employees": [record(status="Inactive", terminationDate="2026-11-20")]}
    )
    assert result == IngestResult()


def test_a_repeated_row_changes_nothing() -> None:
    once = ingest(both(row(1, "2014-01-01"), gone(2, "2026-11-20")))
    twice = ingest(both(row(1, "2014-01-01"), gone(2, "2026-11-20"), gone(2, "2026-11-20")))
    assert [event.id for event in once.events] == [event.id for event in twice.events]
