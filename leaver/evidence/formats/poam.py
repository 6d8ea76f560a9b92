"""OSCAL plan of action and milestones: the exceptions that stand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from leaver.evidence.formats import oscal_parts as parts
from leaver.evidence.formats.json_types import Node
from leaver.evidence.formats.model import Anchors, CaseEvidence, ExceptionItem, Href, in_bundle
from leaver.evidence.formats.names import uid
from leaver.evidence.formats.oscal_parts import Scope, prop


def oscal_poam(
    cases: Iterable[CaseEvidence],
    anchors: Anchors,
    scope: Scope,
    *,
    others: Sequence[ExceptionItem] = (),
    href: Href = in_bundle,
) -> bytes | None:
    """The open exceptions of these cases and of the installation, as JSON (OSCAL 1.2.1).

    Returns None where nothing is open: OSCAL knows no POA&M without an item. An item keeps its UUID from
    checkpoint to checkpoint, so a tool can follow it.
    """
    items: list[Node] = []
    observations: list[Node] = []
    risks: list[Node] = []
    found = [
        (item, case)
        for case in sorted(cases, key=lambda case: case.view.case)
        for item in case.exceptions
        if item.open
    ]
    for item, owner in (*found, *((item, None) for item in others if item.open)):
        observation = _observation(item, owner, anchors.at, href)
        observations.append(observation)
        risks.append(parts.risk(item, str(observation["uuid"])))
        items.append(_item(item, str(observation["uuid"])))
    if not items:
        return None
    name = (anchors.origin, str(anchors.size), anchors.root, scope.name)
    document: Node = {
        "uuid": uid("poam", *name),
        "metadata": parts.metadata(f"Open control exceptions: {scope.title}", anchors),
        "system-id": {"identifier-type": "urn:leaver:log-origin", "id": anchors.origin},
        "local-definitions": {
            "components": parts.system_components(),
            "assessment-assets": parts.assessment_assets(),
        },
        "observations": observations,
        "risks": risks,
        "poam-items": items,
    }
    return parts.dumps({"plan-of-action-and-milestones": document})


def _observation(item: ExceptionItem, case: CaseEvidence | None, at: datetime, href: Href) -> Node:
    place = item.shown_by or (case.last if case else None)
    return parts.exception_observation(item, place, at, href)


def _item(item: ExceptionItem, observation: str) -> Node:
    return parts.filled(
        {
            "uuid": uid("poam-item", item.name),
            "title": parts.exception_title(item),
            "description": f"{parts.exception_told(item)} {parts.impact(item)}",
            "props": [
                prop("case", item.case),
                prop("cause", item.cause),
                *([prop("step", item.step)] if item.step else []),
                *([prop("due", parts.instant(item.due))] if item.due else []),
            ],
            "origins": parts.actor(None),
            "related-observations": [{"observation-uuid": observation}],
            "related-risks": [{"risk-uuid": parts.risk_uid(item)}],
        }
    )
