"""A route table and the life of one request: find the route, tell the intent, meet the fault, answer, log.

Made for simulators: the intent of a request is known before it is handled, so that a refused or lost
request is in the log with the same detail as a served one, and members of a batch pass the same way as
requests of their own.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Final, Protocol

from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from leaver.simulators.faults import Fault, FaultBook, FaultKind
from leaver.simulators.listener import hang_up
from leaver.simulators.request_log import Intent, RequestLog, RequestRecord, stamp


class Refusal(Exception):  # noqa: N818 - an answer, not a failure of ours
    """Raised inside a handler to answer with an error at once."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


@dataclass(slots=True)
class Call:
    """One request, on its own or as a member of a batch."""

    method: str
    path: str
    """Decoded, without the prefix of the service (``/v1.0``)."""
    query: QueryParams
    headers: Headers
    body: bytes
    base_url: str
    """Scheme, host and port as the client wrote them."""
    in_batch: bool = False
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    params: dict[str, str] = field(default_factory=dict)
    stale: Fault | None = None
    sent_path: str = field(init=False)

    def __post_init__(self) -> None:
        self.sent_path = self.path

    def json_object(self) -> dict[str, Any] | None:
        """The body as a JSON object; None where it is something else."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return None
        return found if isinstance(found, dict) else None


Handler = Callable[[Call], Response | Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """Method, path template, handler; ``template`` is also the operation's name in the log."""

    method: str
    template: str
    handler: Handler
    pattern: re.Pattern[str]


class Routes:
    """An ordered table; the first match wins, so put literal paths before those with parameters."""

    def __init__(self) -> None:
        self._routes: list[Route] = []

    def add(self, method: str, template: str, handler: Handler) -> None:
        """Serve ``template``; ``{name}`` stands for one path segment or part of one."""
        literal = (
            re.escape(part) if i % 2 == 0 else f"(?P<{part}>[^/]+?)"
            for i, part in enumerate(re.split(r"\{(\w+)\}", template))
        )
        pattern = re.compile("".join(literal) + "/?", re.IGNORECASE)
        self._routes.append(Route(method, template, handler, pattern))

    def find(self, method: str, path: str) -> tuple[Route | None, dict[str, str], bool]:
        """The route, its path parameters, and whether the path exists at all (for another method)."""
        known = False
        for route in self._routes:
            match = route.pattern.fullmatch(path)
            if match is None:
                continue
            if route.method == method:
                return route, match.groupdict(), True
            known = True
        return None, {}, known


class Dialect(Protocol):
    """How one system answers: its routes, its intents, its error bodies."""

    system: str

    def intent(self, call: Call, route: Route | None) -> Intent:
        """What the request asks for."""

    def authorise(self, call: Call) -> None:
        """Let the caller in, or raise :class:`Refusal`."""

    def route(self, call: Call) -> Route | None:
        """The route, with ``call.params`` filled in; None where there is none."""

    def no_route(self, call: Call) -> Response:
        """The answer where there is no route."""

    def trouble(self, fault: Fault, headers: Mapping[str, str], call: Call) -> Response:
        """The answer for a fault that is an answer."""

    def finish(self, response: Response, call: Call) -> None:
        """Add the headers that every answer of this system carries."""


class Service:
    """An ASGI application in front of a dialect."""

    def __init__(
        self,
        dialect: Dialect,
        *,
        log: RequestLog,
        faults: FaultBook,
        now: Callable[[], float],
        settle: Callable[[], None],
    ) -> None:
        self._dialect = dialect
        self._log = log
        self._faults = faults
        self._now = now
        self._settle = settle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        request = Request(scope, receive)
        call = Call(
            method=request.method,
            path=scope["path"],
            query=request.query_params,
            headers=request.headers,
            body=await request.body(),
            base_url=f"{request.url.scheme}://{request.url.netloc}",
        )
        response = await self.answer(call)
        if response is None:
            hang_up(scope)
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        await response(scope, receive, send)

    async def answer(self, call: Call) -> Response | None:
        """Everything but the connection; None where the connection is to be closed without an answer."""
        self._settle()
        route = self._dialect.route(call)
        intent = self._dialect.intent(call, route)
        fault = self._faults.take(
            system=self._dialect.system,
            method=call.method,
            path=call.path,
            operation=intent.operation,
            mutating=intent.mutating,
            in_batch=call.in_batch,
        )
        if fault is not None and fault.kind is FaultKind.DROP_BEFORE_COMMIT:
            self._record(call, intent, 0, fault)
            return None
        response = await self._respond(call, route, fault)
        response.headers["Date"] = formatdate(self._now(), usegmt=True)
        self._dialect.finish(response, call)
        self._record(call, intent, response.status_code, fault)
        dropped = fault is not None and fault.kind is FaultKind.DROP_AFTER_COMMIT
        return None if dropped else response

    async def _respond(self, call: Call, route: Route | None, fault: Fault | None) -> Response:
        if fault is not None and fault.kind in _ANSWERS:
            return self._dialect.trouble(fault, self._retry_after(fault), call)
        if fault is not None and fault.kind is FaultKind.SLOW:
            await asyncio.sleep(fault.seconds)
        if fault is not None and fault.kind is FaultKind.STALE_READS:
            call.stale = fault
        try:
            self._dialect.authorise(call)
            if route is None:
                return self._dialect.no_route(call)
            handled = route.handler(call)
            return handled if isinstance(handled, Response) else await handled
        except Refusal as refusal:
            return refusal.response

    def _retry_after(self, fault: Fault) -> dict[str, str]:
        seconds = fault.retry_after
        if seconds is None and fault.kind in (FaultKind.THROTTLE, FaultKind.BATCH_THROTTLE):
            seconds = 1.0
        if seconds is None:
            return {}
        if fault.http_date:
            return {"Retry-After": formatdate(self._now() + seconds, usegmt=True)}
        return {"Retry-After": f"{seconds:g}"}

    def _record(self, call: Call, intent: Intent, status: int, fault: Fault | None) -> None:
        self._log.write(
            RequestRecord(
                time=stamp(self._now()),
                system=self._dialect.system,
                method=call.method,
                path=call.sent_path,
                status=status,
                mutating=intent.mutating,
                objects=intent.people or intent.related,
                related=intent.related,
                operation=intent.operation,
                summary=intent.summary,
                request_id=call.request_id,
                fault=None if fault is None else fault.kind.value,
                batch=call.in_batch,
            )
        )


_ANSWERS: Final = frozenset(
    {
        FaultKind.THROTTLE,
        FaultKind.BATCH_THROTTLE,
        FaultKind.UNAVAILABLE,
        FaultKind.NOT_FOUND_ONCE,
        FaultKind.TRANSIENT_400,
        FaultKind.ERROR_IN_200,
        FaultKind.CLAIMS_CHALLENGE,
    }
)
