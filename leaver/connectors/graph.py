"""Microsoft Graph as HTTP: what each request is, what each error means, a small client without the SDK."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

import httpx
from pydantic import JsonValue, TypeAdapter, ValidationError

from leaver.connectors.errors import AccessDenied, ConnectorError, InvalidCredentials, ProtocolError, Rejected
from leaver.connectors.guard import WriteGuard
from leaver.connectors.http import Call, Describe, Network, client_over, guarded_transport, masked_path
from leaver.connectors.locators import locators_of
from leaver.connectors.microsoft import GraphEndpoint
from leaver.connectors.tokens import BearerAuth, TokenSource

_ID: Final = r"([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_JSON: Final[TypeAdapter[dict[str, JsonValue]]] = TypeAdapter(dict[str, JsonValue])

_WRITES: Final = tuple(
    (method, re.compile(pattern))
    for method, pattern in (
        ("PATCH", rf"/users/{_ID}"),
        ("POST", rf"/users/{_ID}/revokeSignInSessions"),
        ("POST", rf"/users/{_ID}/assignLicense"),
        ("DELETE", rf"/users/{_ID}/authentication/[A-Za-z0-9]+Methods/[^/]+"),
        # With /$ref and nothing else: without it the *user* is deleted, not the membership (trap T51).
        ("DELETE", rf"/groups/[^/]+/members/{_ID}/\$ref"),
    )
)
"""Every write we make, and where its person stands. What is not here names no object and is refused."""
NO_MAILBOX: Final = "MailboxNotEnabledForRESTAPI"
"""Graph's error code for a user without a mailbox."""
_INVITE: Final = re.compile(r"/drives/([^/]+)/root/invite")


def describe_graph(base_url: str) -> Describe:
    """Tell Graph's requests apart, for the write guard; ``base_url`` is the configured address."""
    prefix = httpx.URL(base_url).path.rstrip("/")

    def describe(request: httpx.Request) -> Call:
        operation = f"{request.method} {masked_path(request)}"
        if request.method in _READS:
            return Call(operation, mutating=False)
        path = request.url.path.removeprefix(prefix)
        return Call(operation, mutating=True, objects=_objects(request, path))

    return describe


def _objects(request: httpx.Request, path: str) -> frozenset[str]:
    for method, pattern in _WRITES:
        match = pattern.fullmatch(path)
        if method == request.method and match:
            return frozenset(match.groups())
    match = _INVITE.fullmatch(path)
    if request.method == "POST" and match:
        return _invited(request, match.group(1))
    return frozenset()


def _invited(request: httpx.Request, drive: str) -> frozenset[str]:
    """The drive's owner, and everybody who is invited; empty where one of them cannot be told."""
    owner = locators_of(request).subject(drive)
    recipients = json.loads(request.content).get("recipients") or []
    people = [recipient.get("objectId") for recipient in recipients]
    if owner is None or not people or not all(isinstance(person, str) for person in people):
        return frozenset()
    return frozenset([owner, *people])


def graph_error(status: int, code: str, *, what: str, needs: str) -> ConnectorError:
    """The error of an answer that asking again does not cure.

    Args:
        status: HTTP status, 4xx.
        code: the OData error code, e.g. ``Authorization_RequestDenied``.
        what: the operation in our words, without personal data.
        needs: the grant that a 403 lacks.
    """
    if status == httpx.codes.UNAUTHORIZED:
        return InvalidCredentials(f"{what}: Graph refused our token ({code or 'no code'})")
    if status == httpx.codes.FORBIDDEN:
        return AccessDenied(f"{what}: refused ({code or 'no code'}); grant {needs}", needs=needs)
    return Rejected(f"{what}: refused with {status} {code}".rstrip(), code=code, status=status)


class GraphHttp:
    """Graph calls of connectors that need only a few: no SDK, same guard, same errors."""

    def __init__(
        self, endpoint: GraphEndpoint, tokens: TokenSource, network: Network, guard: WriteGuard
    ) -> None:
        self._url = endpoint.url.rstrip("/")
        auth = BearerAuth(tokens, [httpx.URL(endpoint.url).host], endpoint.scope)
        transport = guarded_transport(network, guard, describe_graph(endpoint.url))
        self._http = client_over(transport, network, auth=auth)

    async def get(
        self, path: str, *, needs: str, params: Mapping[str, str] | None = None
    ) -> dict[str, JsonValue]:
        """Read one resource. ``path`` begins with a slash and holds ids only.

        Raises:
            ConnectorError: see :func:`graph_error` and the transport.
        """
        return self._body(await self._http.get(self._url + path, params=params), needs)

    async def pages(
        self, path: str, *, needs: str, params: Mapping[str, str] | None = None
    ) -> list[dict[str, JsonValue]]:
        """Read a collection, following its links; a link to another host is refused."""
        body = await self.get(path, needs=needs, params=params)
        rows = _rows(body)
        while link := body.get("@odata.nextLink"):
            body = self._body(await self._http.get(str(link)), needs)
            rows.extend(_rows(body))
        return rows

    async def post(
        self, path: str, content: Mapping[str, object], *, needs: str, extensions: dict[str, object]
    ) -> dict[str, JsonValue]:
        """Send a body. ``extensions`` carry the locators for the write guard."""
        answer = await self._http.post(self._url + path, json=content, extensions=extensions)
        return self._body(answer, needs)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _body(self, response: httpx.Response, needs: str) -> dict[str, JsonValue]:
        what = f"{response.request.method} {masked_path(response.request)}"
        if response.is_error:
            raise graph_error(response.status_code, error_code(response.content), what=what, needs=needs)
        try:
            return _JSON.validate_json(response.content)
        except ValidationError:
            raise ProtocolError(f"{what}: the answer is no JSON object") from None


def error_code(content: bytes) -> str:
    """The code inside an OData error body; empty where there is none."""
    try:
        error = _JSON.validate_json(content).get("error")
    except ValidationError:
        return ""
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) else ""


def _rows(body: Mapping[str, JsonValue]) -> list[dict[str, JsonValue]]:
    value = body.get("value")
    if not isinstance(value, list):
        raise ProtocolError("a collection came without its rows")
    return [row for row in value if isinstance(row, dict)]
