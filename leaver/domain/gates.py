"""Gates: conditions read from the systems that must hold before something irreversible. Pure rules."""

from __future__ import annotations

from leaver.domain.effect import MailboxFacts
from leaver.domain.policy import Policy

_GIB = 1024**3


def mailbox_gate(facts: MailboxFacts, policy: Policy) -> str:
    """Why the licences must stay, or an empty string (traps T30 to T32).

    Removing the licence of an unconverted mailbox deletes it after 30 days; a shared mailbox over 50 GB, with
    an archive or under a hold needs a licence of its own, and a hold is lifted by people, never by us.
    """
    if not facts.exists:
        return ""
    size = facts.size_bytes
    checks = (
        (
            not facts.proven_shared,
            f"not proven shared: Exchange says {facts.recipient_type}, Graph says {facts.user_purpose}",
        ),
        (facts.litigation_hold, "the mailbox is under litigation hold"),
        (facts.in_place_holds > 0, "the mailbox is under an in-place hold"),
        (facts.archive, "the mailbox has an archive, which needs a licence"),
        (size is None, "the size of the mailbox could not be read"),
        (
            size is not None and size > policy.mailbox.max_unlicensed_gb * _GIB,
            f"the mailbox is larger than {policy.mailbox.max_unlicensed_gb} GB",
        ),
    )
    return next((why for closed, why in checks if closed), "")


def passes_by_itself(facts: MailboxFacts) -> bool:
    """Whether waiting may open the gate: only the conversion still has to arrive."""
    return facts.exists and not facts.proven_shared
