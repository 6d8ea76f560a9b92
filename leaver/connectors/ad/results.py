"""LDAP result codes as our errors. The one place that looks into a domain controller's error text."""

from __future__ import annotations

import re
from typing import Final

from leaver.connectors.errors import (
    AccessDenied,
    ConnectorError,
    InvalidCredentials,
    ProtocolError,
    Rejected,
    Throttled,
    Unavailable,
)

SUCCESS: Final = 0
OPERATIONS_ERROR: Final = 1
INVALID_CREDENTIALS: Final = 49
INSUFFICIENT_ACCESS: Final = 50
BUSY: Final = 51

NO_SUCH_OBJECT: Final = "noSuchObject"
NO_SUCH_ATTRIBUTE: Final = "noSuchAttribute"
UNWILLING: Final = "unwillingToPerform"

_LATER: Final = {3: "time limit", 11: "administrative limit", 52: "unavailable"}
_BIND_DATA: Final = re.compile(r"\bdata ([0-9a-fA-F]+)\b")
_WIN32: Final = re.compile(r"^([0-9A-F]{8}):")
_WHY_NOT_BOUND: Final = {
    "525": "there is no such account",
    "52e": "wrong password, or no such account",
    "530": "not allowed to log on at this time",
    "531": "not allowed to log on from this machine",
    "532": "its password has expired",
    "533": "the account is disabled",
    "701": "the account has expired",
    "773": "its password must be changed first",
    "775": "the account is locked out",
}
"""The ``data`` of AcceptSecurityContext errors: Windows logon errors in hexadecimal (MS-ERREF 2.2)."""

NEEDS: Final = (
    "on the OUs of staff and leavers, for user objects: write userAccountControl, Reset Password, move"
    " (create and delete user objects, write cn and name); for group objects: write member"
)


def bind_error(code: int, message: str) -> ConnectorError | None:
    """Why the directory did not let us in; None where it did."""
    if code == SUCCESS:
        return None
    if code != INVALID_CREDENTIALS:
        return result_error("bind", code, "", message)
    data = _BIND_DATA.search(message)
    why = _WHY_NOT_BOUND.get(data[1].lower(), f"data {data[1]}") if data else "no reason given"
    return InvalidCredentials(f"the directory refused the service account: {why}")


def result_error(method: str, code: int, name: str, message: str) -> ConnectorError:
    """The error of a request that was answered with another result than success.

    The server's text names objects, so of it only the leading Windows error code is kept.
    """
    win32 = _WIN32.match(message)
    label = f"LDAP {method}: {name or 'result'} ({code}{f', {win32[1]}' if win32 else ''})"
    if code == BUSY:
        return Throttled(label)
    if code in _LATER:
        return Unavailable(label)
    if code == INSUFFICIENT_ACCESS:
        return AccessDenied(f"{label}; the service account needs, {NEEDS}", needs=NEEDS)
    if code == OPERATIONS_ERROR:
        return ProtocolError(label)
    return Rejected(label, code=name or str(code), status=code)
