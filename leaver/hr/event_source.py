"""Canonical leaver events (CloudEvents 1.0, structured JSON): one, an array of them, or one a line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pydantic import JsonValue, ValidationError

from leaver.domain.cutoff import CutoffError, cutoff_instant, zone
from leaver.domain.event import EventType, LeaverEvent, Moment
from leaver.hr.assemble import content_id
from leaver.hr.feed import Candidate, FieldNames, Standing, settle
from leaver.hr.jsondoc import parse_json
from leaver.hr.model import MAX_REVISION, IngestContext, IngestError, IngestResult, RejectedRow
from leaver.hr.values import YEARS, text_fault

NAMES: Final = FieldNames(
    worker="subject",
    spell="data.employment.source_id",
    date="data.separation.last_working_day",
    status="type",
    handle="data.person.userName",
)

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_IDENTIFIERS: Final = (
    "subject",
    "data.person.externalId",
    "data.person.userName",
    "data.employment.source_id",
)


def read_events(text: str, context: IngestContext) -> IngestResult:
    """Read one event, an array, or JSON lines.

    An ``id`` that is not a SHA-256 could hold a name, and ids are plain text everywhere; our content hash
    replaces it. ``effective_at`` must be what date, moment and zone give, or, for an immediate separation,
    not later.

    Raises:
        IngestError: not JSON, no events at all.
    """
    candidates: list[Candidate] = []
    rejected: list[RejectedRow] = []
    for line, document in _documents(text, context):
        event, problems = _read(document)
        if event is not None:
            candidates.append(Candidate.of(line, event))
            continue
        rejected += [RejectedRow(context.file, line, *problem) for problem in problems]
        source, worker = _who(document)
        received = (0, context.observed_at)
        candidates.append(Candidate(line, Standing.UNREADABLE, source, worker, received))
    if not candidates:
        raise IngestError(f"{context.file}: holds no event; expected one, an array of them, or one a line")
    return settle(candidates, file=context.file, names=NAMES, rejected=rejected)


def _documents(text: str, context: IngestContext) -> Iterator[tuple[int, JsonValue]]:
    """Every event with its line or position."""
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    whole = len(lines) < 2 or not _is_lines(lines[0][1])  # noqa: PLR2004 - one line is one document
    if not whole:
        for number, line in lines:
            yield number, parse_json(line, f"{context.file}, line {number}")
        return
    document = parse_json(text, context.file) if lines else []
    yield from enumerate(document, start=1) if isinstance(document, list) else [(1, document)]


def _is_lines(first: str) -> bool:
    """Whether the first line is a whole object: then every line is one."""
    try:
        return isinstance(parse_json(first, "line 1"), dict)
    except IngestError:
        return False


def _who(document: JsonValue) -> tuple[str, str]:
    """Whom an unreadable event is about, as far as it can be told."""
    if not isinstance(document, dict):
        return "", ""
    source, subject = document.get("source"), document.get("subject")
    return (source, subject) if isinstance(source, str) and isinstance(subject, str) else ("", "")


def _read(document: JsonValue) -> tuple[LeaverEvent | None, list[tuple[str, str]]]:
    if not isinstance(document, dict):
        return None, [("event", "must be a JSON object")]
    try:
        event = LeaverEvent.model_validate(document)
    except ValidationError as err:
        return None, [(_path(fault["loc"]), _reason(fault["type"], fault["msg"])) for fault in err.errors()]
    problems = list(_problems(event))
    if problems:
        return None, problems
    if not _SHA256.fullmatch(event.id):
        event = event.model_copy(update={"id": content_id(event)})
    return event, []


def _path(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in loc) or "event"


def _reason(kind: str, message: str) -> str:
    """Pydantic's message; it repeats no input. An unknown field gets a hint what to do."""
    return "is not a field of the leaver event; remove it" if kind == "extra_forbidden" else message[:300]


def _problems(event: LeaverEvent) -> Iterator[tuple[str, str]]:
    data = event.data
    texts = {
        "subject": event.subject,
        "data.person.externalId": data.person.external_id,
        "data.person.userName": data.person.user_name,
        "data.person.displayName": data.person.display_name,
        "data.employment.source_id": data.employment.source_id,
    } | {f"data.person.emails.{at}": mail for at, mail in enumerate(data.person.emails)}
    for path, value in texts.items():
        identifier = path in _IDENTIFIERS or path.startswith("data.person.emails")
        if value is not None and (fault := text_fault(value, identifier=identifier)):
            yield path, fault
    if data.provenance.source_revision > MAX_REVISION:
        yield "data.provenance.source_revision", "must be at most 2^53-1"
    if data.employment.other_active and event.type is not EventType.RESCINDED:
        yield (
            "data.employment.other_active",
            "other employments of this person go on; review as a move: nobody is offboarded while employed",
        )
    if event.type is EventType.IMMEDIATE and not data.separation.immediate:
        yield "data.separation.immediate", "must be true for leaver.immediate.v1"
    if data.person.timezone is not None and not _is_zone(data.person.timezone):
        yield "data.person.timezone", "is not an IANA time zone, e.g. Europe/Stockholm"
    yield from _time_problems(event)


def _is_zone(name: str) -> bool:
    try:
        zone(name)
    except CutoffError:
        return False
    return True


def _time_problems(event: LeaverEvent) -> Iterator[tuple[str, str]]:
    """The cut-off must be the instant that date, moment and zone give (trap T1)."""
    separation = event.data.separation
    if separation.last_working_day.year not in YEARS:
        yield "data.separation.last_working_day", "is not a plausible date"
        return
    if not _is_zone(separation.tz):
        yield "data.separation.tz", "is not an IANA time zone, e.g. Europe/Stockholm"
        return
    moment = Moment.END_OF_DAY if separation.moment is Moment.AT else separation.moment
    latest = cutoff_instant(separation.last_working_day, moment, separation.tz)
    earliest = cutoff_instant(separation.last_working_day, Moment.START_OF_DAY, separation.tz)
    at = separation.effective_at
    if separation.immediate:
        fits, wanted = at <= latest, f"must not be later than {latest.isoformat()}"
    elif separation.moment is Moment.AT:
        fits, wanted = earliest <= at <= latest, "must lie on the last working day in the zone tz"
    else:
        fits, wanted = at == latest, f"must be {latest.isoformat()}, the {moment.value} in the zone tz"
    if not fits:
        yield "data.separation.effective_at", wanted
