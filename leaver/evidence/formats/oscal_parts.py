"""The pieces that OSCAL assessment results and POA&Ms share.

Format: OSCAL 1.2.1, pages.nist.gov/OSCAL-Reference. Free text is Markdown there, so what comes from outside
is escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from leaver import __version__
from leaver.domain.catalogue import CATALOGUE
from leaver.domain.words import Outcome, Phase, System
from leaver.evidence.formats.json_types import Node
from leaver.evidence.formats.model import Anchors, CaseEvidence, ExceptionItem, Href, Place
from leaver.evidence.formats.names import PROPERTIES, uid
from leaver.evidence.views import StepView

OSCAL_VERSION: Final = "1.2.1"

OUTCOMES: Final = {
    Outcome.PENDING: "not done yet",
    Outcome.VERIFIED: "changed, then read back from the system",
    Outcome.ALREADY: "was so before; read from the system",
    Outcome.ABSENT: "no such account or object; read from the system",
    Outcome.ACKNOWLEDGED: "accepted by the system, which offers no way to read it back",
    Outcome.ATTESTED: "not read from the system; a person vouches for it",
    Outcome.WAIVED: "not done; a person decided so",
    Outcome.PLANNED: "planned only; nothing was changed",
    Outcome.OPEN: "not done; needs a person",
    Outcome.FAILED: "failed",
}

_MARKUP: Final = re.compile(r"[\\`*<>\[\]|&$]|(?<!\w)_|_(?!\w)")
_SEALER: Final = uid("tool", "sealer")
_IMPACT: Final = {
    Phase.CONTAIN: "Somebody who has left may still be able to sign in or to use a session.",
    Phase.CREDENTIALS: "Somebody who has left may hold a credential that still works.",
    Phase.PRESERVE: "Information that the organisation needs may be out of its reach, or be lost.",
    Phase.ENTITLEMENTS: "An account of somebody who has left keeps memberships and the rights they give.",
    Phase.LICENCES: "Licences stay assigned to somebody who has left.",
}
_LATE: Final = "The access stayed open longer than the policy allows. It is closed; that it was late remains."
_NO_STEP: Final = "The case did not run as designed, or its evidence may be incomplete."


@dataclass(frozen=True, slots=True)
class Scope:
    """What a document speaks about: one case, or a period. Times are UTC."""

    name: str
    title: str
    start: datetime
    end: datetime

    @classmethod
    def of_case(cls, case: CaseEvidence) -> Scope:
        """One case, from HR's message to its last record."""
        view = case.view
        return cls(f"case/{view.case}", f"Leaver case {view.case}", view.received_at, case.last.at)

    @classmethod
    def of_period(cls, start: datetime, end: datetime) -> Scope:
        """All cases of a period; ``end`` is not in it."""
        told = f"{instant(start)}/{instant(end)}"
        return cls(f"period/{told}", f"Leaver cases from {instant(start)} to {instant(end)}", start, end)


def dumps(document: Node) -> bytes:
    """The document as bytes, the same for the same content."""
    return (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode()


def instant(value: datetime) -> str:
    """A time as OSCAL wants it, in UTC."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def clean(text: str) -> str:
    """Foreign text on one line, with nothing that Markdown or HTML would act upon."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return _MARKUP.sub(r"\\\g<0>", line)


def filled(node: Node) -> Node:
    """Without members that are empty, which OSCAL does not allow."""
    return {key: value for key, value in node.items() if value not in (None, "", [], (), {})}


def prop(name: str, value: str | int) -> Node:
    """A property of ours."""
    return {"name": name, "ns": PROPERTIES, "value": " ".join(str(value).split()) or "-"}


def metadata(title: str, anchors: Anchors) -> Node:
    """The document's own data. It was last changed when the checkpoint was signed."""
    return {
        "title": title,
        "last-modified": instant(anchors.at),
        "version": f"checkpoint-{anchors.size}",
        "oscal-version": OSCAL_VERSION,
        "props": [prop("generator", f"leaver {__version__}"), *anchor_props(anchors)],
        "remarks": clean(anchors.claim),
    }


def anchor_props(anchors: Anchors) -> list[Node]:
    """Which checkpoint the document speaks for."""
    return [
        prop("log-origin", anchors.origin),
        prop("log-size", anchors.size),
        prop("log-root", anchors.root),
        prop("log-anchors", ", ".join(anchors.vouchers) or "none"),
    ]


def actor(system: System | None) -> Sequence[Node]:
    """Who observed: the worker of that system, or the sealer."""
    tool: Node = {"type": "tool", "actor-uuid": uid("tool", system.value) if system else _SEALER}
    return [{"actors": [tool]}]


def assessment_assets() -> Node:
    """The tools that observe: a worker for each system, and the sealer of the records."""
    tools: list[Node] = [
        _tool(
            uid("tool", system.value),
            f"leaver worker for {system.label}",
            "Acts on the system and reads it back.",
        )
        for system in System
    ]
    tools.append(_tool(_SEALER, "leaver sealer", "Keeps the records; cannot act on any system."))
    uses: list[Node] = [{"component-uuid": tool["uuid"]} for tool in tools]
    platform: Node = {"uuid": uid("platform"), "title": "leaver", "uses-components": uses}
    return {"components": tools, "assessment-platforms": [platform]}


def _tool(uuid: str, title: str, description: str) -> Node:
    return {
        "uuid": uuid,
        "type": "software",
        "title": title,
        "description": description,
        "props": [prop("version", __version__)],
        "status": {"state": "operational"},
    }


def system_components() -> Sequence[Node]:
    """The systems that hold the accounts."""
    return [
        {
            "uuid": uid("system", system.value),
            "type": "service",
            "title": system.label,
            "description": "Holds accounts of people; observed by its worker.",
            "status": {"state": "operational"},
        }
        for system in System
    ]


def account_item(system: System, account: str) -> Node:
    """An account as an inventory item; its id is the system's own."""
    return {
        "uuid": uid("account", system.value, account),
        "description": f"Account {clean(account)} in {system.label}.",
        "props": [prop("account", account)],
        "implemented-components": [{"component-uuid": uid("system", system.value)}],
    }


def evidence_of(place: Place, href: Href) -> Sequence[Node]:
    """The record that shows it."""
    return [
        {
            "href": href(place),
            "description": f"Evidence record {place.seq} of the log ({place.type.value}).",
            "props": [prop("log-index", place.seq), prop("leaf-hash", place.leaf)],
        }
    ]


def step_observation(case: CaseEvidence, step: StepView, place: Place, href: Href) -> Node:
    """What was observed of one step: by test where the system was read, else by examining a record."""
    tested = step.outcome.proven or step.outcome.needs_person
    told = f"{step.title} in {step.system.label}: {OUTCOMES[step.outcome]}."
    late = " Later than the policy allows." if step.late else ""
    subject: list[Node] = []
    if step.account:
        account = uid("account", step.system.value, step.account)
        subject = [{"subject-uuid": account, "type": "inventory-item"}]
    return filled(
        {
            "uuid": step_uid(case, step),
            "title": f"{step.step}: {step.outcome.value}",
            "description": told + late + (f" {clean(step.detail)}" if step.detail else ""),
            "props": _step_props(case, step),
            "methods": ["TEST" if tested else "EXAMINE"],
            "types": ["control-objective"],
            "origins": actor(step.system),
            "subjects": subject,
            "relevant-evidence": evidence_of(place, href),
            "collected": instant(step.finished_at or place.at),
        }
    )


def step_uid(case: CaseEvidence, step: StepView) -> str:
    """The UUID of a step's observation."""
    return uid("observation", case.view.case, step.step, step.account or "-", str(step.record))


def _step_props(case: CaseEvidence, step: StepView) -> list[Node]:
    lag = [] if step.lag_seconds is None else [prop("lag-seconds", f"{step.lag_seconds:.3f}")]
    return [
        prop("case", case.view.case),
        prop("step", step.step),
        prop("outcome", step.outcome.value),
        *([prop("reason", step.reason.value)] if step.reason else []),
        *lag,
        *([prop("due", instant(step.due))] if step.due else []),
        prop("late", "yes" if step.late else "no"),
        prop("attempts", step.attempts),
        *(prop("control", ref) for ref in step.controls),
    ]


def exception_observation(item: ExceptionItem, place: Place | None, at: datetime, href: Href) -> Node:
    """What shows an exception that no result of a step shows."""
    return filled(
        {
            "uuid": exception_uid(item),
            "title": f"Exception: {clean(item.cause)}",
            "description": exception_told(item),
            "props": [prop("case", item.case), prop("cause", item.cause)],
            "methods": ["EXAMINE"],
            "types": ["discovery"],
            "origins": actor(None),
            "relevant-evidence": evidence_of(place, href) if place else [],
            "collected": instant(place.at if place else at),
        }
    )


def exception_uid(item: ExceptionItem) -> str:
    """The UUID of an exception's own observation."""
    return uid("observation", item.name)


def risk_uid(item: ExceptionItem) -> str:
    """The UUID of an exception's risk."""
    return uid("risk", item.name)


def exception_title(item: ExceptionItem) -> str:
    """An exception on one line."""
    row = CATALOGUE.get(item.step or "")
    what = row.title if row else clean(item.step) if item.step else "The case as a whole"
    return f"{what}: {clean(item.cause)}"


def exception_told(item: ExceptionItem) -> str:
    """An exception in sentences."""
    where = "the installation" if item.case == "log" else f"case {item.case}"
    times = f", {item.times} times" if item.times > 1 else ""
    detail = f" {clean(item.detail)}" if item.detail else ""
    return f"Control exception of {where}{times}: {exception_title(item)}.{detail}"


def risk(item: ExceptionItem, observation: str) -> Node:
    """What an exception puts at risk, and whether it stands."""
    return filled(
        {
            "uuid": risk_uid(item),
            "title": exception_title(item),
            "description": exception_told(item),
            "statement": impact(item),
            "props": [
                prop("case", item.case),
                prop("cause", item.cause),
                *([prop("step", item.step)] if item.step else []),
                prop("recorded", "yes" if item.recorded else "no"),
            ],
            "status": "open" if item.open else "closed",
            "origins": actor(None),
            "deadline": instant(item.due) if item.due else None,
            "risk-log": _risk_log(item),
            "related-observations": [{"observation-uuid": observation}],
        }
    )


def impact(item: ExceptionItem) -> str:
    """What the exception means for the organisation."""
    row = CATALOGUE.get(item.step or "")
    if row is None:
        return _NO_STEP
    if item.cause == "late":
        return _LATE
    return _IMPACT.get(row.phase, _NO_STEP)


def _risk_log(item: ExceptionItem) -> Node:
    entries: list[Node] = []
    if item.raised_at:
        start = instant(item.raised_at)
        entries.append({"uuid": uid("raised", item.name), "title": "Raised", "start": start})
    if item.resolved_by:
        entry = {
            "uuid": uid("closed", item.name),
            "title": f"Closed by record {item.resolved_by.seq} ({item.resolved_by.type.value})",
            "start": instant(item.resolved_by.at),
            "status-change": "closed",
        }
        entries.append(entry)
    return {"entries": entries} if entries else {}
