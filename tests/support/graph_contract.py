"""Holds traffic against Microsoft Graph's own contract, requests and responses, strictly.

The contract file is the vendor's metadata turned into OpenAPI. Requests are closed in it already; here the
responses are closed too, so that neither a misspelt property of ours nor an invented one of a simulator
passes.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

import httpx
from openapi_core import OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest, MockResponse

CONTRACT: Final = "msgraph-v1.0-offboarding.openapi.json"
_JSON: Final = "application/json"


def contracts_folder() -> Path:
    """Where the vendors' contracts are: ``LEAVER_CONTRACTS``, else beside the project."""
    default = Path(__file__).resolve().parents[3] / "shared" / "contracts"
    return Path(os.environ.get("LEAVER_CONTRACTS", default))


class ContractViolation(AssertionError):  # noqa: N818 - an assertion about traffic
    """A request or an answer that the vendor's contract does not allow."""


class GraphContract:
    """The contract, loaded once (some three seconds); ``checked`` counts the exchanges that passed."""

    def __init__(self, path: Path) -> None:
        document: dict[str, Any] = json.loads(path.read_text("utf-8"))
        for schema in document["components"]["schemas"].values():
            _close(schema)
        self._api = OpenAPI.from_dict(document)
        self.checked = 0

    async def hook(self, response: httpx.Response) -> None:
        """A response hook for ``httpx.AsyncClient``; looks at Graph's traffic only."""
        if response.request.url.path.startswith("/v1.0/"):
            await response.aread()
            self.check(response)

    def check(self, response: httpx.Response) -> None:
        """Check one exchange, and the members where it is a batch.

        Raises:
            ContractViolation: the request or the response breaks the contract.
        """
        request = response.request
        self._validate(request, response)
        self.checked += 1
        if request.url.path.endswith("/$batch") and response.is_success:
            answers = {answer["id"]: answer for answer in response.json()["responses"]}
            for member in json.loads(request.content)["requests"]:
                self._validate(*_member_exchange(request, member, answers[member["id"]]))

    def _validate(self, request: httpx.Request, response: httpx.Response) -> None:
        asked = MockRequest(
            f"{request.url.scheme}://{request.url.netloc.decode()}",
            request.method.lower(),
            request.url.path,
            args=dict(request.url.params),
            headers=dict(request.headers),
            data=request.content or None,
            content_type=request.headers.get("content-type", _JSON),
        )
        answered = MockResponse(
            response.content,
            status_code=response.status_code,
            headers=dict(response.headers),
            content_type=response.headers.get("content-type", _JSON),
        )
        where = f"{request.method} {request.url.path} -> {response.status_code}"
        try:
            self._api.validate_request(asked)
            self._api.validate_response(asked, answered)
        except OpenAPIError as error:
            # The library's own text repeats the whole body, which helps nobody.
            raise ContractViolation(f"{where}: {_explain(error)}") from None


def _close(schema: dict[str, Any]) -> None:
    if "x-ms-declared-only" not in schema:
        return
    # Annotations (@odata.type) and extensions may always come along.
    schema["patternProperties"] = {"@|^ext": {}}
    schema["unevaluatedProperties" if "allOf" in schema else "additionalProperties"] = False


def _explain(error: BaseException) -> str:
    lines = [f"{type(error).__name__}: {str(error)[:200]}"]
    cause: BaseException | None = error
    while cause is not None:
        lines.extend(
            f"at {'/'.join(str(part) for part in problem.absolute_path)}: {problem.message[:300]}"
            for problem in getattr(cause, "schema_errors", None) or ()
        )
        cause = cause.__cause__
    return "; ".join(lines)


def _member_exchange(
    envelope: httpx.Request, member: dict[str, Any], answer: dict[str, Any]
) -> tuple[httpx.Request, httpx.Response]:
    base = str(envelope.url).removesuffix("/$batch")
    request = httpx.Request(
        member["method"],
        f"{base}/{member['url'].lstrip('/')}",
        headers={**member.get("headers", {}), "Authorization": envelope.headers["authorization"]},
        content=json.dumps(member["body"]).encode() if member.get("body") is not None else None,
    )
    content = b"" if answer.get("body") is None else json.dumps(answer["body"]).encode()
    headers = {**answer.get("headers", {}), "Content-Length": str(len(content))}
    return request, httpx.Response(answer["status"], headers=headers, content=content, request=request)
