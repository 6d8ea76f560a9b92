"""What the Entra activities need of a directory, whoever provides it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from pydantic import SecretStr

USER_NOT_FOUND: Final = "Request_ResourceNotFound"
"""Graph's error code for an object that is not there."""


class UserKey(StrEnum):
    """By what a user can be searched. A search only finds candidates; state is read by id."""

    EMPLOYEE_ID = "employeeId"
    USER_NAME = "userPrincipalName"
    MAIL = "mail"


@dataclass(frozen=True, slots=True)
class DirectoryUser:
    """A user object as one read showed it. ``read_at`` is the directory's own clock (UTC, to the second)."""

    id: str
    enabled: bool
    synced: bool
    read_at: datetime
    user_type: str = "Member"
    employee_id: str | None = None
    ad_object_guid: str | None = None
    """For a synced user whose anchor is an objectGUID: the AD object that masters it."""
    password_changed_at: datetime | None = None
    sessions_valid_from: datetime | None = None


@dataclass(frozen=True, slots=True)
class DeletedUser:
    """A user in the directory's bin: restorable for 30 days, and live again after that (trap T26)."""

    id: str
    deleted_at: datetime | None


@dataclass(frozen=True, slots=True)
class AuthMethod:
    """A registered sign-in method. ``kind`` is the last part of its type, e.g. ``phoneAuthenticationMethod``.

    ``removable`` tells whether the vendor's v1.0 interface can delete this kind at all.
    """

    id: str
    kind: str
    removable: bool
    last: bool = False
    """Among its kind to be removed after the others: the main mobile number goes after the alternate."""


class GroupClass(StrEnum):
    """Which system can end a membership (trap T51 to T54, T56). Told before calling; errors do not tell."""

    PLAIN = "plain"
    ROLE_ASSIGNABLE = "role_assignable"
    LICENCE_BEARING = "licence_bearing"
    MAIL_ENABLED = "mail_enabled"
    DYNAMIC = "dynamic"
    SYNCED = "synced"


@dataclass(frozen=True, slots=True)
class Group:
    """A group that the user is a direct member of."""

    id: str
    kind: GroupClass
    licensed: bool = False
    """Whether membership gives licences, whatever the class."""


@dataclass(frozen=True, slots=True)
class Licence:
    """One row of the user's licence assignments. ``group`` is None for a direct one."""

    sku: str
    group: str | None


class Directory(Protocol):
    """Entra ID. Ids are immutable object ids. Every method may raise ``ConnectorError``.

    Reads of a user that is not there raise ``Rejected`` with status 404.
    """

    async def find(self, key: UserKey, value: str) -> tuple[str, ...]:
        """Ids of users whose ``key`` equals ``value``. Reads an index that may lag."""

    async def user(self, user: str) -> DirectoryUser:
        """Read a user by id."""

    async def deleted(self, employee_id: str) -> tuple[DeletedUser, ...]:
        """Soft-deleted users with this employee id."""

    async def is_deleted(self, user: str) -> bool:
        """Whether this id lies in the bin."""

    async def block_sign_in(self, user: str, password: SecretStr | None) -> None:
        """Write: disable, and in the same request set a password to be changed at next sign-in, if given."""

    async def set_password(self, user: str, password: SecretStr) -> None:
        """Write: set a password to be changed at next sign-in."""

    async def revoke_sessions(self, user: str) -> None:
        """Write: invalidate refresh tokens and session cookies issued before now."""

    async def methods(self, user: str) -> tuple[AuthMethod, ...]:
        """Sign-in methods except the password, in the vendor's order."""

    async def remove_method(self, user: str, method: AuthMethod) -> None:
        """Write: remove one method; gone already is fine. The default one is refused while others exist."""

    async def member_of(self, user: str) -> tuple[str, ...]:
        """Ids of the groups the user is a direct member of."""

    async def group(self, group: str) -> Group:
        """Read and classify a group."""

    async def leave_group(self, user: str, group: Group) -> None:
        """Write: end a direct membership; ended already is fine."""

    async def licences(self, user: str) -> tuple[Licence, ...]:
        """Licence assignments, direct and through groups."""

    async def remove_licences(self, user: str, skus: Collection[str]) -> None:
        """Write: remove directly assigned licences. One that is not assigned directly fails them all."""

    async def mailbox_purpose(self, user: str) -> str | None:
        """What Graph says the user's mailbox is for (``user``, ``shared`` …), None where there is none."""
