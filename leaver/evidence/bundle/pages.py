"""The files for people and programs in a case's bundle, made from the rest of the bundle alone."""

from __future__ import annotations

from collections.abc import Mapping

from leaver.evidence.bundle.model import BundleInput
from leaver.evidence.formats.files import machine_files
from leaver.evidence.formats.model import Anchors
from leaver.evidence.log.checkpoint import parse_unverified
from leaver.evidence.reports.model import CheckpointLine
from leaver.evidence.reports.onepager import case_files
from leaver.evidence.reports.sources import noted_line
from leaver.evidence.verify.layout import BundleKind


def case_pages(given: BundleInput) -> Mapping[str, bytes]:
    """The one-pager (HTML, PDF), the case's row (CSV), OSCAL and OCSF; nothing for another kind of bundle.

    Raises:
        UnreadableRecordsError: the records do not tell a case.
        MalformedNoteError: the checkpoint is none.
    """
    if given.kind is not BundleKind.CASE:
        return {}
    records = [each.record for each in given.records]
    line = noted_line(
        given.checkpoint,
        [(stamp.name, stamp.tsr, stamp.outside) for stamp in given.stamps],
        [(witness.signature, witness.outside) for witness in given.witnesses],
    )
    return {**case_files(records, [line]), **machine_files(records, _anchors(given, line))}


def _anchors(given: BundleInput, line: CheckpointLine) -> Anchors:
    """The checkpoint has no time of its own: the anchors' time, else that of the last record under it."""
    times = [anchor.at for anchor in line.anchors if anchor.at]
    return Anchors(
        origin=parse_unverified(given.checkpoint).checkpoint.origin,
        size=line.size,
        root=line.root,
        at=max(times, default=max(each.record.at for each in given.records)),
        vouchers=tuple(anchor.name for anchor in line.outside),
    )
