"""The steps on one mailbox, and on the mail-enabled groups its owner is in."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from activities.errors import open_reason
from activities.presence import NOT_FOUND
from activities.unit import StepRun
from leaver.connectors.errors import AccessDenied, ConnectorError, Rejected, UnknownOutcomeError
from leaver.connectors.exchange.protocol import AutoReply, MailGroup, MailSystem
from leaver.domain.effect import Effect
from leaver.domain.words import Outcome, Reason

_SHARED: Final = ("SharedMailbox", "shared")
_HANDLED_BY: Final = {
    "dynamic": "the group's own membership rule",
    "synced": "ad.remove_groups",
    "licence_bearing": "a person, once the mailbox is safe",
}


class MailboxSteps:
    """What happens to the leaver's mailbox."""

    def __init__(self, mail: MailSystem) -> None:
        self._mail = mail

    async def set_auto_reply(self, step: StepRun) -> Effect:
        """Answer with the policy's text; the leaver's own words never reach evidence."""
        wanted = step.arg.parameters.get("auto_reply")
        if not isinstance(wanted, str):
            detail = "the policy has no text for the automatic reply (mailbox.auto_reply)"
            return step.effect(Outcome.OPEN, {}, {}, Reason.MISCONFIGURED, detail)
        user = step.arg.account.id
        words = " ".join(wanted.split())

        def is_set(reply: AutoReply) -> bool:
            return reply.state == "Enabled" and reply.text == words

        async def write(_: AutoReply) -> None:
            await self._mail.set_auto_reply(user, wanted)

        return await step.converge(
            read=lambda: self._mail.auto_reply(user),
            so=is_set,
            facts=lambda reply: {"auto_reply": reply.state, "policy_text": reply.text == words},
            write=write,
        )

    async def delegate_to_successor(self, step: StepRun) -> Effect:
        """Give the successor FullAccess to the mailbox."""
        user = step.arg.account.id
        successor = successor_of(step)
        if isinstance(successor, Effect):
            return successor

        async def write(_: bool) -> None:
            await self._mail.grant_full_access(user, successor)

        return await step.converge(
            read=lambda: self._mail.has_full_access(user, successor),
            so=lambda granted: granted,
            facts=lambda granted: {"successor": successor, "full_access": granted},
            write=write,
        )

    async def convert_to_shared(self, step: StepRun) -> Effect:
        """Make the mailbox shared; proven when Exchange and Graph both say so (trap T30)."""
        user = step.arg.account.id

        async def read() -> tuple[str, str | None]:
            mailbox = await self._mail.mailbox(user)
            if mailbox is None:
                raise Rejected("read mailbox: there is none", code="no_mailbox", status=NOT_FOUND)
            return mailbox.recipient_type, await self._mail.purpose(user)

        async def write(_: tuple[str, str | None]) -> None:
            await self._mail.convert_to_shared(user)

        return await step.converge(
            read=read,
            so=lambda proofs: proofs == _SHARED,
            facts=lambda proofs: {"recipient_type": proofs[0], "user_purpose": proofs[1]},
            write=write,
        )


@dataclass(frozen=True, slots=True)
class Lists:
    """The mail-enabled groups Exchange counts the user in, and those it is not to be taken out of here."""

    members: tuple[str, ...]
    left: tuple[MailGroup, ...]


class MailGroupSteps:
    """What happens to the leaver's memberships in mail-enabled groups."""

    def __init__(self, mail: MailSystem) -> None:
        self._mail = mail

    async def remove_distribution_groups(self, step: StepRun) -> Effect:
        """Leave them, by object id. Graph lists them, Exchange has the last word on each (trap T53)."""
        user = step.arg.account.id
        refused: dict[str, ConnectorError] = {}
        seen: set[str] = set()

        async def read() -> Lists:
            groups = await self._mail.mail_groups(user)
            # A group that Graph does not list any more is still asked for: that list lags.
            seen.update(group.id for group in groups if group.why_not is None)
            members = [group for group in sorted(seen) if await self._mail.is_member(group, user)]
            return Lists(tuple(members), tuple(group for group in groups if group.why_not is not None))

        async def write(lists: Lists) -> None:
            for group in lists.members:
                try:
                    # A lost answer must not keep the others waiting; reading back tells what became of it.
                    with contextlib.suppress(UnknownOutcomeError):
                        await self._mail.leave_group(group, user)
                    step.wrote_part()
                except (AccessDenied, Rejected) as err:
                    refused[group] = err

        effect = await step.converge(
            read=read,
            so=lambda lists: all(group in refused for group in lists.members),
            facts=lambda lists: {"groups": [*lists.members], "left": _left(lists.left)},
            write=write,
        )
        if not refused:
            return effect
        first = next(iter(refused.values()))
        detail = f"{len(refused)} of the groups could not be left: {first}"
        reason = open_reason(first) or Reason.REJECTED_BY_SYSTEM
        return effect.model_copy(update={"outcome": Outcome.OPEN, "reason": reason, "detail": detail})


def successor_of(step: StepRun) -> str | Effect:
    """The successor's id, or the open effect of a step that has nobody to hand over to."""
    successor = step.arg.successor
    if successor is None:
        return step.effect(Outcome.OPEN, {}, {}, Reason.NO_SUCCESSOR, "name a successor, then retry the step")
    if successor.id.casefold() == step.arg.account.id.casefold():
        detail = "the leaver cannot be their own successor; name another one"
        return step.effect(Outcome.OPEN, {}, {}, Reason.NO_SUCCESSOR, detail)
    return successor.id


def _left(groups: tuple[MailGroup, ...]) -> list[JsonValue]:
    by_class: dict[str, list[str]] = {}
    for group in groups:
        by_class.setdefault(group.why_not or "", []).append(group.id)
    return [
        {"class": kind, "groups": [*sorted(ids)], "handled_by": _HANDLED_BY[kind]}
        for kind, ids in sorted(by_class.items())
    ]
