"""Groups in Microsoft Graph: whose member one is, and leaving.

The error of a wrong route depends on the class of group, and the texts do not tell the classes apart
(traps T51 to T55). ``DELETE /groups/{g}/members/{u}`` without ``/$ref`` deletes the *user*, as the vendor's
page warns.
"""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from leaver.simulators.m365.graph_users import (
    DEFAULTS,
    MASTERED_ON_PREMISES,
    UserRoutes,
    user_json,
    view_of,
    visible_user,
)
from leaver.simulators.m365.graph_wire import (
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
from leaver.simulators.m365.permissions import MEMBERSHIP_READ
from leaver.simulators.m365.state import Group
from leaver.simulators.m365.tenant import Tenant
from leaver.simulators.routing import Call, Handler, Routes

_DEFAULTS: Final = (
    "classification", "createdDateTime", "deletedDateTime", "description", "displayName",
    "expirationDateTime",
    "groupTypes", "id", "isAssignableToRole", "mail", "mailEnabled", "mailNickname", "membershipRule",
    "membershipRuleProcessingState", "onPremisesDomainName", "onPremisesLastSyncDateTime",
    "onPremisesNetBiosName", "onPremisesProvisioningErrors", "onPremisesSamAccountName",
    "onPremisesSecurityIdentifier", "onPremisesSyncEnabled", "preferredDataLocation", "preferredLanguage",
    "proxyAddresses", "renewedDateTime", "resourceBehaviorOptions", "resourceProvisioningOptions",
    "securityEnabled", "securityIdentifier", "serviceProvisioningErrors", "theme", "uniqueName", "visibility",
)  # fmt: skip
_LISTS: Final = (
    "onPremisesProvisioningErrors", "resourceBehaviorOptions", "resourceProvisioningOptions",
    "serviceProvisioningErrors",
)  # fmt: skip
_MAIL_ENABLED: Final = "Cannot Update a mail-enabled security groups and or distribution list."
_EXISTS: Final = (
    "One or more added object references already exist for the following modified properties: 'members'."
)


def group_json(group: Group) -> Json:
    """Every property of a group that can be selected."""
    types = [name for name, on in (("Unified", group.unified), ("DynamicMembership", group.dynamic)) if on]
    return (
        dict.fromkeys(_DEFAULTS)
        | {name: [] for name in _LISTS}
        | {
            "@odata.type": "#microsoft.graph.group",
            "assignedLicenses": [{"disabledPlans": [], "skuId": sku} for sku in group.licences],
            "createdDateTime": moment(group.created),
            "displayName": group.display_name,
            "groupTypes": types,
            "id": group.id,
            "isAssignableToRole": True if group.role_assignable else None,
            "isManagementRestricted": None,
            "mail": group.mail,
            "mailEnabled": group.mail_enabled,
            "mailNickname": group.key,
            "membershipRule": "(user.accountEnabled -eq true)" if group.dynamic else None,
            "membershipRuleProcessingState": "On" if group.dynamic else None,
            "onPremisesLastSyncDateTime": moment(group.created) if group.synced else None,
            "onPremisesSyncEnabled": True if group.synced else None,
            "proxyAddresses": [] if group.mail is None else [f"SMTP:{group.mail}"],
            "renewedDateTime": moment(group.created),
            "securityEnabled": group.security_enabled,
            "visibility": "Private" if group.unified else None,
        }
    )


class GroupRoutes:
    """Handlers of memberships and ``/groups``."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._users = UserRoutes(tenant)

    def add_to(self, routes: Routes) -> None:
        """Register the routes."""
        for name, transitive in (("memberOf", False), ("transitiveMemberOf", True)):
            routes.add("GET", f"/users/{{user}}/{name}", self._memberships(name, transitive, cast=False))
            for cast in ("graph.group", "microsoft.graph.group"):
                handler = self._memberships(name, transitive, cast=True)
                routes.add("GET", f"/users/{{user}}/{name}/{cast}", handler)
        routes.add("GET", "/groups/{group}", self.get)
        routes.add("GET", "/groups/{group}/members", self.members)
        routes.add("POST", "/groups/{group}/members/$ref", self.join)
        routes.add("DELETE", "/groups/{group}/members/{member}/$ref", self.leave)
        routes.add("DELETE", "/groups/{group}/members/{member}", self.delete_member_object)

    def _memberships(self, name: str, transitive: bool, *, cast: bool) -> Handler:
        def handler(call: Call) -> Response:
            user, view = visible_user(self._tenant, call), view_of(self._tenant, call)
            groups = self._tenant.groups_of(user.id, view, transitive=transitive)
            bodies = [self._shown(call, group, cast) for group in sorted(groups, key=lambda g: g.id)]
            context = "groups" if cast else "directoryObjects"
            return page(call, bodies, context, size=self._tenant.page_size)

        handler.__name__ = name
        return handler

    def get(self, call: Call) -> Response:
        """Read one group."""
        group = self._tenant.groups.get(call.params["group"], view_of(self._tenant, call))
        if group is None:
            raise not_found(call, call.params["group"])
        body = select(group_json(group), call, _DEFAULTS, "group")
        body.pop("@odata.type")
        return entity(body, "groups/$entity")

    def members(self, call: Call) -> Response:
        """List direct members."""
        view = view_of(self._tenant, call)
        group = self._tenant.groups.get(call.params["group"], view)
        if group is None:
            raise not_found(call, call.params["group"])
        found = (self._tenant.users.get(member, view) for member in group.members)
        alive = [user_json(user) for user in found if user is not None and user.deleted is None]
        bodies = [select(item, call, DEFAULTS, "user") for item in matching(call, alive)]
        return page(call, bodies, "directoryObjects", size=self._tenant.page_size)

    def join(self, call: Call) -> Response:
        """Add a member by reference."""
        group = self._group(call)
        member = str(body_of(call).get("@odata.id", "")).rpartition("/")[2]
        if self._tenant.find_user(member) is None:
            raise not_found(call, member)
        self._may_change(call, group)
        if member in group.members:
            raise bad_request(call, _EXISTS)
        self._tenant.join_group(group.id, member)
        return no_content()

    def leave(self, call: Call) -> Response:
        """Remove a member by reference; 404 where it is none."""
        group, member = self._group(call), call.params["member"].casefold()
        self._may_change(call, group)
        if member not in group.members:
            raise not_found(call, call.params["member"])
        self._tenant.leave_group(group.id, member)
        return no_content()

    def delete_member_object(self, call: Call) -> Response:
        """Without ``/$ref`` the member itself is deleted, not its membership (trap T51)."""
        self._group(call)
        call.params = {"user": call.params["member"]}
        return self._users.delete(call)

    def _group(self, call: Call) -> Group:
        group = self._tenant.groups.get(call.params["group"].casefold())
        if group is None:
            raise not_found(call, call.params["group"])
        return group

    def _may_change(self, call: Call, group: Group) -> None:
        if group.dynamic:
            raise denied(call)
        if group.synced:
            raise bad_request(call, MASTERED_ON_PREMISES)
        if group.mail_only:
            raise bad_request(call, _MAIL_ENABLED)
        allowed = "RoleManagement.ReadWrite.Directory" in self._tenant.app.permissions
        if group.role_assignable and not allowed:
            raise denied(call)

    def _shown(self, call: Call, group: Group, cast: bool) -> Json:
        body = select(group_json(group), call, _DEFAULTS, "group")
        if not MEMBERSHIP_READ & set(self._tenant.app.permissions):
            # No 403: the objects are there, and say nothing about themselves.
            told = ("@odata.type", "id")
            blank: Json = {key: [] if isinstance(value, list) else None for key, value in body.items()}
            body = blank | {key: value for key, value in body.items() if key in told}
        if cast:
            body.pop("@odata.type")
        return body
