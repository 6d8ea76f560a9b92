"""A page as one HTML file: no scripts, no links, nothing fetched; for light, dark, narrow and paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from leaver.evidence.reports.page import Align, Block, Column, Group, Page, Row, Section


def page_html(page: Page) -> str:
    """The page as HTML text. The same page gives the same text."""
    return _environment().get_template("page.html.j2").render(page=page)


def breakable(name: str) -> Markup:
    """A name that a browser may break after an underscore; everything in it is escaped."""
    return Markup("_<wbr>").join(name.split("_"))


def _share(column: Column, columns: Sequence[Column]) -> int:
    """A text column's part of the width that text columns divide among them, in percent."""
    texts = [one for one in columns if one.align is Align.TEXT]
    room = 100 - 9 * (len(columns) - len(texts))
    return round(room * column.width / sum(one.width for one in texts))


def _grouped(rows: Sequence[Row | Group]) -> Iterator[tuple[Group | None, list[Row]]]:
    group: Group | None = None
    members: list[Row] = []
    for row in rows:
        if isinstance(row, Row):
            members.append(row)
            continue
        if members or group:
            yield group, members
        group, members = row, []
    if members or group:
        yield group, members


def _kinds(blocks: Sequence[Block]) -> Iterator[tuple[str, Block]]:
    for block in blocks:
        yield type(block).__name__, block


def _pairs(sections: Sequence[Section]) -> Iterator[tuple[Section, ...]]:
    """Half sections two by two; a whole one, or a half one without a neighbour, alone."""
    waiting: list[Section] = []
    for section in sections:
        if section.half:
            waiting.append(section)
            if len(waiting) == 2:  # noqa: PLR2004 - a pair
                yield tuple(waiting)
                waiting = []
            continue
        if waiting:
            yield tuple(waiting)
            waiting = []
        yield (section,)
    if waiting:
        yield tuple(waiting)


def _drawing(svg: str) -> Markup:
    """A drawing of ours: numbers and fixed words, nothing that came from outside."""
    return Markup(svg)  # noqa: S704 - made by leaver.evidence.reports.charts


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("leaver.evidence.reports"),
        autoescape=select_autoescape(("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        breakable=breakable, share=_share, grouped=_grouped, kinds=_kinds, pairs=_pairs, drawing=_drawing
    )
    return environment
