"""Cmdlets on the wire: which are reads, whose objects the others change, what their errors mean."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

import httpx
from pydantic import JsonValue, TypeAdapter, ValidationError

from leaver.connectors.errors import AccessDenied, ConnectorError, InvalidCredentials, Rejected, Unavailable
from leaver.connectors.http import Call, retry_after

NEEDS: Final = (
    "the application permission Exchange.ManageAsApp and the Entra role Exchange Recipient Administrator"
    " for this app"
)
NOT_FOUND: Final = frozenset({"ManagementObjectNotFoundException"})
MEMBER_GONE: Final = frozenset({"MemberNotFoundException"})

_READ: Final = re.compile(r"^(Get|Test)-")
_PEOPLE: Final[Mapping[str, tuple[str, ...]]] = {
    "Set-Mailbox": ("Identity",),
    "Set-MailboxAutoReplyConfiguration": ("Identity",),
    "Add-MailboxPermission": ("Identity", "User"),
    "Remove-DistributionGroupMember": ("Member",),
}
"""The parameters that hold people. A cmdlet that is not here names no object and is refused."""
_TRANSIENT: Final = (
    "CmdletProxyNotAvailableFailure",
    "ServerBusyException",
    "TransientException",
    "BackendCommunicationException",
)
_OBJECT: Final[TypeAdapter[dict[str, JsonValue]]] = TypeAdapter(dict[str, JsonValue])


def describe_exchange(request: httpx.Request) -> Call:
    """Tell a cmdlet's request apart by its body, for the write guard."""
    body = json.loads(request.content or b"{}")
    cmdlet = body.get("CmdletInput", {}).get("CmdletName", "")
    parameters = body.get("CmdletInput", {}).get("Parameters", {})
    if _READ.match(cmdlet):
        return Call(f"Exchange {cmdlet}", mutating=False)
    people = [parameters.get(name) for name in _PEOPLE.get(cmdlet, ())]
    known = bool(people) and all(isinstance(person, str) for person in people)
    return Call(f"Exchange {cmdlet}", mutating=True, objects=frozenset(people) if known else frozenset())


def cmdlet_error(response: httpx.Response, cmdlet: str) -> ConnectorError:
    """The error of a refused cmdlet. The one place that reads Exchange's error bodies.

    Its JSON carries the exception as JSON once more, inside ``details[].message``; the exception's type
    name tells what happened.
    """
    what = f"Exchange {cmdlet}"
    if response.status_code == httpx.codes.UNAUTHORIZED:
        # An empty 401 is all that Exchange says to a bad token and to an app without a role alike.
        return InvalidCredentials(f"{what}: refused our token; check the app's credential, and grant {NEEDS}")
    if response.status_code == httpx.codes.FORBIDDEN:
        return AccessDenied(f"{what}: refused; grant {NEEDS}", needs=NEEDS)
    text = response.text
    if response.status_code == httpx.codes.BAD_REQUEST and any(word in text for word in _TRANSIENT):
        return Unavailable(f"{what}: Exchange is busy", retry_after=retry_after(response.headers))
    return _rejected(what, _type_name(_parsed(text)), response.status_code)


def error_inside(body: Mapping[str, JsonValue], cmdlet: str) -> ConnectorError | None:
    """The error that sits in the body of a 200, if one does."""
    errors = body.get("@adminapi.errors")
    if not errors:
        return None
    text = json.dumps(errors)
    if any(word in text for word in _TRANSIENT):
        return Unavailable(f"Exchange {cmdlet}: Exchange is busy")
    return _rejected(f"Exchange {cmdlet}", _type_name(errors), httpx.codes.OK)


def _rejected(what: str, type_name: str, status: int) -> Rejected:
    code = type_name.rpartition(".")[2].rpartition("+")[2]
    gone = code in NOT_FOUND | MEMBER_GONE
    return Rejected(
        f"{what}: refused with {code or status}", code=code, status=httpx.codes.NOT_FOUND if gone else status
    )


def _type_name(node: JsonValue) -> str:
    """The first ``TypeName`` inside, also inside JSON that is wrapped in strings."""
    if isinstance(node, str):
        return _type_name(_parsed(node)) if "TypeName" in node else ""
    if isinstance(node, list):
        return next(filter(None, map(_type_name, node)), "")
    if isinstance(node, dict):
        own = node.get("TypeName")
        return own if isinstance(own, str) else _type_name(list(node.values()))
    return ""


def _parsed(text: str) -> JsonValue:
    try:
        return _OBJECT.validate_json(text)
    except ValidationError:
        return None
