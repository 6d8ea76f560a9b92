"""What ``leaver config check`` asks the systems: connect, sign in, read. It writes nothing anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, closing

from leaver.config import Config, ConfigError
from leaver.connectors.errors import ConnectorError
from leaver.temporal.connect import TemporalUnreachableError, connect


async def problems(config: Config) -> list[str]:
    """Every system that this configuration names and that cannot be used, with the reason."""
    probes: list[Callable[[Config], Awaitable[list[str]]]] = [_temporal]
    if config.settings.microsoft is not None:
        probes.append(_microsoft)
    if config.settings.ad is not None:
        probes.append(_ad)
    return [
        problem for found in await asyncio.gather(*(probe(config) for probe in probes)) for problem in found
    ]


async def _temporal(config: Config) -> list[str]:
    try:
        await connect(config.temporal(identity="leaver-config-check"), config.keyring())
    except TemporalUnreachableError as err:
        return [str(err)]
    return []


async def _microsoft(config: Config) -> list[str]:
    """Sign in for Graph and Exchange, as the workers do; what the tokens may do shows at the first call."""
    try:
        from leaver.connectors.tokens import TokenSource  # noqa: PLC0415
    except ModuleNotFoundError as err:
        return [f"microsoft: the package {err.name} is missing; install leaver[entra]"]
    exchange = config.exchange()
    found = []
    async with aclosing(TokenSource(exchange.app)) as tokens:
        for name, scope in (("Graph", exchange.graph.scope), ("Exchange", exchange.scope)):
            try:
                await tokens.token(scope)
            except ConnectorError as err:
                found.append(f"microsoft: no token for {name}: {err}")
    return found


async def _ad(config: Config) -> list[str]:
    try:
        from leaver.connectors.ad.client import LdapDirectory  # noqa: PLC0415
        from leaver.connectors.guard import WriteGuard  # noqa: PLC0415
    except ModuleNotFoundError as err:
        return [f"ad: the package {err.name} is missing; install leaver[onprem]"]
    try:
        leavers_ou = config.policy().ad.leavers_ou
    except ConfigError:
        leavers_ou = None
    with closing(LdapDirectory(config.ad(), WriteGuard(config.settings.mode))) as directory:
        try:
            check = await asyncio.to_thread(directory.check_connection, leavers_ou=leavers_ou)
        except ConnectorError as err:
            return [f"ad: {err}"]
    return [f"ad: {problem}" for problem in check.problems]
