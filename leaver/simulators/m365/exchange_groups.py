"""Recipient and distribution group cmdlets of Exchange Online (traps T53 and T54).

A user's lists are found as PowerShell users find them: ``Get-Recipient`` gives the distinguished name, and
``Get-Recipient -Filter "Members -eq '<that name>'"`` the groups.
"""

from __future__ import annotations

import re
from typing import Final

from leaver.simulators.m365.exchange_wire import (
    MANAGERS_ONLY,
    NOT_A_MEMBER,
    SYNCED,
    CmdletError,
    Result,
    Session,
    group_dn,
    missing,
    user_dn,
)
from leaver.simulators.m365.graph_wire import Json
from leaver.simulators.m365.state import Group, User

_MEMBERS_OF: Final = re.compile(r"Members\s+-eq\s+'(?P<dn>(?:[^']|'')+)'", re.IGNORECASE)


def get_recipient(session: Session) -> Result:
    """Get-Recipient: by ``Identity``, or by a filter on ``Members``; lists and M365 groups alike."""
    clause = session.parameters.get("Filter")
    if clause is None:
        return Result([_recipient(session)])
    match = _MEMBERS_OF.fullmatch(str(clause).strip().strip("{}").strip())
    if match is None:
        text = f"Cannot bind parameter 'Filter' to the target. Invalid filter syntax: \"{clause}\"."
        raise CmdletError("System.Management.Automation.ParameterBindingException", text)
    user = session.user(match["dn"].replace("''", "'"), session.view)
    groups = [g for g in session.tenant.groups_of(user.id, session.view) if g.mail_enabled]
    wanted = session.parameters.get("RecipientTypeDetails")
    kinds = wanted if isinstance(wanted, list) else str(wanted).split(",") if wanted else None
    rows = [_group_json(session, group) for group in groups]
    return Result([row for row in rows if kinds is None or row["RecipientTypeDetails"] in kinds])


def _recipient(session: Session) -> Json:
    identity = session.text("Identity")
    try:
        user = session.user(identity, session.view)
    except CmdletError:
        group = session.list_group(identity, session.view)
        return _group_json(session, group)
    mailbox = session.tenant.mailboxes.get(user.id, session.view)
    if mailbox is None or mailbox.soft_deleted is not None:
        raise missing(identity)
    return _user_json(session, user) | {"RecipientTypeDetails": mailbox.type.value}


def get_distribution_group(session: Session) -> Result:
    """Get-DistributionGroup."""
    return Result([_group_json(session, session.list_group(session.text("Identity"), session.view))])


def get_members(session: Session) -> Result:
    """Get-DistributionGroupMember: everybody in the list."""
    group = session.list_group(session.text("Identity"), session.view)
    users = (session.tenant.users.get(member, session.view) for member in group.members)
    return Result([_user_json(session, user) for user in users if user is not None and user.deleted is None])


def remove_member(session: Session) -> Result:
    """Remove-DistributionGroupMember: nobody but managers, unless the check is bypassed."""
    group = session.list_group(session.text("Identity"))
    user = session.user(session.text("Member"))
    if group.synced:
        text = (
            f"The action 'Remove-DistributionGroupMember', 'Identity,Member', can't be performed on the "
            f"object '{group.display_name}' because the object is being synchronized from your on-premises "
            "organization."
        )
        raise CmdletError(SYNCED, text)
    if not session.on("BypassSecurityGroupManagerCheck"):
        text = "This operation can only be performed by a manager of the group."
        raise CmdletError(MANAGERS_ONLY, f"You don't have sufficient permissions. {text}")
    if user.id not in group.members:
        text = f'The recipient "{user.id}" isn\'t a member of the group "{group.display_name}".'
        raise CmdletError(NOT_A_MEMBER, text)
    session.tenant.leave_group(group.id, user.id)
    return Result()


def add_member(session: Session) -> Result:
    """Add-DistributionGroupMember."""
    group = session.list_group(session.text("Identity"))
    user = session.user(session.text("Member"))
    if user.id in group.members:
        text = f'The recipient "{user.id}" is already a member of the group "{group.display_name}".'
        raise CmdletError("Microsoft.Exchange.Management.Tasks.MemberAlreadyExistsException", text)
    session.tenant.join_group(group.id, user.id)
    return Result()


def _user_json(session: Session, user: User) -> Json:
    mailbox = session.tenant.mailboxes.get(user.id, session.view)
    return {
        "Identity": user.id,
        "Name": user.id,
        "DisplayName": user.display_name,
        "DistinguishedName": user_dn(session.tenant, user),
        "ExternalDirectoryObjectId": user.id,
        "Guid": mailbox.guid if mailbox else user.id,
        "PrimarySmtpAddress": user.mail,
        "RecipientType": "UserMailbox",
        "RecipientTypeDetails": mailbox.type.value if mailbox else "MailUser",
    }


def _group_json(session: Session, group: Group) -> Json:
    security = "MailUniversalSecurityGroup"
    kind = "GroupMailbox" if group.unified else security if group.security_enabled else None
    return {
        "Identity": f"{group.display_name}{group.id[:8]}",
        "Name": f"{group.display_name}{group.id[:8]}",
        "DisplayName": group.display_name,
        "DistinguishedName": group_dn(session.tenant, group),
        "ExternalDirectoryObjectId": group.id,
        "Guid": group.id,
        "PrimarySmtpAddress": group.mail,
        "IsDirSynced": group.synced,
        "RecipientType": "MailUniversalDistributionGroup",
        "RecipientTypeDetails": kind or "MailUniversalDistributionGroup",
    }
