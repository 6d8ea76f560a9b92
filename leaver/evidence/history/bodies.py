"""The sealer's records about histories. Unknown fields are ignored: a later version may write more."""

from __future__ import annotations

from pydantic import Field

from leaver.domain.base import Instant, Message
from leaver.evidence.bodies import Raised


class ChildRun(Message):
    """A workflow of the same case that a run started."""

    workflow_id: str
    run_id: str


class HistoryPrefix(Message):
    """``history.prefix``: the first events of a run that is still open.

    ``head`` is the chain's head over ``events`` events, ``sha256`` names the exact bytes in the ledger's
    content store, ``library`` is what read them from the server.
    """

    workflow_id: str
    run_id: str
    first_run_id: str
    events: int
    head: str
    sha256: str
    library: str


class HistoryFinal(Message):
    """``history.final``: the whole history of a closed run.

    ``sha256`` and ``json_sha256`` name its two forms in the ledger's content store; ``head`` is the chain's
    head over all events of the first. ``first_run_id`` is the first run of the chain that continue-as-new,
    retry and reset make; ``continued_from``, ``continued_as`` and ``reset_of`` are the neighbours in it.
    """

    workflow_id: str
    run_id: str
    workflow_type: str
    first_run_id: str
    continued_from: str | None = None
    continued_as: str | None = None
    reset_of: str | None = None
    close_status: str
    started_at: Instant
    closed_at: Instant
    events: int
    head: str
    sha256: str
    json_sha256: str
    children: tuple[ChildRun, ...] = Field(default=())
    library: str


class RunException(Raised):
    """``exception.raised`` by the sealer about a run.

    ``lost``: its history can never be sealed. ``events``: how many of its first events ``history_changed`` is
    about.
    """

    run_id: str
    workflow_id: str | None = None
    lost: bool = False
    events: int | None = None
