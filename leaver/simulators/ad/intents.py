"""What an LDAP request is about, for the request log: whose object, which attributes; never a secret."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from leaver.simulators.ad.messages import (
    Add,
    Bind,
    Delete,
    Extended,
    Modification,
    Modify,
    ModifyDn,
    Other,
    Request,
    Scope,
    Search,
    Unbind,
)
from leaver.simulators.request_log import Intent

_METHODS: Final[dict[type[Request], str]] = {
    Bind: "bind",
    Unbind: "unbind",
    Search: "search",
    Modify: "modify",
    Add: "add",
    Delete: "delete",
    ModifyDn: "modifyDN",
    Extended: "extended",
    Other: "other",
}


def method_of(request: Request) -> str:
    """The operation's name in the log."""
    return _METHODS[type(request)]


def intent_of(
    request: Request, guid_of: Callable[[str], str | None], is_person: Callable[[str], bool]
) -> tuple[str, Intent]:
    """The DN a request names, and what it wants.

    A change of a group's ``member`` touches the people whose membership it changes; the group is related.
    """
    path = _target(request)
    intent = Intent(method_of(request), mutating=isinstance(request, Modify | Add | Delete | ModifyDn))
    guid = guid_of(path) if _names_object(request) else None
    if guid is not None:
        (intent.people if is_person(guid) else intent.related).append(guid)
    if isinstance(request, Modify):
        names = ", ".join(change.attribute for change in request.changes)
        intent.operation = f"modify {names}"
        intent.summary = {change.attribute: _written(change) for change in request.changes}
        intent.people += [
            guid
            for change in request.changes
            if change.attribute.lower() == "member"
            for value in change.values
            if (guid := guid_of(value.decode("utf-8", errors="replace"))) is not None and is_person(guid)
        ]
    elif isinstance(request, ModifyDn):
        intent.summary = {"newrdn": request.new_rdn, "newSuperior": request.new_superior}
    elif isinstance(request, Add):
        intent.summary = dict.fromkeys(request.attributes, True)
    return path, intent


def _target(request: Request) -> str:
    match request:
        case Search(base=dn) | Bind(dn=dn) | Modify(dn=dn) | Add(dn=dn) | Delete(dn=dn) | ModifyDn(dn=dn):
            return dn
        case Extended(name=name):
            return name
        case _:
            return ""


def _names_object(request: Request) -> bool:
    if isinstance(request, Search):
        return request.scope is Scope.BASE
    return isinstance(request, Modify | Delete | ModifyDn)


def _written(change: Modification) -> object:
    kind = change.change.name.lower()
    if (
        change.attribute.lower() == "useraccountcontrol"
        and len(change.values) == 1
        and change.values[0].isdigit()
    ):
        return int(change.values[0])
    return [kind] * len(change.values) if change.values else kind
