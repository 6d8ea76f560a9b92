"""``python -m workers.codec``: the codec server for the Temporal UI and CLI, as a process of its own.

It holds the payload keys and nothing else: no Temporal client, no credentials of target systems.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from leaver.config import Config, ConfigError, load
from leaver.observability.logging import LogStyle, configure_logging
from leaver.temporal.codec_server import CodecServerOptions, codec_app, serving


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM. Returns the exit code: 0 stopped when asked, 2 cannot start."""
    given = _parser().parse_args(arguments)
    try:
        config = load(given.config)
        configure_logging(style=LogStyle(config.settings.logging.format), level=config.settings.logging.level)
        asyncio.run(serve(config, given))
    except (ConfigError, OSError) as err:
        sys.stderr.write(f"{err}\n")
        return 2
    return 0


async def serve(config: Config, given: argparse.Namespace) -> None:
    """Listen until SIGTERM or SIGINT; prints one JSON line on standard output once it answers.

    Raises:
        ConfigError: the configuration or the combination of options cannot be used.
        OSError: the address cannot be listened on.
    """
    options = _options(config, given)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    app = codec_app(config.keyring(), options)
    async with serving(app, host=given.host, port=given.port) as url:
        sys.stdout.write(json.dumps({"ready": True, "url": url}) + "\n")
        sys.stdout.flush()
        await stop.wait()


def _options(config: Config, given: argparse.Namespace) -> CodecServerOptions:
    bearer = config.secret("--token", given.token) if given.token else None
    if bearer is None and not ipaddress.ip_address(given.host).is_loopback:
        raise ConfigError(["--host: an address that others can reach needs --token as well"])
    return CodecServerOptions(
        namespaces=frozenset({config.settings.temporal.namespace}),
        ui_origins=tuple(given.ui_origin),
        bearer=bearer,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m workers.codec",
        description="Decode payloads for the Temporal UI and CLI until SIGTERM.",
        epilog="Exit codes: 0 stopped when asked, 2 the configuration or the address stands in the way.",
    )
    parser.add_argument(
        "--config", type=Path, default=None, help="leaver.toml (default: $LEAVER_CONFIG, ./leaver.toml)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8081, help="port, 0 for a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--ui-origin",
        action="append",
        default=[],
        metavar="URL",
        help="origin of the Temporal UI; repeatable",
    )
    parser.add_argument(
        "--token", default=None, metavar="REF", help="bearer token by reference: env:NAME or file:path"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
