"""Heartbeats for activities that have nothing to remember, so that a dead worker is noticed in seconds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from temporalio import activity

BEAT_EVERY: Final = 2.0


@contextlib.asynccontextmanager
async def beating() -> AsyncIterator[None]:
    """Tell Temporal every ``BEAT_EVERY`` seconds that the activity around the block is alive.

    Without it, Temporal waits for the whole start-to-close limit before it gives the work of a killed
    worker to another one.
    """

    async def beat() -> None:
        while True:
            await asyncio.sleep(BEAT_EVERY)
            activity.heartbeat()

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
