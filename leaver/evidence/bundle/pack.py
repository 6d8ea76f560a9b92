"""A bundle as one file, for stores."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Final

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest date a ZIP file can tell: the bytes must not depend on when it was packed."""


def packed(bundle: Path) -> bytes:
    """All files of a bundle as ZIP; the same bundle gives the same bytes.

    Raises:
        OSError: it cannot be read.
    """
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(path for path in bundle.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(bundle).as_posix(), _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())
    return target.getvalue()
