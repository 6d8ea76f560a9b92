"""Deliveries that were read already, kept in a file, so that a replay after a restart is still a replay."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path


class SeenFile:
    """One JSON line per delivery: its digest and when it came. Appended and flushed to disk, never rewritten.

    Satisfies ``SeenDeliveries``. The file grows by about 120 bytes a delivery; lines older than the webhook
    window may be deleted by hand.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def seen(self, digest: str) -> bool:
        """Whether this delivery was read before."""
        if not self._path.exists():
            return False
        with self._path.open(encoding="utf-8") as lines:
            return any(json.loads(line).get("digest") == digest for line in lines if line.strip())

    def remember(self, digest: str, at: datetime) -> None:
        """Keep the delivery's digest."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"digest": digest, "at": at.isoformat()}) + "\n")
            lines.flush()
            os.fsync(lines.fileno())
