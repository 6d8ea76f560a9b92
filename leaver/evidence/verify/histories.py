"""Histories: whole, closed, and those that the sealer's records in the log tell of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from leaver.domain.ids import workflow_id
from leaver.evidence.history.chain import prefix_heads
from leaver.evidence.history.wire import event_numbers
from leaver.evidence.verify.contents import Contents
from leaver.evidence.verify.layout import HISTORY, BundleKind, history_names
from leaver.evidence.verify.manifest import Manifest
from leaver.evidence.verify.records import Placed, SealedRecord
from leaver.evidence.verify.report import FindingKind
from leaver.temporal.history import LIBRARY
from leaver.temporal.history_json import tells_the_same

Body = dict[str, JsonValue]

LINKS: Final = ("first_run_id", "continued_from", "continued_as", "reset_of")
"""How ``history.final`` names the other runs of its chain."""
NEXT: Final = "newExecutionRunId"
CHANGED: Final = "history_changed"
"""The cause of the exception that excuses a prefix which the history does not begin with."""


def check_histories(contents: Contents, manifest: Manifest, placed: Sequence[Placed]) -> int:
    """Check every history against ``history.final`` and the prefixes recorded before it.

    What the sealer itself raised about a run, such as that its history is lost, is a remark: it goes with
    every result, because a bundle that fits together is then not a case that went well.

    Returns:
        How many events there are.
    """
    kind, files = manifest.claims.bundle_kind, set(manifest.below(HISTORY))
    sealer = [each.record for each in placed if each.record.chain == "sealer"]
    finals = {str(each.body.get("run_id")): each.body for each in sealer if each.type == "history.final"}
    raised = [each for each in sealer if each.type == "exception.raised"]
    contents.remarks += [_remark(each) for each in raised]
    told = {name for run in finals for name in history_names(run)}
    for name in sorted(files - told):
        contents.wrong(name, "no record in the log tells of this history", FindingKind.HISTORY)
    missing = {run for run, final in finals.items() if kind is BundleKind.CASE or _is_watch(final, manifest)}
    for name in sorted({name for run in missing for name in history_names(run)} - files):
        contents.wrong(name, "the history that a record tells of is missing", FindingKind.HISTORY)
    if kind is BundleKind.CASE:
        _check_runs(contents, placed, finals, {str(e.body.get("run_id")) for e in raised if _is_lost(e)})
    events = 0
    for run in sorted(finals):
        prefixes = [e for e in sealer if e.type == "history.prefix" and e.body.get("run_id") == run]
        due = [each.body for each in prefixes if not any(_excuses(found, each) for found in raised)]
        events += _check_run(contents, run, finals[run], due)
    return events


def _check_runs(
    contents: Contents, placed: Sequence[Placed], finals: Mapping[str, Body], lost: Collection[str]
) -> None:
    """Every run from the one that opened the case on is sealed, or the sealer says that it is lost."""
    opened = next((each.record.body for each in placed if each.record.type == "case.opened"), {})
    wanted, seen = [opened.get("run_id")], {""}
    while wanted:
        run = str(wanted.pop() or "")
        if run in seen:
            continue
        seen.add(run)
        final = finals.get(run)
        if final is not None and final.get("workflow_id") == opened.get("workflow_id"):
            wanted += [final.get(link) for link in LINKS]
            wanted.append(_next_run(contents.files.get(history_names(run)[0], b"")))
        elif run not in lost:
            reason = f"the history of run {run} is not sealed, and no exception says that it was lost"
            contents.wrong("history", reason, FindingKind.HISTORY)
    if seen == {""}:
        contents.wrong("history", "no record tells which run opened the case", FindingKind.HISTORY)


def _next_run(readable: bytes) -> JsonValue:
    """The run that the last event says the workflow goes on as."""
    try:
        last = json.loads(readable)["events"][-1].values()
        return next((each[NEXT] for each in last if isinstance(each, dict) and NEXT in each), None)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None  # told elsewhere


def _remark(raised: SealedRecord) -> str:
    lost = ", whose history is lost" if _is_lost(raised) else ""
    about = f" about run {raised.body['run_id']}{lost}" if raised.body.get("run_id") else ""
    return f"The sealer raised an exception{about}: {raised.body.get('cause')} (record {raised.seq})"


def _is_lost(raised: SealedRecord) -> bool:
    return raised.body.get("lost") is True


def _is_watch(final: Body, manifest: Manifest) -> bool:
    """Whether a run is the watch's own: the case's histories lie in the bundle of the case."""
    return final.get("workflow_id") != workflow_id(manifest.claims.subject)


def _excuses(raised: SealedRecord, prefix: SealedRecord) -> bool:
    """Whether the sealer itself says that the history no longer begins as the prefix was recorded."""
    body, events = raised.body, raised.body.get("events")
    about = body.get("run_id") == prefix.body.get("run_id")
    return body.get("cause") == CHANGED and about and events in (None, prefix.body.get("events"))


def _check_run(contents: Contents, run: str, final: Body, prefixes: Sequence[Body]) -> int:
    readable, exact = history_names(run)
    before = len(contents.findings)
    for name, hashed in ((readable, "json_sha256"), (exact, "sha256")):
        if (raw := contents.files.get(name)) is not None:
            reason = _wrong_bytes(raw, final, hashed, is_json=name == readable)
            if reason:
                contents.wrong(name, reason, FindingKind.HISTORY)
    try:
        heads = prefix_heads(contents.files[exact])
    except (KeyError, ValueError):
        return 0  # told already
    for body in (*prefixes, final):
        count = body.get("events")
        if type(count) is not int or heads.get(count) != body.get("head"):
            reason = "its first events are not those that a record in the log tells of"
            contents.wrong(exact, reason, FindingKind.HISTORY)
    if len(contents.findings) == before and readable in contents.files:
        same = final.get("library") == LIBRARY
        if not tells_the_same(contents.files[readable], contents.files[exact], same_library=same):
            reason = "it does not tell what the exact history tells"
            contents.wrong(readable, reason, FindingKind.HISTORY)
    return len(heads) - 1


def _wrong_bytes(raw: bytes, final: Body, hashed: str, *, is_json: bool) -> str:
    """Why these bytes are not the history of the record, or an empty string."""
    if hashlib.sha256(raw).hexdigest() != final.get(hashed):
        return "not the history whose SHA-256 is in the log"
    try:
        numbers = event_numbers(raw, is_json=is_json)
    except ValueError as err:
        return str(err)
    if numbers != list(range(1, len(numbers) + 1)):
        return "event numbers have gaps"
    return "" if len(numbers) == final.get("events") else "not the number of events that the record tells"
