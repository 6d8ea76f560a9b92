"""The tables as CSV: UTF-8, RFC 4180, times as ISO 8601 with Z, and nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from typing import Final

from leaver.evidence.reports.show import iso
from leaver.evidence.reports.tables import Sheet, Value

_STARTS_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What makes a spreadsheet take a cell for a formula (OWASP, CSV Injection)."""


def csv_bytes(sheet: Sheet) -> bytes:
    """The table as a file; the first line names the columns."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([field.title for field in sheet.fields])
    writer.writerows([_text(value) for value in row] for row in sheet.rows)
    return out.getvalue().encode()


def _text(value: Value) -> str | int:
    if isinstance(value, str):
        return inert(value)
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, float):
        return f"{value:.3f}"
    return "" if value is None else value


def inert(text: str) -> str:
    """Text that a spreadsheet shows instead of running it: an apostrophe before what would be a formula."""
    return "'" + text if text.startswith(_STARTS_FORMULA) else text
