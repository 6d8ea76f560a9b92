"""Canonical events: one, an array, or one a line."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import JsonValue

from leaver.domain.event import LeaverEvent
from leaver.hr.ingest import read
from leaver.hr.model import IngestContext, IngestError, IngestResult, SourceKind

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
EXAMPLE = Path(__file__).parents[2] / "examples" / "hr" / "leaver-event.json"
Object = dict[str, JsonValue]


def example() -> Object:
    document: Object = json.loads(EXAMPLE.read_text())
    return document


def changed(path: str, value: JsonValue, document: Object | None = None) -> Object:
    """The example with one value changed."""
    result = copy.deepcopy(document or example())
    here = result
    *parents, last = path.split(".")
    for name in parents:
        inner = here[name]
        assert isinstance(inner, dict)
        here = inner
    here[last] = value
    return result


def other(subject: str) -> Object:
    document = changed("subject", subject)
    document = changed("data.person.externalId", subject, document)
    document = changed("data.person.emails", [f"{subject}@x.example"], document)
    return changed("data.person.userName", f"{subject}@x.example", document)


def ingest(data: object) -> IngestResult:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    context = IngestContext(tenant="northwind", file="events.json", observed_at=NOW)
    result = read(raw, SourceKind.EVENT, context)
    assert result.read == len(result.events) + result.refused + len(result.duplicates)
    return result


def fields(result: IngestResult) -> list[str]:
    return [row.field for row in result.rejected]


def test_the_shipped_event_goes_through_unchanged() -> None:
    result = ingest(EXAMPLE.read_bytes())
    assert result.events == (LeaverEvent.model_validate(example()),)


def test_one_an_array_and_one_a_line_are_the_same() -> None:
    two = [example(), other("E1002")]
    lines = "\n".join(json.dumps(each) for each in two) + "\n\n"
    array, listed = ingest(two), ingest(lines.encode())
    assert len(array.events) == 2
    assert array == listed
    assert ingest(json.dumps(example()).encode() + b"\r\n").events == array.events[:1]


def test_every_error_of_an_event_is_named_by_its_path() -> None:
    document = changed("data.separation.last_working_day", "2026-02-31")
    document = changed("data.person.shoeSize", 43, document)
    document = changed("type", "leaver.maybe.v1", document)
    document = changed("time", "2026-11-20T12:00:00", document)
    document = changed("data.provenance.raw_sha256", "x", document)
    result = ingest([document, other("E1002")])
    assert set(fields(result)) == {
        "type",
        "time",
        "data.person.shoeSize",
        "data.separation.last_working_day",
        "data.provenance.raw_sha256",
    }
    assert {row.line for row in result.rejected} == {1}
    assert [event.subject for event in result.events] == ["E1002"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("source", "hris/Work Day/x"),
        ("specversion", "0.3"),
        ("subject", "a b"),
        ("data.person.externalId", ""),
        ("data.person.displayName", "=cmd|x"),
        ("data.person.userName", "\u200bmira@x.example"),
        ("data.person.emails", ["a@x.example", "b\n@x.example"]),
        ("data.person.timezone", "Europe/Nowhere"),
        ("data.separation.tz", "CEST"),
        ("data.separation.last_working_day", "0026-11-20"),
        ("data.separation.effective_at", "2026-11-20T22:00:00Z"),
        ("data.separation.effective_at", "2026-11-21T00:00:00Z"),
        ("data.employment.other_active", ["E1001-2"]),
        ("data.provenance.source_revision", -1),
        ("data.provenance.source_revision", 2**53),
        ("type", "leaver.immediate.v1"),
    ],
)
def test_what_would_do_harm_is_refused(path: str, value: JsonValue) -> None:
    result = ingest(changed(path, value))
    assert result.events == ()
    wanted = {"type": "data.separation.immediate"}.get(path, path)
    assert [each.removesuffix(".1") for each in fields(result)] == [wanted]


def test_reasons_repeat_no_value() -> None:
    document = changed("data.person.displayName", 5)
    document = changed("data.person.emails", "mira.lindqvist@northwind.example", document)
    document = changed("data.separation.category", "Lindqvist", document)
    result = ingest(document)
    assert len(result.rejected) == 3
    assert not any("indqvist" in row.reason for row in result.rejected)


def test_an_immediate_event_may_cut_off_before_its_date() -> None:
    document = changed("data.separation.immediate", value=True)
    document = changed("type", "leaver.immediate.v1", document)
    early = changed("data.separation.effective_at", "2026-11-10T09:00:00Z", document)
    late = changed("data.separation.effective_at", "2026-11-21T09:00:00Z", document)
    assert len(ingest(early).events) == 1
    assert fields(ingest(late)) == ["data.separation.effective_at"]


def test_a_time_of_day_must_lie_on_the_last_working_day() -> None:
    document = changed("data.separation.moment", "at")
    inside = changed("data.separation.effective_at", "2026-11-20T14:00:00Z", document)
    outside = changed("data.separation.effective_at", "2026-11-19T14:00:00Z", document)
    assert len(ingest(inside).events) == 1
    assert fields(ingest(outside)) == ["data.separation.effective_at"]


def test_an_id_that_could_hold_a_name_is_replaced_by_the_content_hash() -> None:
    named = changed("id", "mira-lindqvist-leaves")
    first, again = ingest(named).events[0], ingest(changed("time", "2026-11-23T12:00:00Z", named)).events[0]
    moved = ingest(changed("data.person.department", "Sales", named)).events[0]
    assert first.id == again.id == example()["id"]
    assert moved.id != first.id


def test_the_newest_revision_of_a_case_counts() -> None:
    newer = changed("data.provenance.source_revision", 2)
    newer = changed("id", "2", changed("type", "leaver.rescinded.v1", newer))
    result = ingest([newer, example()])
    assert [event.type.value for event in result.events] == ["leaver.rescinded.v1"]
    assert [row.line for row in result.duplicates] == [2]


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"{",
        b'{"a":1}{"b":2}',
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b"[" * 100_000,
        b'{"a":1}\n{"b"\n',
        b"1" * 5000,
    ],
)
def test_what_is_not_a_document_of_events_is_refused_whole(data: bytes) -> None:
    with pytest.raises(IngestError, match=r"^events\.json"):
        ingest(data)


def test_things_that_are_not_events_are_named() -> None:
    result = ingest([1, None, "x", {}, example()])
    assert len(result.events) == 1
    assert {row.line for row in result.rejected} == {1, 2, 3, 4}
