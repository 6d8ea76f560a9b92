"""One HTTP server on loopback, inside the running event loop, that can also hang up on its client."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

from leaver.simulators.tls import LoopbackTls

_Peers = tuple[tuple[str, int], tuple[str, int]]
_connections: Final[dict[_Peers, asyncio.Transport]] = {}


class _KnownConnection(H11Protocol):
    """Remembers its transport under both ends' addresses, so that :func:`hang_up` finds it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Asked for now: an aborted transport no longer knows its ends.
        self._peers = _peers(transport)
        _connections[self._peers] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        _connections.pop(self._peers, None)
        super().connection_lost(exc)


def hang_up(scope: Scope) -> None:
    """Close the connection of this request at once, without an answer."""
    client, server = scope["client"], scope["server"]
    transport = _connections.get(((client[0], client[1]), (server[0], server[1])))
    if transport is not None:
        transport.abort()


class _Quiet(uvicorn.Server):
    """Several of these run beside other things: no signals, no ticking, an end without waiting."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for sock in sockets or []:
            sock.close()


class Listener:
    """Serves an ASGI application on 127.0.0.1, over TLS where ``tls`` is given.

    The port is bound when the object is made, so that addresses can be told before serving begins.
    """

    def __init__(self, app: ASGIApp, *, port: int = 0, tls: LoopbackTls | None = None) -> None:
        self._socket = _bind(port)
        self._port = int(self._socket.getsockname()[1])
        self._scheme = "http" if tls is None else "https"
        config = uvicorn.Config(
            app,
            http=_KnownConnection,
            ws="none",
            lifespan="off",
            loop="none",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
            ssl_certfile=tls.cert_file if tls else None,
            ssl_keyfile=str(tls.key_file) if tls else None,
            ssl_version=ssl.PROTOCOL_TLS_SERVER,
        )
        self._server = _Quiet(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that is, or was, bound."""
        return self._port

    @property
    def url(self) -> str:
        """Scheme, host and port, without a slash at the end."""
        return f"{self._scheme}://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Serve; returns once requests are answered."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started:
            if self._task.done():
                self._task.result()
                raise RuntimeError("the simulator's listener ended while starting")
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Stop serving and close every connection."""
        self._server.stopping.set()
        if self._task is None:
            self.close()
        else:
            await self._task

    def close(self) -> None:
        """Give the port back without ever having served."""
        self._socket.close()


def _bind(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # A restarted simulator takes its old port back although connections to it are still fading out.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    return sock


def _peers(transport: asyncio.BaseTransport) -> _Peers:
    peer, here = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
    return ((peer[0], peer[1]), (here[0], here[1]))
