"""A period report as it is asked for and answered between the command line and the sealer."""

from __future__ import annotations

from datetime import date

from pydantic import Field

from leaver.domain.base import Facts, Message
from leaver.domain.words import Mode


class ReportInput(Message):
    """Whole days of a time zone, both included.

    ``mode``: real cases or rehearsals; None: as HR's newest list. ``checkpoint``: the size of the checkpoint
    to report as of; None: the last one published.
    """

    first: date
    last: date
    zone: str = "UTC"
    mode: Mode | None = None
    checkpoint: int | None = None

    @property
    def request(self) -> str:
        """The same text for the same request."""
        mode = self.mode.value if self.mode else "newest"
        size = "last" if self.checkpoint is None else self.checkpoint
        return f"{self.first}-{self.last}-{self.zone.replace('/', '.')}-{mode}-{size}"


class ReportResult(Message):
    """The sealed report: the name of its bundle, the place of its record, the checkpoint that covers both.

    ``figures`` is what ``issued.json`` in the bundle says. ``problem`` is empty unless it cannot be made as
    asked for; then there is nothing else.
    """

    bundle: str = ""
    seq: int = -1
    size: int = 0
    manifest_sha256: str = ""
    figures: Facts = Field(default_factory=dict)
    problem: str = ""
