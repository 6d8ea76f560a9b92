"""The guarded transport: what it refuses, what it records, how it names what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest

from leaver.connectors.errors import (
    ConnectorError,
    ProtocolError,
    Throttled,
    Unavailable,
    UnknownOutcomeError,
    WriteRefused,
)
from leaver.connectors.graph import describe_graph
from leaver.connectors.guard import WriteGuard, write_scope
from leaver.connectors.http import GuardedTransport, Network, client_over, retry_after, server_date
from leaver.connectors.receipts import recording
from leaver.domain.words import Mode

LEAVER = "aaaaaaaa-0000-4000-8000-000000000001"
STRANGER = "bbbbbbbb-0000-4000-8000-000000000002"
GRAPH = "https://graph.example/v1.0"
HEADERS = {"Date": "Sun, 22 Nov 2026 12:00:00 GMT", "request-id": "r-1"}


class Wire(httpx.AsyncBaseTransport):
    """The network: counts what really leaves, answers or fails as told."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self.sent: list[httpx.Request] = []
        self._answer = answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        return self._answer(request)


def client(wire: Wire, mode: Mode = Mode.ENFORCE) -> httpx.AsyncClient:
    return client_over(GuardedTransport(wire, WriteGuard(mode), describe_graph(GRAPH)), Network())


def answering(status: int, **headers: str) -> Wire:
    return Wire(lambda _: httpx.Response(status, headers=HEADERS | headers, json={}))


def failing(error: httpx.TransportError) -> Wire:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    return Wire(fail)


async def patch(wire: Wire, user: str = LEAVER, mode: Mode = Mode.ENFORCE) -> httpx.Response:
    with write_scope(Mode.ENFORCE, [LEAVER]):
        return await client(wire, mode).patch(f"{GRAPH}/users/{user}", json={"accountEnabled": False})


async def test_the_leaver_may_be_changed() -> None:
    wire = answering(204)
    assert (await patch(wire)).status_code == 204
    assert len(wire.sent) == 1


@pytest.mark.parametrize("target", [STRANGER, "mira.lindqvist@northwind.example", f"{LEAVER}/manager/$ref"])
async def test_nobody_else_may(target: str) -> None:
    wire = answering(204)
    with pytest.raises(WriteRefused):
        await patch(wire, target)
    assert wire.sent == []


async def test_no_scope_and_no_switch_no_write() -> None:
    wire = answering(204)
    with pytest.raises(WriteRefused):
        await client(wire).post(f"{GRAPH}/users/{LEAVER}/revokeSignInSessions")
    with pytest.raises(WriteRefused):
        await patch(wire, mode=Mode.NOTIFICATION_ONLY)
    assert wire.sent == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", f"/groups/g/members/{LEAVER}"),  # without /$ref: deletes the user
        ("DELETE", f"/users/{LEAVER}"),
        ("POST", "/$batch"),
        ("POST", f"/users/{LEAVER}/sendMail"),
        ("PUT", f"/users/{LEAVER}/manager/$ref"),
        ("DELETE", f"/users/{LEAVER}/authentication/methods/x/y"),
        ("POST", f"/users/{LEAVER}/revokeSignInSessions/../../{STRANGER}/revokeSignInSessions"),
    ],
)
async def test_a_write_that_is_not_ours_is_refused_even_on_the_leaver(method: str, path: str) -> None:
    wire = answering(204)
    with write_scope(Mode.ENFORCE, [LEAVER]), pytest.raises(WriteRefused):
        await client(wire).request(method, GRAPH + path, json={})
    assert wire.sent == []


async def test_an_invitation_names_everybody_or_is_refused() -> None:
    wire = answering(200)
    body = {"recipients": [{"objectId": LEAVER}], "roles": ["write"]}
    with write_scope(Mode.ENFORCE, [LEAVER]), pytest.raises(WriteRefused):
        # The drive was not read for anybody: whose it is cannot be told.
        await client(wire).post(f"{GRAPH}/drives/b!1/root/invite", json=body)
    assert wire.sent == []


@pytest.mark.parametrize(
    ("status", "reading", "writing"),
    [
        (429, Throttled, Throttled),
        (503, Unavailable, Unavailable),
        (409, Unavailable, Unavailable),
        (500, Unavailable, UnknownOutcomeError),
        (502, Unavailable, UnknownOutcomeError),
        (504, Unavailable, UnknownOutcomeError),
        (302, ProtocolError, ProtocolError),
    ],
)
async def test_answers_become_errors(
    status: int, reading: type[ConnectorError], writing: type[ConnectorError]
) -> None:
    wire = answering(status, **{"Retry-After": "2", "Location": "https://elsewhere.example/"})
    with pytest.raises(reading) as caught:
        await client(wire).get(f"{GRAPH}/users/{LEAVER}")
    assert type(caught.value) is reading
    with pytest.raises(writing) as caught:
        await patch(wire)
    assert type(caught.value) is writing
    assert getattr(caught.value, "retry_after", 2.0) == 2.0
    assert len(wire.sent) == 2


@pytest.mark.parametrize(
    ("failure", "reading", "writing"),
    [
        (httpx.ConnectError("x"), Unavailable, Unavailable),
        (httpx.ConnectTimeout("x"), Unavailable, Unavailable),
        (httpx.PoolTimeout("x"), Unavailable, Unavailable),
        (httpx.ReadTimeout("x"), Unavailable, UnknownOutcomeError),
        (httpx.RemoteProtocolError("x"), Unavailable, UnknownOutcomeError),
        (httpx.WriteError("x"), Unavailable, UnknownOutcomeError),
    ],
)
async def test_silence_after_a_write_is_an_unknown_outcome(
    failure: httpx.TransportError, reading: type[ConnectorError], writing: type[ConnectorError]
) -> None:
    with pytest.raises(reading):
        await client(failing(failure)).get(f"{GRAPH}/users/{LEAVER}")
    with pytest.raises(writing) as caught:
        await patch(failing(failure))
    assert type(caught.value) is writing


async def test_receipts_keep_what_proves_and_hide_who() -> None:
    wire = answering(200)
    with recording() as receipts:
        params = {"$filter": "mail eq 'mira.lindqvist@northwind.example'", "$select": "id"}
        await client(wire).get(f"{GRAPH}/users", params=params)
        await client(wire).get(f"{GRAPH}/users/mira.lindqvist%40northwind.example")
        await client(wire).get("https://sp.example/personal/mira_lindqvist_northwind_example/_api/web")
        await patch(wire)

    assert [receipt.path for receipt in receipts] == [
        "/v1.0/users?$filter=*&$select=id",
        "/v1.0/users/{name}",
        "/personal/{owner}/_api/web",
        f"/v1.0/users/{LEAVER}",
    ]
    assert [receipt.mutating for receipt in receipts] == [False, False, False, True]
    assert receipts[0].request_id == "r-1"
    assert receipts[0].server_date == datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert receipts[0].client_request_id == wire.sent[0].headers["client-request-id"]


async def test_a_lost_answer_leaves_a_receipt_too() -> None:
    with recording() as receipts, pytest.raises(UnknownOutcomeError):
        await patch(failing(httpx.ReadTimeout("x")))
    assert [(receipt.status, receipt.mutating) for receipt in receipts] == [(0, True)]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2", 2.0),
        ("0.5", 0.5),
        ("Sun, 22 Nov 2026 12:01:30 GMT", 90.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("-5", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after(httpx.Headers(HEADERS | {"Retry-After": value})) == seconds


def test_no_date_is_none() -> None:
    assert server_date(httpx.Headers()) is None


async def test_environment_proxies_cannot_bypass_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    wire = answering(204)
    with pytest.raises(WriteRefused):
        await patch(wire, STRANGER)
    await patch(wire)
    assert len(wire.sent) == 1
