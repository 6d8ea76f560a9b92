"""The one-pager of a leaver: made from the case's records alone, one HTML file without scripts or links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import groupby
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from pydantic import JsonValue

import leaver
from leaver.domain.base import Facts
from leaver.domain.words import CaseOutcome, Mode, Outcome, System
from leaver.evidence.views import CaseView, StepView

SYSTEM_NAMES: Final = {
    System.ENTRA: "Entra ID",
    System.EXCHANGE: "Exchange Online",
    System.ONEDRIVE: "OneDrive",
    System.AD: "Active Directory",
}

OUTCOME_MEANING: Final = {
    Outcome.PENDING: "not run yet",
    Outcome.VERIFIED: "changed, and read back from the system",
    Outcome.ALREADY: "was so before; read from the system, nothing written",
    Outcome.ABSENT: "no such account or object; read from the system",
    Outcome.ACKNOWLEDGED: "accepted by the system; there is no way to read it back",
    Outcome.ATTESTED: "a person vouches for it",
    Outcome.WAIVED: "a person decided not to",
    Outcome.PLANNED: "would be done; nothing was written",
    Outcome.OPEN: "not done; needs a person",
    Outcome.FAILED: "not done",
}

_HEADLINES: Final = {
    CaseOutcome.RUNNING: ("open", "Case still open"),
    CaseOutcome.HELD: ("open", "Held: waits for a person"),
    CaseOutcome.COMPLETED: ("good", "Access removed, every step proven"),
    CaseOutcome.COMPLETED_WITH_EXCEPTIONS: ("bad", "Closed with exceptions"),
    CaseOutcome.PLANNED: ("open", "Plan only: nothing was changed"),
    CaseOutcome.RESCINDED: ("open", "Rescinded before the cut-off: nothing was done"),
    CaseOutcome.RESCINDED_AFTER_CUTOFF: ("bad", "Rescinded after the cut-off: some steps had run"),
}

_NO_EXCEPTIONS: Final = {True: "no exceptions", False: "no exceptions so far"}

_NOTHING: Final = "\N{EN DASH}"
_MINUS: Final = "\N{MINUS SIGN}"
_INSTANT: Final = re.compile(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|\+00:00)$")
"""Facts in UTC; the page says the zone once."""
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class Banner:
    """The verdict: its tone (``good``, ``bad`` or ``open``), what happened, and the figures under it."""

    tone: str
    headline: str
    figures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact of a before- or after-state; ``changed`` where the two differ."""

    name: str
    text: str
    changed: bool


@dataclass(frozen=True, slots=True)
class SystemGroup:
    """The steps of one system."""

    name: str
    account: str | None
    steps: tuple[StepView, ...]


@dataclass(frozen=True, slots=True)
class Control:
    """One control reference: how many steps serve it, how many are proven in time, and in which records."""

    name: str
    steps: int
    proven: int
    records: tuple[int, ...]


def render(view: CaseView, *, label: str | None = None) -> str:
    """The page as HTML. The same view gives the same text; there is no clock inside.

    Args:
        view: the case.
        label: something people know the person by, e.g. the employee number, for a page that stays on this
            machine. Bundles are made without it.
    """
    template = _environment().get_template("leaver.html.j2")
    present = {step.outcome for step in view.steps}
    return template.render(
        view=view,
        label=label,
        banner=banner(view),
        groups=system_groups(view),
        controls=controls(view),
        meanings=[(outcome, OUTCOME_MEANING[outcome]) for outcome in Outcome if outcome in present],
        version=leaver.__version__,
    )


def render_text(template: str, **values: str | int) -> str:
    """One of the plain-text pages of a bundle."""
    return _environment().get_template(template).render(**values)


def banner(view: CaseView) -> Banner:
    """What the case comes to. A case with an exception never gets a good banner."""
    tone, headline = _HEADLINES[view.outcome]
    standing = len(view.open_exceptions)
    if tone == "good" and standing:
        tone, headline = _HEADLINES[CaseOutcome.COMPLETED_WITH_EXCEPTIONS]
    figures = [
        _containment(view),
        _progress(view),
        f"{standing} exception{'' if standing == 1 else 's'}" if standing else _NO_EXCEPTIONS[view.closed],
    ]
    return Banner(tone, headline, tuple(figure for figure in figures if figure))


def _progress(view: CaseView) -> str:
    if view.mode is Mode.NOTIFICATION_ONLY:
        planned = sum(step.outcome is Outcome.PLANNED for step in view.steps)
        return f"{planned} steps planned"
    proven = sum(step.outcome.proven for step in view.steps)
    return f"{proven} of {len(view.steps)} steps proven"


def _containment(view: CaseView) -> str:
    if view.lag_effective_seconds is None or view.lag_notice_seconds is None:
        return "" if view.outcome in (CaseOutcome.PLANNED, CaseOutcome.RESCINDED) else "not contained"
    if view.clock_starts == view.cutoff:
        return f"contained in {lag(view.lag_notice_seconds)}"
    return f"contained {lag(view.lag_notice_seconds)} after HR's message"


def system_groups(view: CaseView) -> tuple[SystemGroup, ...]:
    """The steps by system, systems in the order of ``System``, steps in the order of the case."""
    order = list(System)
    steps = sorted(view.steps, key=lambda step: order.index(step.system))
    groups = []
    for system, members in groupby(steps, key=lambda step: step.system):
        own = tuple(members)
        account = next((step.account for step in reversed(own) if step.account), None)
        groups.append(SystemGroup(SYSTEM_NAMES[system], account, own))
    return tuple(groups)


def controls(view: CaseView) -> tuple[Control, ...]:
    """The control references of the steps, in the order of their names."""
    rows = []
    for name in sorted({control for step in view.steps for control in step.controls}):
        steps = [step for step in view.steps if name in step.controls]
        proven = sum(step.outcome.proven and not step.late for step in steps)
        records = tuple(sorted(step.record for step in steps if step.record is not None))
        rows.append(Control(name, len(steps), proven, records))
    return tuple(rows)


def fact_list(facts: Facts, other: Facts) -> tuple[Fact, ...]:
    """A state as rows of text, in name order, marked where the other state differs.

    Where something changed, only that is shown; the records hold the rest.
    """
    changed = {name for name in facts if other and other.get(name) != facts[name]}
    return tuple(
        Fact(name.replace("_", " "), _text(facts[name]), changed=name in changed)
        for name in sorted(changed or facts)
    )


def _text(value: JsonValue) -> str:
    match value:
        case None | []:
            return "none"
        case bool():
            return "yes" if value else "no"
        case list():
            return "; ".join(_text(item) for item in value)
        case dict():
            return ", ".join(f"{name} {_text(value[name])}" for name in sorted(value))
        case _:
            return _INSTANT.sub(r"\1 \2", str(value))


def lag(seconds: float | None) -> str:
    """A duration for people: ``4.2 s``, ``2 min 05 s``, ``3 h 07 min``, ``2 d 4 h``; a minus means before."""
    if seconds is None:
        return _NOTHING
    size, sign = abs(seconds), _MINUS if seconds < 0 else ""
    if size < 10:  # noqa: PLR2004 - below ten seconds the tenth matters
        return f"{sign}{size:.1f} s"
    whole = round(size)
    if whole < 2 * _MINUTE:
        return f"{sign}{whole} s"
    if whole < 2 * _HOUR:
        return f"{sign}{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    if whole < 2 * _DAY:
        return f"{sign}{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"
    return f"{sign}{whole // _DAY} d {whole % _DAY // _HOUR} h"


def utc(instant: datetime | None) -> str:
    """An instant to the second, UTC; the page says the zone once."""
    return f"{instant:%Y-%m-%d %H:%M:%S}" if instant else _NOTHING


def breakable(name: str) -> Markup:
    """A name that a browser may break after an underscore; everything in it is escaped."""
    return Markup("_<wbr>").join(name.split("_"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("leaver.evidence"),
        autoescape=select_autoescape(("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(lag=lag, utc=utc, facts=fact_list, breakable=breakable)
    return environment
