"""HR files in CSV: what is read, what is named, what is refused whole."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from leaver.domain.event import Category, EventType, Knowledge, Moment
from leaver.domain.ids import case_id
from leaver.hr.ingest import read
from leaver.hr.model import CsvMapping, IngestContext, IngestError, IngestResult, SourceKind
from leaver.simulators.company import PEOPLE, person

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
EXAMPLE = Path(__file__).parents[2] / "examples" / "hr" / "northwind-leavers.csv"
HEAD = "employee_number,user_name,last_working_day,timezone,location,status,immediate\n"


def context(
    *, mapping: CsvMapping | None = None, now: datetime = NOW, places: Mapping[str, str] | None = None
) -> IngestContext:
    return IngestContext(
        tenant="northwind",
        file="hr.csv",
        observed_at=now,
        location_timezones=places or {},
        csv=mapping or CsvMapping(),
    )


def ingest(text: str | bytes, **how: object) -> IngestResult:
    data = text.encode() if isinstance(text, str) else text
    result = read(data, SourceKind.CSV, context(**how))  # type: ignore[arg-type]
    assert result.read == len(result.events) + result.refused + len(result.duplicates) + len(result.staying)
    assert result.refused == len({row.line for row in result.rejected})
    return result


def faults(result: IngestResult) -> list[tuple[int, str]]:
    return [(row.line, row.field) for row in result.rejected]


def table(*rows: str, columns: str = "employee_number,last_working_day") -> str:
    return "\n".join((columns, *rows)) + "\n"


def test_the_shipped_file_names_the_bad_row_and_reads_the_others() -> None:
    result = ingest(EXAMPLE.read_bytes())
    assert [event.subject for event in result.events] == ["E1001", "E1002", "E1003", "E1004", "E1006"]
    assert [(row.source, row.line, row.field) for row in result.rejected] == [
        ("hr.csv", 6, "last_working_day")
    ]
    assert "2026-02-31" in result.rejected[0].reason
    assert result.warnings == ()
    ordinary, *_ = result.events
    assert ordinary.source == "hris/csv/northwind"
    assert ordinary.type is EventType.SCHEDULED
    assert ordinary.data.separation.effective_at == datetime(2026, 11, 20, 23, tzinfo=UTC)
    assert ordinary.data.separation.legal_hold is Knowledge.NO
    assert ordinary.data.separation.category is Category.VOLUNTARY
    assert ordinary.data.employment.source_id == "E1001-1"
    manager = ordinary.data.person.manager
    assert manager is not None
    assert (manager.value, manager.email) == ("E2001", person("E2001").user_name)
    raw_line = EXAMPLE.read_bytes().splitlines()[1]
    assert ordinary.data.provenance.raw_sha256 == hashlib.sha256(raw_line).hexdigest()


def test_the_shipped_people_are_the_sample_companys() -> None:
    known = {each.number: each for each in PEOPLE}
    for event in ingest(EXAMPLE.read_bytes()).events:
        sample = known[event.subject]
        assert event.data.person.user_name == sample.user_name
        assert event.data.person.display_name == sample.display_name
        assert event.data.person.department == sample.department
        assert event.data.person.manager is not None
        assert event.data.person.manager.value == sample.manager


def test_a_repeated_delivery_gives_the_same_ids_and_a_changed_date_another() -> None:
    data = EXAMPLE.read_bytes()
    first = ingest(data)
    again = ingest(data, now=NOW + timedelta(days=3))
    moved = ingest(data.replace(b"2026-11-20", b"2026-11-30"))
    assert [event.id for event in first.events] == [event.id for event in again.events]
    changed = [
        (one.id == other.id, one.subject) for one, other in zip(first.events, moved.events, strict=True)
    ]
    assert changed == [
        (False, "E1001"),
        (False, "E1002"),
        (False, "E1003"),
        (True, "E1004"),
        (False, "E1006"),
    ]


def test_the_case_id_does_not_move_with_the_date_but_with_the_spell() -> None:
    columns = "employee_number,last_working_day,hire_date"

    def case(row: str) -> str:
        event = ingest(table(row, columns=columns)).events[0]
        spell = event.data.employment.source_id
        return case_id(b"k" * 16, source=event.source, worker=event.subject, spell=spell)

    assert case("7,2026-11-20,2020-01-01") == case("7,2027-11-20,2020-01-01")
    assert case("7,2026-11-20,2020-01-01") != case("7,2026-11-20,2024-01-01")
    assert case("7,2026-11-20,") == case("7,2026-12-20,")


def test_an_immediate_leaver_is_cut_off_on_receipt_under_a_stable_id() -> None:
    text = HEAD + "E1,,2026-12-31,Europe/Stockholm,,leaving,yes\nE2,,2026-11-01,UTC,,leaving,yes\n"
    first, second = ingest(text), ingest(text, now=NOW + timedelta(hours=5))
    assert [event.type for event in first.events] == [EventType.IMMEDIATE] * 2
    assert first.events[0].data.separation.effective_at == NOW
    assert first.events[1].data.separation.effective_at == datetime(2026, 11, 2, tzinfo=UTC)
    assert [event.id for event in first.events] == [event.id for event in second.events]


@pytest.mark.parametrize(
    ("worker", "location", "expected"),
    [
        ("Asia/Kolkata", "Berlin", "Asia/Kolkata"),
        ("", "Berlin", "Europe/Berlin"),
        ("", "BERLIN", "Europe/Berlin"),
        ("", "Elsewhere", "UTC"),
        ("", "", "UTC"),
    ],
)
def test_the_workers_zone_comes_before_the_locations_and_the_companys(
    worker: str, location: str, expected: str
) -> None:
    result = ingest(
        HEAD + f"E1,,2026-11-20,{worker},{location},leaving,\n", places={"Berlin": "Europe/Berlin"}
    )
    assert result.events[0].data.separation.tz == expected
    assert [row.field for row in result.warnings] == (["location"] if location == "Elsewhere" else [])


def test_a_moment_of_its_own_beats_the_policys() -> None:
    columns = "employee_number,last_working_day,cutoff_moment"
    result = ingest(
        table("1,2026-11-20,", "2,2026-11-20,start_of_day", "3,2026-11-20,17:30", columns=columns)
    )
    hours = [event.data.separation.effective_at for event in result.events]
    assert hours == [
        datetime(2026, 11, 21, tzinfo=UTC),
        datetime(2026, 11, 20, tzinfo=UTC),
        datetime(2026, 11, 20, 17, 30, tzinfo=UTC),
    ]
    assert [event.data.separation.moment for event in result.events] == [
        Moment.END_OF_DAY,
        Moment.START_OF_DAY,
        Moment.AT,
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("employee_number", ""),
        ("employee_number", "E 1"),
        ("employee_number", "1.00123E+11"),
        ("employee_number", "E1\u200b"),
        ("employee_number", "x" * 65),
        ("employment_id", "=1+1"),
        ("hire_date", "01.02.2020"),
        ("hire_date", "2027-01-01"),
        ("user_name", "somebody"),
        ("email", "some body@northwind.example"),
        ("email", "a@b"),
        ("display_name", '=HYPERLINK("http://x")'),
        ("display_name", "@SUM(A1)"),
        ("display_name", "x" * 321),
        ("display_name", "Mira\x07"),
        ("display_name", "Mira\nLindqvist"),
        ("display_name", "Mira\u202etsivqdniL"),
        ("manager_number", "+1"),
        ("manager_email", "helena"),
        ("department", "-1"),
        ("location", "a\tb"),
        ("timezone", "Europe/Nowhere"),
        ("timezone", "+02:00"),
        ("timezone", "localtime"),
        ("last_working_day", ""),
        ("last_working_day", "2026-02-31"),
        ("last_working_day", "31/02/2026"),
        ("last_working_day", "20261120"),
        ("last_working_day", "2026-W47-5"),
        ("last_working_day", "46346"),
        ("last_working_day", "0026-11-20"),
        ("last_working_day", "9999-12-31"),
        ("last_working_day", "\u0662\u0660\u0662\u0666-11-20"),
        ("last_working_day", "2026-11-20T00:00:00Z"),
        ("cutoff_moment", "noon"),
        ("cutoff_moment", "24:00"),
        ("status", ""),
        ("status", "terminated"),
        ("category", "fired"),
        ("immediate", "maybe"),
        ("confidential", "2"),
        ("legal_hold", "?"),
        ("revision", "1.5"),
        ("revision", "-1"),
        ("revision", str(2**53)),
        ("changed_at", "2026-11-20T17:02:11"),
        ("changed_at", "yesterday"),
    ],
)
def test_every_bad_value_is_named_and_the_next_row_goes_on(field: str, value: str) -> None:
    good = {
        "employee_number": "E1",
        "hire_date": "2020-01-01",
        "last_working_day": "2026-11-20",
        "status": "leaving",
        field: "",
    }
    first = good | {
        "employee_number": "E1",
        "last_working_day": "2026-11-20",
        "status": "leaving",
        field: value,
    }
    second = good | {"employee_number": "E2", "last_working_day": "2026-11-20", "status": "leaving"}
    out = io.StringIO()
    writer = csv.DictWriter(out, list(good))
    writer.writeheader()
    writer.writerows((first, second))
    result = ingest(out.getvalue())
    wanted = "last_working_day" if value == "2027-01-01" else field
    assert [row.field for row in result.rejected] == [wanted]
    assert result.rejected[0].line == 2
    assert [event.subject for event in result.events] == ["E2"]


def test_all_errors_of_a_row_are_reported() -> None:
    result = ingest(HEAD + "E1,nobody,2026-13-01,Mars/Base,,gone,perhaps\n")
    fields = {"last_working_day", "status", "user_name", "timezone", "immediate"}
    assert len(result.rejected) == len(fields)
    assert set(faults(result)) == {(2, field) for field in fields}
    assert result.refused == 1


def test_reasons_repeat_no_name_or_address_from_a_shifted_column() -> None:
    mail = "mira.lindqvist@northwind.example"
    text = HEAD + f"{mail} x,Mira Lindqvist,{mail},Mira/Lindqvist@x,=Lindqvist,Lindqvist,Lindqvist\n"
    text += f"E2,,Lindqvist,{mail},,leaving,no\n"
    result = ingest(text)
    said = " ".join(f"{row.field} {row.reason}" for row in result.rejected)
    assert len(result.rejected) == 9
    assert "indqvist" not in said
    assert "mira" not in said.casefold()


def test_line_numbers_hold_with_line_breaks_inside_quotes() -> None:
    mapping = CsvMapping(ignore_columns=("note",))
    text = (
        "employee_number,note,last_working_day\r\n"
        '1,"first\r\nsecond ""quoted"", third",2026-11-20\r\n'
        "\r\n"
        "2,,20.11.2026\r\n"
        '3,"a\rb\nc",2026-11-20\r\n'
        "4,,never\r\n"
    )
    result = ingest(text, mapping=mapping)
    assert [event.subject for event in result.events] == ["1", "3"]
    assert faults(result) == [(5, "last_working_day"), (9, "last_working_day")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_separators_line_ends_and_byte_order_marks(end: str, delimiter: str, bom: bytes) -> None:
    lines = [delimiter.join(("employee_number", "last_working_day")), delimiter.join(("007", "2026-11-20"))]
    result = ingest(bom + end.join(lines).encode())
    assert [event.subject for event in result.events] == ["007"]
    assert result.events[0].data.person.external_id == "007"


def test_a_spreadsheets_sep_line_is_understood() -> None:
    result = ingest("sep=;\nemployee_number;last_working_day\n1;2026-11-20\n2;x\n")
    assert [event.subject for event in result.events] == ["1"]
    assert faults(result) == [(4, "last_working_day")]


def test_headers_are_mapped_and_errors_use_the_files_own_names() -> None:
    mapping = CsvMapping(
        columns={"employee_number": "Personalnummer", "last_working_day": "Letzter Arbeitstag"},
        date_format="%d.%m.%Y",
        ignore_columns=("Gehalt",),
    )
    text = "PERSONALNUMMER;Letzter Arbeitstag;Gehalt\n0042;20.11.2026;1\n43;2026-11-20;1\n44;31.02.2026;1\n"
    result = ingest(text, mapping=mapping)
    assert [event.subject for event in result.events] == ["0042"]
    assert result.events[0].data.separation.last_working_day == date(2026, 11, 20)
    assert faults(result) == [(3, "Letzter Arbeitstag"), (4, "Letzter Arbeitstag")]


@pytest.mark.parametrize("value", ["%d.%m.", "%Y-%m", "%H:%M", "nothing", "%Y %"])
def test_a_date_format_without_a_whole_date_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="date_format"):
        CsvMapping(date_format=value)


def test_a_mapping_of_an_unknown_field_or_one_column_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown field 'salary'"):
        CsvMapping(columns={"salary": "Salary"})
    with pytest.raises(ValueError, match="same column"):
        CsvMapping(columns={"email": "Mail", "user_name": "mail"})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"  \n\n", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b",,\n,,\n", "empty"),
        ("employee_number,last_working_day\nÅ,2026-11-20\n".encode("latin-1"), "UTF-8"),
        ("employee_number,last_working_day\n1,2026-11-20\n".encode("utf-16"), "UTF-8"),
        (b"1,2026-11-20\n2,2026-11-20\n", "no header"),
        (b"employee_number,email\n1,a@b.example\n", "missing column last_working_day"),
        (b"last_working_day\n2026-11-20\n", "missing column employee_number"),
        (b"employee_number,last_working_day,EMPLOYEE_NUMBER\n1,2026-11-20,2\n", "more than once"),
        (b"employee_number,last_working_day,stauts\n1,2026-11-20,rescinded\n", "unknown column 'stauts'"),
        (b'employee_number,last_working_day\n1,"2026-11-20\n2,2026-11-20\n', "line 2: quoting is broken"),
        (b'employee_number,last_working_day\n1,2026-11-20\n"2"x,2026-11-20\n', "line 3: quoting is broken"),
        (b"sep=|\nemployee_number|last_working_day\n", "line 1"),
    ],
)
def test_a_file_that_cannot_be_read_gives_nothing_and_says_what_to_do(data: bytes, says: str) -> None:
    with pytest.raises(IngestError, match=r"^hr\.csv") as caught:
        ingest(data)
    assert says in str(caught.value)


def test_a_header_alone_is_a_delivery_without_leavers() -> None:
    assert ingest(HEAD) == IngestResult()


def test_unknown_columns_can_be_ignored_by_configuration() -> None:
    text = table("1,2026-11-20,9", columns="employee_number,last_working_day,salary")
    assert ingest(text, mapping=CsvMapping(unknown_columns="ignore")).events


def test_a_row_of_the_wrong_width_is_named() -> None:
    result = ingest(table("1,2026-11-20,x", "2", "3,2026-11-20"))
    assert faults(result) == [(2, "row"), (3, "row")]
    assert [event.subject for event in result.events] == ["3"]


def test_contradicting_rows_of_one_person_start_nothing() -> None:
    result = ingest(table("1,2026-11-20", "2,2026-11-20", "1,2026-12-20"))
    assert faults(result) == [(2, "last_working_day"), (4, "last_working_day")]
    assert "lines 2, 4" in result.rejected[0].reason
    assert [event.subject for event in result.events] == ["2"]


def test_a_number_that_differs_only_by_case_is_the_same_person() -> None:
    result = ingest(table("e1,2026-11-20", "E1,2026-12-20"))
    assert result.events == ()
    assert result.refused == 2


def test_the_same_row_twice_is_one_event_and_a_named_duplicate() -> None:
    result = ingest(table("1,2026-11-20", "1,2026-11-20"))
    assert len(result.events) == 1
    assert [(row.line, row.reason) for row in result.duplicates] == [(3, "says the same as line 2")]


def test_the_higher_revision_replaces_the_lower_in_any_order() -> None:
    columns = "employee_number,last_working_day,revision"
    for rows in (("1,2026-11-20,4", "1,2026-12-20,7"), ("1,2026-12-20,7", "1,2026-11-20,4")):
        result = ingest(table(*rows, columns=columns))
        assert [event.data.separation.last_working_day for event in result.events] == [date(2026, 12, 20)]
        assert len(result.duplicates) == 1


def test_a_row_beside_an_unreadable_one_of_the_same_person_waits() -> None:
    result = ingest(table("1,2026-11-20", "1,2026-02-31", "2,2026-11-20"))
    assert faults(result) == [(2, "employee_number"), (3, "last_working_day")]
    assert [event.subject for event in result.events] == ["2"]


EMPLOYMENTS = "employee_number,employment_id,last_working_day,status,user_name"


def test_nobody_is_offboarded_while_another_employment_goes_on() -> None:
    result = ingest(
        table("1,a,2026-11-20,leaving,", "1,b,,active,", "2,c,2026-11-20,leaving,", columns=EMPLOYMENTS)
    )
    assert [event.subject for event in result.events] == ["2"]
    assert faults(result) == [(2, "employment_id")]
    assert "review it as a move" in result.rejected[0].reason
    assert [(stays.worker, stays.spell) for stays in result.staying] == [("1", "b")]


def test_an_employment_that_is_leaving_and_active_at_once_is_a_contradiction() -> None:
    result = ingest(table("1,a,2026-11-20,leaving,", "1,a,,active,", columns=EMPLOYMENTS))
    assert faults(result) == [(2, "status"), (3, "status")]
    assert result.staying == ()


def test_of_two_ending_employments_the_last_one_counts() -> None:
    later = ingest(table("1,a,2026-11-20,leaving,", "1,b,2026-12-20,leaving,", columns=EMPLOYMENTS))
    assert [event.data.employment.source_id for event in later.events] == ["b"]
    assert faults(later) == [(2, "employment_id")]
    together = ingest(table("1,a,2026-11-20,leaving,", "1,b,2026-11-20,leaving,", columns=EMPLOYMENTS))
    assert [event.data.employment.source_id for event in together.events] == ["a"]
    assert [row.line for row in together.duplicates] == [3]


def test_two_workers_with_one_user_name_are_not_guessed_between() -> None:
    rows = ("1,a,2026-11-20,leaving,X@northwind.example", "2,b,,active,x@northwind.example")
    result = ingest(table(*rows, columns=EMPLOYMENTS))
    assert result.events == ()
    assert faults(result) == [(2, "user_name")]


def test_a_rescinded_leaver_is_an_event_of_its_own() -> None:
    result = ingest(table("1,a,2026-11-20,rescinded,", columns=EMPLOYMENTS))
    assert [event.type for event in result.events] == [EventType.RESCINDED]
    assert result.events[0].data.employment.status == "active"


def test_a_manager_who_cannot_be_used_holds_nothing_up() -> None:
    columns = "employee_number,last_working_day,manager_number,manager_email"
    rows = ("1,2026-11-20,,m@northwind.example", "2,2026-11-20,2,", "3,2026-11-20,,")
    result = ingest(table(*rows, columns=columns))
    assert [event.data.person.manager for event in result.events] == [None, None, None]
    assert [(row.line, row.field) for row in result.warnings] == [(2, "manager_email"), (3, "manager_number")]


def test_a_past_date_is_read_as_it_is() -> None:
    event = ingest(table("1,2025-01-31")).events[0]
    assert event.data.separation.effective_at == datetime(2025, 2, 1, tzinfo=UTC)


def test_a_bad_configuration_is_named_before_any_row_is_blamed() -> None:
    with pytest.raises(IngestError, match="configuration, time zone of 'Berlin'"):
        ingest(table("1,2026-11-20"), places={"Berlin": "Europe/Bärlin"})
    with pytest.raises(IngestError, match="tenant"):
        read(b"x", SourceKind.CSV, IngestContext(tenant="a b", file="f", observed_at=NOW))
    with pytest.raises(ValueError, match="aware"):
        IngestContext(tenant="a", file="f", observed_at=datetime(2026, 1, 1))  # noqa: DTZ001
