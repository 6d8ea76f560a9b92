"""Files that are on the disk when the call returns, and never half written."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def replace_file(file: Path, content: bytes) -> None:
    """Put new content under a name, whole or not at all.

    Raises:
        OSError: not written; what was there still is.
    """
    fresh = _fresh(file)
    try:
        _write(fresh, content, 0o644)
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)
    _flush(file.parent)


def write_once(file: Path, content: bytes) -> bool:
    """Write a file that must not exist yet, read-only for everybody.

    Returns:
        False when there was one already, which was left as it is.

    Raises:
        OSError: not written.
    """
    fresh = _fresh(file)
    try:
        _write(fresh, content, 0o444)
        try:
            os.link(fresh, file)
        except FileExistsError:
            return False
    finally:
        fresh.unlink(missing_ok=True)
    _flush(file.parent)
    _flush(file.parent.parent)  # the folder itself may be new
    return True


def _fresh(file: Path) -> Path:
    return file.with_name(f".{file.name}.{secrets.token_hex(8)}")


def _write(file: Path, content: bytes, mode: int) -> None:
    with os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def _flush(folder: Path) -> None:
    """Have a folder's entries on the disk, so that a new name survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
