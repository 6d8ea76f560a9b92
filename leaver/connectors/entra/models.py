"""From the SDK's models to ours. A null where a value must be means that we may not see it."""

from __future__ import annotations

import base64
import binascii
import uuid
from datetime import UTC, datetime
from typing import Final

from msgraph.generated.models.group import Group as GraphGroup
from msgraph.generated.models.user import User

from leaver.connectors.entra import needs
from leaver.connectors.entra.protocol import DirectoryUser, Group, GroupClass, Licence
from leaver.connectors.errors import AccessDenied, ProtocolError

USER_FIELDS: Final = [
    "id",
    "accountEnabled",
    "userType",
    "employeeId",
    "onPremisesSyncEnabled",
    "onPremisesImmutableId",
    "lastPasswordChangeDateTime",
    "signInSessionsValidFromDateTime",
]
GROUP_FIELDS: Final = [
    "id",
    "groupTypes",
    "mailEnabled",
    "securityEnabled",
    "onPremisesSyncEnabled",
    "assignedLicenses",
    "isAssignableToRole",
]
_GUID_BYTES: Final = 16


def directory_user(found: User, read_at: datetime) -> DirectoryUser:
    """A user as read with ``USER_FIELDS``.

    Raises:
        AccessDenied: Graph hides what we may not see instead of refusing.
    """
    if found.id is None or found.account_enabled is None:
        raise AccessDenied(
            f"read user: accountEnabled is not shown; grant {needs.READ_USERS}", needs=needs.READ_USERS
        )
    synced = bool(found.on_premises_sync_enabled)
    return DirectoryUser(
        id=found.id,
        enabled=found.account_enabled,
        synced=synced,
        read_at=read_at,
        user_type=found.user_type or "Member",
        employee_id=found.employee_id,
        ad_object_guid=object_guid(found.on_premises_immutable_id) if synced else None,
        password_changed_at=utc(found.last_password_change_date_time),
        sessions_valid_from=utc(found.sign_in_sessions_valid_from_date_time),
    )


def object_guid(immutable_id: str | None) -> str | None:
    """The objectGUID inside a sync anchor: base64 of the GUID in Windows byte order.

    None where the customer anchors on something else.
    """
    try:
        raw = base64.b64decode(immutable_id or "", validate=True)
    except binascii.Error:
        return None
    return str(uuid.UUID(bytes_le=raw)) if len(raw) == _GUID_BYTES else None


def directory_group(found: GraphGroup) -> Group:
    """A group as read with ``GROUP_FIELDS``, classified.

    Raises:
        AccessDenied: its properties are not shown.
    """
    if found.id is None or found.group_types is None or found.mail_enabled is None:
        raise AccessDenied(
            f"read group: its type is not shown; grant {needs.READ_GROUPS}", needs=needs.READ_GROUPS
        )
    return Group(id=found.id, kind=_group_class(found), licensed=bool(found.assigned_licenses))


def _group_class(group: GraphGroup) -> GroupClass:
    # The order matters: a dynamic group that carries licences is left by its rule, whatever else it is.
    types = group.group_types or []
    if "DynamicMembership" in types:
        return GroupClass.DYNAMIC
    if group.on_premises_sync_enabled:
        return GroupClass.SYNCED
    if group.mail_enabled and "Unified" not in types:
        return GroupClass.MAIL_ENABLED
    if group.assigned_licenses:
        return GroupClass.LICENCE_BEARING
    return GroupClass.ROLE_ASSIGNABLE if group.is_assignable_to_role else GroupClass.PLAIN


def user_licences(found: User) -> tuple[Licence, ...]:
    """The rows of ``licenseAssignmentStates``.

    Raises:
        ProtocolError: they are not shown; an empty list would look like a proof.
    """
    if found.license_assignment_states is None:
        raise ProtocolError("read licences: licenseAssignmentStates is not shown")
    return tuple(
        Licence(sku=str(state.sku_id), group=state.assigned_by_group)
        for state in found.license_assignment_states
        if state.sku_id is not None
    )


def utc(moment: datetime | None) -> datetime | None:
    """The moment in UTC; Graph's times are UTC also where the SDK drops the zone."""
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
