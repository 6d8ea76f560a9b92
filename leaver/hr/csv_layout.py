"""The shape of a CSV file (RFC 4180): separator, header, records and the line on which each begins."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from leaver.hr.model import CSV_FIELDS, CsvMapping, IngestContext, IngestError
from leaver.hr.values import Values

REQUIRED: Final = ("employee_number", "last_working_day")
DELIMITERS: Final = (",", ";", "\t")

_LINES: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_SEP_LINE: Final = re.compile(r"sep=(.)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Record:
    """One record: the line it begins on, its text as received without the line end, its cells."""

    line: int
    raw: str
    cells: list[str]

    @property
    def blank(self) -> bool:
        """Whether it is one of the empty rows that spreadsheets leave behind."""
        return not any(cell.strip() for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Layout:
    """Which cell holds which of our fields, and what the file calls it."""

    positions: dict[str, int]
    names: dict[str, str]
    width: int

    def values(self, record: Record) -> Values:
        """The record's cells by our field names."""
        return Values({name: record.cells[at] for name, at in self.positions.items()}, self.names)

    def name(self, field: str) -> str:
        """The file's name of a field."""
        return self.names.get(field, field)


def read_layout(text: str, context: IngestContext) -> tuple[Layout, Iterator[Record]]:
    """Read the header; the records that follow come from the iterator, blank ones left out.

    Raises:
        IngestError: empty, no header, missing, unknown or repeated columns; later, broken quoting.
    """
    delimiter, skip = _delimiter(text, context)
    records = (record for record in _records(text, delimiter, context.file, skip) if not record.blank)
    header = next(records, None)
    if header is None:
        raise IngestError(f"{context.file}: is empty; expected a header line and one line per person")
    return _layout(header, context), records


def _delimiter(text: str, context: IngestContext) -> tuple[str, int]:
    """The separator, and how many leading lines are not data (a spreadsheet's ``sep=;`` line)."""
    first = _LINES.match(text)
    hint = _SEP_LINE.fullmatch(first[0].rstrip("\r\n")) if first else None
    skip = 1 if hint else 0
    if context.csv.delimiter != "auto":
        return context.csv.delimiter, skip
    if hint is None:
        return max(DELIMITERS, key=lambda delimiter: _known_columns(text, delimiter, context)), skip
    if hint[1] not in DELIMITERS:
        raise IngestError(f"{context.file}, line 1: only comma, semicolon and tab separate fields")
    return hint[1], skip


def _known_columns(text: str, delimiter: str, context: IngestContext) -> int:
    wanted = {_folded(header) for header in _headers(context.csv).values()}
    try:
        rows = _records(text, delimiter, context.file, 0)
        header = next((row for row in rows if not row.blank), None)
    except IngestError:
        return 0
    return len(wanted & {_folded(cell) for cell in header.cells}) if header else 0


def _records(text: str, delimiter: str, file: str, skip: int) -> Iterator[Record]:
    """The records, blank ones too; quoted fields may hold line breaks.

    Once quoting is broken, part of a quoted text could be taken for a row, so the whole file is refused.
    """
    lines = _LINES.findall(text)[skip:]
    reader = csv.reader(iter(lines), delimiter=delimiter, strict=True)
    begin = 0
    while True:
        line = begin + skip + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as err:
            raise IngestError(
                f"{file}, line {line}: quoting is broken ({err}), so rows cannot be told apart and nothing"
                " was read. Correct the quotes and deliver the file again"
            ) from err
        yield Record(line, "".join(lines[begin : reader.line_num]).rstrip("\r\n"), cells)
        begin = reader.line_num


def _headers(mapping: CsvMapping) -> dict[str, str]:
    return {name: mapping.columns.get(name, name) for name in CSV_FIELDS}


def _folded(cell: str) -> str:
    return cell.strip().casefold()


def _layout(header: Record, context: IngestContext) -> Layout:
    here = f"{context.file}, line {header.line}"
    headers = _headers(context.csv)
    wanted = {_folded(column): name for name, column in headers.items()}
    columns = [_folded(cell) for cell in header.cells]
    found = {wanted[column]: at for at, column in enumerate(columns) if column in wanted}
    if not found:
        raise IngestError(
            f"{here}: no header; the first line must name the columns, e.g. {', '.join(REQUIRED)}"
        )
    if missing := [headers[name] for name in REQUIRED if name not in found]:
        raise IngestError(
            f"{here}: missing column {', '.join(missing)}; add it, or map it in the configuration"
        )
    if repeated := sorted({column for column in columns if column and columns.count(column) > 1}):
        raise IngestError(f"{here}: column {_shown(repeated[0])} occurs more than once; keep one")
    if unknown := _unknown(columns, wanted, context.csv):
        raise IngestError(
            f"{here}: unknown column {', '.join(_shown(name) for name in unknown[:5])}; map it, or list it"
            " in ignore_columns if it is not needed"
        )
    return Layout(found, {name: header.cells[at].strip() for name, at in found.items()}, len(columns))


def _unknown(columns: list[str], wanted: dict[str, str], mapping: CsvMapping) -> list[str]:
    if mapping.unknown_columns == "ignore":
        return []
    ignored = {_folded(column) for column in mapping.ignore_columns}
    return [column for column in columns if column and column not in wanted and column not in ignored]


def _shown(column: str) -> str:
    return repr(column[:60])
