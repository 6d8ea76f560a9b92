"""First, do no harm: which leaver events may start a case by themselves, and which wait for a person.

Pure. A protected person's case is opened and waits; a delivery over the brake opens none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from leaver.domain.event import EventType, LeaverEvent
from leaver.domain.policy import Policy
from leaver.domain.protection import why_protected


class HeldReason(StrEnum):
    """Why an event waits."""

    PROTECTED_PERSON = "protected_person"
    MASS_BRAKE = "mass_brake"


@dataclass(frozen=True, slots=True)
class Held:
    """An event that touches nothing; ``text`` says why and what to do, without names."""

    event: LeaverEvent
    reason: HeldReason
    text: str


@dataclass(frozen=True, slots=True)
class Screening:
    """Every event of a delivery, in its order, in one of the two."""

    start: tuple[LeaverEvent, ...]
    held: tuple[Held, ...]


def screen(events: Iterable[LeaverEvent], policy: Policy, now: datetime) -> Screening:
    """Divide one delivery's events into those to start and those to hold.

    Protected people (trap T6) are held, always. More leavers in one delivery than the policy's brake allows
    (trap T5) are all held, immediate ones too: which of them are meant cannot be told. A rescinded leaver
    always passes and does not count, because it takes nothing away.

    Args:
        events: of one delivery.
        policy: with protected people and the brake.
        now: the present (aware); it decides how urgent the texts sound.
    """
    delivered = tuple(events)
    leaving = [event for event in delivered if event.type is not EventType.RESCINDED]
    people = {(event.source, event.subject.casefold()) for event in leaving}
    brake = policy.brakes.max_leavers_per_feed
    start: list[LeaverEvent] = []
    held: list[Held] = []
    for event in delivered:
        if event.type is EventType.RESCINDED:
            start.append(event)
        elif why_protected(policy, event.data.person, worker=event.subject):
            held.append(_held(event, HeldReason.PROTECTED_PERSON, _PROTECTED, now))
        elif len(people) > brake:
            held.append(
                _held(event, HeldReason.MASS_BRAKE, _BRAKE.format(count=len(people), brake=brake), now)
            )
        else:
            start.append(event)
    return Screening(tuple(start), tuple(held))


_PROTECTED = (
    "the policy protects this person; the case waits and touches nothing. If they do leave, security releases"
    " it with 'leaver case release'; otherwise rescind it"
)
_BRAKE = (
    "this delivery names {count} leavers, the policy's brake is {brake}; none was started. Check the delivery"
    " with HR; then deliver it in smaller parts, or raise policy.brakes.max_leavers_per_feed"
)


def _held(event: LeaverEvent, reason: HeldReason, text: str, now: datetime) -> Held:
    cutoff = event.data.separation.effective_at
    when = f"{cutoff:%Y-%m-%d %H:%M} UTC"
    urgency = f"the cut-off was {when}: decide now" if cutoff <= now else f"the cut-off is {when}"
    return Held(event, reason, f"{text}; {urgency}.")
