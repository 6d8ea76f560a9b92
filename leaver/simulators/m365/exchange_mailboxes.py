"""Mailbox cmdlets of Exchange Online.

learn.microsoft.com/powershell/module/exchange, one page per cmdlet; traps T29 to T35.
"""

from __future__ import annotations

from typing import Any, Final

from leaver.simulators.m365.exchange_wire import (
    SYNCED,
    TASK,
    CmdletError,
    Result,
    Session,
    missing,
    user_dn,
)
from leaver.simulators.m365.graph_wire import Json, moment
from leaver.simulators.m365.state import Mailbox, MailboxRight, MailboxType, User

_TYPES: Final = {"Shared": MailboxType.SHARED, "Regular": MailboxType.USER}
_FLAGS: Final = {
    "LitigationHoldEnabled": "litigation_hold",
    "HiddenFromAddressListsEnabled": "hidden",
    "DeliverToMailboxAndForward": "deliver_and_forward",
}
_NO_ARCHIVE: Final = "00000000-0000-0000-0000-000000000000"
_ALREADY: Final = (
    "The appropriate access control entry is already present on the object '{}' for account '{}'."
)
_NOT_THERE: Final = (
    "Can't remove the access control entry on the object '{}' for account '{}' because the ACE doesn't exist."
)
_STATES: Final = frozenset({"Enabled", "Disabled", "Scheduled"})
_AUDIENCES: Final = frozenset({"None", "Known", "All"})


def mailbox_json(session: Session, user: User, mailbox: Mailbox) -> Json:
    """A mailbox as Get-Mailbox gives it; annotations included, as the service sends them."""
    target = mailbox.forwarding_address
    archive = mailbox.guid if mailbox.archive else _NO_ARCHIVE
    return {
        "Identity": user.id,
        "Id": user.id,
        "Name": user.id,
        "Alias": user.upn.partition("@")[0],
        "DisplayName": user.display_name,
        "DistinguishedName": user_dn(session.tenant, user),
        "PrimarySmtpAddress": user.mail,
        "UserPrincipalName": user.upn,
        "EmailAddresses@odata.type": "#Collection(String)",
        "EmailAddresses": user.proxy_addresses,
        "ExternalDirectoryObjectId": user.id,
        "Guid": mailbox.guid,
        "ExchangeGuid": mailbox.guid,
        "RecipientType": "UserMailbox",
        "RecipientTypeDetails": mailbox.type.value,
        "IsShared": mailbox.type is MailboxType.SHARED,
        "IsDirSynced": user.synced,
        "AccountDisabled": not user.enabled,
        "SKUAssigned": session.tenant.has_mailbox_licence(user),
        "LitigationHoldEnabled": mailbox.litigation_hold,
        "LitigationHoldDuration": "Unlimited",
        "InPlaceHolds@odata.type": "#Collection(String)",
        "InPlaceHolds": mailbox.in_place_holds,
        "ComplianceTagHoldApplied": False,
        "DelayHoldApplied": False,
        "ArchiveStatus": "Active" if mailbox.archive else "None",
        "ArchiveGuid": archive,
        "ProhibitSendReceiveQuota": "100 GB (107,374,182,400 bytes)",
        "ForwardingAddress": target,
        "ForwardingSmtpAddress": mailbox.forwarding_smtp,
        "DeliverToMailboxAndForward": mailbox.deliver_and_forward,
        "HiddenFromAddressListsEnabled": mailbox.hidden,
        "IsInactiveMailbox": False,
        "IsSoftDeletedByRemove": False,
        "WhenSoftDeleted": moment(mailbox.soft_deleted),
        "WhenCreatedUTC": moment(user.created),
    }


def get_mailbox(session: Session) -> Result:
    """Get-Mailbox and Get-EXOMailbox: one by ``Identity``, or all; soft-deleted ones only on request."""
    tenant, view = session.tenant, session.view
    deleted = session.on("SoftDeletedMailbox")
    found: list[Json] = []
    for mailbox in tenant.mailboxes.all(view):
        user = tenant.users.get(mailbox.id, view)
        if user is not None and (mailbox.soft_deleted is not None) == deleted:
            found.append(mailbox_json(session, user, mailbox))
    wanted = session.parameters.get("RecipientTypeDetails")
    if wanted is not None:
        kinds = wanted if isinstance(wanted, list) else str(wanted).split(",")
        found = [item for item in found if item["RecipientTypeDetails"] in kinds]
    if "Identity" not in session.parameters:
        return Result(found)
    identity = session.text("Identity")
    keys = ("ExternalDirectoryObjectId", "UserPrincipalName", "PrimarySmtpAddress", "ExchangeGuid", "Alias",
            "DisplayName", "DistinguishedName")  # fmt: skip
    mine = [i for i in found if identity.casefold() in {str(i[key]).casefold() for key in keys}]
    if not mine:
        raise missing(identity)
    return Result(mine)


def get_statistics(session: Session) -> Result:
    """Get-MailboxStatistics: sizes are text, with thousands separators."""
    user, mailbox = session.mailbox(session.view)
    return Result(
        [
            {
                "DisplayName": user.display_name,
                "MailboxGuid": mailbox.guid,
                "MailboxType": "Private",
                "MailboxTypeDetail": mailbox.type.value,
                "ItemCount": mailbox.item_count,
                "TotalItemSize": size_text(mailbox.size_bytes),
                "TotalDeletedItemSize": size_text(0),
                "DeletedItemCount": 0,
                "LastLogonTime": None,
                "IsArchiveMailbox": False,
            }
        ]
    )


def size_text(size: int) -> str:
    """A size as Exchange prints it, e.g. ``12.3 GB (13,204,112,345 bytes)``."""
    power = min(max(size, 1).bit_length() - 1, 49) // 10
    value = size / 1024**power
    return f"{value:.4g} {('B', 'KB', 'MB', 'GB', 'TB')[power]} ({size:,} bytes)"


def set_mailbox(session: Session) -> Result:
    """Set-Mailbox. Conversion is accepted now and lands later; the rest is there at once."""
    user, mailbox = session.mailbox()
    given = session.parameters
    if user.synced and "HiddenFromAddressListsEnabled" in given:
        raise _mastered_on_premises(user, "Set-Mailbox", "HiddenFromAddressListsEnabled")
    kind = _mailbox_type(session, user)
    target = given.get("ForwardingAddress")
    target_id = session.user(str(target)).id if target else None
    with session.tenant.mailboxes.change(mailbox.id) as draft:
        for name, attribute in _FLAGS.items():
            if name in given:
                setattr(draft, attribute, given[name] is True)
        if "ForwardingAddress" in given:
            draft.forwarding_address = target_id
        if "ForwardingSmtpAddress" in given:
            smtp = given["ForwardingSmtpAddress"]
            draft.forwarding_smtp = f"smtp:{str(smtp).removeprefix('smtp:')}" if smtp else None
    if kind is None:
        return Result()
    if kind is mailbox.type:
        text = "The command completed successfully but no settings of '{}' have been modified."
        return Result(warnings=[text.format(user.id)])
    session.tenant.convert_mailbox(user.id, kind)
    return Result()


def _mailbox_type(session: Session, user: User) -> MailboxType | None:
    wanted = session.parameters.get("Type")
    if wanted is None:
        return None
    kind = _TYPES.get(str(wanted).capitalize())
    if kind is None:
        text = (
            f"Cannot process argument transformation on parameter 'Type'. Cannot convert value \"{wanted}\"."
        )
        raise CmdletError(
            "System.Management.Automation.ParameterBindingArgumentTransformationException", text
        )
    if not session.tenant.has_mailbox_licence(user):
        text = (
            f"The mailbox \"{user.id}\" can't be converted because the user doesn't have an Exchange license."
        )
        raise CmdletError(TASK, text)
    return kind


def _mastered_on_premises(user: User, cmdlet: str, prop: str) -> CmdletError:
    text = (
        f"The operation on mailbox \"{user.id}\" failed because it's out of the current user's write scope. "
        f"The action '{cmdlet}', '{prop}', can't be performed on the object '{user.id}' because the object "
        "is being synchronized from your on-premises organization. This action should be performed on the "
        "object in your on-premises organization."
    )
    return CmdletError(SYNCED, text)


# -- access to a mailbox ------------------------------------------------------------------------------------


def _right_json(session: Session, owner: User, right: MailboxRight) -> Json:
    trustee = session.tenant.users.get(right.trustee)
    return {
        "Identity": owner.id,
        "User": right.trustee if trustee is None else trustee.upn,
        "AccessRights@odata.type": "#Collection(String)",
        "AccessRights": right.rights,
        "IsInherited": right.inherited,
        "Deny": right.deny,
        "InheritanceType": right.inheritance,
    }


def get_permission(session: Session) -> Result:
    """Get-MailboxPermission: the mailbox's own entry and whatever was granted."""
    user, mailbox = session.mailbox(session.view)
    rows = [_right_json(session, user, right) for right in mailbox.rights]
    if "User" in session.parameters:
        trustee = session.user(session.text("User"))
        rows = [row for row in rows if row["User"] == trustee.upn]
    return Result(rows)


def add_permission(session: Session) -> Result:
    """Add-MailboxPermission: a repeat is a warning, not an error."""
    user, mailbox = session.mailbox()
    trustee, rights = session.user(session.text("User")), _rights(session)
    for right in mailbox.rights:
        if right.trustee == trustee.id and set(rights) <= set(right.rights):
            text = (
                "The appropriate access control entry is already present on the object '{}' for account '{}'."
            )
            return Result([_right_json(session, user, right)], [text.format(user.id, trustee.id)])
    inheritance = str(session.parameters.get("InheritanceType", "None"))
    granted = MailboxRight(trustee=trustee.id, rights=rights, inheritance=inheritance)
    with session.tenant.mailboxes.change(mailbox.id) as draft:
        draft.rights.append(granted)
    return Result([_right_json(session, user, granted)])


def remove_permission(session: Session) -> Result:
    """Remove-MailboxPermission: an entry that is not there is a warning, not an error."""
    user, mailbox = session.mailbox()
    trustee, rights = session.user(session.text("User")), _rights(session)
    gone = [r for r in mailbox.rights if r.trustee == trustee.id and set(rights) & set(r.rights)]
    if not gone:
        return Result(warnings=[_NOT_THERE.format(user.id, trustee.id)])
    with session.tenant.mailboxes.change(mailbox.id) as draft:
        draft.rights = [right for right in draft.rights if right not in gone]
    return Result()


def get_recipient_permission(session: Session) -> Result:
    """Get-RecipientPermission: who may send as the mailbox."""
    user, mailbox = session.mailbox(session.view)
    trustees = [session.tenant.user(trustee) for trustee in mailbox.send_as]
    rows = [_send_as_json(user, "NT AUTHORITY\\SELF"), *(_send_as_json(user, t.upn) for t in trustees)]
    if "Trustee" in session.parameters:
        wanted = session.user(session.text("Trustee"))
        rows = [row for row in rows if row["Trustee"] == wanted.upn]
    return Result(rows)


def add_recipient_permission(session: Session) -> Result:
    """Add-RecipientPermission: SendAs."""
    user, mailbox = session.mailbox()
    trustee = session.user(session.text("Trustee"))
    _rights(session)
    if trustee.id in mailbox.send_as:
        return Result([_send_as_json(user, trustee.upn)], [_ALREADY.format(user.id, trustee.id)])
    with session.tenant.mailboxes.change(mailbox.id) as draft:
        draft.send_as.append(trustee.id)
    return Result([_send_as_json(user, trustee.upn)])


def _send_as_json(user: User, trustee: str) -> Json:
    return {
        "Identity": user.id,
        "Trustee": trustee,
        "AccessControlType": "Allow",
        "AccessRights@odata.type": "#Collection(String)",
        "AccessRights": ["SendAs"],
        "IsInherited": False,
        "InheritanceType": "None",
    }


def _rights(session: Session) -> list[str]:
    given: Any = session.parameters.get("AccessRights")
    rights = given if isinstance(given, list) else [part.strip() for part in str(given or "").split(",")]
    if not all(isinstance(right, str) and right for right in rights):
        return [session.text("AccessRights")]
    return list(rights)


# -- automatic replies --------------------------------------------------------------------------------------


def get_auto_reply(session: Session) -> Result:
    """Get-MailboxAutoReplyConfiguration."""
    user, mailbox = session.mailbox(session.view)
    reply = mailbox.auto_reply
    return Result(
        [
            {
                "Identity": user.id,
                "MailboxOwnerId": user.id,
                "AutoReplyState": reply.state,
                "ExternalAudience": reply.audience,
                "InternalMessage": reply.internal,
                "ExternalMessage": reply.external,
                "StartTime": moment(session.tenant.now),
                "EndTime": moment(session.tenant.now + 86_400),
                "AutoDeclineFutureRequestsWhenOOF": False,
                "CreateOOFEvent": False,
            }
        ]
    )


def set_auto_reply(session: Session) -> Result:
    """Set-MailboxAutoReplyConfiguration; plain text comes back as a web page."""
    _, mailbox = session.mailbox()
    given = session.parameters
    state = str(given.get("AutoReplyState", mailbox.auto_reply.state))
    audience = str(given.get("ExternalAudience", mailbox.auto_reply.audience))
    if state not in _STATES or audience not in _AUDIENCES:
        text = "Cannot process argument transformation on parameter 'AutoReplyState' or 'ExternalAudience'."
        raise CmdletError(
            "System.Management.Automation.ParameterBindingArgumentTransformationException", text
        )
    with session.tenant.mailboxes.change(mailbox.id) as draft:
        draft.auto_reply.state, draft.auto_reply.audience = state, audience
        if "InternalMessage" in given:
            draft.auto_reply.internal = _as_page(given["InternalMessage"])
        if "ExternalMessage" in given:
            draft.auto_reply.external = _as_page(given["ExternalMessage"])
    return Result()


def _as_page(message: object) -> str:
    text = "" if message is None else str(message)
    if not text or "<html" in text.casefold():
        return text
    return f"<html>\r\n<body>\r\n{text}\r\n</body>\r\n</html>\r\n"
