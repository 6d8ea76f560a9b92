"""Users in Microsoft Graph: find, read, block, reset, revoke, delete, restore."""

from __future__ import annotations

import string
from typing import Final

from starlette.responses import JSONResponse, Response

from leaver.simulators.m365.graph_wire import (
    CONTEXT,
    Json,
    bad_request,
    body_of,
    denied,
    entity,
    matching,
    moment,
    no_content,
    not_found,
    page,
    select,
)
from leaver.simulators.m365.permissions import PROPERTY_NEEDS, USER_WRITE
from leaver.simulators.m365.state import PRIVILEGED_AUTHENTICATION_ADMINISTRATOR, User
from leaver.simulators.m365.store import View
from leaver.simulators.m365.tenant import Tenant
from leaver.simulators.routing import Call, Routes

DEFAULTS: Final = (
    "businessPhones", "displayName", "givenName", "id", "jobTitle", "mail", "mobilePhone", "officeLocation",
    "preferredLanguage", "surname", "userPrincipalName",
)  # fmt: skip
_EMPTY: Final[tuple[str, ...]] = (
    "ageGroup", "city", "companyName", "country", "employeeHireDate", "employeeLeaveDateTime", "employeeType",
    "externalUserState", "faxNumber", "isManagementRestricted", "mobilePhone", "officeLocation",
    "onPremisesDistinguishedName", "onPremisesDomainName", "onPremisesSamAccountName",
    "onPremisesSecurityIdentifier", "onPremisesUserPrincipalName", "passwordPolicies", "postalCode",
    "preferredLanguage", "state", "streetAddress",
)  # fmt: skip
MASTERED_ON_PREMISES: Final = (
    "Unable to update the specified properties for on-premises mastered Directory Sync objects or objects "
    "currently undergoing migration."
)
_WEAK_PASSWORD: Final = (
    "The specified password does not comply with password complexity requirements. "
    "Please provide a different password."
)
_MASTERED: Final = frozenset(
    {"displayName", "givenName", "surname", "department", "jobTitle", "userPrincipalName", "passwordProfile"}
)
_PLAIN: Final = {
    "department": "department",
    "displayName": "display_name",
    "givenName": "given_name",
    "jobTitle": "job_title",
    "surname": "surname",
    "usageLocation": "usage_location",
}


def view_of(tenant: Tenant, call: Call) -> View:
    """How far behind this read is: the tenant's usual lag, or what a fault ordered."""
    if call.stale is None:
        return View(lag=tenant.delays.consistency)
    return View(lag=call.stale.seconds) if call.stale.seconds else View(previous=True)


def visible_user(tenant: Tenant, call: Call) -> User:
    """The user in the path as this read sees it.

    Raises:
        Refusal: 404.
    """
    user = tenant.find_user(call.params["user"], view_of(tenant, call))
    if user is None:
        raise not_found(call, call.params["user"])
    return user


def writable_user(tenant: Tenant, call: Call) -> User:
    """The user in the path as it is now, for a write.

    Raises:
        Refusal: 404.
    """
    user = tenant.find_user(call.params["user"])
    if user is None:
        raise not_found(call, call.params["user"])
    return user


def user_json(user: User) -> Json:
    """Every property of a user that can be selected."""
    return dict.fromkeys(_EMPTY) | {
        "@odata.type": "#microsoft.graph.user",
        "accountEnabled": user.enabled,
        "assignedLicenses": [
            {"disabledPlans": [], "skuId": sku} for sku in sorted({row.sku for row in user.licences})
        ],
        "businessPhones": [],
        "createdDateTime": moment(user.created),
        "deletedDateTime": moment(user.deleted),
        "department": user.department,
        "displayName": user.display_name,
        "employeeId": user.employee_id,
        "givenName": user.given_name,
        "id": user.id,
        "jobTitle": user.job_title,
        "lastPasswordChangeDateTime": moment(user.password_changed),
        "licenseAssignmentStates": [
            {
                "skuId": row.sku,
                "disabledPlans": [],
                "assignedByGroup": row.by_group,
                "state": "Active",
                "error": "None",
                "lastUpdatedDateTime": moment(row.updated),
            }
            for row in user.licences
        ],
        "mail": user.mail,
        "mailNickname": user.upn.partition("@")[0],
        "onPremisesImmutableId": user.immutable_id,
        "onPremisesLastSyncDateTime": moment(user.last_sync),
        "onPremisesSyncEnabled": True if user.synced else None,
        "otherMails": [],
        "proxyAddresses": user.proxy_addresses,
        "signInSessionsValidFromDateTime": moment(user.sessions_valid_from),
        "surname": user.surname,
        "usageLocation": user.usage_location,
        "userPrincipalName": user.upn,
        "userType": user.user_type,
    }


class UserRoutes:
    """Handlers of ``/users`` and of the recycle bin."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant

    def add_to(self, routes: Routes) -> None:
        """Register the routes."""
        routes.add("GET", "/users", self.list_users)
        routes.add("GET", "/users/{user}", self.get)
        routes.add("PATCH", "/users/{user}", self.patch)
        routes.add("DELETE", "/users/{user}", self.delete)
        routes.add("GET", "/users/{user}/manager", self.manager)
        for name in ("revokeSignInSessions", "microsoft.graph.revokeSignInSessions"):
            routes.add("POST", f"/users/{{user}}/{name}", self.revoke)
        for name in ("graph.user", "microsoft.graph.user"):
            routes.add("GET", f"/directory/deletedItems/{name}", self.deleted)
        routes.add("GET", "/directory/deletedItems/{user}", self.deleted_user)
        routes.add("POST", "/directory/deletedItems/{user}/restore", self.restore)

    def list_users(self, call: Call) -> Response:
        """Find users; with ``ConsistencyLevel: eventual`` in an index that lags more."""
        lag = self._tenant.delays.consistency
        if call.headers.get("ConsistencyLevel", "").casefold() == "eventual":
            lag = self._tenant.delays.search
        view = view_of(self._tenant, call) if call.stale else View(lag=lag)
        alive = [user_json(user) for user in self._tenant.users.all(view) if user.deleted is None]
        chosen = [self._plain(select(item, call, DEFAULTS, "user")) for item in matching(call, alive)]
        return page(call, chosen, "users" + _selection(call), size=self._tenant.page_size)

    def get(self, call: Call) -> Response:
        """Read one user."""
        user = visible_user(self._tenant, call)
        chosen = self._plain(select(user_json(user), call, DEFAULTS, "user"))
        return entity(chosen, f"users{_selection(call)}/$entity")

    def manager(self, call: Call) -> Response:
        """Read the user's manager."""
        user = visible_user(self._tenant, call)
        found = None if user.manager is None else self._tenant.find_user(user.manager)
        if found is None:
            raise not_found(call, "manager")
        chosen = select(user_json(found), call, DEFAULTS, "user")
        return entity(chosen, "directoryObjects/$entity")

    def patch(self, call: Call) -> Response:
        """Change a user; all of the body or nothing."""
        user, body = writable_user(self._tenant, call), body_of(call)
        fields = {key: value for key, value in body.items() if not key.startswith("@")}
        self._may_change(call, user, fields)
        with self._tenant.users.change(user.id) as draft:
            for name, value in fields.items():
                self._set(call, draft, name, value)
        return no_content()

    def revoke(self, call: Call) -> Response:
        """Move the moment from which sessions count; a guest's home tenant decides about guests (T22)."""
        user = writable_user(self._tenant, call)
        if user.user_type != "Guest":
            with self._tenant.users.change(user.id) as draft:
                draft.sessions_valid_from = self._tenant.now
        return JSONResponse({"@odata.context": CONTEXT + "Edm.Boolean", "value": True})

    def delete(self, call: Call) -> Response:
        """Move a user to the recycle bin for thirty days."""
        user = writable_user(self._tenant, call)
        self.may_administer(call, user)
        self._tenant.delete_user(user.id)
        return no_content()

    def deleted(self, call: Call) -> Response:
        """List the recycle bin."""
        view = view_of(self._tenant, call)
        users = [user_json(user) for user in self._tenant.users.all(view) if user.deleted is not None]
        chosen = [
            select(item, call, (*DEFAULTS, "deletedDateTime"), "user") for item in matching(call, users)
        ]
        plain = [self._plain(item) for item in chosen]
        return page(call, plain, "directoryObjects/microsoft.graph.user", size=self._tenant.page_size)

    def deleted_user(self, call: Call) -> Response:
        """Read one user in the recycle bin."""
        user = self._tenant.find_user(call.params["user"], view_of(self._tenant, call), deleted=True)
        if user is None:
            raise not_found(call, call.params["user"])
        chosen = select(user_json(user), call, (*DEFAULTS, "deletedDateTime"), "user")
        return entity(chosen, "directoryObjects/$entity")

    def restore(self, call: Call) -> Response:
        """Take a user out of the recycle bin, as it was."""
        user = self._tenant.find_user(call.params["user"], deleted=True)
        if user is None:
            raise not_found(call, call.params["user"])
        self._tenant.restore_user(user.id)
        restored = self._tenant.user(user.id)
        return entity(select(user_json(restored), call, DEFAULTS, "user"), "directoryObjects/$entity")

    def may_administer(self, call: Call, user: User) -> None:
        """Sensitive changes to an administrator need a higher role than the application's permissions (T19).

        Raises:
            Refusal: 403.
        """
        allowed = PRIVILEGED_AUTHENTICATION_ADMINISTRATOR in self._tenant.app.directory_roles
        if self._tenant.is_administrator(user) and not allowed:
            raise denied(call)

    def _may_change(self, call: Call, user: User, fields: Json) -> None:
        for name in fields:
            if not PROPERTY_NEEDS.get(name, USER_WRITE) & set(self._tenant.app.permissions):
                raise denied(call)
        if {"accountEnabled", "passwordProfile"} & fields.keys():
            self.may_administer(call, user)
        if user.synced and _MASTERED & fields.keys():
            raise bad_request(call, MASTERED_ON_PREMISES)

    def _set(self, call: Call, draft: User, name: str, value: object) -> None:
        if name == "accountEnabled":
            if not isinstance(value, bool):
                raise bad_request(
                    call, "Invalid value specified for property 'accountEnabled' of resource 'User'."
                )
            draft.enabled = value
        elif name == "passwordProfile":
            self._set_password(call, draft, value)
        elif name in _PLAIN and (value is None or isinstance(value, str)):
            setattr(draft, _PLAIN[name], value)
        else:
            text = f"Property '{name}' is read-only and cannot be set, or does not exist on 'User'."
            raise bad_request(call, text)

    def _set_password(self, call: Call, draft: User, value: object) -> None:
        profile = value if isinstance(value, dict) else {}
        password = profile.get("password")
        if not isinstance(password, str) or not _strong(password):
            raise bad_request(call, _WEAK_PASSWORD)
        draft.password_changed = self._tenant.now
        draft.password_changes += 1
        draft.force_password_change = bool(profile.get("forceChangePasswordNextSignIn", True))

    @staticmethod
    def _plain(body: Json) -> Json:
        # A collection or object of one declared type does not name the type again.
        return {key: value for key, value in body.items() if key != "@odata.type"}


def _strong(password: str) -> bool:
    classes = (string.ascii_lowercase, string.ascii_uppercase, string.digits)
    found = sum(any(c in letters for c in password) for letters in classes)
    found += any(not c.isalnum() for c in password)
    return 8 <= len(password) <= 256 and found >= 3  # noqa: PLR2004 - the vendor's rule


def _selection(call: Call) -> str:
    wanted = call.query.get("$select")
    return f"({wanted})" if wanted else ""
