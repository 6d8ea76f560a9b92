"""OCSF events, one JSON object per line, for a SIEM.

An event is about what has happened: a step that found nothing to change, or was only planned, has no event of
its own. How a case stands as a whole, with a check for each step, is its compliance finding.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from pydantic import JsonValue

from leaver import __version__
from leaver.domain.base import Facts
from leaver.domain.catalogue import CATALOGUE
from leaver.domain.words import CaseOutcome, Outcome, RecordType, System
from leaver.evidence.bodies import Result
from leaver.evidence.formats.controls import controls
from leaver.evidence.formats.json_types import Json, Node
from leaver.evidence.formats.model import CaseEvidence, ExceptionItem, Place
from leaver.evidence.formats.names import uid
from leaver.evidence.formats.ocsf_map import (
    ACCOUNT_TYPES,
    CATEGORIES,
    CLASS_NAMES,
    STEPS,
    VERSION,
    EventClass,
    Mapping,
)
from leaver.evidence.records import Chain
from leaver.evidence.views import StepView

_INFORMATIONAL, _MEDIUM, _HIGH = (1, "Informational"), (3, "Medium"), (4, "High")
_CREATE, _CLOSE = (1, "Create"), (3, "Close")
_PASS, _FAIL, _OTHER = (1, "Pass"), (3, "Fail"), (99, "Other")
_STATUS: Final = {
    Outcome.VERIFIED: (1, "Success"),
    Outcome.ACKNOWLEDGED: (99, "Accepted, not read back"),
    Outcome.OPEN: (2, "Failure"),
    Outcome.FAILED: (2, "Failure"),
}
_CONTROL: Final = "Access of a leaver is removed in time"


def ocsf_lines(cases: Iterable[CaseEvidence], origin: str, *, others: Sequence[ExceptionItem] = ()) -> bytes:
    """The events of these cases as JSON lines (OCSF 1.8.0), in the order of the log.

    ``origin`` is the log's name, ``others`` are exceptions of the installation. ``metadata.uid`` is the same
    whenever a record is told again, so that whoever collects can drop what it has.
    """
    events = [event for case in cases for event in _of_case(case, origin)]
    events += [event for item in others for event in _of_exception(item, item.shown_by, origin)]
    lines = [(_order(event), json.dumps(event, ensure_ascii=False, sort_keys=True)) for event in events]
    return "".join(f"{line}\n" for _, line in sorted(lines)).encode()


def _order(event: Node) -> tuple[int, str]:
    metadata = event["metadata"]
    told = metadata if isinstance(metadata, dict) else {}
    return int(told["sequence"]), str(told["uid"])


def _of_case(case: CaseEvidence, origin: str) -> Iterator[Node]:
    for place, result in case.results:
        mapping = STEPS.get(result.step)
        if mapping and result.outcome in _STATUS and result.attempts > 0:
            yield _of_result(case, place, result, mapping, origin)
    closed = next((place for place in case.places.values() if place.type is RecordType.CASE_CLOSED), None)
    if closed:
        yield _of_closed(case, closed, origin)
    for item in case.exceptions:
        yield from _of_exception(item, item.shown_by or case.last, origin)


def _of_result(case: CaseEvidence, place: Place, result: Result, mapping: Mapping, origin: str) -> Node:
    row = CATALOGUE[result.step]
    status_id, status = _STATUS[result.outcome]
    failed = result.outcome.needs_person
    severity = (_HIGH if row.critical else _MEDIUM) if failed else _INFORMATIONAL
    event: dict[str, Json] = {
        **_base(mapping.event, (mapping.activity_id, mapping.activity), severity, result.finished_at),
        "metadata": _metadata(place, origin, result.step),
        "actor": {"app_name": "leaver", "app_uid": f"leaver/{result.system.value}"},
        "start_time": _ms(result.started_at),
        "end_time": _ms(result.finished_at),
        "status_id": status_id,
        "status": status,
        "message": f"{row.title} ({row.system.label})",
        "unmapped": _evidence(place, origin),
    }
    if result.reason:
        event["status_code"] = result.reason.value
    if result.detail:
        event["status_detail"] = " ".join(result.detail.split())
    return {**event, **_object_of(case, result, mapping)}


def _object_of(case: CaseEvidence, result: Result, mapping: Mapping) -> Node:
    """Whose account or access it was."""
    leaver = _user(result.system, result.account, case.view.person_ref)
    if mapping.event is EventClass.ACCOUNT_CHANGE:
        policy = {
            "name": case.view.policy_name,
            "version": case.view.policy_version,
            "uid": case.view.policy_digest,
        }
        done = mapping.disables and result.outcome is Outcome.VERIFIED
        changed = _user(result.system, result.account, case.view.person_ref, disabled=True) if done else None
        found: Node = {"user": leaver, "policies": [policy]}
        return {**found, "user_result": changed} if changed else found
    if not mapping.grants:
        return {"user": leaver, "privileges": _taken(result, mapping)}
    successor = result.before.get("successor") or case.view.successor_id
    return {
        "user": _user(result.system, str(successor) if successor else None, ""),
        "privileges": [mapping.grants],
        "resources": [{"uid": result.account or "unknown", "type": result.system.label}],
    }


def _taken(result: Result, mapping: Mapping) -> list[str]:
    """What is gone after the step, or was to go where it failed; the step's name where nobody could tell."""
    before, after = _entries(result.before, mapping), _entries(result.after, mapping)
    failed = result.outcome.needs_person
    gone = [one for one in before if failed or one not in after]
    return gone or [result.step]


def _entries(facts: Facts, mapping: Mapping) -> list[str]:
    found = facts.get(mapping.fact)
    return [_entry(one, mapping.item) for one in found] if isinstance(found, list) else []


def _entry(value: JsonValue, item: str) -> str:
    return str(value.get(item, "unknown")) if isinstance(value, dict) else str(value)


def _user(system: System, account: str | None, person_ref: str, *, disabled: bool = False) -> Node:
    """An account by its id in the system, and our pseudonym of the person: never a name or an address."""
    type_id, kind = ACCOUNT_TYPES[system]
    told: dict[str, str | int | bool] = {"uid": account or "unknown", "type_id": type_id, "type": kind}
    if disabled:
        told["is_disabled"] = True
    user: Node = {"uid": account or "unknown", "type_id": 1, "type": "User", "account": told}
    return {**user, "uid_alt": person_ref} if person_ref else user


def _of_closed(case: CaseEvidence, place: Place, origin: str) -> Node:
    view = case.view
    own = [item for item in case.exceptions if not item.shown_by or item.shown_by.chain is Chain.CASE]
    deviations = sum(not item.cured for item in own)
    if view.outcome not in (CaseOutcome.COMPLETED, CaseOutcome.COMPLETED_WITH_EXCEPTIONS):
        status_id, status = 99, view.outcome.value
    else:
        status_id, status = _FAIL if deviations or view.outcome is not CaseOutcome.COMPLETED else _PASS
    controls_served = sorted({ref for step in view.steps for ref in step.controls})
    compliance = _compliance((status_id, status), controls_served)
    compliance["checks"] = [_check(step) for step in view.steps]
    compliance["control_parameters"] = [
        {"name": "cutoff", "value": view.cutoff.isoformat()},
        {"name": "contained_at", "value": view.contained_at.isoformat() if view.contained_at else "never"},
    ]
    severity = _MEDIUM if (status_id, status) == _FAIL else _INFORMATIONAL
    told = "how the case was closed"
    return {
        **_base(EventClass.COMPLIANCE_FINDING, _CREATE, severity, place.at),
        "metadata": _metadata(place, origin, "case.closed"),
        "finding_info": {
            "uid": uid("case", view.case),
            "title": f"Leaver case {view.case}: {view.outcome.value}",
            "desc": f"{told}: {len(view.steps)} steps, {deviations} exceptions against it",
            "created_time": _ms(place.at),
            "types": ["case"],
        },
        "compliance": {key: value for key, value in compliance.items() if value},
        "unmapped": _evidence(place, origin),
    }


def _check(step: StepView) -> Node:
    good = step.outcome.proven and not step.late
    status_id, status = _PASS if good else _OTHER if step.outcome is Outcome.PLANNED else _FAIL
    return {
        "uid": step.step,
        "name": step.title,
        "desc": f"{step.outcome.value}{', late' if step.late else ''}",
        "status_id": status_id,
        "status": status,
        **({"standards": list(step.controls)} if step.controls else {}),
    }


def _of_exception(item: ExceptionItem, place: Place | None, origin: str) -> Iterator[Node]:
    """Raised, and closed if it is. Without any record there is nothing to point at, so no event."""
    if place is None:
        return
    told = " ".join(item.detail.split())
    row = CATALOGUE.get(item.step or "")
    title = f"{row.title if row else item.step or 'The case as a whole'}: {item.cause}"
    refs = row.controls if row else ()
    severity = _HIGH if row is None or row.critical else _MEDIUM
    moments = [(_CREATE, place, (1, "New"), _FAIL)]
    if item.resolved_by:
        moments.append((_CLOSE, item.resolved_by, (4, "Resolved"), _PASS if item.cured else _FAIL))
    for activity, at, (status_id, status), verdict in moments:
        own = activity == _CREATE and item.recorded and item.shown_by is not None
        yield {
            **_base(EventClass.COMPLIANCE_FINDING, activity, severity, at.at),
            "metadata": _metadata(at, origin, item.cause, "" if own else uid("finding", item.name)),
            "status_id": status_id,
            "status": status,
            "finding_info": {
                "uid": uid("finding", item.name),
                "title": title,
                "desc": told or title,
                "created_time": _ms(place.at),
                "types": ["control exception", item.cause],
                "related_events": [{"uid": place.leaf}],
            },
            "compliance": _compliance(verdict, refs),
            "unmapped": _evidence(at, origin),
        }


def _compliance(verdict: tuple[int, str], refs: Sequence[str]) -> dict[str, Json]:
    status_id, status = verdict
    known = {control.ref: control.framework for control in controls()}
    told: dict[str, Json] = {"control": _CONTROL, "status_id": status_id, "status": status}
    if refs:
        told["requirements"] = [*refs]
        told["standards"] = sorted({known[ref] for ref in refs if ref in known})
    return told


def _base(
    event: EventClass, activity: tuple[int, str], severity: tuple[int, str], at: datetime
) -> dict[str, Json]:
    activity_id, name = activity
    category = event // 1000
    return {
        "class_uid": int(event),
        "class_name": CLASS_NAMES[event],
        "category_uid": category,
        "category_name": CATEGORIES[category],
        "activity_id": activity_id,
        "activity_name": name,
        "type_uid": event * 100 + activity_id,
        "type_name": f"{CLASS_NAMES[event]}: {name if activity_id != 99 else 'Other'}",  # noqa: PLR2004
        "severity_id": severity[0],
        "severity": severity[1],
        "time": _ms(at),
        "timezone_offset": 0,
    }


def _metadata(place: Place, origin: str, code: str, beside: str = "") -> dict[str, Json]:
    """``beside`` tells apart events that one record gives cause for, beyond its own."""
    return {
        "version": VERSION,
        "product": {"name": "leaver", "vendor_name": "leaver", "version": __version__},
        "uid": f"{place.leaf}:{beside}" if beside else place.leaf,
        "correlation_uid": place.case,
        "sequence": place.seq,
        "event_code": code,
        "log_name": origin,
        "logged_time": _ms(place.at),
    }


def _evidence(place: Place, origin: str) -> dict[str, Json]:
    """Where the record is that proves the event; OCSF 1.8.0 has no member for it."""
    return {
        "evidence": {
            "origin": origin,
            "index": place.seq,
            "leaf": place.leaf,
            "chain": place.chain.value,
            "case_seq": place.case_seq,
        }
    }


def _ms(at: datetime) -> int:
    return int(at.timestamp()) * 1000 + at.microsecond // 1000
