"""The case as programs read it, made again from the records: the operator signs it, the records decide."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

from pydantic import JsonValue

from leaver.evidence.case_view import case_view
from leaver.evidence.errors import EvidenceError
from leaver.evidence.records import parse_record
from leaver.evidence.verify.contents import Contents
from leaver.evidence.verify.layout import CASE_FILE, BundleKind
from leaver.evidence.verify.manifest import Manifest
from leaver.evidence.verify.records import Placed
from leaver.evidence.verify.report import FindingKind

WORDING: Final = "title"
"""Texts of this product, not of the case: another version may word them otherwise."""


def check_case_file(contents: Contents, manifest: Manifest, placed: Sequence[Placed]) -> None:
    """Make ``case.json`` again and compare. Only where everything else holds: else the records say nothing.

    What only another version of this product writes, or this one cannot read, is a remark and no finding.
    """
    if manifest.claims.bundle_kind is not BundleKind.CASE or contents.findings:
        return
    if CASE_FILE not in contents.files:
        contents.wrong(CASE_FILE, "the bundle of a case has one", FindingKind.REPORT)
        return
    try:
        mine = [parse_record(contents.files[p.name]) for p in placed if p.record.chain == "case"]
        made: JsonValue = case_view(mine).model_dump(mode="json")
    except EvidenceError as err:
        contents.remarks.append(
            f"{CASE_FILE} was not compared with the records, which another version wrote: {err}"
        )
        return
    try:
        told: JsonValue = json.loads(contents.files[CASE_FILE])
    except (ValueError, RecursionError):
        contents.wrong(CASE_FILE, "it is not JSON", FindingKind.REPORT)
        return
    for place, problem in differences(told, made, ""):
        if problem:
            contents.wrong(CASE_FILE, f"{place}: {problem}", FindingKind.REPORT)
        else:
            contents.remarks.append(f"{CASE_FILE}: {place} is not compared: another version writes it")


def differences(told: JsonValue, made: JsonValue, place: str) -> Iterator[tuple[str, str]]:
    """Where a file tells something else than the records; without a text where only one side tells at all."""
    if isinstance(told, dict) and isinstance(made, dict):
        for key in sorted(told.keys() | made.keys()):
            if key in told and key in made:
                if key != WORDING:
                    yield from differences(told[key], made[key], f"{place}.{key}".lstrip("."))
            else:
                yield f"{place}.{key}".lstrip("."), ""
    elif isinstance(told, list) and isinstance(made, list) and len(told) == len(made):
        for number, (ours, theirs) in enumerate(zip(told, made, strict=True)):
            yield from differences(ours, theirs, f"{place}[{number}]")
    elif told != made or isinstance(told, bool) is not isinstance(made, bool):
        yield place or "content", "the records say something else"
