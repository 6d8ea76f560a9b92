"""Who is never touched without a release: break-glass, service accounts, own identities (trap T6)."""

from __future__ import annotations

from leaver.domain.event import Person
from leaver.domain.policy import Policy


def why_protected(policy: Policy, person: Person) -> str:
    """Why this person is protected by the policy, or an empty string. The text names nobody."""
    protected = policy.protected
    if person.external_id in protected.external_ids:
        return "the employee number is on the policy's protected list"
    addresses = {item.casefold() for item in (person.user_name, *person.emails) if item}
    if addresses & set(protected.user_names):
        return "the user name is on the policy's protected list"
    return ""
