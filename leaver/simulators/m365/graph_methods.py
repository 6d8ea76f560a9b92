"""Sign-in methods in Microsoft Graph. Every kind has an endpoint of its own, and the default goes last.

learn.microsoft.com/graph/api/resources/authenticationmethods-overview; traps T24 and T25.
"""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from leaver.simulators.m365.graph_users import view_of, visible_user, writable_user
from leaver.simulators.m365.graph_wire import (
    Json,
    entity,
    moment,
    no_content,
    page,
    refuse,
)
from leaver.simulators.m365.state import AuthMethod, MethodKind
from leaver.simulators.m365.tenant import Tenant
from leaver.simulators.routing import Call, Handler, Refusal, Routes

_NOT_DELETABLE: Final = (MethodKind.PASSWORD, MethodKind.QR_CODE_PIN)
DELETABLE: Final = tuple(kind for kind in MethodKind if kind not in _NOT_DELETABLE)
_TYPE_NAMES: Final = {MethodKind.EXTERNAL: "externalAuthenticationMethod"}


def method_json(method: AuthMethod) -> Json:
    """One method with the properties of its type."""
    name = _TYPE_NAMES.get(method.kind, f"{method.kind.value}AuthenticationMethod")
    body: Json = {
        "@odata.type": f"#microsoft.graph.{name}",
        "id": method.id,
        "createdDateTime": moment(method.created),
    }
    return body | _details(method)


def _details(method: AuthMethod) -> Json:
    if method.kind is MethodKind.PHONE:
        return {"phoneNumber": _NUMBER, "phoneType": method.phone_type, "smsSignInState": "notEnabled"}
    return _DETAILS.get(method.kind, {"displayName": "Laptop"})


_NUMBER: Final = "+49 1512 5550100"
_DETAILS: Final[dict[MethodKind, Json]] = {
    MethodKind.PASSWORD: {"password": None},
    MethodKind.QR_CODE_PIN: {},
    MethodKind.AUTHENTICATOR: {
        "displayName": "Pixel 9",
        "deviceTag": "SoftwareTokenActivated",
        "phoneAppVersion": "6.2511",
    },
    MethodKind.FIDO2: {
        "displayName": "YubiKey",
        "aaGuid": "ee882879-721c-4913-9775-3dfcce97072a",
        "model": "YubiKey 5 Series",
    },
    MethodKind.SOFTWARE_OATH: {"secretKey": None},
    MethodKind.QR_CODE_PIN: {},
    MethodKind.EMAIL: {"emailAddress": "reset@example.org"},
    MethodKind.TEMPORARY_PASS: {"isUsable": True, "isUsableOnce": False, "lifetimeInMinutes": 60},
}


class MethodRoutes:
    """Handlers of ``/users/{user}/authentication``."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant

    def add_to(self, routes: Routes) -> None:
        """Register the routes."""
        base = "/users/{user}/authentication"
        routes.add("GET", f"{base}/methods", self.list_methods)
        routes.add("GET", f"{base}/methods/{{method}}", self.get)
        # There is no generic delete (T25): DELETE on methods/{id} finds no route and gets the vendor's 405.
        routes.add("GET", f"{base}/passwordMethods", self._lister(MethodKind.PASSWORD))
        for kind in DELETABLE:
            routes.add("GET", f"{base}/{kind.value}Methods", self._lister(kind))
            routes.add("DELETE", f"{base}/{kind.value}Methods/{{method}}", self._deleter(kind))

    def list_methods(self, call: Call) -> Response:
        """Every method, the password among them."""
        user = visible_user(self._tenant, call)
        items = [method_json(method) for method in user.methods]
        return page(call, items, f"users('{user.id}')/authentication/methods", size=self._tenant.page_size)

    def get(self, call: Call) -> Response:
        """One method of any kind."""
        user = visible_user(self._tenant, call)
        for method in user.methods:
            if method.id == call.params["method"]:
                return entity(method_json(method), f"users('{user.id}')/authentication/methods/$entity")
        raise _gone(call)

    def _lister(self, kind: MethodKind) -> Handler:
        def handler(call: Call) -> Response:
            user = self._tenant.find_user(call.params["user"], view_of(self._tenant, call))
            rows = [] if user is None else [method_json(m) for m in user.methods if m.kind is kind]
            items = [{key: value for key, value in row.items() if key != "@odata.type"} for row in rows]
            return page(call, items, f"users/authentication/{kind.value}Methods", size=self._tenant.page_size)

        return handler

    def _deleter(self, kind: MethodKind) -> Handler:
        def handler(call: Call) -> Response:
            user = writable_user(self._tenant, call)
            found = next((m for m in user.methods if (m.kind, m.id) == (kind, call.params["method"])), None)
            if found is None:
                raise _gone(call)
            _may_delete(call, found, user.methods)
            with self._tenant.users.change(user.id) as draft:
                draft.methods = [method for method in draft.methods if method.id != found.id]
            return no_content()

        return handler


def _may_delete(call: Call, method: AuthMethod, every: list[AuthMethod]) -> None:
    others = [m for m in every if m.id != method.id and m.kind is not MethodKind.PASSWORD]
    if method.default and others:
        text = (
            "Unable to delete the default authentication method. Change the default authentication method "
            "or delete all other authentication methods first."
        )
        raise refuse(call, 400, "badRequest", text)
    alternate = any(m.kind is MethodKind.PHONE and m.phone_type == "alternateMobile" for m in others)
    if method.kind is MethodKind.PHONE and method.phone_type == "mobile" and alternate:
        text = "Mobile phone number cannot be deleted while an alternate mobile phone number exists."
        raise refuse(call, 400, "badRequest", text)


def _gone(call: Call) -> Refusal:
    text = "The requested authentication method was not found for the user."
    return refuse(call, 404, "resourceNotFound", text)
