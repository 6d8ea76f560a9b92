"""Recomputes the formulas of a workbook as a spreadsheet would: the few functions that ours use."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from openpyxl.utils import range_boundaries
from openpyxl.utils.datetime import to_excel
from openpyxl.workbook import Workbook
from openpyxl.worksheet.formula import ArrayFormula

TOKEN = re.compile(
    r'\s*(?:(?P<text>"[^"]*")|(?P<number>\d+\.?\d*)|(?P<range>(?:\w+!)?\$?[A-Z]+\$?\d+:\$?[A-Z]+\$?\d+)'
    r"|(?P<cell>\$?[A-Z]{1,3}\$?\d+)|(?P<name>[A-Z]+)(?=\()|(?P<sign><>|<=|>=|[-+*/=<>(),]))"
)
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
REACH: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


class Sheets:
    """A workbook as openpyxl reads it, every formula computed anew; stored values are not looked at."""

    def __init__(self, workbook: Workbook) -> None:
        self.workbook = workbook
        self.known: dict[tuple[str, str], Any] = {}

    def value(self, sheet: str, cell: str) -> Any:
        place = (sheet, cell.replace("$", ""))
        if place not in self.known:
            found: Any = self.workbook[sheet][place[1]].value
            if isinstance(found, ArrayFormula):
                found = found.text
            if isinstance(found, datetime):
                found = to_excel(found)
            if isinstance(found, str) and found.startswith("="):
                found = Formula(self, sheet, found[1:]).result()
            self.known[place] = "" if found is None else found
        return self.known[place]

    def column(self, sheet: str, reference: str) -> list[Any]:
        name, _, cells = reference.rpartition("!")
        left, top, right, bottom = range_boundaries(cells)
        assert left == right
        letter = re.sub(r"[^A-Z]", "", cells.split(":")[0])
        return [self.value(name or sheet, f"{letter}{row}") for row in range(top, bottom + 1)]


class Formula:
    """One formula, read from left to right."""

    def __init__(self, sheets: Sheets, sheet: str, text: str) -> None:
        self.sheets, self.sheet = sheets, sheet
        self.tokens, place = [], 0
        while place < len(text):
            found = TOKEN.match(text, place)
            assert found, f"{text[place:]!r} of {text!r}"
            assert found.lastgroup
            self.tokens.append((found.lastgroup, found.group(found.lastgroup)))
            place = found.end()
        self.at = 0

    def result(self) -> Any:
        value = self.comparison()
        assert self.at == len(self.tokens)
        return value

    def sign(self) -> str:
        if self.at < len(self.tokens) and self.tokens[self.at][0] == "sign":
            return self.tokens[self.at][1]
        return ""

    def comparison(self) -> Any:
        left = self.sum()
        while (sign := self.sign()) in COMPARE:
            self.at += 1
            left = each(COMPARE[sign], left, self.sum())
        return left

    def sum(self) -> Any:
        left = self.product()
        while (sign := self.sign()) in ("+", "-"):
            self.at += 1
            left = each(REACH[sign], left, self.product())
        return left

    def product(self) -> Any:
        left = self.atom()
        while (sign := self.sign()) in ("*", "/"):
            self.at += 1
            left = each(REACH[sign], left, self.atom())
        return left

    def atom(self) -> Any:
        kind, text = self.tokens[self.at]
        self.at += 1
        match kind:
            case "text":
                return text[1:-1]
            case "number":
                return float(text)
            case "cell":
                return self.sheets.value(self.sheet, text)
            case "range":
                return self.sheets.column(self.sheet, text)
            case "name":
                return self.call(text)
        assert text == "(", text
        value = self.comparison()
        self.at += 1
        return value

    def call(self, name: str) -> Any:
        self.at += 1
        given = [self.comparison()]
        while self.sign() == ",":
            self.at += 1
            given.append(self.comparison())
        assert self.sign() == ")"
        self.at += 1
        return FUNCTIONS[name](*given)


def each(work: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """Arrays are worked on cell by cell; a comparison or sum with an empty cell never fails."""
    if isinstance(left, list) or isinstance(right, list):
        size = len(left) if isinstance(left, list) else len(right)
        lefts = left if isinstance(left, list) else [left] * size
        rights = right if isinstance(right, list) else [right] * size
        return [each(work, one, two) for one, two in zip(lefts, rights, strict=True)]
    try:
        return work(left, right)
    except TypeError:
        # Text is greater than every number, as spreadsheets order values.
        return work(isinstance(left, str), isinstance(right, str)) if work in COMPARE.values() else math.nan
    except ZeroDivisionError:
        return math.nan


def choose(test: Any, then: Any, other: Any = False) -> Any:
    if not isinstance(test, list):
        return then if test else other
    thens = then if isinstance(then, list) else [then] * len(test)
    others = other if isinstance(other, list) else [other] * len(test)
    return [yes if holds else no for holds, yes, no in zip(test, thens, others, strict=True)]


def numbers(values: Any) -> list[float]:
    return sorted(v for v in values if isinstance(v, int | float) and not isinstance(v, bool))


def percentile(values: Any, share: float) -> Any:
    ordered = numbers(values)
    if not ordered:
        return math.nan
    place = (len(ordered) - 1) * share
    low, high = math.floor(place), math.ceil(place)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def count_ifs(*given: Any) -> int:
    pairs = list(zip(given[::2], given[1::2], strict=True))
    return sum(all(values[row] == wanted for values, wanted in pairs) for row in range(len(given[0])))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "IF": choose,
    "AND": lambda *given: all(given),
    "OR": lambda *given: any(given),
    "ROUND": lambda value, places: round(value, int(places)),
    "ISNUMBER": lambda value: (
        [isinstance(one, int | float) for one in value]
        if isinstance(value, list)
        else isinstance(value, float)
    ),
    "PERCENTILE": percentile,
    "MAX": lambda values: max(numbers(values), default=0),
    "COUNTIFS": count_ifs,
    "IFERROR": lambda value, other: other if isinstance(value, float) and math.isnan(value) else value,
}
