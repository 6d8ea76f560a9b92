"""One HR delivery: who is told, who is held, what was wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from leaver.client.cases import Cases
from leaver.client.deliveries import Announced
from leaver.domain.event import LeaverEvent
from leaver.domain.policy import Policy
from leaver.hr.model import IngestResult, RejectedRow
from leaver.hr.screening import HeldReason, screen


@dataclass(frozen=True, slots=True)
class Row:
    """What was done with one event, and why. ``cutoff`` is ISO 8601 in UTC."""

    person: str
    case: str
    done: str
    """started, told, closed, held; would_start or would_hold in a dry run"""
    cutoff: str
    why: str = ""


@dataclass(slots=True)
class Intake:
    """What was done with one delivery."""

    file: str
    cases: list[Row] = field(default_factory=list)
    held: list[Row] = field(default_factory=list)
    rejected: list[RejectedRow] = field(default_factory=list)
    duplicates: list[RejectedRow] = field(default_factory=list)
    warnings: list[RejectedRow] = field(default_factory=list)
    announced: Announced = Announced.NOTHING
    """Whether the sealer has noted who is expected before the cases started."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where cases of this installation run: the on-premises site, and whether there is one at all."""

    site: str = ""
    on_prem: bool = True


async def take_in(  # noqa: PLR0913 - a delivery and what judges it
    cases: Cases,
    policy: Policy,
    result: IngestResult,
    *,
    file: str,
    received: datetime,
    place: Place,
) -> Intake:
    """Start or tell the cases of a delivery, in its order.

    A protected person's case is opened and holds itself, so that it can be seen and released. A delivery over
    the brake starts nothing (trap T5). The sealer is told first, so that a case that never starts is missed;
    it is waited for a few seconds at the most.
    """
    intake = _empty(result, file)
    screening = screen(result.events, policy, received)
    intake.announced = await cases.announce(policy.mode, result, screening, received)
    for event in screening.start:
        done = await cases.deliver(
            event, policy, received_at=received, site=place.site, on_prem=place.on_prem
        )
        intake.cases.append(_row(event, done.case, done.delivery.value))
    for held in screening.held:
        case = ""
        if held.reason is HeldReason.PROTECTED_PERSON:
            case = (
                await cases.deliver(
                    held.event, policy, received_at=received, site=place.site, on_prem=place.on_prem
                )
            ).case
        intake.held.append(_row(held.event, case, "held", held.text))
    return intake


def preview(
    id_of: Callable[[LeaverEvent], str],
    policy: Policy,
    result: IngestResult,
    *,
    file: str,
    received: datetime,
) -> Intake:
    """What ``take_in`` would do. Asks nobody, starts nothing."""
    intake = _empty(result, file)
    screening = screen(result.events, policy, received)
    intake.cases.extend(_row(event, id_of(event), "would_start") for event in screening.start)
    intake.held.extend(
        _row(held.event, id_of(held.event), "would_hold", held.text) for held in screening.held
    )
    return intake


def _row(event: LeaverEvent, case: str, done: str, why: str = "") -> Row:
    cutoff = event.data.separation.effective_at.isoformat().replace("+00:00", "Z")
    return Row(event.data.person.external_id, case, done, cutoff, why)


def _empty(result: IngestResult, file: str) -> Intake:
    return Intake(
        file=file,
        rejected=list(result.rejected),
        duplicates=list(result.duplicates),
        warnings=list(result.warnings),
    )
