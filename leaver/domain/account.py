"""Accounts: what intake found in each system, by immutable id."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from leaver.domain.base import Facts, Message
from leaver.domain.event import Person
from leaver.domain.words import Mode, Reason, System


class LinkRule(StrEnum):
    """The rule that linked an account to the person; names alone never link."""

    EMPLOYEE_ID = "employee_id"
    USER_NAME = "user_name"
    MAIL = "mail"
    LINKED_ACCOUNT = "linked_account"
    """Through another system: the mailbox and drive of an Entra user, the AD object of a synced one."""


class Account(Message):
    """One account of the leaver (or of the successor).

    ``id`` is the system's immutable id: Entra object id (also for Exchange and OneDrive), AD objectGUID.
    ``locator`` is what the vendor's API needs besides (the OneDrive site URL, the AD domain); it may name
    the person, so it never goes into evidence. ``before`` is what intake read: the state to prove changes
    against and to restore from.
    """

    system: System
    id: str
    rule: LinkRule
    synced: bool = False
    linked_id: str | None = None
    """For a synced Entra user: the objectGUID of the AD object it is mastered by."""
    locator: str | None = None
    before: Facts = Field(default_factory=dict)


class ResolveInput(Message):
    """Who to look for. ``linked`` are accounts already found elsewhere that lead to this one."""

    case: str
    person: Person
    mode: Mode
    linked: tuple[Account, ...] = ()
    successor_email: str | None = None
    """Ask the system for the successor's account too (Entra only)."""


class ResolveResult(Message):
    """What was found. No account and no ``reason`` means: read, and there is none."""

    system: System
    account: Account | None = None
    successor: Account | None = None
    reason: Reason | None = None
    """Why the account could not be told for certain: nothing is written in this system then."""
    detail: str = ""
