"""Openings and issued files: content that a record commits to by its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated

import rfc8785
from pydantic import JsonValue, StringConstraints

from leaver.evidence.verify.contents import Contents, Part, WrongError, parse
from leaver.evidence.verify.layout import OPENINGS, BundleKind, opening_name
from leaver.evidence.verify.manifest import Manifest
from leaver.evidence.verify.records import Placed
from leaver.evidence.verify.report import FindingKind


class OpeningFile(Part):
    """Personal data that a record commits to. Not signed, because it may have to be erased."""

    salt: Annotated[str, StringConstraints(pattern=r"^(?:[0-9a-f]{2}){16,64}$")]
    content: dict[str, JsonValue]


def check_openings(contents: Contents, placed: Sequence[Placed]) -> int:
    """Check every opening against the ``person_commit`` of its record.

    Returns:
        How many there are.
    """
    commits = {opening_name(each.record.seq): each.record.body.get("person_commit") for each in placed}
    names = sorted(name for name in contents.files if name.startswith(OPENINGS))
    for name in names:
        if commits.get(name) is None:
            contents.wrong(name, "no record here commits to it: it was added", FindingKind.ADDED)
            continue
        try:
            opening = parse(OpeningFile, contents.files[name])
        except WrongError as err:
            contents.wrong(name, str(err), FindingKind.OPENING)
            continue
        said = hashlib.sha256(bytes.fromhex(opening.salt) + rfc8785.dumps(opening.content)).hexdigest()
        if said != commits[name]:
            contents.wrong(name, "it is not what the record commits to", FindingKind.OPENING)
    return len(names)


def check_issued(contents: Contents, manifest: Manifest, placed: Sequence[Placed]) -> None:
    """In a bundle of a period: the files are those that ``report.issued`` tells of."""
    if manifest.claims.bundle_kind is not BundleKind.PERIOD or not placed:
        return
    told = placed[-1].record.body.get("files")
    files = told if isinstance(told, dict) else {}
    if not files:
        contents.wrong(placed[-1].name, "it tells of no files", FindingKind.REPORT)
    for name, sha256 in files.items():
        if name not in manifest.signed:
            contents.wrong(name, "the report was issued with it, and it is missing", FindingKind.REPORT)
        elif name in contents.files and hashlib.sha256(contents.files[name]).hexdigest() != sha256:
            contents.wrong(
                name, "it is not the file that was issued: the log has another SHA-256", FindingKind.REPORT
            )
