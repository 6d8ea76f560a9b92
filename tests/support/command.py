"""The ``leaver`` command in a process of its own, as somebody at a terminal has it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Said:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def check_refusal(self, *words: str, code: int = 2) -> None:
        """One message on standard error that says what is wrong; nothing else."""
        assert (self.code, self.out) == (code, ""), self
        assert self.err.startswith("error: "), self
        assert self.err.count("error: ") == 1
        assert "Traceback" not in self.err
        for word in words:
            assert word in self.err, self


async def leaver(*words: str | Path, cwd: Path | None = None, **env: str) -> Said:
    """Run the command; ``env`` is added to an environment without settings of ours."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LEAVER_")}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "leaver.cli.main", *map(str, words),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL,
        cwd=cwd or ROOT, env={**inherited, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1", **env},
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, err = await child.communicate()
    assert child.returncode is not None
    return Said(child.returncode, out.decode(), err.decode())
