"""What a 403 of Microsoft Graph lacks, in the words an administrator grants it by."""

from __future__ import annotations

from typing import Final

_ROLE_HOLDER: Final = (
    "; if the account holds an administrator role, also give this app the Entra role Privileged"
    " Authentication Administrator"
)
"""Application permissions alone never suffice against role holders (trap T19)."""

READ_USERS: Final = "the application permission User.Read.All"
READ_GROUPS: Final = "the application permission Directory.Read.All"
READ_METHODS: Final = "the application permission UserAuthenticationMethod.Read.All"
READ_MAILBOX: Final = "the application permission MailboxSettings.Read"
BLOCK: Final = "the application permission User.EnableDisableAccount.All" + _ROLE_HOLDER
PASSWORD: Final = "the application permission User-PasswordProfile.ReadWrite.All" + _ROLE_HOLDER
BLOCK_AND_PASSWORD: Final = (
    "the application permissions User.EnableDisableAccount.All and User-PasswordProfile.ReadWrite.All"
    + _ROLE_HOLDER
)
REVOKE: Final = "the application permission User.RevokeSessions.All"
METHODS: Final = "the application permission UserAuthenticationMethod.ReadWrite.All" + _ROLE_HOLDER
LEAVE_GROUP: Final = "the application permission GroupMember.ReadWrite.All"
LEAVE_ROLE_GROUP: Final = (
    "the application permission RoleManagement.ReadWrite.Directory besides GroupMember.ReadWrite.All:"
    " the group can hold administrator roles"
)
LICENCES: Final = "the application permission LicenseAssignment.ReadWrite.All"
