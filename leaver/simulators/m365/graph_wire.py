"""How Microsoft Graph puts things on the wire: errors, ``$select``, pages, filters.

Texts and codes are the vendor's: learn.microsoft.com/graph/errors, .../graph/query-parameters,
.../graph/aad-advanced-queries.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.responses import JSONResponse, Response

from leaver.simulators.routing import Call, Refusal

CONTEXT: Final = "https://graph.microsoft.com/v1.0/$metadata#"
"""Graph's own address even in national clouds' simulators: clients must not follow it."""
Json = dict[str, Any]


def graph_error(
    status: int, code: str, message: str, call: Call, headers: Mapping[str, str] | None = None
) -> Response:
    """An OData error as Graph writes it."""
    inner = {
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        "request-id": call.request_id,
        "client-request-id": call.headers.get("client-request-id", call.request_id),
    }
    body = {"error": {"code": code, "message": message, "innerError": inner}}
    return JSONResponse(body, status, dict(headers or {}))


def refuse(call: Call, status: int, code: str, message: str) -> Refusal:
    """An error to raise from inside a handler."""
    return Refusal(graph_error(status, code, message, call))


def not_found(call: Call, name: str) -> Refusal:
    """The directory's 404."""
    text = (
        f"Resource '{name}' does not exist or one of its queried reference-property objects are not present."
    )
    return refuse(call, 404, "Request_ResourceNotFound", text)


def denied(call: Call) -> Refusal:
    """403: one text for a missing permission, a too low role and a dynamic group alike."""
    text = "Insufficient privileges to complete the operation."
    return refuse(call, 403, "Authorization_RequestDenied", text)


def bad_request(call: Call, message: str) -> Refusal:
    """The directory's 400."""
    return refuse(call, 400, "Request_BadRequest", message)


def moment(epoch: float | None) -> str | None:
    """A time as the directory writes it: whole seconds, cut off."""
    if epoch is None:
        return None
    return datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def body_of(call: Call) -> Json:
    """The request's JSON object.

    Raises:
        Refusal: 400, the body is not one.
    """
    body = call.json_object()
    if body is None:
        text = "Please ensure Content-Type header is set and payload is of valid JSON format."
        raise refuse(call, 400, "BadRequest", f"Unable to read JSON request payload. {text}")
    return body


def select(full: Json, call: Call, default: Sequence[str], type_name: str) -> Json:
    """The properties asked for; without ``$select`` only those the vendor gives by default.

    Raises:
        Refusal: 400, a property that the type does not have.
    """
    wanted = call.query.get("$select")
    names = list(default) if not wanted else [name.strip() for name in wanted.split(",") if name.strip()]
    known = {name.casefold(): name for name in full}
    picked: Json = {name: value for name, value in full.items() if name.startswith("@")}
    for name in names:
        actual = known.get(name.casefold())
        if actual is None:
            text = f"Parsing OData Select and Expand failed: Could not find a property named '{name}' on type"
            raise refuse(call, 400, "BadRequest", f"{text} 'microsoft.graph.{type_name}'.")
        picked[actual] = full[actual]
    return picked


def entity(body: Json, context: str) -> Response:
    """200 with one object."""
    return JSONResponse({"@odata.context": CONTEXT + context, **body})


def page(call: Call, items: Sequence[Json], context: str, *, size: int, maximum: int = 999) -> Response:
    """200 with one page; ``@odata.nextLink`` where there is more, on the host the client came to.

    Raises:
        Refusal: 400, ``$top`` or the skip token is no good.
    """
    top = _number(call, "$top", size)
    if not 1 <= top <= maximum:
        text = f"Invalid page size specified: '{top}'. Must be between 1 and {maximum} inclusive."
        raise refuse(call, 400, "Request_UnsupportedQuery", text)
    start = _number(call, "$skiptoken", 0)
    body: Json = {"@odata.context": CONTEXT + context}
    if call.query.get("$count") == "true":
        body["@odata.count"] = len(items)
    if start + top < len(items):
        query = {**dict(call.query), "$skiptoken": str(start + top)}
        encoded = urlencode(query, safe="$,", quote_via=quote)
        body["@odata.nextLink"] = f"{call.base_url}/v1.0{quote(call.path)}?{encoded}"
    body["value"] = list(items[start : start + top])
    return JSONResponse(body)


def no_content() -> Response:
    """204."""
    return Response(status_code=204)


def is_guid(text: str) -> bool:
    """Whether the text is a GUID."""
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _number(call: Call, name: str, default: int) -> int:
    text = call.query.get(name)
    if text is None:
        return default
    if not text.isdigit():
        raise refuse(call, 400, "BadRequest", f"Invalid value '{text}' for {name} query option found.")
    return int(text)


# -- $filter ------------------------------------------------------------------------------------------------

Values = Callable[[Json], Iterable[str | None]]
_EQUALS: Final = re.compile(r"(?P<property>\w+)\s+eq\s+(?P<value>'(?:[^']|'')*'|true|false|null)")
_ANY: Final = re.compile(
    r"(?P<property>\w+)/any\((?P<v>\w+):(?P=v)\s+eq\s+(?P<value>'(?:[^']|'')*')\)"
)  # fmt: skip
_FILTERABLE: Final = frozenset(
    {
        "accountenabled", "displayname", "employeeid", "id", "mail", "onpremisesimmutableid",
        "onpremisessyncenabled", "userprincipalname",
    }
)  # fmt: skip


def matching(call: Call, items: Sequence[Json]) -> list[Json]:
    """The items that ``$filter`` lets through: ``eq`` and ``any(x:x eq ..)``, joined by ``and`` or ``or``.

    Raises:
        Refusal: 400, the clause is malformed or the property cannot be filtered.
    """
    clause = call.query.get("$filter")
    if clause is None:
        return list(items)
    tests = [
        [_test(call, part) for part in _split(alternative, "and")] for alternative in _split(clause, "or")
    ]
    return [item for item in items if any(all(test(item) for test in group) for group in tests)]


def _split(clause: str, word: str) -> list[str]:
    # Quoted text may hold the word; so split only where an even number of quotes lies before it.
    parts: list[str] = [""]
    for token in re.split(rf"(\s+{word}\s+)", clause):
        if re.fullmatch(rf"\s+{word}\s+", token) and parts[-1].count("'") % 2 == 0:
            parts.append("")
        else:
            parts[-1] += token
    return parts


def _test(call: Call, text: str) -> Callable[[Json], bool]:
    text = text.strip().removeprefix("(").removesuffix(")") if text.strip().startswith("(") else text.strip()
    if match := _ANY.fullmatch(text):
        if match["property"].casefold() != "proxyaddresses":
            raise _unsupported(call, match["property"])
        address = _literal(match["value"])
        return lambda item: any(str(address).casefold() == a.casefold() for a in item["proxyAddresses"])
    if match := _EQUALS.fullmatch(text):
        if match["property"].casefold() not in _FILTERABLE:
            raise _unsupported(call, match["property"])
        name, value = match["property"], _literal(match["value"])
        return lambda item: _same(_property(item, name), value)
    raise refuse(call, 400, "BadRequest", f"Invalid filter clause: Syntax error in '{text}'.")


def _unsupported(call: Call, name: str) -> Refusal:
    text = f"Unsupported or invalid query filter clause specified for property '{name}' of resource 'User'."
    return refuse(call, 400, "Request_UnsupportedQuery", text)


def _literal(text: str) -> str | bool | None:
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    return None if text == "null" else text == "true"


def _property(item: Json, name: str) -> object:
    return next((value for key, value in item.items() if key.casefold() == name.casefold()), None)


def _same(actual: object, wanted: str | bool | None) -> bool:
    if isinstance(actual, str) and isinstance(wanted, str):
        return actual.casefold() == wanted.casefold()
    return actual is wanted
