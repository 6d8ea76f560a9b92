"""What a simulated tenant holds: plain records, one class per kind of object.

Times are seconds since the epoch, UTC. Wire names and formats are the business of the modules that speak.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field


class Entity(BaseModel):
    """Something with an id that is stored, versioned and written to the journal."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    id: str


class MethodKind(StrEnum):
    """Kinds of sign-in methods, named as in the path ``authentication/{kind}Methods``."""

    PASSWORD = "password"
    PHONE = "phone"
    AUTHENTICATOR = "microsoftAuthenticator"
    FIDO2 = "fido2"
    SOFTWARE_OATH = "softwareOath"
    EMAIL = "email"
    TEMPORARY_PASS = "temporaryAccessPass"
    WINDOWS_HELLO = "windowsHelloForBusiness"
    PLATFORM = "platformCredential"
    EXTERNAL = "externalAuthentication"
    QR_CODE_PIN = "qrCodePin"
    """Listed in v1.0, deletable in beta only (trap T25)."""


class AuthMethod(BaseModel):
    """One registered sign-in method; ``default`` marks the one that is asked for first."""

    model_config = ConfigDict(extra="forbid")

    id: str
    kind: MethodKind
    default: bool = False
    phone_type: str = "mobile"
    created: float = 0.0


class Licence(BaseModel):
    """One row of ``licenseAssignmentStates``: the same SKU can be there directly and by several groups."""

    model_config = ConfigDict(extra="forbid")

    sku: str
    by_group: str | None = None
    updated: float = 0.0


class User(Entity):
    """A user object of the directory."""

    upn: str
    display_name: str
    given_name: str
    surname: str
    mail: str | None
    proxy_addresses: list[str] = Field(default_factory=list)
    employee_id: str | None = None
    department: str | None = None
    job_title: str | None = None
    manager: str | None = None
    user_type: str = "Member"
    usage_location: str = "DE"
    created: float
    enabled: bool = True
    password_changed: float
    password_changes: int = 0
    force_password_change: bool = False
    sessions_valid_from: float
    synced: bool = False
    immutable_id: str | None = None
    last_sync: float | None = None
    directory_roles: list[str] = Field(default_factory=list)
    methods: list[AuthMethod] = Field(default_factory=list)
    licences: list[Licence] = Field(default_factory=list)
    deleted: float | None = None


class Group(Entity):
    """A group of the directory. ``members`` are ids of users and of nested groups."""

    key: str
    display_name: str
    mail: str | None = None
    mail_enabled: bool = False
    security_enabled: bool = True
    unified: bool = False
    dynamic: bool = False
    synced: bool = False
    role_assignable: bool = False
    licences: list[str] = Field(default_factory=list)
    members: list[str] = Field(default_factory=list)
    owners: list[str] = Field(default_factory=list)
    created: float

    @property
    def mail_only(self) -> bool:
        """Distribution list or mail-enabled security group: Exchange's, read-only in Graph (trap T53)."""
        return self.mail_enabled and not self.unified


class MailboxType(StrEnum):
    """RecipientTypeDetails of the mailboxes that matter here."""

    USER = "UserMailbox"
    SHARED = "SharedMailbox"


class MailboxRight(BaseModel):
    """One entry of a mailbox's access list."""

    model_config = ConfigDict(extra="forbid")

    trustee: str
    """A user's object id, or a well-known name such as ``NT AUTHORITY\\SELF``."""
    rights: list[str]
    deny: bool = False
    inherited: bool = False
    inheritance: str = "All"


class AutoReply(BaseModel):
    """Automatic replies of a mailbox."""

    model_config = ConfigDict(extra="forbid")

    state: str = "Disabled"
    audience: str = "All"
    internal: str = ""
    external: str = ""


class Mailbox(Entity):
    """A mailbox; its id is the object id of the user who anchors it."""

    guid: str
    type: MailboxType = MailboxType.USER
    type_changed: float = 0.0
    soft_deleted: float | None = None
    size_bytes: int = 1_288_490_189
    item_count: int = 8_412
    archive: bool = False
    litigation_hold: bool = False
    in_place_holds: list[str] = Field(default_factory=list)
    hidden: bool = False
    forwarding_address: str | None = None
    """Object id of the recipient."""
    forwarding_smtp: str | None = None
    deliver_and_forward: bool = False
    rights: list[MailboxRight] = Field(default_factory=list)
    send_as: list[str] = Field(default_factory=list)
    auto_reply: AutoReply = Field(default_factory=AutoReply)


class SiteUser(BaseModel):
    """One entry of a site's user information list."""

    model_config = ConfigDict(extra="forbid")

    id: int
    user: str
    is_admin: bool = False


class DriveGrant(BaseModel):
    """One permission on a drive's root."""

    model_config = ConfigDict(extra="forbid")

    id: str
    user: str
    roles: list[str]


class Drive(Entity):
    """A OneDrive: the drive and the personal site that carries it."""

    owner: str
    site_path: str
    """Server-relative, e.g. ``/personal/ann_lee_example_com``: keeps the name of the day it was made."""
    site_id: str
    web_id: str
    list_id: str
    created: float
    used_bytes: int = 734_003_200
    grants: list[DriveGrant] = Field(default_factory=list)
    site_users: list[SiteUser] = Field(default_factory=list)


class JobKind(StrEnum):
    """What the tenant still has to do by itself."""

    CONVERT_MAILBOX = "convert_mailbox"
    GROUP_LICENCES = "group_licences"


class Job(Entity):
    """Work accepted and not done yet."""

    kind: JobKind
    due: float
    subject: str
    """Object id of the user."""
    mailbox_type: MailboxType | None = None


class ServicePlan(BaseModel):
    """A part of a product."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    name: str


class Sku(Entity):
    """A product the organisation has bought; its id is the SKU id."""

    part_number: str
    enabled_units: int = 100
    plans: list[ServicePlan]

    @property
    def holds_mailbox(self) -> bool:
        """Whether a mailbox lives by it."""
        return any(plan.name.startswith("EXCHANGE_S_") for plan in self.plans)


ALL_PERMISSIONS: Final = frozenset(
    {
        "Directory.Read.All",
        "Exchange.ManageAsApp",
        "Files.ReadWrite.All",
        "GroupMember.ReadWrite.All",
        "LicenseAssignment.ReadWrite.All",
        "MailboxSettings.ReadWrite",
        "Sites.FullControl.All",
        "User-PasswordProfile.ReadWrite.All",
        "User.DeleteRestore.All",
        "User.EnableDisableAccount.All",
        "User.Read.All",
        "User.RevokeSessions.All",
        "UserAuthenticationMethod.ReadWrite.All",
    }
)
PRIVILEGED_AUTHENTICATION_ADMINISTRATOR: Final = "Privileged Authentication Administrator"
EXCHANGE_RECIPIENT_ADMINISTRATOR: Final = "Exchange Recipient Administrator"


class AppRegistration(Entity):
    """The application that calls; its id is the client id."""

    secret: str
    certificate_pem: str = ""
    token_key: str
    permissions: list[str] = Field(default_factory=lambda: sorted(ALL_PERMISSIONS))
    directory_roles: list[str] = Field(default_factory=lambda: [EXCHANGE_RECIPIENT_ADMINISTRATOR])
