"""A page as data: what stands on it, before anybody decides how HTML or PDF shows it.

Both renderings get the same page, so that they cannot tell different stories.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Tone(StrEnum):
    """How something is to be taken."""

    GOOD = "good"
    BAD = "bad"
    OPEN = "open"
    PLAIN = "plain"


class Style(StrEnum):
    """How a piece of text is set. The last three are badges."""

    PLAIN = "plain"
    SOFT = "soft"
    STRONG = "strong"
    MONO = "mono"
    SMALL = "small"
    GOOD = "good"
    BAD = "bad"
    OPEN = "open"


class Align(StrEnum):
    """Numbers stand right, digits under digits; ``NOWRAP`` is text that stays whole."""

    TEXT = "text"
    NOWRAP = "nowrap"
    NUMBER = "number"


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text in one style."""

    text: str
    style: Style = Style.PLAIN


Line = tuple[Span, ...]
Cell = tuple[Line, ...]
"""Lines below each other. An empty cell is one without lines."""


def cell(text: str = "", style: Style = Style.PLAIN, *, sub: str = "") -> Cell:
    """A cell of one line, with a soft smaller line below when ``sub`` says something."""
    lines: list[Line] = [(Span(text, style),)] if text else []
    if sub:
        lines.append((Span(sub, Style.SMALL),))
    return tuple(lines)


@dataclass(frozen=True, slots=True)
class Column:
    """A column; ``width`` is its share of the space that text columns divide among them."""

    title: str
    align: Align = Align.TEXT
    width: int = 1


@dataclass(frozen=True, slots=True)
class Group:
    """A row that names the rows below it."""

    title: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table; its first cell names it."""

    cells: tuple[Cell, ...]
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Table:
    """A table. ``note`` stands below it; ``empty`` is said instead of a table without rows."""

    columns: tuple[Column, ...]
    rows: tuple[Row | Group, ...]
    empty: str = "None."
    note: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """A name and what is to be said under it."""

    name: str
    value: Cell


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts below each other."""

    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure with its name; ``hint`` says what it is measured on."""

    name: str
    figure: str
    hint: str = ""
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Tiles:
    """Figures beside each other."""

    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing: SVG for a page that can be light or dark and for paper, and its content in words."""

    title: str
    screen: str
    paper: str
    words: str


Block = Table | Facts | Text | Tiles | Chart


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part. ``half`` parts stand in pairs beside each other where there is room."""

    title: str
    blocks: tuple[Block, ...]
    tone: Tone = Tone.PLAIN
    half: bool = False
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Banner:
    """The verdict: its tone, what happened, and the figures under it."""

    tone: Tone
    headline: str
    figures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """The whole page. ``date`` (ISO 8601, UTC) is the date of the data, not of the printing."""

    title: str
    name: str
    reference: str
    banner: Banner
    claim: str
    sections: tuple[Section, ...]
    date: str
    label: str = ""
