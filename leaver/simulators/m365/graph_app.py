"""Microsoft Graph v1.0 as a dialect: who may call, what each route touches, how faults look, ``$batch``."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, QueryParams
from starlette.responses import JSONResponse, Response

from leaver.simulators.faults import Fault, FaultKind
from leaver.simulators.m365.graph_files import FileRoutes
from leaver.simulators.m365.graph_groups import GroupRoutes
from leaver.simulators.m365.graph_licences import LicenceRoutes
from leaver.simulators.m365.graph_methods import MethodRoutes
from leaver.simulators.m365.graph_users import UserRoutes
from leaver.simulators.m365.graph_wire import Json, body_of, denied, graph_error, is_guid, refuse
from leaver.simulators.m365.permissions import GRAPH_NEEDS
from leaver.simulators.m365.tenant import Tenant
from leaver.simulators.m365.tokens import Audience, bearer, read
from leaver.simulators.request_log import Intent, redacted
from leaver.simulators.routing import Call, Refusal, Route, Routes

_PREFIX: Final = "/v1.0"
_MOST_IN_BATCH: Final = 20
_READING_POSTS: Final = frozenset({"/$batch"})
Answer = Callable[[Call], Awaitable[Response | None]]


class GraphDialect:
    """See :class:`leaver.simulators.routing.Dialect`."""

    system = "entra"

    def __init__(self, tenant: Tenant, *, sharepoint_origin: Callable[[], str]) -> None:
        self._tenant = tenant
        self._routes = Routes()
        self._batch = _Batch()
        self._routes.add("POST", "/$batch", self._batch.handle)
        UserRoutes(tenant).add_to(self._routes)
        MethodRoutes(tenant).add_to(self._routes)
        GroupRoutes(tenant).add_to(self._routes)
        LicenceRoutes(tenant).add_to(self._routes)
        FileRoutes(tenant, sharepoint_origin).add_to(self._routes)

    def serve_batches(self, answer: Answer) -> None:
        """Members of a batch pass through ``answer`` like requests of their own."""
        self._batch.answer = answer

    def route(self, call: Call) -> Route | None:
        """The route; the version prefix is taken off the path."""
        if not call.path.startswith(_PREFIX + "/"):
            return None
        call.path = call.path.removeprefix(_PREFIX)
        route, call.params, _ = self._routes.find(call.method, call.path)
        return route

    def intent(self, call: Call, route: Route | None) -> Intent:
        """What the request asks for, with ids in place of names."""
        template = call.path if route is None else route.template
        mutating = call.method not in ("GET", "HEAD", "OPTIONS") and template not in _READING_POSTS
        intent = Intent(operation=template, mutating=mutating)
        for name, value in call.params.items():
            self._touch(intent, name, value)
        if mutating and (body := call.json_object()):
            intent.summary = redacted(body)
            recipients = body.get("recipients")
            for recipient in recipients if isinstance(recipients, list) else []:
                if isinstance(recipient, dict):
                    key = recipient.get("objectId") or recipient.get("email") or recipient.get("alias")
                    self._touch(intent, "user", str(key))
            if isinstance(reference := body.get("@odata.id"), str):
                self._touch(intent, "member", reference.rpartition("/")[2])
        return intent

    def authorise(self, call: Call) -> None:
        """Check the bearer token and the application's permission for the route."""
        if call.in_batch:
            self._permitted(call)
            return
        token = bearer(call.headers.get("authorization"))
        if not token:
            raise _unauthorised(call, "Access token is empty.")
        claims = read(token, self._tenant.app.token_key, self._tenant.now)
        if claims is None:
            raise _unauthorised(call, "IDX14100: JWT is not well formed, there are no dots (.).")
        if claims.audience is not Audience.GRAPH:
            raise _unauthorised(call, "Access token validation failure. Invalid audience.")
        self._permitted(call)

    def no_route(self, call: Call) -> Response:
        """Unknown path, or a method the path does not have."""
        if self._routes.find(call.method, call.path)[2]:
            text = "Specified HTTP method is not allowed for the request target."
            return graph_error(405, "Request_BadRequest", text, call)
        segment = call.path.rstrip("/").rpartition("/")[2]
        return graph_error(400, "BadRequest", f"Resource not found for the segment '{segment}'.", call)

    def trouble(self, fault: Fault, headers: Mapping[str, str], call: Call) -> Response:
        """A fault that is an answer, as Graph words it."""
        match fault.kind:
            case FaultKind.THROTTLE | FaultKind.BATCH_THROTTLE:
                text = "Application is over its MailboxConcurrency limit."
                if "/users" in call.path:
                    text = "Too many requests. Please retry after the time in the Retry-After header."
                return graph_error(429, "TooManyRequests", text, call, headers)
            case FaultKind.NOT_FOUND_ONCE:
                name = next(iter(call.params.values()), "")
                text = "does not exist or one of its queried reference-property objects are not present."
                return graph_error(404, "Request_ResourceNotFound", f"Resource '{name}' {text}", call)
            case FaultKind.CLAIMS_CHALLENGE:
                return _challenge(call)
            case FaultKind.TRANSIENT_400 | FaultKind.ERROR_IN_200:
                return graph_error(500, "InternalServerError", "An error has occurred.", call)
            case _:
                text = "The service is temporarily unavailable. Please try again later."
                return graph_error(503, "serviceNotAvailable", text, call, headers)

    def finish(self, response: Response, call: Call) -> None:
        """Add Graph's request id and its usual headers."""
        response.headers["request-id"] = call.request_id
        response.headers["client-request-id"] = call.headers.get("client-request-id", call.request_id)
        response.headers["x-ms-ags-diagnostic"] = json.dumps(
            {
                "ServerInfo": {
                    "DataCenter": "Germany West Central",
                    "Slice": "E",
                    "Ring": "4",
                    "ScaleUnit": "000",
                }
            }
        )
        response.headers["Cache-Control"] = "no-cache"
        if response.headers.get("content-type") == "application/json":
            response.headers["content-type"] = (
                "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;"
                "charset=utf-8"
            )

    def _touch(self, intent: Intent, name: str, value: str) -> None:
        if name in ("user", "member"):
            user = self._tenant.find_user(value) or self._tenant.find_user(value, deleted=True)
            intent.people.append(user.id if user else value if is_guid(value) else "unknown")
        elif name == "drive":
            drive = self._tenant.drives.get(value)
            intent.related.append(value)
            intent.people.extend([] if drive is None else [drive.owner])
        else:
            intent.related.append(value)

    def _permitted(self, call: Call) -> None:
        route, _, _ = self._routes.find(call.method, call.path)
        needs = GRAPH_NEEDS.get((call.method, route.template)) if route else None
        if needs and not needs & set(self._tenant.app.permissions):
            raise denied(call)


class _Batch:
    """``POST /$batch``: at most 20 members, each with its own status (traps T69)."""

    def __init__(self) -> None:
        self.answer: Answer | None = None

    async def handle(self, call: Call) -> Response:
        """Run the members, side by side unless they depend on each other."""
        members = _members(call)
        done: dict[str, Json] = {}
        waiting = list(members)
        while waiting:
            ready = [m for m in waiting if set(m.get("dependsOn") or ()) <= done.keys()]
            if not ready:
                raise refuse(call, 400, "BadRequest", "Invalid batch payload: dependsOn has a cycle.")
            answers = await asyncio.gather(*(self._member(call, m, done) for m in ready))
            done.update({str(answer["id"]): answer for answer in answers})
            waiting = [m for m in waiting if m not in ready]
        # In any order, as the documentation warns: last first shows who relies on the order.
        return JSONResponse({"responses": list(reversed(done.values()))})

    async def _member(self, call: Call, member: Json, done: Mapping[str, Json]) -> Json:
        if any(done[other]["status"] >= 400 for other in member.get("dependsOn") or ()):  # noqa: PLR2004
            failed = graph_error(424, "FailedDependency", "The request depends on one that failed.", call)
            return _member_answer(member, failed)
        if self.answer is None:
            raise RuntimeError("no service is connected to the batch")
        response = await self.answer(_member_call(call, member))
        if response is None:
            raise RuntimeError("a batch member cannot close the connection")
        return _member_answer(member, response)


def _members(call: Call) -> list[Json]:
    requests = body_of(call).get("requests")
    if not isinstance(requests, list) or not all(isinstance(item, dict) for item in requests):
        raise refuse(call, 400, "BadRequest", "Invalid batch payload format.")
    if len(requests) > _MOST_IN_BATCH:
        text = f"Number of batch request steps exceeds the maximum value of {_MOST_IN_BATCH}."
        raise refuse(call, 400, "BadRequest", text)
    ids = [item.get("id") for item in requests]
    if len(set(ids)) != len(ids) or not all(isinstance(key, str) and key for key in ids):
        raise refuse(call, 400, "BadRequest", "Request id is missing or has been used more than once.")
    for item in requests:
        _check_member(call, item, set(ids))
    return requests


def _check_member(call: Call, item: Json, ids: set[object]) -> None:
    if not set(item.get("dependsOn") or ()) <= ids:
        raise refuse(call, 400, "BadRequest", "dependsOn refers to a request that is not in the batch.")
    headers = {str(name).casefold() for name in item.get("headers") or {}}
    if item.get("body") is not None and "content-type" not in headers:
        text = "Write request must contain the Content-Type header declaration."
        raise refuse(call, 400, "BadRequest", text)


def _member_call(call: Call, member: Json) -> Call:
    url = urlsplit(str(member.get("url", "")))
    headers = {str(k).lower(): str(v) for k, v in (member.get("headers") or {}).items()}
    body = member.get("body")
    return Call(
        method=str(member.get("method", "GET")).upper(),
        path=_PREFIX + "/" + url.path.lstrip("/"),
        query=QueryParams(url.query),
        headers=Headers(headers),
        body=b"" if body is None else json.dumps(body).encode(),
        base_url=call.base_url,
        in_batch=True,
    )


def _member_answer(member: Json, response: Response) -> Json:
    answer: dict[str, Any] = {
        "id": member["id"],
        "status": response.status_code,
        "headers": {
            name: value
            for name, value in response.headers.items()
            if name in ("content-type", "retry-after", "location", "request-id")
        },
    }
    # Header names come back in their usual spelling.
    answer["headers"] = {name.title(): value for name, value in answer["headers"].items()}
    answer["body"] = json.loads(bytes(response.body)) if response.body else None
    return answer


def _unauthorised(call: Call, message: str) -> Refusal:
    response = graph_error(401, "InvalidAuthenticationToken", message, call)
    response.headers["WWW-Authenticate"] = (
        'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", '
        'client_id="00000003-0000-0000-c000-000000000000"'
    )
    return Refusal(response)


def _challenge(call: Call) -> Response:
    claims = base64.b64encode(
        json.dumps({"access_token": {"nbf": {"essential": True, "value": "1604106651"}}}).encode()
    ).decode()
    response = graph_error(
        401,
        "InvalidAuthenticationToken",
        "Continuous access evaluation resulted in challenge with result: InteractionRequired and code: "
        "TokenIssuedBeforeRevocationTimestamp",
        call,
    )
    response.headers["WWW-Authenticate"] = (
        'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", '
        f'client_id="00000003-0000-0000-c000-000000000000", error="insufficient_claims", claims="{claims}"'
    )
    return response
