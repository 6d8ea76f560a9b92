"""The simulators' own record of what was asked of them: one JSON line per request.

This is the other side's view, kept apart from what the product says it did: order of writes, number of
writes and whose objects were touched are checked against it. It holds ids and shapes of what was written,
never a secret; the path is kept as it was sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

_GUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PLAIN_WORDS: Final = frozenset(
    {
        "Type", "AccessRights", "AutoReplyState", "ExternalAudience", "InheritanceType",
        "RecipientTypeDetails", "roles", "status", "externalAudience",
    }
)  # fmt: skip


@dataclass(slots=True)
class Intent:
    """What a request asks for, known before it is carried out."""

    operation: str
    """A cmdlet's name or a route template such as ``/users/{user}``."""
    mutating: bool
    people: list[str] = field(default_factory=list)
    """Ids of the user objects it touches."""
    related: list[str] = field(default_factory=list)
    """Ids of other objects it touches: groups, drives."""
    summary: dict[str, object] = field(default_factory=dict)
    """What it wants written; see :func:`redacted`."""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request as the system saw it; a log line has the same keys, save that ``objects`` is ``object``.

    ``status`` is 0 where the connection was closed before anything was done; where the reply was lost after
    the write, it is the status that would have been sent, and ``fault`` says so.
    """

    time: str
    system: str
    method: str
    path: str
    status: int
    mutating: bool
    objects: list[str]
    """The people touched; where none is, the other objects."""
    related: list[str]
    operation: str
    summary: dict[str, object]
    request_id: str
    fault: str | None = None
    batch: bool = False

    def as_line(self) -> str:
        """The record as a line of JSON."""
        fields = {"object" if key == "objects" else key: value for key, value in asdict(self).items()}
        return json.dumps(fields, separators=(",", ":")) + "\n"


class RequestLog:
    """Keeps records in memory and, given a directory, in ``requests-<system>.jsonl`` files."""

    def __init__(self, directory: Path | None = None) -> None:
        self.records: list[RequestRecord] = []
        self._directory = directory
        self._files: dict[str, IO[str]] = {}
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)

    def write(self, record: RequestRecord) -> None:
        """Keep one record; on disk before the answer leaves."""
        self.records.append(record)
        if self._directory is not None:
            handle = self._files.get(record.system) or self._open(record.system, self._directory)
            handle.write(record.as_line())
            handle.flush()

    def mutations(self, system: str | None = None) -> list[RequestRecord]:
        """Requests that asked for a change, whatever became of them."""
        return [r for r in self.records if r.mutating and system in (None, r.system)]

    def close(self) -> None:
        """Close the files; further records open them again."""
        for handle in self._files.values():
            handle.close()
        self._files.clear()

    def _open(self, system: str, directory: Path) -> IO[str]:
        handle = (directory / f"requests-{system}.jsonl").open("a", encoding="utf-8")
        self._files[system] = handle
        return handle


def stamp(epoch: float) -> str:
    """UTC in ISO 8601 with milliseconds and ``Z``."""
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def redacted(fields: Mapping[str, object]) -> dict[str, object]:
    """The shape of what was written, without its content.

    Booleans, numbers, nulls, GUIDs and a few closed sets of words stay; everything else, passwords and
    messages first of all, becomes ``true``.
    """
    return {key: _shape(key, value) for key, value in fields.items()}


def _shape(key: str, value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value if key in _PLAIN_WORDS or _GUID.fullmatch(value) else True
    if isinstance(value, list):
        return [_shape(key, item) for item in value]
    return True
