"""One worker process: connect, poll, tell that it is ready, drain on SIGTERM."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Final

import structlog
from temporalio.client import Client
from temporalio.worker import Worker

from leaver.config import Config
from leaver.temporal.connect import connect
from leaver.temporal.telemetry import process_runtime
from workers.roles import Duty, Role, duties
from workers.sandbox import sandboxed

DRAIN: Final = timedelta(seconds=20)
"""How long running activities may finish after SIGTERM; the orchestrator's kill must come later."""

THREADS: Final = 32

log = structlog.get_logger(__name__)


async def work(roles: Sequence[Role], config: Config) -> None:
    """Run these roles until SIGTERM or SIGINT.

    Prints one JSON line on standard output once all of them poll.

    Raises:
        ConfigError: a role cannot be built from this configuration.
        TemporalUnreachableError: no server at the configured address.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # ldap3 and the ledger block: their calls run in threads, and the default of six on two cores is too few
    # for many leavers at once.
    loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="leaver"))
    client = await connect(
        config.temporal(identity=f"leaver-{'+'.join(roles)}"), config.keyring(), runtime=process_runtime()
    )
    async with AsyncExitStack() as stack:
        built = await stack.enter_async_context(duties(roles, config, client))
        for duty in built:
            await stack.enter_async_context(_worker(client, duty))
        names = [duty.role.value for duty in built]
        sys.stdout.write(json.dumps({"ready": True, "roles": ",".join(names)}) + "\n")
        sys.stdout.flush()
        log.info("worker_ready", roles=names, mode=config.settings.mode.value)
        await stop.wait()
        log.info("worker_draining", roles=names, seconds=DRAIN.total_seconds())


def _worker(client: Client, duty: Duty) -> Worker:
    return Worker(
        client,
        task_queue=duty.queue,
        workflows=duty.workflows,
        activities=duty.activities,
        workflow_runner=sandboxed(),
        graceful_shutdown_timeout=DRAIN,
        # What a unit did must reach the server soon, so that a killed worker's successor knows it.
        max_heartbeat_throttle_interval=timedelta(seconds=1),
        default_heartbeat_throttle_interval=timedelta(seconds=1),
    )
