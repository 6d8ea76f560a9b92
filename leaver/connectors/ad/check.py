"""A read-only look at the directory, for ``config check``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from leaver.connectors.ad import values
from leaver.connectors.ad.protocol import ConnectionCheck
from leaver.connectors.ad.results import NO_SUCH_OBJECT
from leaver.connectors.ad.session import Session
from leaver.connectors.errors import Rejected

MAX_SKEW_SECONDS: Final = 300
"""Kerberos' own tolerance; beyond it, times from the directory prove nothing about times of ours."""

_CHILDREN: Final = "allowedChildClassesEffective"


def check(session: Session, base_dn: str, leavers_ou: str | None, now: datetime) -> ConnectionCheck:
    """What an operator should know before the first leaver.

    ``allowedChildClassesEffective`` (MS-ADA1) tells whether users may be created in the leavers' OU, that is:
    moved there. Rights on people and groups depend on where each of them lies, and Reset Password cannot be
    read at all; those show at the first write, as ``access_denied`` with the right that is missing.
    """
    root = session.read("rootDSE", "", ["dnsHostName", "currentTime"])
    if root is None:
        raise Rejected("the directory shows no root DSE", code=NO_SUCH_OBJECT)
    skew = (values.generalized_time(root.required("currentTime")) - now).total_seconds()
    problems = [*_base_problems(session, base_dn), *_ou_problems(session, leavers_ou)]
    if abs(skew) > MAX_SKEW_SECONDS:
        problems.append(f"the domain controller's clock is {skew:+.0f} s off ours; set both by NTP")
    host = (root.first("dnsHostName") or b"").decode(errors="replace")
    return ConnectionCheck(host, skew, tuple(problems))


def _base_problems(session: Session, base_dn: str) -> Iterator[str]:
    if _children_allowed(session, "base DN", base_dn) is None:
        yield "base_dn: there is no such object in the directory, or the service account may not read it"


def _ou_problems(session: Session, leavers_ou: str | None) -> Iterator[str]:
    if leavers_ou is None:
        return
    children = _children_allowed(session, "leavers' OU", leavers_ou)
    if children is None:
        yield "ad.leavers_ou: there is no such OU, or the service account may not read it"
    elif b"user" not in children:
        yield "ad.leavers_ou: the service account may not move users there; grant it: create user objects"


def _children_allowed(session: Session, path: str, dn: str) -> tuple[bytes, ...] | None:
    """Classes we may create below an object; None where there is no such object."""
    try:
        entry = session.read(path, dn, ("objectGUID", _CHILDREN))
    except Rejected as err:
        if err.code in (NO_SUCH_OBJECT, "invalidDNSyntax"):
            return None
        raise
    return entry.values(_CHILDREN) if entry else None
