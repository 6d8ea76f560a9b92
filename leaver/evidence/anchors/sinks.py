"""Stores that take each file once: a folder here, a bucket with Object Lock in ``s3``."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Final, Protocol

from leaver.evidence.anchors.files import write_once
from leaver.evidence.anchors.layout import CHECKPOINTS, checked_anchor_name
from leaver.evidence.errors import SinkError

_NAME: Final = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]*(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)*", re.ASCII)

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


class Sink(Protocol):
    """A store for what is published. Its methods block: call them in a thread."""

    @property
    def name(self) -> str:
        """How anchors and reports call it: letters, digits, ``-`` and ``_``."""
        ...

    @property
    def independent(self) -> bool:
        """Whether what lies there is out of the operator's reach."""
        ...

    def check(self) -> None:
        """Look whether files can be kept there as promised; writes nothing.

        Raises:
            SinkError: they cannot; the text says what to do.
        """
        ...

    def put(self, name: str, content: bytes) -> str:
        """Store a file; when this returns it is on the disk. The same content again is no error.

        Returns:
            The stored version's id.

        Raises:
            SinkError: not stored; or another content lies there under that name, and stays.
        """
        ...

    def get(self, name: str) -> bytes | None:
        """A file's content; None where there is none.

        Raises:
            SinkError: the store does not answer.
        """
        ...

    def sizes(self) -> list[int]:
        """The sizes of the checkpoints that seem to lie there, largest first: only folders were looked at.

        Raises:
            SinkError: the store does not answer.
        """
        ...


class FolderSink:
    """A folder: another disk, a share, or a place from which a publisher of files takes them.

    Files get read-only permissions. Whoever can write the folder can delete them: this keeps a copy, it
    protects nothing by itself.
    """

    def __init__(self, folder: Path, *, name: str = "folder", independent: bool = False) -> None:
        self.name = checked_anchor_name(name)
        self.independent = independent
        self._folder = folder

    def check(self) -> None:
        """Make the folder where it is missing."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise SinkError(f"{self._folder}: the folder cannot be made: {err.strerror}") from err
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise SinkError(f"{self._folder}: the folder cannot be written")

    def put(self, name: str, content: bytes) -> str:
        """Store a file, whole or not at all, never over another one."""
        file = self._folder / checked_name(name)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if not write_once(file, content) and file.read_bytes() != content:
                raise SinkError(f"{file}: other content lies there already; it was left as it is")
        except OSError as err:
            raise SinkError(f"{file}: cannot be written: {err.strerror}") from err
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    def get(self, name: str) -> bytes | None:
        """A file's content; None where there is none."""
        file = self._folder / checked_name(name)
        try:
            return file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as err:
            raise SinkError(f"{file}: cannot be read: {err.strerror}") from err

    def sizes(self) -> list[int]:
        """The sizes of the checkpoints that seem to lie there, largest first."""
        try:
            names = [entry.name for entry in (self._folder / CHECKPOINTS).iterdir()]
        except FileNotFoundError:
            return []
        except OSError as err:
            raise SinkError(f"{self._folder / CHECKPOINTS}: cannot be read: {err.strerror}") from err
        return sizes_among(names)


def sizes_among(names: list[str]) -> list[int]:
    """The checkpoint sizes among folder names, largest first; what else people put there is none."""
    return sorted((int(name) for name in names if _SIZE.fullmatch(name)), reverse=True)


def checked_name(name: str) -> str:
    """A file's name in a store, if it is a plain relative one.

    Raises:
        SinkError: it is not.
    """
    if not _NAME.fullmatch(name):
        raise SinkError(f"{name!r} is not a name for a published file")
    return name
