"""What the Exchange activities need of a mail system."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A mailbox as Exchange shows it. ``recipient_type`` is RecipientTypeDetails."""

    user: str
    recipient_type: str
    archive: bool = False
    litigation_hold: bool = False
    in_place_holds: int = 0
    forwarding: bool = False


@dataclass(frozen=True, slots=True)
class AutoReply:
    """The automatic reply. ``text`` is what strangers get, without markup: maybe the leaver's own words."""

    state: str
    text: str


@dataclass(frozen=True, slots=True)
class MailGroup:
    """A distribution list or mail-enabled security group; ``why_not`` says why it is not left here."""

    id: str
    why_not: str | None = None


class MailSystem(Protocol):
    """Exchange Online, and Graph's view of it. Users, trustees and groups are Entra object ids throughout.

    Every method may raise ``ConnectorError``.
    """

    async def mailbox(self, user: str) -> Mailbox | None:
        """The user's mailbox, None where there is none."""

    async def purpose(self, user: str) -> str | None:
        """Graph's ``userPurpose`` of the mailbox, None where Graph knows of none. It may lag."""

    async def size(self, user: str) -> int | None:
        """Bytes in the mailbox, without its archive."""

    async def auto_reply(self, user: str) -> AutoReply:
        """The automatic reply as it is set now."""

    async def set_auto_reply(self, user: str, text: str) -> None:
        """Write: answer everybody, inside and outside, with ``text``."""

    async def has_full_access(self, user: str, trustee: str) -> bool:
        """Whether ``trustee`` has direct, undenied FullAccess to the user's mailbox."""

    async def grant_full_access(self, user: str, trustee: str) -> None:
        """Write: give ``trustee`` FullAccess to the user's mailbox."""

    async def convert_to_shared(self, user: str) -> None:
        """Write: make the mailbox a shared one. It must still be licensed (trap T30)."""

    async def mail_groups(self, user: str) -> tuple[MailGroup, ...]:
        """The user's direct mail-enabled groups, as the directory lists them."""

    async def is_member(self, group: str, user: str) -> bool:
        """Whether Exchange lists the user in the group."""

    async def leave_group(self, group: str, user: str) -> None:
        """Write: end the membership; ended already is fine."""
