"""Who is never touched without a release: break-glass, service accounts, own identities (trap T6)."""

from __future__ import annotations

from leaver.domain.event import Person
from leaver.domain.policy import Policy


def why_protected(policy: Policy, person: Person, *, worker: str) -> str:
    """Why the policy protects this person, or an empty string. The text names nobody.

    ``worker`` is the HR source's id of the person; numbers and names are compared without case.
    """
    protected = policy.protected
    if {number.casefold() for number in protected.external_ids} & {
        person.external_id.casefold(),
        worker.casefold(),
    }:
        return "the employee number is on the policy's protected list"
    handles = {handle.casefold() for handle in (person.user_name, *person.emails) if handle}
    if handles & set(protected.user_names):
        return "the user name is on the policy's protected list"
    return ""
