"""Mailbox settings and OneDrive in Microsoft Graph."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from typing import Final

from starlette.responses import JSONResponse, Response

from leaver.simulators.m365.graph_users import view_of, visible_user
from leaver.simulators.m365.graph_wire import (
    CONTEXT,
    Json,
    body_of,
    entity,
    moment,
    no_content,
    page,
    refuse,
    select,
)
from leaver.simulators.m365.state import Drive, DriveGrant, Mailbox, MailboxType, User
from leaver.simulators.m365.store import NEWEST, View
from leaver.simulators.m365.tenant import Tenant
from leaver.simulators.routing import Call, Refusal, Routes

_TO_GRAPH: Final = {"Disabled": "disabled", "Enabled": "alwaysEnabled", "Scheduled": "scheduled"}
_TO_EXCHANGE: Final = {value: key for key, value in _TO_GRAPH.items()}
_AUDIENCE_TO_GRAPH: Final = {"None": "none", "Known": "contactsOnly", "All": "all"}
_AUDIENCE_TO_EXCHANGE: Final = {value: key for key, value in _AUDIENCE_TO_GRAPH.items()}
_PURPOSE: Final = {MailboxType.USER: "user", MailboxType.SHARED: "shared"}
_ROLES: Final = frozenset({"read", "write"})
_DRIVE_PROPERTIES: Final = (
    "createdDateTime", "description", "driveType", "id", "lastModifiedDateTime", "name", "owner", "quota",
    "webUrl",
)  # fmt: skip
_ROOT_PROPERTIES: Final = (
    "createdDateTime", "folder", "id", "lastModifiedDateTime", "name", "parentReference", "root",
    "size", "webUrl",
)  # fmt: skip


class FileRoutes:
    """Handlers of ``mailboxSettings`` and of drives.

    Args:
        tenant: the state.
        sharepoint_origin: scheme, host and port of the SharePoint listener, for site addresses.
    """

    def __init__(self, tenant: Tenant, sharepoint_origin: Callable[[], str]) -> None:
        self._tenant = tenant
        self._origin = sharepoint_origin

    def add_to(self, routes: Routes) -> None:
        """Register the routes."""
        routes.add("GET", "/users/{user}/mailboxSettings", self.settings)
        routes.add("PATCH", "/users/{user}/mailboxSettings", self.set_settings)
        routes.add("GET", "/users/{user}/drive", self.user_drive)
        routes.add("GET", "/users/{user}/drive/root", self.user_root)
        routes.add("GET", "/drives/{drive}", self.drive)
        routes.add("GET", "/drives/{drive}/root", self.root)
        routes.add("GET", "/drives/{drive}/root/permissions", self.permissions)
        routes.add("POST", "/drives/{drive}/root/invite", self.invite)
        routes.add("DELETE", "/drives/{drive}/root/permissions/{permission}", self.remove_permission)

    # -- mailbox settings ---------------------------------------------------------------------------------

    def settings(self, call: Call) -> Response:
        """Read the settings; ``userPurpose`` lags behind Exchange."""
        mailbox = self._mailbox(call, view_of(self._tenant, call))
        full = self._settings_json(mailbox)
        return entity(
            select(full, call, tuple(full), "mailboxSettings"), f"users('{mailbox.id}')/mailboxSettings"
        )

    def set_settings(self, call: Call) -> Response:
        """Set automatic replies; nothing else can be written here."""
        mailbox, body = self._mailbox(call, NEWEST), body_of(call)
        wanted = body.get("automaticRepliesSetting")
        status = wanted.get("status") if isinstance(wanted, dict) else None
        if not isinstance(wanted, dict) or status not in _TO_EXCHANGE:
            text = "The property cannot be set, or automaticRepliesSetting is malformed."
            raise refuse(call, 400, "ErrorInvalidRequest", text)
        with self._tenant.mailboxes.change(mailbox.id) as draft:
            reply = draft.auto_reply
            reply.state = _TO_EXCHANGE[status]
            reply.audience = _AUDIENCE_TO_EXCHANGE.get(wanted.get("externalAudience", "all"), "All")
            reply.internal = str(wanted.get("internalReplyMessage", reply.internal))
            reply.external = str(wanted.get("externalReplyMessage", reply.external))
        return entity(
            self._settings_json(self._mailbox(call, NEWEST)), f"users('{mailbox.id}')/mailboxSettings"
        )

    def _mailbox(self, call: Call, view: View) -> Mailbox:
        user = visible_user(self._tenant, call)
        mailbox = self._tenant.mailboxes.get(user.id, view)
        if mailbox is None or mailbox.soft_deleted is not None:
            text = "The mailbox is either inactive, soft-deleted, or is hosted on-premise."
            raise refuse(call, 404, "MailboxNotEnabledForRESTAPI", text)
        return mailbox

    def _settings_json(self, mailbox: Mailbox) -> Json:
        reply = mailbox.auto_reply
        unset = {"dateTime": moment(self._tenant.now), "timeZone": "UTC"}
        return {
            "archiveFolder": None,
            "timeZone": "W. Europe Standard Time",
            "delegateMeetingMessageDeliveryOptions": "sendToDelegateOnly",
            "dateFormat": "dd.MM.yyyy",
            "timeFormat": "HH:mm",
            "userPurpose": _PURPOSE[self._tenant.purpose_shown(mailbox)],
            "automaticRepliesSetting": {
                "status": _TO_GRAPH[reply.state],
                "externalAudience": _AUDIENCE_TO_GRAPH[reply.audience],
                "internalReplyMessage": reply.internal,
                "externalReplyMessage": reply.external,
                "scheduledStartDateTime": unset,
                "scheduledEndDateTime": unset,
            },
            "language": {"locale": "de-DE", "displayName": "German (Germany)"},
        }

    # -- drives -------------------------------------------------------------------------------------------

    def user_drive(self, call: Call) -> Response:
        """The user's OneDrive; 404 where none was ever provisioned."""
        full = self._drive_json(self._user_drive(call))
        return entity(select(full, call, _DRIVE_PROPERTIES, "drive"), "drives/$entity")

    def drive(self, call: Call) -> Response:
        """A drive by its id."""
        full = self._drive_json(self._drive(call, view_of(self._tenant, call)))
        return entity(select(full, call, _DRIVE_PROPERTIES, "drive"), "drives/$entity")

    def user_root(self, call: Call) -> Response:
        """The root folder of the user's OneDrive."""
        full = self._root_json(self._user_drive(call))
        return entity(select(full, call, _ROOT_PROPERTIES, "driveItem"), "driveItems/$entity")

    def root(self, call: Call) -> Response:
        """The root folder of a drive."""
        full = self._root_json(self._drive(call, view_of(self._tenant, call)))
        return entity(select(full, call, _ROOT_PROPERTIES, "driveItem"), "driveItems/$entity")

    def permissions(self, call: Call) -> Response:
        """Grants on the root, the owner's first."""
        drive = self._drive(call, view_of(self._tenant, call))
        owner = DriveGrant(id=_share_id(drive.id, drive.owner), user=drive.owner, roles=["owner"])
        items = [self._grant_json(grant) for grant in (owner, *drive.grants)]
        return page(call, items, "permissions", size=self._tenant.page_size)

    def invite(self, call: Call) -> Response:
        """Grant roles on the root to users; a repeat answers with the grant that is there."""
        drive, body = self._drive(call, NEWEST), body_of(call)
        roles = body.get("roles")
        recipients = body.get("recipients")
        if not isinstance(roles, list) or not roles or not set(roles) <= _ROLES:
            raise refuse(call, 400, "invalidRequest", "Must provide one role: read or write.")
        if not isinstance(recipients, list) or not recipients:
            raise refuse(call, 400, "invalidRequest", "At least one recipient is required.")
        users = [self._recipient(call, item) for item in recipients]
        with self._tenant.drives.change(drive.id) as draft:
            for user in users:
                kept = [grant for grant in draft.grants if grant.user != user.id]
                draft.grants = [*kept, DriveGrant(id=_share_id(drive.id, user.id), user=user.id, roles=roles)]
        chosen = [g for g in self._drive(call, NEWEST).grants if g.user in {u.id for u in users}]
        items = [self._grant_json(grant) for grant in chosen]
        return JSONResponse({"@odata.context": CONTEXT + "Collection(permission)", "value": items})

    def remove_permission(self, call: Call) -> Response:
        """Take a grant away; 404 where it is not there."""
        drive = self._drive(call, NEWEST)
        if all(grant.id != call.params["permission"] for grant in drive.grants):
            raise _no_item(call)
        with self._tenant.drives.change(drive.id) as draft:
            draft.grants = [grant for grant in draft.grants if grant.id != call.params["permission"]]
        return no_content()

    def _user_drive(self, call: Call) -> Drive:
        user = visible_user(self._tenant, call)
        drives = self._tenant.drives.all(view_of(self._tenant, call))
        drive = next((drive for drive in drives if drive.owner == user.id), None)
        if drive is None:
            raise refuse(call, 404, "ResourceNotFound", "User's mysite not found.")
        return drive

    def _drive(self, call: Call, view: View) -> Drive:
        drive = self._tenant.drives.get(call.params["drive"], view)
        if drive is None:
            raise _no_item(call)
        return drive

    def _recipient(self, call: Call, item: object) -> User:
        fields = item if isinstance(item, dict) else {}
        key = fields.get("objectId") or fields.get("email")
        user = self._tenant.find_user(key) if isinstance(key, str) else None
        if user is None:
            text = "One or more users could not be resolved."
            raise refuse(call, 400, "invalidRequest", text)
        return user

    def _drive_json(self, drive: Drive) -> Json:
        owner = self._tenant.users.get(drive.owner)
        name = owner.display_name if owner else None
        return {
            "createdDateTime": moment(drive.created),
            "description": "",
            "driveType": "business",
            "id": drive.id,
            "lastModifiedDateTime": moment(drive.created),
            "name": "OneDrive",
            "owner": {"user": {"id": drive.owner, "displayName": name}},
            "quota": {
                "deleted": 0,
                "remaining": 1_099_511_627_776 - drive.used_bytes,
                "state": "normal",
                "total": 1_099_511_627_776,
                "used": drive.used_bytes,
            },
            "sharePointIds": self._sharepoint_ids(drive),
            "webUrl": f"{self._site_url(drive)}/Documents",
        }

    def _root_json(self, drive: Drive) -> Json:
        return {
            "createdDateTime": moment(drive.created),
            "folder": {"childCount": 4},
            "id": "01" + uuid.UUID(drive.web_id).hex[:32].upper(),
            "lastModifiedDateTime": moment(drive.created),
            "name": "root",
            "parentReference": {"driveId": drive.id, "driveType": "business"},
            "root": {},
            "sharepointIds": self._sharepoint_ids(drive),
            "size": drive.used_bytes,
            "webUrl": f"{self._site_url(drive)}/Documents",
        }

    def _sharepoint_ids(self, drive: Drive) -> Json:
        return {
            "listId": drive.list_id,
            "siteId": drive.site_id,
            "siteUrl": self._site_url(drive),
            "tenantId": self._tenant.id,
            "webId": drive.web_id,
        }

    def _site_url(self, drive: Drive) -> str:
        return f"{self._origin()}{drive.site_path}"

    def _grant_json(self, grant: DriveGrant) -> Json:
        user = self._tenant.users.get(grant.user)
        identity = {"id": grant.user, "displayName": user.display_name if user else None}
        return {
            "id": grant.id,
            "roles": grant.roles,
            "grantedTo": {"user": identity},
            "grantedToV2": {"user": identity},
        }


def _no_item(call: Call) -> Refusal:
    return refuse(call, 404, "itemNotFound", "Item not found")


def _share_id(drive_id: str, user_id: str) -> str:
    digest = uuid.uuid5(uuid.NAMESPACE_URL, f"{drive_id}/{user_id}")
    return base64.b64encode(f"i:0#.f|membership|{digest}".encode()).decode("ascii").rstrip("=")
