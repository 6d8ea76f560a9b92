"""Whatever arrives: a result that accounts for every row, or one typed error, and never anything else."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from leaver.domain.base import canonical
from leaver.hr.bamboohr_webhook import parse_hint, read_headers
from leaver.hr.ingest import read
from leaver.hr.model import CSV_FIELDS, IngestContext, IngestError, IngestResult, SourceKind

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
EXAMPLES = Path(__file__).parents[2] / "examples" / "hr"
READABLE = (SourceKind.CSV, SourceKind.BAMBOOHR, SourceKind.EVENT)

texts = st.text(alphabet=st.characters(codec="utf-8"), max_size=20)
numbers = st.sampled_from(["", "1", "E1", "e1", "7", "=1"])
days = st.sampled_from(["", "2026-11-20", "2026-12-20", "2026-02-31", "0000-00-00"])
others = st.sampled_from(
    ["leaving", "rescinded", "active", "Terminated", "yes", "17:30", "UTC", "Europe/Stockholm"]
)
words = numbers | days | others | st.sampled_from(["a@x.example", "A@X.example"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts | words, inner, max_size=4),
    max_leaves=10,
)
quick = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


def attempt(data: bytes, source: SourceKind) -> IngestResult | None:
    try:
        result = read(data, source, IngestContext("northwind", "feed", NOW))
    except IngestError:
        return None
    counted = (
        len(result.events) + result.refused + len(result.duplicates) + len(result.staying) + result.former
    )
    assert result.read == counted
    assert bool(result.rejected) == bool(result.refused)
    assert all(row.reason and row.field for row in (*result.rejected, *result.duplicates, *result.warnings))
    ids = [event.id for event in result.events]
    assert len(set(ids)) == len(ids)
    people = [(event.source, event.subject.casefold()) for event in result.events]
    # One person may have a rescinded and another employment, never two that end.
    leaving = [who for who, event in zip(people, result.events, strict=True) if "rescinded" not in event.type]
    assert len(set(leaving)) == len(leaving)
    for event in result.events:
        assert canonical(event)
    return result


@pytest.mark.parametrize("source", READABLE)
@given(data=st.binary(max_size=200))
@quick
def test_any_bytes(source: SourceKind, data: bytes) -> None:
    attempt(data, source)


@given(
    st.lists(
        st.sampled_from([*CSV_FIELDS, '"', ",", ";", "\r", "\n", "\r\n", "\t", "\0", "E1", "2026-11-20"])
    )
)
@quick
def test_any_mixture_of_csv_pieces(pieces: list[str]) -> None:
    attempt("".join(pieces).encode(), SourceKind.CSV)
    attempt(("employee_number,last_working_day\n" + "".join(pieces)).encode(), SourceKind.CSV)


@st.composite
def tables(draw: st.DrawFn) -> tuple[bytes, int]:
    """A well-formed file with any values, and how many rows it has."""
    rest = draw(st.lists(st.sampled_from(CSV_FIELDS[1:]), unique=True))
    columns = ["employee_number", "last_working_day", *[name for name in rest if name != "last_working_day"]]
    cell = words | texts
    rows = draw(st.lists(st.lists(cell, min_size=len(columns), max_size=len(columns)), max_size=8))
    out = io.StringIO()
    # Quoting is not left to the writer: Python before 3.13 leaves a lone carriage return bare.
    writer = csv.writer(
        out,
        delimiter=draw(st.sampled_from(",;\t")),
        lineterminator=draw(st.sampled_from(["\n", "\r\n"])),
        quoting=csv.QUOTE_ALL,
    )
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue().encode(), sum(any(value.strip() for value in row) for row in rows)


@given(tables())
@quick
def test_every_row_of_a_well_formed_file_is_accounted_for(table: tuple[bytes, int]) -> None:
    data, rows = table
    result = attempt(data, SourceKind.CSV)
    assert result is not None
    assert result.read == rows
    lines = {row.line for row in result.rejected}
    assert result.refused == len(lines)
    assert lines.isdisjoint(row.line for row in result.duplicates)


@given(
    st.lists(st.tuples(words, words, words), max_size=8).flatmap(
        lambda rows: st.tuples(st.just(rows), st.permutations(rows))
    )
)
@quick
def test_the_order_of_rows_decides_nothing(
    orders: tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]],
) -> None:
    """Which events come out does not depend on how the file is sorted."""

    def outcome(given_rows: list[tuple[str, str, str]]) -> set[str]:
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(("employee_number", "last_working_day", "employment_id"))
        writer.writerows(given_rows)
        result = attempt(out.getvalue().encode(), SourceKind.CSV)
        assert result is not None
        return {
            f"{event.subject.casefold()} {event.data.separation.last_working_day}" for event in result.events
        }

    assert outcome(orders[0]) == outcome(orders[1])


@given(json_values)
@quick
def test_any_json(value: JsonValue) -> None:
    data = json.dumps(value).encode()
    for source in (SourceKind.BAMBOOHR, SourceKind.EVENT):
        attempt(data, source)
    for parse in (parse_hint, read_headers):
        survives(parse, data)


def survives(parse: Callable[[bytes], object], data: bytes) -> None:
    with contextlib.suppress(IngestError):
        parse(data)


@given(st.binary(max_size=100))
@quick
def test_any_webhook_body(data: bytes) -> None:
    survives(parse_hint, data)
    survives(read_headers, data)


def mutated(document: JsonValue, data: st.DataObject) -> JsonValue:
    """The document with something in it replaced, dropped or added."""
    if isinstance(document, dict) and document and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(document)))
        change = data.draw(st.sampled_from(("inside", "drop", "add")))
        if change == "drop":
            return {name: value for name, value in document.items() if name != key}
        if change == "add":
            return {**document, data.draw(texts): data.draw(json_values)}
        return {**document, key: mutated(document[key], data)}
    if isinstance(document, list) and document and data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(document) - 1))
        return [*document[:at], mutated(document[at], data), *document[at + 1 :]]
    return data.draw(json_values)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("leaver-event.json", SourceKind.EVENT),
        ("bamboohr-employment-status.json", SourceKind.BAMBOOHR),
    ],
)
@given(data=st.data())
@quick
def test_a_damaged_document(name: str, source: SourceKind, data: st.DataObject) -> None:
    document = json.loads((EXAMPLES / name).read_text())
    for _ in range(data.draw(st.integers(1, 3))):
        document = mutated(document, data)
    attempt(json.dumps(document).encode(), source)


def test_a_lone_surrogate_is_an_error_and_not_a_crash() -> None:
    event = (EXAMPLES / "leaver-event.json").read_bytes()
    result = attempt(event.replace(b"Mira Lindqvist", b"\\ud800"), SourceKind.EVENT)
    assert result is not None
    assert result.events == ()
    table = (EXAMPLES / "bamboohr-employment-status.json").read_bytes()
    result = attempt(table.replace(b'"Mira Lindqvist"', b'"\\ud800"'), SourceKind.BAMBOOHR)
    assert result is not None
    assert [event.subject for event in result.events] == ["103", "104"]
