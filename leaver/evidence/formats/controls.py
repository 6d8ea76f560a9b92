"""The control map as data: what serves which control, how it is tested, what it does not show."""

from __future__ import annotations

import re
import tomllib
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Annotated, Final

from pydantic import Field

from leaver.domain.base import Document
from leaver.domain.catalogue import CATALOGUE
from leaver.domain.words import RecordType

Text = Annotated[str, Field(min_length=1)]

TITLES: Final = {
    "SOC2": "SOC 2 trust services criteria",
    "ISO27001:2013": "ISO/IEC 27001:2013",
    "ISO27001:2022": "ISO/IEC 27001:2022",
    "NIST": "NIST SP 800-53 revision 5",
    "PCI": "PCI DSS 4.0.1",
    "HIPAA": "HIPAA security rule, 45 CFR",
    "CIS": "CIS Controls version 8",
    "SOX": "SOX general IT controls",
}
"""Frameworks by the first part of a control's reference."""


class Coverage(StrEnum):
    """How much of a control the evidence answers."""

    DIRECT = "direct"
    """The results of the steps answer it for the accounts of the case."""
    SUPPORTS = "supports"
    """They are part of the answer; no conclusion is drawn here."""
    OUTSIDE = "outside"
    """Nothing here shows it."""


class NistIds(Document):
    """Where NIST's own catalogue has it; ids as in OSCAL."""

    control: Text
    statement: Text
    objectives: Annotated[tuple[Text, ...], Field(min_length=1)]
    parameters: tuple[Text, ...] = ()


class Control(Document):
    """One control and the evidence that serves it. All words but the number are ours."""

    ref: Text
    number: Text
    subject: Text
    coverage: Coverage
    steps_of: tuple[Text, ...] | None = None
    records: tuple[RecordType, ...] = ()
    evidence: Text
    test: Text
    limits: Text
    nist: NistIds | None = None

    @property
    def framework(self) -> str:
        """Name and edition of the framework."""
        return TITLES[self.ref.removesuffix(f":{self.ref.rsplit(':', 1)[1]}")]

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps of the catalogue that serve it, in catalogue order."""
        wanted = {self.ref} if self.steps_of is None else set(self.steps_of)
        return tuple(row.name for row in CATALOGUE.values() if wanted & set(row.controls))

    @property
    def token(self) -> str:
        """The reference as an OSCAL token, e.g. ``iso27001-2022-a.5.18``."""
        return re.sub(r"[^a-z0-9.]+", "-", self.ref.lower()).strip("-")


@cache
def controls() -> tuple[Control, ...]:
    """The whole map, in the order of the file. The file is part of the program: it is not configuration."""
    text = files("leaver.evidence.formats").joinpath("controls.toml").read_text(encoding="utf-8")
    return tuple(Control.model_validate(row) for row in tomllib.loads(text)["control"])


def control(ref: str) -> Control:
    """The control of that reference.

    Raises:
        KeyError: the map has none.
    """
    return {row.ref: row for row in controls()}[ref]
