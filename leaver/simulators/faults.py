"""Faults to order: what a simulated system does wrong, to which requests, and how often.

A fault is matched before a request is handled; the first that matches and is not used up decides. Kinds
follow what the vendors really do: throttling with ``Retry-After`` in either form of RFC 9110 section 10.2.3,
replies lost before or after the write was done, replicas that lag, challenges, single members of a batch.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator


class FaultKind(StrEnum):
    """What goes wrong."""

    THROTTLE = "throttle"
    """429 with ``Retry-After``; nothing is done."""
    UNAVAILABLE = "unavailable"
    """503; nothing is done. Carries ``Retry-After`` only when ``retry_after`` is set."""
    DROP_BEFORE_COMMIT = "drop_before_commit"
    """The connection closes without an answer; nothing is done."""
    DROP_AFTER_COMMIT = "drop_after_commit"
    """The write is done, then the connection closes without an answer (trap T68)."""
    STALE_READS = "stale_reads"
    """A read shows the state before the last write; with ``seconds``, everything written since then."""
    NOT_FOUND_ONCE = "not_found_once"
    """A read answers "no such object" although there is one (a replica that lags)."""
    TRANSIENT_400 = "transient_400"
    """Exchange's own: 400 with ServerBusyException, which must be tried again."""
    ERROR_IN_200 = "error_in_200"
    """Exchange's own: success status, the error sits in the body."""
    BATCH_THROTTLE = "batch_throttle"
    """One member of a batch gets 429 with its own ``Retry-After``; the envelope says 200 (trap T69)."""
    CLAIMS_CHALLENGE = "claims_challenge"
    """401 that asks for a new token with claims (continuous access evaluation, trap T17)."""
    SLOW = "slow"
    """Waits ``seconds``, then answers as always."""


BATCH_ONLY = frozenset({FaultKind.BATCH_THROTTLE})
CONNECTION_ONLY = frozenset({FaultKind.DROP_BEFORE_COMMIT, FaultKind.DROP_AFTER_COMMIT})
READS_ONLY = frozenset({FaultKind.STALE_READS, FaultKind.NOT_FOUND_ONCE})


class Fault(BaseModel):
    """One order. Counts down ``times``; then the system behaves again."""

    model_config = ConfigDict(extra="forbid")

    kind: FaultKind
    system: str = "*"
    """entra (Graph and login), exchange, onedrive (SharePoint), ad; ``*`` for every one."""
    method: str = "*"
    path: str = ".*"
    """Regular expression searched for in the request path (decoded, without the query)."""
    operation: str = ".*"
    """Regular expression searched for in the operation's name: a cmdlet or a route template."""
    times: int = Field(default=1, ge=1)
    skip: int = Field(default=0, ge=0)
    """Let this many matching requests pass first."""
    retry_after: float | None = Field(default=None, ge=0)
    """Seconds. THROTTLE and BATCH_THROTTLE send 1 when nothing is said here."""
    http_date: bool = False
    """Send ``Retry-After`` as a date instead of seconds."""
    seconds: float = Field(default=0.0, ge=0)
    """SLOW: how long. STALE_READS: how old the state is; 0 means the state before the last write."""

    @field_validator("path", "operation")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return value

    def matches(self, *, system: str, method: str, path: str, operation: str) -> bool:
        """Whether this order is for such a request, used up or not."""
        return (
            self.system in ("*", system)
            and self.method in ("*", method)
            and re.search(self.path, path) is not None
            and re.search(self.operation, operation) is not None
        )


class FaultBook:
    """The orders that stand, oldest first."""

    def __init__(self) -> None:
        self._open: list[Fault] = []

    def add(self, fault: Fault | FaultKind, **fields: Any) -> None:
        """Take an order: a ready one, or a kind and its fields."""
        order = fault if isinstance(fault, Fault) else Fault(kind=fault, **fields)
        self._open.append(order.model_copy())

    def clear(self) -> None:
        """Forget every order."""
        self._open.clear()

    @property
    def open(self) -> tuple[Fault, ...]:
        """What is still to come."""
        return tuple(self._open)

    def take(  # noqa: PLR0913 - each word is a fact of the request
        self, *, system: str, method: str, path: str, operation: str, mutating: bool, in_batch: bool
    ) -> Fault | None:
        """The fault this request meets, counted down; None where it meets none."""
        for fault in self._open:
            if not _applicable(fault.kind, mutating=mutating, in_batch=in_batch):
                continue
            if not fault.matches(system=system, method=method, path=path, operation=operation):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            fault.times -= 1
            if not fault.times:
                self._open.remove(fault)
            return fault
        return None


def _applicable(kind: FaultKind, *, mutating: bool, in_batch: bool) -> bool:
    if in_batch and kind in CONNECTION_ONLY:
        return False
    if not in_batch and kind in BATCH_ONLY:
        return False
    return not (mutating and kind in READS_ONLY)
