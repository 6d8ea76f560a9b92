"""Histories: whole, closed, and those that the sealer's records in the log tell of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pydantic import JsonValue

from leaver.evidence.history.chain import prefix_heads
from leaver.evidence.history.wire import event_numbers
from leaver.evidence.verify.contents import Contents
from leaver.evidence.verify.layout import HISTORY, BundleKind, history_names
from leaver.evidence.verify.manifest import Manifest
from leaver.evidence.verify.records import Placed
from leaver.evidence.verify.report import FindingKind

Body = dict[str, JsonValue]


def check_histories(contents: Contents, manifest: Manifest, placed: Sequence[Placed]) -> int:
    """Check every history against ``history.final`` and the prefixes recorded before it.

    Returns:
        How many events there are.
    """
    kind, files = manifest.claims.bundle_kind, set(manifest.below(HISTORY))
    sealer = [each.record for each in placed if each.record.chain == "sealer"]
    finals = {str(each.body.get("run_id")): each.body for each in sealer if each.type == "history.final"}
    lost = any(each.type == "exception.raised" and each.body.get("lost") is True for each in sealer)
    if kind is BundleKind.CASE and not finals and not lost:
        reason = "no history is sealed, and no exception says that it was lost"
        contents.wrong("history", reason, FindingKind.HISTORY)
    told = {name for run in finals for name in history_names(run)}
    for name in sorted(files - told):
        contents.wrong(name, "no record in the log tells of this history", FindingKind.HISTORY)
    for name in sorted(told - files) if kind is BundleKind.CASE else ():
        contents.wrong(name, "the history that a record tells of is missing", FindingKind.HISTORY)
    events = 0
    for run in sorted(finals):
        # Where the sealer itself found the history changed since, it says so and the prefix need not fit.
        own = [each for each in sealer if each.body.get("run_id") == run]
        excused = any(each.type == "exception.raised" for each in own)
        prefixes = [each.body for each in own if each.type == "history.prefix" and not excused]
        events += _check_run(contents, run, finals[run], prefixes)
    return events


def _check_run(contents: Contents, run: str, final: Body, prefixes: Sequence[Body]) -> int:
    readable, exact = history_names(run)
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
