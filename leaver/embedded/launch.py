"""Replace this process by another program that the kernel ends when the parent dies.

Run as ``python launch.py PARENT_PID PROGRAM ARGUMENT...`` (standard library only, so that it starts fast). A
process can ask only for itself to be signalled at its parent's death (prctl(2), PR_SET_PDEATHSIG); the
request survives execve(2), so the program itself needs to know nothing. The usual alternative, code between
fork and exec, is unsafe with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def main(arguments: list[str]) -> None:
    """Ask for SIGTERM at the parent's death, then become the program. Best effort: Linux only."""
    parent, program = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        # The parent died before the request: nobody is left to stop this process.
        sys.exit(0)
    os.execv(program[0], program)  # noqa: S606 - the caller is our own supervisor; no shell is involved


if __name__ == "__main__":
    main(sys.argv[1:])
