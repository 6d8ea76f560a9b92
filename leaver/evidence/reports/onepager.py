"""The leaver one-pager as files, and everything readable that goes into the bundle of a case."""

from __future__ import annotations

from collections.abc import Sequence

from leaver.evidence.case_view import case_view
from leaver.evidence.records import Chain, Record
from leaver.evidence.reports import tables
from leaver.evidence.reports.csvs import csv_bytes
from leaver.evidence.reports.html import page_html
from leaver.evidence.reports.leaver_page import leaver_page
from leaver.evidence.reports.model import CheckpointLine
from leaver.evidence.reports.pdf import page_pdf
from leaver.evidence.reports.settle import leaver_of
from leaver.evidence.views import CaseView


def leaver_html(view: CaseView, anchors: Sequence[CheckpointLine] = (), label: str | None = None) -> str:
    """The one-pager as HTML; see ``leaver_page`` for the arguments. The same arguments give the same text."""
    return page_html(leaver_page(view, anchors, label))


def leaver_pdf(view: CaseView, anchors: Sequence[CheckpointLine] = (), label: str | None = None) -> bytes:
    """The one-pager as PDF/A-2a on A4. The same arguments give the same bytes."""
    return page_pdf(leaver_page(view, anchors, label))


def case_files(records: Sequence[Record], anchors: Sequence[CheckpointLine] = ()) -> dict[str, bytes]:
    """``report.html``, ``report.pdf`` and ``population.csv`` (the case's own row) for the bundle of a case.

    Args:
        records: the case's records of the chains ``case`` and, where at hand, ``sealer``, in log order.
        anchors: the checkpoint of the bundle, with who vouches for it.

    Raises:
        UnreadableRecordsError: the records do not tell a case.
    """
    view = case_view([record for record in records if record.chain is Chain.CASE])
    leaver, _ = leaver_of(records, max(record.at for record in records))
    return {
        "report.html": leaver_html(view, anchors).encode(),
        "report.pdf": leaver_pdf(view, anchors),
        "population.csv": csv_bytes(tables.population([leaver])),
    }
