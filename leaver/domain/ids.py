"""Identifiers. They are plain text in Temporal, in logs and in URLs, so they carry no personal data."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Final

from leaver.domain.words import System

CASE_ID: Final = re.compile(r"^c-[a-z2-7]{26}$")

WORKFLOW_QUEUE: Final = "leaver-workflow"
EVIDENCE_QUEUE: Final = "leaver-evidence"

MIN_KEY_BYTES: Final = 16


def _keyed_hash(key: bytes, *parts: str) -> str:
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(f"the case id key needs at least {MIN_KEY_BYTES} bytes")
    message = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    raw = hmac.new(key, message, hashlib.sha256).digest()[:16]
    return base64.b32encode(raw).decode().rstrip("=").lower()


def case_id(key: bytes, *, source: str, worker: str, spell: str, rehearsal: bool = False) -> str:
    """The id of one separation: a keyed hash of HR source, worker and employment spell.

    The same leaver always gives the same id, so a replayed HR event cannot start a second case (trap T4);
    a rehire is a new spell and therefore a new case. The date is not part of it because HR moves dates.
    Unkeyed hashes of employee numbers can be guessed, hence the key. A rehearsal (notification-only mode) has
    an id of its own, so that it does not stand in the way of the real case later.

    Raises:
        ValueError: the key is shorter than 16 bytes.
    """
    return "c-" + _keyed_hash(key, "rehearsal" if rehearsal else "case", source, worker, spell)


def person_ref(key: bytes, *, source: str, worker: str) -> str:
    """The pseudonym of a person in evidence and screens: keyed, stable over all their cases."""
    return "p-" + _keyed_hash(key, "person", source, worker)


def workflow_id(case: str) -> str:
    """Temporal's workflow id of a case."""
    return f"leaver-{case}"


def watch_workflow_id(case: str) -> str:
    """Temporal's workflow id of the re-verification that follows a closed case."""
    return f"leaver-{case}-watch"


def case_of_workflow(workflow_id: str) -> str | None:
    """The case that a workflow id belongs to, by its own or its watch's id; None where it is no case's."""
    case = workflow_id.removeprefix("leaver-").removesuffix("-watch")
    mine = CASE_ID.fullmatch(case) and workflow_id in (f"leaver-{case}", f"leaver-{case}-watch")
    return case if mine else None


def delivery_id(key: bytes, content_sha256: str) -> str:
    """The id of an HR delivery by its content: keyed, because a delivery of one person could be guessed."""
    return "d-" + _keyed_hash(key, "delivery", content_sha256)


def delivery_workflow_id(delivery: str, part: int = 1) -> str:
    """Temporal's workflow id of the noting of one part of a delivery."""
    return f"leaver-delivery-{delivery}-{part}"


def report_workflow_id(request: str) -> str:
    """Temporal's workflow id of the making of a report: days, zone, mode and checkpoint as asked for."""
    return f"leaver-report-{request}"


def system_queue(system: System, site: str = "") -> str:
    """The task queue that a system's worker polls; on-premises systems have one per site."""
    return f"leaver-{system.value}" + (f"-{site}" if site else "")
