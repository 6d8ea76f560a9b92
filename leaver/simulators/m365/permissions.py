"""Which application permission each route wants: any one of a set, the smaller ones of the vendor's lists.

learn.microsoft.com/graph/permissions-reference. Routes that are not here want nothing that matters.
"""

from __future__ import annotations

from typing import Final

_USER_READ: Final = frozenset(
    {
        "User.ReadBasic.All",
        "User.Read.All",
        "User.ReadWrite.All",
        "Directory.Read.All",
        "Directory.ReadWrite.All",
    }
)
USER_WRITE: Final = frozenset({"User.ReadWrite.All", "Directory.ReadWrite.All"})
PROPERTY_NEEDS: Final[dict[str, frozenset[str]]] = {
    "accountEnabled": USER_WRITE | {"User.EnableDisableAccount.All"},
    "passwordProfile": USER_WRITE | {"User-PasswordProfile.ReadWrite.All"},
}
"""What each property of a user wants to be written; the rest want :data:`USER_WRITE`."""
_REVOKE: Final = frozenset({"User.RevokeSessions.All", "User.ReadWrite.All", "Directory.ReadWrite.All"})
_DELETE: Final = frozenset({"User.DeleteRestore.All", "User.ReadWrite.All"})
_METHODS_READ: Final = frozenset(
    {"UserAuthenticationMethod.Read.All", "UserAuthenticationMethod.ReadWrite.All"}
)
_METHODS_WRITE: Final = frozenset({"UserAuthenticationMethod.ReadWrite.All"})
_GROUP_READ: Final = frozenset(
    {
        "GroupMember.Read.All", "GroupMember.ReadWrite.All", "Group.Read.All", "Group.ReadWrite.All",
        "Directory.Read.All", "Directory.ReadWrite.All",
    }
)  # fmt: skip
_GROUP_WRITE: Final = frozenset(
    {"GroupMember.ReadWrite.All", "Group.ReadWrite.All", "Directory.ReadWrite.All"}
)
_LICENCE_READ: Final = frozenset(
    {"LicenseAssignment.Read.All", "LicenseAssignment.ReadWrite.All", "Directory.Read.All"}
)
_LICENCE_WRITE: Final = frozenset(
    {"LicenseAssignment.ReadWrite.All", "User.ReadWrite.All", "Directory.ReadWrite.All"}
)
_MAILBOX_READ: Final = frozenset({"MailboxSettings.Read", "MailboxSettings.ReadWrite"})
_MAILBOX_WRITE: Final = frozenset({"MailboxSettings.ReadWrite"})
_FILES_READ: Final = frozenset(
    {"Files.Read.All", "Files.ReadWrite.All", "Sites.Read.All", "Sites.ReadWrite.All"}
)
_FILES_WRITE: Final = frozenset({"Files.ReadWrite.All", "Sites.ReadWrite.All"})
_METHOD_KINDS: Final = (
    "phone", "microsoftAuthenticator", "fido2", "softwareOath", "email", "temporaryAccessPass",
    "windowsHelloForBusiness", "platformCredential", "externalAuthentication",
)  # fmt: skip
_AUTHENTICATION: Final = "/users/{user}/authentication"

GRAPH_NEEDS: Final[dict[tuple[str, str], frozenset[str]]] = {
    ("GET", "/users"): _USER_READ,
    ("GET", "/users/{user}"): _USER_READ,
    ("PATCH", "/users/{user}"): USER_WRITE.union(*PROPERTY_NEEDS.values()),
    ("DELETE", "/users/{user}"): _DELETE,
    ("DELETE", "/groups/{group}/members/{member}"): _DELETE,
    ("GET", "/users/{user}/manager"): _USER_READ,
    ("POST", "/users/{user}/revokeSignInSessions"): _REVOKE,
    ("POST", "/users/{user}/microsoft.graph.revokeSignInSessions"): _REVOKE,
    ("GET", "/directory/deletedItems/graph.user"): _USER_READ,
    ("GET", "/directory/deletedItems/microsoft.graph.user"): _USER_READ,
    ("POST", "/directory/deletedItems/{user}/restore"): _DELETE,
    ("GET", f"{_AUTHENTICATION}/methods"): _METHODS_READ,
    **{("GET", f"{_AUTHENTICATION}/{kind}Methods"): _METHODS_READ for kind in _METHOD_KINDS},
    **{("DELETE", f"{_AUTHENTICATION}/{kind}Methods/{{method}}"): _METHODS_WRITE for kind in _METHOD_KINDS},
    ("GET", "/groups/{group}"): _GROUP_READ,
    ("GET", "/groups/{group}/members"): _GROUP_READ,
    ("POST", "/groups/{group}/members/$ref"): _GROUP_WRITE,
    ("DELETE", "/groups/{group}/members/{member}/$ref"): _GROUP_WRITE,
    ("POST", "/users/{user}/assignLicense"): _LICENCE_WRITE,
    ("POST", "/users/{user}/microsoft.graph.assignLicense"): _LICENCE_WRITE,
    ("GET", "/users/{user}/licenseDetails"): _LICENCE_READ,
    ("GET", "/subscribedSkus"): _LICENCE_READ,
    ("GET", "/users/{user}/mailboxSettings"): _MAILBOX_READ,
    ("PATCH", "/users/{user}/mailboxSettings"): _MAILBOX_WRITE,
    ("GET", "/users/{user}/drive"): _FILES_READ,
    ("GET", "/users/{user}/drive/root"): _FILES_READ,
    ("GET", "/drives/{drive}"): _FILES_READ,
    ("GET", "/drives/{drive}/root"): _FILES_READ,
    ("GET", "/drives/{drive}/root/permissions"): _FILES_READ,
    ("POST", "/drives/{drive}/root/invite"): _FILES_WRITE,
    ("DELETE", "/drives/{drive}/root/permissions/{permission}"): _FILES_WRITE,
}
# Without it, objects come back with their properties null instead of a 403: not in the table above.
MEMBERSHIP_READ: Final = frozenset({"Directory.Read.All", "Directory.ReadWrite.All", "Group.Read.All"})
