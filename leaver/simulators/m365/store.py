"""Versioned tables: writes hit the newest version, reads see what a lagging replica would show.

The directory is eventually consistent: a write that was answered is not in the next read for sure. Each
table keeps the last versions of every object, so that a read can be given the state of a moment ago. A
journal, where there is one, takes each version as a line, and a killed simulator starts from it again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from leaver.simulators.m365.state import Entity

M = TypeVar("M", bound=Entity)
_REMEMBERED_SECONDS: Final = 120.0


class Clock:
    """The simulator's time: the machine's, moved on by whoever tests."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        """Let time pass at once."""
        self._ahead += seconds


@dataclass(frozen=True, slots=True)
class View:
    """How far behind a read is. ``previous`` shows each object as it was before its last write."""

    lag: float = 0.0
    previous: bool = False


NEWEST: Final = View()


@dataclass(frozen=True, slots=True)
class _Version(Generic[M]):
    written: float
    value: M | None


class Journal:
    """An append-only file of versions. A torn last line, left by a kill, is dropped when read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")

    @staticmethod
    def read(path: Path) -> dict[str, dict[str, str]]:
        """The last version of every object, as JSON, by table and id."""
        tables: dict[str, dict[str, str]] = {}
        for line in path.read_text("utf-8").splitlines(keepends=True):
            if not line.endswith("\n"):
                break
            entry = json.loads(line)
            rows = tables.setdefault(entry["table"], {})
            if entry["value"] is None:
                rows.pop(entry["id"], None)
            else:
                rows[entry["id"]] = json.dumps(entry["value"])
        return tables

    def append(self, table: str, key: str, value: Entity | None) -> None:
        """Write one version, before anybody is told that it exists."""
        content = None if value is None else value.model_dump(mode="json")
        self._file.write(json.dumps({"table": table, "id": key, "value": content}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Table(Generic[M]):
    """Every object of one kind."""

    def __init__(self, name: str, model: type[M], clock: Clock) -> None:
        self.name = name
        self.journal: Journal | None = None
        self._model = model
        self._clock = clock
        self._rows: dict[str, list[_Version[M]]] = {}

    def seed(self, value: M) -> None:
        """Put an object there that has always been there; no replica lacks it."""
        self._rows[value.id] = [_Version(0.0, value)]
        self._log(value.id, value)

    def load(self, rows: dict[str, str]) -> None:
        """Fill the table from a journal."""
        for key, text in rows.items():
            self._rows[key] = [_Version(0.0, self._model.model_validate_json(text))]

    def dump(self, journal: Journal) -> None:
        """Write every object to a journal, and each later version too."""
        self.journal = journal
        for value in self.all():
            self._log(value.id, value)

    def get(self, key: str, view: View = NEWEST) -> M | None:
        """The object as that view shows it; treat it as read-only. None where the view shows none."""
        versions = self._rows.get(key)
        if not versions:
            return None
        if view.previous:
            return versions[-2 if len(versions) > 1 else -1].value
        horizon = self._clock.now() - view.lag
        return next((v.value for v in reversed(versions) if v.written <= horizon), None)

    def all(self, view: View = NEWEST) -> list[M]:
        """Every object as that view shows it."""
        found = (self.get(key, view) for key in list(self._rows))
        return [value for value in found if value is not None]

    @contextmanager
    def change(self, key: str, *, at: float | None = None) -> Iterator[M]:
        """Edit a copy of the newest version; it is stored when the block ends without an error.

        Raises:
            KeyError: there is no such object.
        """
        current = self.get(key)
        if current is None:
            raise KeyError(key)
        draft = current.model_copy(deep=True)
        yield draft
        if draft != current:
            self._append(key, draft, at)

    def put(self, value: M, *, at: float | None = None) -> None:
        """Store a new object or a whole new version."""
        self._append(value.id, value, at)

    def remove(self, key: str) -> None:
        """Take an object away, from every replica at once."""
        del self._rows[key]
        self._log(key, None)

    def _append(self, key: str, value: M | None, at: float | None) -> None:
        now = self._clock.now()
        versions = self._rows.setdefault(key, [_Version(0.0, None)])
        versions.append(_Version(now if at is None else at, value))
        recent = [v for v in versions[:-2] if v.written >= now - _REMEMBERED_SECONDS]
        # The oldest kept version answers for all time before it, so one old version always stays.
        older = [v for v in versions[:-2] if v.written < now - _REMEMBERED_SECONDS][-1:]
        self._rows[key] = [*older, *recent, *versions[-2:]]
        self._log(key, value)

    def _log(self, key: str, value: M | None) -> None:
        if self.journal is not None:
            self.journal.append(self.name, key, value)
