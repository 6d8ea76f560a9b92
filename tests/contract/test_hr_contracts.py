"""What HR systems publish about their own formats, held against our readers and our sample files."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from pydantic import JsonValue, SecretStr

from leaver.hr.bamboohr_webhook import (
    FetchHint,
    Refusal,
    SeenInMemory,
    WebhookRefusedError,
    parse_hint,
    sign,
    verify,
)
from leaver.hr.ingest import read
from leaver.hr.model import IngestContext, SourceKind

ROOT = Path(__file__).parents[2]
CONTRACTS = Path(os.environ.get("LEAVER_CONTRACTS", ROOT / ".." / "shared" / "contracts"))
EXAMPLES = ROOT / "examples" / "hr"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def contract(name: str) -> JsonValue:
    path = CONTRACTS / name
    if not path.is_file():
        pytest.skip(f"{name} is not in {CONTRACTS}; set LEAVER_CONTRACTS to the folder that holds it")
    document: JsonValue = json.loads(path.read_text())
    return document


def at(document: JsonValue, *path: str) -> JsonValue:
    for name in path:
        assert isinstance(document, dict)
        document = document[name]
    return document


def bamboohr_schema(*path: str) -> Draft202012Validator:
    schema = at(contract("bamboohr-openapi.trimmed.json"), *path)
    assert isinstance(schema, dict)
    return Draft202012Validator(schema)


def answer(path: str) -> Draft202012Validator:
    return bamboohr_schema("paths", path, "get", "responses", "200", "content", "application/json", "schema")


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("northwind-leavers.csv", SourceKind.CSV),
        ("bamboohr-employment-status.json", SourceKind.BAMBOOHR),
        ("leaver-event.json", SourceKind.EVENT),
    ],
)
def test_every_event_we_make_is_a_cloudevent(name: str, source: SourceKind) -> None:
    schema = contract("cloudevents-1.0.schema.json")
    assert isinstance(schema, dict)
    validator = Draft7Validator(schema)
    events = read((EXAMPLES / name).read_bytes(), source, IngestContext("northwind", name, NOW)).events
    assert events
    for event in events:
        document = event.model_dump(mode="json", by_alias=True)
        validator.validate(document)
        # The schema names the format date-time, which validators do not check by themselves.
        assert datetime.fromisoformat(document["time"]).tzinfo is not None
        assert not validator.is_valid({**document, "id": ""})
        assert not validator.is_valid({key: document[key] for key in document if key != "source"})


def test_the_shipped_event_file_is_a_cloudevent() -> None:
    schema = contract("cloudevents-1.0.schema.json")
    assert isinstance(schema, dict)
    Draft7Validator(schema).validate(json.loads((EXAMPLES / "leaver-event.json").read_text()))


def test_the_shipped_table_answers_have_bamboohrs_shape() -> None:
    document = json.loads((EXAMPLES / "bamboohr-employment-status.json").read_text())
    validator = answer("/api/v1/employees/{id}/tables/{table}")
    validator.validate(document["employmentStatus"])
    assert not validator.is_valid({"employmentStatus": []})
    employee = bamboohr_schema("components", "schemas", "GetEmployeeResponse")
    for record in document["employees"]:
        employee.validate(record)
    named = at(
        contract("bamboohr-openapi.trimmed.json"),
        "components",
        "schemas",
        "GetEmployeeResponse",
        "properties",
    )
    assert isinstance(named, dict)
    # Fields that the vendor documents elsewhere, in its list of field names.
    assert {key for record in document["employees"] for key in record} - set(named) == {
        "employeeNumber",
        "displayName",
    }


def test_the_table_of_changed_employees_is_read_as_bamboohr_answers_it() -> None:
    table = json.loads((EXAMPLES / "bamboohr-employment-status.json").read_text())
    groups: dict[str, dict[str, JsonValue]] = {}
    for row in table["employmentStatus"]:
        group = groups.setdefault(row["employeeId"], {"lastChanged": "2026-11-19T08:00:00+00:00", "rows": []})
        rows = group["rows"]
        assert isinstance(rows, list)
        rows.append(row)
    changed: JsonValue = {"table": "employmentStatus", "employees": dict(groups)}
    answer("/api/v1/employees/changed/tables/{table}").validate(changed)
    document = {"employmentStatus": changed, "employees": table["employees"]}
    context = IngestContext("northwind", "changed.json", NOW)
    by_changed = read(json.dumps(document).encode(), SourceKind.BAMBOOHR, context)
    by_all = read(json.dumps(table).encode(), SourceKind.BAMBOOHR, context)
    assert {event.id for event in by_changed.events} == {event.id for event in by_all.events}
    assert len(by_all.events) == 3


@pytest.mark.parametrize("kind", ["Created", "Updated", "Deleted"])
def test_bamboohrs_own_webhook_payloads_give_a_hint(kind: str) -> None:
    path = ("components", "schemas", f"Employee{kind}WebhookPayload")
    properties = at(contract("bamboohr-openapi.trimmed.json"), *path, "properties")
    assert isinstance(properties, dict)
    inner = at(properties, "data", "properties")
    assert isinstance(inner, dict)
    body: JsonValue = {
        "type": at(properties, "type", "example"),
        "timestamp": at(properties, "timestamp", "example"),
        "data": {name: at(inner, name, "example") for name in inner},
    }
    bamboohr_schema(*path).validate(body)
    employee = str(at(inner, "employeeId", "example"))
    wanted = FetchHint((), (employee,)) if kind == "Deleted" else FetchHint((employee,))
    assert parse_hint(json.dumps(body).encode()) == wanted


def test_the_shipped_webhook_has_bamboohrs_shape() -> None:
    body = json.loads((EXAMPLES / "bamboohr-webhook.json").read_text())
    bamboohr_schema("components", "schemas", "EmployeeUpdatedWebhookPayload").validate(body)


def test_the_signature_vector() -> None:
    vector = at(contract("webhook-vectors.json"), "bamboohr")
    assert isinstance(vector, dict)
    key, body = SecretStr(str(vector["key"])), str(vector["body"]).encode()
    stamp, signature = str(vector["timestamp"]), str(vector["signature"])
    assert sign(body, stamp, key) == signature
    first, second = at(vector, "headers"), datetime.fromtimestamp(int(stamp), UTC)
    assert isinstance(first, list)
    headers = {str(first[0]): stamp, str(first[1]): signature}
    verify(headers, body, key=key, now=second, seen=SeenInMemory())
    assert parse_hint(body) == FetchHint(("100",))
    # Body first: the other order, which some guides give, is not the vendor's.
    assert sign(stamp.encode(), body.decode(), key) != signature
    with pytest.raises(WebhookRefusedError) as caught:
        verify(headers, body + b"\n", key=key, now=second, seen=SeenInMemory())
    assert caught.value.refusal is Refusal.BAD_SIGNATURE
