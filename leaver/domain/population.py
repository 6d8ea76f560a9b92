"""What HR's own list says at one moment, as the sealer pulls it: independent of the way cases are started."""

from __future__ import annotations

from pydantic import Field

from leaver.domain.base import Facts, Instant, Message
from leaver.domain.delivery import Exclusion, UnreadableRow
from leaver.domain.words import Mode


class PullFailedError(Exception):
    """HR's list could not be read. The text says what to do; it holds no names or addresses."""


class PopulationRow(Message):
    """One employment that HR's list shows as ending.

    ``effective_at`` is the cut-off instant (UTC), ``entered_at`` when HR entered it, where HR says so.
    ``leaving`` is False for a separation that HR took back. ``set_aside`` says that a rule would give it no
    case; it is listed all the same, because whether that was right is what the comparison shows.
    """

    case: str
    person_ref: str
    source: str
    event_id: str
    effective_at: Instant
    entered_at: Instant | None = None
    leaving: bool = True
    set_aside: Exclusion | None = None
    about: Facts = Field(default_factory=dict)


class Pull(Message):
    """One reading of HR's list. ``rows`` counts workers (or rows), leavers and all others.

    ``query`` says how it was read, word for word as an auditor would repeat it; ``raw_sha256`` is the hash
    of the bytes. ``files`` are names that people gave, and people name files after people: they go into an
    opening, and nothing else of a pull may repeat them. ``staying`` are the case ids that employments which
    go on would have: whoever was listed as leaving before and is among them was taken back. ``problems`` are
    remarks about the reading as a whole.
    """

    source: str
    query: str
    mode: Mode
    pulled_at: Instant
    raw_sha256: str
    rows: int
    leavers: tuple[PopulationRow, ...] = ()
    staying: frozenset[str] = frozenset()
    unreadable: tuple[UnreadableRow, ...] = ()
    problems: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
