"""The write guard: every transport asks it before a mutating request leaves the process.

Two promises live here. In notification-only mode no mutating request is sent, whatever the code above
forgot. In enforce mode a request may touch only the objects of the case it is made for (trap T44).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from leaver.connectors.errors import WriteRefused
from leaver.domain.words import Mode


@dataclass(frozen=True, slots=True)
class WriteScope:
    """What the running unit of work may write: its mode, and the ids of the leaver and the successor."""

    mode: Mode
    subjects: frozenset[str]


_NOTHING = WriteScope(Mode.NOTIFICATION_ONLY, frozenset())
_scope: ContextVar[WriteScope] = ContextVar("leaver_write_scope", default=_NOTHING)


@contextmanager
def write_scope(mode: Mode, subjects: Iterable[str]) -> Iterator[None]:
    """Allow writes on these objects, in this mode, for the code inside."""
    token = _scope.set(WriteScope(mode, frozenset(subject.casefold() for subject in subjects)))
    try:
        yield
    finally:
        _scope.reset(token)


class WriteGuard:
    """Held by a transport. ``mode`` is the installation's own switch; the stricter of the two decides."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode

    def check(self, operation: str, objects: Iterable[str]) -> None:
        """Let a mutating request pass, or raise.

        Args:
            operation: what is about to be sent, without personal data, e.g. ``PATCH /users/{id}``.
            objects: the immutable ids of *every* directory object the request changes.

        Raises:
            WriteRefused: notification-only mode, no write scope, or an object outside the case.
        """
        scope = _scope.get()
        if Mode.NOTIFICATION_ONLY in (self._mode, scope.mode):
            raise WriteRefused(f"{operation}: writes are switched off (notification-only mode)")
        touched = {item.casefold() for item in objects}
        if not touched:
            raise WriteRefused(f"{operation}: the request names no object, so it cannot be told whose it is")
        if not touched <= scope.subjects:
            raise WriteRefused(f"{operation}: the request would change an object outside this case")
