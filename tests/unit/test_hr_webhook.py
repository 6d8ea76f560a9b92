"""BambooHR's signed webhooks: believed only when genuine, fresh and new; then only a hint."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from leaver.hr.bamboohr_webhook import (
    WINDOW,
    FetchHint,
    Refusal,
    SeenInMemory,
    WebhookRefusedError,
    body_digest,
    parse_hint,
    read_headers,
    sign,
    verify,
)
from leaver.hr.ingest import read, read_webhook
from leaver.hr.model import IngestContext, IngestError, IngestResult, SourceKind

EXAMPLES = Path(__file__).parents[2] / "examples" / "hr"
KEY = SecretStr("northwind-webhook-test-key")
SENT = datetime(2026, 11, 20, 23, 0, 5, tzinfo=UTC)
BODY = b'{"type":"employee.updated","data":{"employeeId":"101","changedFields":["status"]}}'


def headers(body: bytes = BODY, at: datetime = SENT, key: SecretStr = KEY) -> dict[str, str]:
    stamp = str(int(at.timestamp()))
    return {"X-BambooHR-Timestamp": stamp, "X-BambooHR-Signature": sign(body, stamp, key)}


def refusal(given: dict[str, str], body: bytes = BODY, now: datetime = SENT) -> Refusal | None:
    try:
        verify(given, body, key=KEY, now=now, seen=SeenInMemory())
    except WebhookRefusedError as err:
        return None if KEY.get_secret_value() in str(err) else err.refusal
    return None


def test_a_genuine_delivery_is_believed_by_any_case_of_its_headers() -> None:
    assert refusal(headers()) is None
    assert refusal({name.lower(): value for name, value in headers().items()}) is None


@pytest.mark.parametrize("seconds", [-300, -299, 0, 299, 300])
def test_within_the_window_it_is_fresh(seconds: int) -> None:
    assert refusal(headers(), now=SENT + timedelta(seconds=seconds)) is None


@pytest.mark.parametrize("seconds", [-301, 301, 86400])
def test_outside_the_window_it_is_stale_in_both_directions(seconds: int) -> None:
    assert refusal(headers(), now=SENT + timedelta(seconds=seconds)) is Refusal.STALE


def test_what_is_not_genuine_is_refused_for_what_it_is() -> None:
    good = headers()
    signature, stamp = good["X-BambooHR-Signature"], good["X-BambooHR-Timestamp"]
    assert refusal({"X-BambooHR-Timestamp": stamp}) is Refusal.MISSING_HEADER
    assert refusal({"X-BambooHR-Signature": signature}) is Refusal.MISSING_HEADER
    assert refusal({}) is Refusal.MISSING_HEADER
    assert refusal(good, body=BODY + b" ") is Refusal.BAD_SIGNATURE
    assert refusal(good | {"X-BambooHR-Signature": signature.upper()}) is Refusal.BAD_SIGNATURE
    assert refusal(good | {"X-BambooHR-Signature": signature[:-1]}) is Refusal.BAD_SIGNATURE
    assert refusal(good | {"X-BambooHR-Signature": "\u00e9" * 64}) is Refusal.BAD_SIGNATURE
    assert refusal(good | {"X-BambooHR-Timestamp": str(int(stamp) + 1)}) is Refusal.BAD_SIGNATURE
    assert refusal(headers(key=SecretStr("another key"))) is Refusal.BAD_SIGNATURE


def test_a_signed_timestamp_that_is_no_time_is_refused() -> None:
    for stamp in ("soon", "-1", "1.5", "999999999999"):
        given = {"X-BambooHR-Timestamp": stamp, "X-BambooHR-Signature": sign(BODY, stamp, KEY)}
        assert refusal(given) in (Refusal.BAD_TIMESTAMP, Refusal.STALE)


def test_a_stranger_learns_only_that_the_signature_is_wrong() -> None:
    stamp = str(int((SENT - timedelta(days=9)).timestamp()))
    given = {"X-BambooHR-Timestamp": stamp, "X-BambooHR-Signature": "0" * 64}
    assert refusal(given) is Refusal.BAD_SIGNATURE


def test_a_replay_is_refused_even_under_a_new_timestamp() -> None:
    seen = SeenInMemory()
    verify(headers(), BODY, key=KEY, now=SENT, seen=seen)
    # Not yet acted on: BambooHR's own retry must get through.
    verify(headers(), BODY, key=KEY, now=SENT, seen=seen)
    seen.remember(body_digest(BODY), SENT)
    later = SENT + timedelta(minutes=2)
    for given in (headers(), headers(at=later)):
        with pytest.raises(WebhookRefusedError) as caught:
            verify(given, BODY, key=KEY, now=later, seen=seen)
        assert caught.value.refusal is Refusal.REPLAYED


def test_the_memory_outlasts_the_window_and_does_not_grow_for_ever() -> None:
    seen = SeenInMemory()
    seen.remember("first", SENT)
    seen.remember("second", SENT + 2 * WINDOW)
    assert seen.seen("first")
    seen.remember("third", SENT + 10 * WINDOW)
    assert not seen.seen("first")
    assert seen.seen("third")


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ({"type": "employee.created", "data": {"employeeId": "5"}}, FetchHint(("5",))),
        ({"type": "employee.updated", "data": {"companyId": "1", "employeeId": 5}}, FetchHint(("5",))),
        ({"type": "employee.deleted", "data": {"employeeId": "5"}}, FetchHint((), ("5",))),
        (
            {
                "employees": [
                    {
                        "id": "5",
                        "action": "Updated",
                        "changedFields": ["Status"],
                        "fields": {"Status": "Inactive"},
                    },
                    {"id": "6", "action": "Deleted", "changedFields": [], "fields": {}},
                    {"id": "5", "changedFields": []},
                ]
            },
            FetchHint(("5",), ("6",)),
        ),
        ({"employees": []}, FetchHint(())),
    ],
)
def test_both_forms_of_a_body_give_ids_only(body: dict[str, object], hint: FetchHint) -> None:
    assert parse_hint(json.dumps(body).encode()) == hint


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"employees[5][id]=5",
        b"{",
        b"{}",
        b'{"type":"employee.exploded","data":{"employeeId":"5"}}',
        b'{"type":"employee.updated","data":{}}',
        b'{"type":"employee.updated","data":{"employeeId":"../5"}}',
        b'{"type":"employee.updated","data":{"employeeId":true,"x":1}}'.replace(b"true", b"[5]"),
        b'{"employees":{"5":{}}}',
        b'{"employees":[5]}',
        b'{"employees":[{"action":"Updated"}]}',
    ],
)
def test_a_body_of_another_shape_is_refused(body: bytes) -> None:
    with pytest.raises(IngestError):
        parse_hint(body)


def test_headers_are_read_from_both_kinds_of_file() -> None:
    lines = b"X-BambooHR-Timestamp: 1\r\nX-BambooHR-Signature:  ab\r\n"
    assert read_headers(lines) == {"x-bamboohr-timestamp": "1", "x-bamboohr-signature": "ab"}
    assert read_headers(b'{"X-BambooHR-Timestamp": 1}') == {"x-bamboohr-timestamp": "1"}
    for bad in (b"nothing", b"\xff", b'{"a":1,"A":2}', b"A: 1\na: 2"):
        with pytest.raises(IngestError):
            read_headers(bad)


def shipped(seen: SeenInMemory, companion: bytes | None = None, body: bytes | None = None) -> IngestResult:
    body = body or (EXAMPLES / "bamboohr-webhook.json").read_bytes()
    given = read_headers((EXAMPLES / "bamboohr-webhook-headers.json").read_bytes())
    if body != (EXAMPLES / "bamboohr-webhook.json").read_bytes():
        given = headers(body)
    table = companion or (EXAMPLES / "bamboohr-employment-status.json").read_bytes()
    context = IngestContext(tenant="northwind", file="table.json", observed_at=SENT)
    return read_webhook(body, given, table, context, key=KEY, seen=seen)


def test_the_shipped_webhook_reads_only_the_employee_it_names() -> None:
    seen = SeenInMemory()
    result = shipped(seen)
    assert [event.subject for event in result.events] == ["101"]
    assert result.events[0].data.provenance.received_via == "webhook"
    assert (result.read, result.rejected) == (1, ())
    with pytest.raises(WebhookRefusedError):
        shipped(seen)


def test_the_same_news_by_poll_and_by_webhook_is_one_event() -> None:
    context = IngestContext(tenant="northwind", file="table.json", observed_at=SENT)
    table = (EXAMPLES / "bamboohr-employment-status.json").read_bytes()
    polled = {event.subject: event.id for event in read(table, SourceKind.BAMBOOHR, context).events}
    assert shipped(SeenInMemory()).events[0].id == polled["101"]


def test_a_failed_reading_is_not_remembered() -> None:
    seen = SeenInMemory()
    with pytest.raises(IngestError):
        shipped(seen, companion=b"{")
    assert shipped(seen).events


def test_values_in_a_webhook_are_never_believed() -> None:
    entry = {
        "id": "301",
        "action": "Updated",
        "fields": {"status": "Inactive", "terminationDate": "2026-11-20"},
    }
    result = shipped(SeenInMemory(), body=json.dumps({"employees": [entry]}).encode())
    assert result.events == ()
    assert [each.worker for each in result.staying] == ["301"]


def test_deleted_and_undelivered_employees_are_named_and_start_nothing() -> None:
    entries = [{"id": "101", "action": "Deleted"}, {"id": "999", "action": "Updated"}]
    result = shipped(SeenInMemory(), body=json.dumps({"employees": entries}).encode())
    assert result.events == ()
    assert {row.field for row in result.rejected} == {"employees.101", "employees.999"}
    assert (result.read, result.refused) == (2, 2)
    assert any("not a termination" in row.reason for row in result.rejected)


def test_a_webhook_body_alone_is_refused_with_advice() -> None:
    context = IngestContext(tenant="northwind", file="hook.json", observed_at=SENT)
    with pytest.raises(IngestError, match="only a hint"):
        read(BODY, SourceKind.BAMBOOHR_WEBHOOK, context)
