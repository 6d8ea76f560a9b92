"""Which cases have a bundle, by the names in the folder of bundles."""

from __future__ import annotations

from pathlib import Path

from leaver.domain.ids import CASE_ID


def bundled_cases(folder: Path) -> frozenset[str]:
    """The ids of the cases whose bundles are there: the bundle of a case is named by its id.

    Bundles of the re-verification (``c-….watch``) and of periods are others.

    Args:
        folder: of bundles; none where it does not exist yet.

    Raises:
        OSError: the folder cannot be read.
    """
    if not folder.is_dir():
        return frozenset()
    return frozenset(path.name for path in folder.iterdir() if CASE_ID.match(path.name))
