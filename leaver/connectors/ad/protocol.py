"""What the activities need of an Active Directory, whoever serves it.

Every method blocks and talks to the directory; callers in an event loop go through a thread. All times are
aware and in UTC. Objects are named by objectGUID (lower-case hexadecimal with dashes), which no rename, move
or marriage changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from leaver.connectors.errors import Rejected


class AccountGone(Rejected):
    """The account is not in the directory (any more). ``code`` is ``noSuchObject``."""

    def __init__(self) -> None:
        super().__init__("the account is no longer in the directory", code="noSuchObject", status=32)


class Key(StrEnum):
    """The attributes an account may be looked up by, named as in the directory's schema."""

    EMPLOYEE_ID = "employeeID"
    USER_NAME = "userPrincipalName"
    MAIL = "mail"


@dataclass(frozen=True, slots=True)
class AdAccount:
    """One user object as it was read. Fields that name the person stay out of ``repr``."""

    guid: str
    enabled: bool
    """userAccountControl without ACCOUNTDISABLE (MS-ADTS 2.2.16)."""
    privileged: bool
    """adminCount is 1: the object is, or was, under AdminSDHolder, where delegated rights end."""
    password_set_at: datetime | None
    """pwdLastSet; None when the password was never set or must be changed at the next logon."""
    password_version: int | None
    """How often unicodePwd was written in the whole domain; None where the account may not read it."""
    changed_at: datetime
    usn: int
    """uSNChanged: local to the domain controller that answered."""
    primary_group_id: int
    """RID of the primary group, which is membership without a ``member`` value."""
    employee_id: str | None = field(default=None, repr=False)
    dn: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ConnectionCheck:
    """What a look at the directory told, without changing anything."""

    server: str
    """DNS host name of the domain controller that answered."""
    clock_skew_seconds: float
    """Its clock minus ours."""
    problems: tuple[str, ...]
    """What would keep the work from succeeding, in words for an operator; empty when nothing was found."""


class Directory(Protocol):
    """A domain, as far as offboarding needs it.

    Reading methods raise ``Retryable``, ``InvalidCredentials``, ``AccessDenied``, ``Rejected`` or
    ``ProtocolError``; writing methods also ``WriteRefused`` (nothing was sent), ``UnknownOutcomeError`` (it
    may have been committed) and ``AccountGone``.
    """

    @property
    def base_dn(self) -> str:
        """The domain's own DN."""
        ...

    def find(self, key: Key, value: str) -> AdAccount | None:
        """The user object whose attribute equals ``value``.

        Raises:
            Ambiguous: several objects answer.
        """
        ...

    def find_linked(self, guid: str) -> AdAccount | None:
        """The user object a synced cloud account is mastered by (objectGUID or mS-DS-ConsistencyGuid).

        Raises:
            Ambiguous: one object has it as its GUID, another as its consistency GUID.
        """
        ...

    def get(self, guid: str) -> AdAccount | None:
        """The user object with this objectGUID, read now; None when there is none (or it was deleted)."""
        ...

    def groups(self, guid: str) -> tuple[str, ...]:
        """GUIDs of the groups that list the account as a member: direct ones, never the primary group.

        Raises:
            AccountGone: there is no such account.
        """
        ...

    def container(self, guid: str) -> str | None:
        """GUID of the object's parent; None where it may not be read.

        Raises:
            AccountGone: there is no such account.
        """
        ...

    def is_under(self, guid: str, ou: str) -> bool:
        """Whether the object lies in the OU with this DN, or below it.

        Raises:
            Rejected: there is no such OU (code ``noSuchObject``).
        """
        ...

    def disable(self, guid: str) -> None:
        """Set ACCOUNTDISABLE and keep the other flags."""
        ...

    def set_random_password(self, guid: str) -> None:
        """Set a password that nobody knows: it is made here, sent over TLS and forgotten (trap T70)."""
        ...

    def remove_from_group(self, guid: str, group: str) -> None:
        """Take the account out of one group. Not being in it is success."""
        ...

    def move(self, guid: str, ou: str) -> None:
        """Move the object into the OU with this DN, keeping its name."""
        ...

    def check_connection(self, *, leavers_ou: str | None = None) -> ConnectionCheck:
        """Connect, bind and read; name what is missing. Writes nothing."""
        ...
