"""A page as PDF/A-2a and PDF/UA-1, set by Typst with the fonts inside it: no system font, no clock."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from pydantic import JsonValue

from leaver.evidence.errors import ReportError
from leaver.evidence.reports.page import Chart, Page

if TYPE_CHECKING:
    import typst

STANDARDS: Final = ("a-2a", "ua-1")
"""ISO 19005-2 level A (for keeping) and ISO 14289-1 (for everybody to read)."""


def page_pdf(page: Page) -> bytes:
    """The page on A4. The same page gives the same bytes; its date is the document's date.

    Raises:
        ReportError: the package ``typst`` is not installed.
    """
    try:
        import typst  # noqa: PLC0415 - of the extra `evidence`; other processes do without
    except ImportError:
        raise ReportError("PDF needs the package typst: install leaver[evidence]") from None
    date = datetime.fromisoformat(page.date)
    data = {**_fields(page), "date": [*date.timetuple()[:6]]}
    made = typst.compile(
        _template(),
        format="pdf",
        font_paths=_fonts(),
        ignore_system_fonts=True,
        sys_inputs={"page": json.dumps(data)},
        pdf_standards=[*STANDARDS],
        timestamp=int(date.timestamp()),
    )
    if not isinstance(made, bytes):
        raise ReportError("Typst made no PDF of the page")
    return made


def _fields(thing: object) -> dict[str, JsonValue]:
    """A part of the page as JSON, with the name of its kind; drawings as they are for paper."""
    own = {} if isinstance(thing, Page) else {"kind": type(thing).__name__}
    skipped = {"screen"} if isinstance(thing, Chart) else set()
    if not is_dataclass(thing):
        raise TypeError(f"{type(thing).__name__} is no part of a page")
    return own | {
        each.name: _plain(getattr(thing, each.name)) for each in fields(thing) if each.name not in skipped
    }


def _plain(value: object) -> JsonValue:
    match value:
        case None | bool() | int() | str():
            return value
        case tuple():
            return [_plain(item) for item in value]
        case _:
            return dict(_fields(value))


@cache
def _template() -> bytes:
    return files("leaver.evidence.reports").joinpath("templates/page.typ").read_bytes()


@cache
def _fonts() -> typst.Fonts:
    import typst  # noqa: PLC0415 - see page_pdf

    return typst.Fonts(include_system_fonts=False)
