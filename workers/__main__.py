"""``python -m workers ROLE…``: one production process."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import leaver
from leaver.config import Config, ConfigError, load
from leaver.temporal.connect import TemporalUnreachableError
from workers.roles import Role, all_roles


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the roles named on the command line. Returns the exit code: 0 drained, 2 cannot start."""
    given = _parser().parse_args(arguments)
    try:
        config = load(given.config)
        roles = all_roles(config) if "all" in given.roles else tuple(Role(role) for role in given.roles)
        _start(config, roles)
    except (ConfigError, TemporalUnreachableError) as err:
        sys.stderr.write(f"{err}\n")
        return 2
    return 0


def _start(config: Config, roles: tuple[Role, ...]) -> None:
    from leaver.observability.logging import LogStyle, configure_logging  # noqa: PLC0415
    from workers.runtime import work  # noqa: PLC0415

    section = config.settings.logging
    configure_logging(style=LogStyle(section.format), level=section.level)
    asyncio.run(work(roles, config))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m workers",
        description="Run one or more worker roles of leaver until SIGTERM.",
        epilog="Exit codes: 0 stopped when asked, 2 the configuration or Temporal stands in the way.",
    )
    parser.add_argument(
        "roles",
        nargs="+",
        metavar="ROLE",
        choices=[*Role, "all"],
        help=f"one or more of: {', '.join(Role)}; or 'all' for every role this configuration has",
    )
    parser.add_argument(
        "--config", type=Path, default=None, help="leaver.toml (default: $LEAVER_CONFIG, ./leaver.toml)"
    )
    parser.add_argument("--version", action="version", version=f"leaver {leaver.__version__}")
    return parser


def run() -> None:
    """Entry point. Leaves hard: Temporal's SDK may crash while the interpreter is torn down."""
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    run()
