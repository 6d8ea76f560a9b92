"""HTTP for connectors: one transport that guards writes, keeps receipts and tells errors apart.

Everything that must never be forgotten happens in :class:`GuardedTransport`, below any client or SDK: the
request is described from its own bytes, a mutating one has to pass the write guard, each answer leaves a
receipt, and answers worth trying again become our errors before a vendor's retry logic can see them.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final
from urllib.parse import unquote
from uuid import uuid4

import httpx

from leaver.connectors.errors import (
    ConnectorError,
    ProtocolError,
    Throttled,
    Unavailable,
    UnknownOutcomeError,
)
from leaver.connectors.guard import WriteGuard
from leaver.connectors.receipts import record
from leaver.domain.effect import Receipt

_BEFORE_SENDING: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)
_BUSY: Final = frozenset({408, 409, 423, 503})
"""Nothing was done; asking again may help (RFC 9110; 423 from RFC 4918)."""
_BROKEN: Final = frozenset({500, 502, 504})
"""The server, or a gateway before it, failed while working: a write may have happened."""
_PLAIN_QUERY: Final = frozenset({"$select", "$top", "$count", "$expand", "$orderby"})

_SECONDS: Final = re.compile(r"\d+(\.\d+)?")

NO_ANSWER: Final = 0
"""Status in the receipt of a request that left and was never answered."""


@dataclass(frozen=True, slots=True)
class Network:
    """How a connector reaches its vendor. Times are in seconds and lie below the activities' own limits.

    ``ca_file`` is a PEM file that replaces the public authorities (private gateways, simulators). Proxies
    come from here only: a proxy taken from the environment would bypass the guarded transport.
    """

    connect_timeout: float = 5.0
    read_timeout: float = 20.0
    ca_file: Path | None = None
    proxy: str | None = None
    http2: bool = False
    max_connections: int = 50


@dataclass(frozen=True, slots=True)
class Call:
    """What a request is, told from the request itself.

    ``operation`` is safe to log. ``objects`` are the immutable ids of every person's object that a mutating
    request changes; a mutating request whose objects cannot be told has none, and is refused.
    """

    operation: str
    mutating: bool
    objects: frozenset[str] = frozenset()


Describe = Callable[[httpx.Request], Call]


class GuardedTransport(httpx.AsyncBaseTransport):
    """Sends requests for one vendor. Wraps the transport that owns the connections."""

    def __init__(self, inner: httpx.AsyncBaseTransport, guard: WriteGuard, describe: Describe) -> None:
        self._inner = inner
        self._guard = guard
        self._describe = describe

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Check, send, keep the receipt.

        Raises:
            WriteRefused: the guard said no; nothing was sent.
            Throttled: 429.
            Unavailable: no connection, or an answer that says "not now".
            UnknownOutcomeError: a mutating request left and what became of it is not known.
            ProtocolError: a redirect, which none of our vendors' calls has.
        """
        await request.aread()
        if "client-request-id" not in request.headers:
            # Graph's SDK adds one for its own hosts only; support cases need it everywhere.
            request.headers["client-request-id"] = str(uuid4())
        call = self._describe(request)
        if call.mutating:
            self._guard.check(call.operation, call.objects)
        response = await self._send(request, call)
        _keep(request, response, call)
        error = retryable(response.status_code, response.headers, call)
        if error is not None:
            raise error
        if response.is_redirect:
            raise ProtocolError(f"{call.operation}: answered with a redirect ({response.status_code})")
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()

    async def _send(self, request: httpx.Request, call: Call) -> httpx.Response:
        try:
            answer = await self._inner.handle_async_request(request)
            # Read here, so that an answer lost half way is an error of this request and of nothing else.
            content = b"".join([part async for part in answer.stream])  # type: ignore[union-attr]
            await answer.aclose()
        except _BEFORE_SENDING as err:
            raise Unavailable(f"{call.operation}: no connection ({type(err).__name__})") from err
        except httpx.TransportError as err:
            _keep(request, None, call)
            text = f"{call.operation}: no answer ({type(err).__name__})"
            raise (UnknownOutcomeError(text) if call.mutating else Unavailable(text)) from err
        return httpx.Response(
            answer.status_code,
            headers=answer.headers,
            stream=httpx.ByteStream(content),
            extensions=answer.extensions,
        )


def guarded_transport(network: Network, guard: WriteGuard, describe: Describe) -> GuardedTransport:
    """The transport for one vendor, with connections of its own; the caller closes it."""
    inner = httpx.AsyncHTTPTransport(
        verify=tls_context(network),
        http2=network.http2,
        proxy=network.proxy,
        limits=httpx.Limits(max_connections=network.max_connections),
        retries=0,
    )
    return GuardedTransport(inner, guard, describe)


def client_over(
    transport: GuardedTransport, network: Network, *, auth: httpx.Auth | None = None
) -> httpx.AsyncClient:
    """An ``httpx.AsyncClient`` over the guarded transport. One per process and event loop.

    Closing it closes the transport too, unless an SDK has put transports of its own round it.
    """
    return httpx.AsyncClient(
        transport=transport,
        timeout=httpx.Timeout(network.read_timeout, connect=network.connect_timeout),
        auth=auth,
        follow_redirects=False,
        # With the environment's proxies httpx would mount transports of its own beside ours, unguarded.
        trust_env=False,
    )


def tls_context(network: Network) -> ssl.SSLContext:
    """The TLS context: the configured authorities, or the system's public ones."""
    return ssl.create_default_context(cafile=str(network.ca_file) if network.ca_file else None)


def retryable(status: int, headers: httpx.Headers, call: Call) -> ConnectorError | None:
    """The error of an answer that is worth asking again for, with the vendor's ``Retry-After``."""
    text = f"{call.operation}: answered {status}"
    after = retry_after(headers)
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return Throttled(text, retry_after=after)
    if status in _BUSY:
        return Unavailable(text, retry_after=after)
    if status in _BROKEN or status > httpx.codes.GATEWAY_TIMEOUT:
        kind = UnknownOutcomeError if call.mutating else Unavailable
        return kind(text, retry_after=after)
    return None


def retry_after(headers: httpx.Headers) -> float | None:
    """``Retry-After`` in seconds, given as seconds or as an HTTP date (RFC 9110 section 10.2.3).

    A date is measured against the answer's own clock, so that ours does not matter.
    """
    value = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    until = _http_date(value)
    if until is None:
        return None
    now = server_date(headers) or datetime.now(UTC)
    return max((until - now).total_seconds(), 0.0)


def server_date(headers: httpx.Headers) -> datetime | None:
    """The vendor's own clock when it answered, UTC, to the second."""
    return _http_date(headers.get("date", ""))


def masked_query(request: httpx.Request) -> str:
    """The query with its values hidden, except those that cannot hold personal data."""
    pairs = [
        f"{name}={value if name in _PLAIN_QUERY else '*'}" for name, value in request.url.params.multi_items()
    ]
    return "?" + "&".join(pairs) if pairs else ""


def masked_path(request: httpx.Request) -> str:
    """The path without what may name a person: user principal names, mail addresses, personal site names."""
    parts = [unquote(part) for part in request.url.path.split("/")]
    for index, part in enumerate(parts):
        if "@" in part.removesuffix("(@v)"):
            parts[index] = "{name}"
        elif index and parts[index - 1] == "personal":
            parts[index] = "{owner}"
    return "/".join(parts)


def _http_date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _keep(request: httpx.Request, response: httpx.Response | None, call: Call) -> None:
    headers = response.headers if response is not None else httpx.Headers()
    record(
        Receipt(
            method=request.method,
            path=masked_path(request) + masked_query(request),
            status=response.status_code if response is not None else NO_ANSWER,
            mutating=call.mutating,
            request_id=headers.get("request-id") or headers.get("sprequestguid"),
            client_request_id=request.headers["client-request-id"],
            server_date=server_date(headers),
            at=datetime.now(UTC),
        )
    )
