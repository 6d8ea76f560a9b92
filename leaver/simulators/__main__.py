"""``python -m leaver.simulators --dir DIR``: the sample company in a process of its own.

Prints one line of JSON with addresses and credentials once everything answers, then runs until SIGTERM or
SIGINT. Start it again with the same directory, and it goes on where it was. Exit code 2: a bad argument, or
a port of the run before is taken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Final

from leaver.simulators.m365 import Delays
from leaver.simulators.running import CompanySettings, running_company

_BAD_INPUT: Final = 2


def main(arguments: list[str] | None = None) -> int:
    """Run until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m leaver.simulators", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="keeps state, certificates and request logs")
    parser.add_argument("--ad", choices=["auto", "standin", "samba", "none"], default="auto")
    parser.add_argument("--sync-interval", type=float, default=2.0, help="seconds between directory syncs")
    parser.add_argument("--slow-down", type=float, default=1.0, help="factor on every simulated delay")
    given = parser.parse_args(arguments)
    settings = CompanySettings(
        ad=given.ad,
        delays=_delays(given.slow_down),
        sync_interval=given.sync_interval,
        timestamps=True,
    )
    try:
        asyncio.run(_run(given.dir, settings))
    except OSError as error:
        sys.stderr.write(f"simulators: {given.dir}: {error.strerror or error}\n")
        return _BAD_INPUT
    return 0


async def _run(directory: Path, settings: CompanySettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running_company(directory, settings) as company:
        sys.stdout.write(json.dumps(company.as_dict()) + "\n")
        sys.stdout.flush()
        await stop.wait()


def _delays(factor: float) -> Delays:
    usual = Delays()
    return Delays(
        consistency=usual.consistency * factor,
        search=usual.search * factor,
        purpose=usual.purpose * factor,
        conversion=usual.conversion * factor,
        group_licences=usual.group_licences * factor,
    )


if __name__ == "__main__":
    sys.exit(main())
