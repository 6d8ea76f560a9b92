"""The server side of LDAP on loopback: TLS, framing, the request log and faults to order.

What answers is behind it: the stand-in's own tree, or a real domain controller.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
import uuid
from typing import Final, Protocol

from leaver.simulators.ad import ber, messages
from leaver.simulators.ad.intents import intent_of, method_of
from leaver.simulators.ad.messages import Code, Extended, Message, Unbind
from leaver.simulators.faults import Fault, FaultBook, FaultKind
from leaver.simulators.request_log import Intent, RequestLog, RequestRecord, redacted, stamp
from leaver.simulators.tls import LoopbackTls

SYSTEM: Final = "ad"
_ANSWERS: Final = {
    FaultKind.THROTTLE: (Code.BUSY, "00002024: SvcErr: DSID-02080490, problem 5001 (BUSY), data 0"),
    FaultKind.UNAVAILABLE: (
        Code.UNAVAILABLE,
        "000020EF: SvcErr: DSID-0208046C, problem 5002 (UNAVAILABLE), data 0",
    ),
    FaultKind.NOT_FOUND_ONCE: (
        Code.NO_SUCH_OBJECT,
        "0000208D: NameErr: DSID-0310028B, problem 2001 (NO_OBJECT), data 0",
    ),
}


class Session(Protocol):
    """What is behind one client's connection."""

    async def answer(
        self, message: Message, raw: bytes, /, *, encrypted: bool, stale: float | None
    ) -> list[bytes]:
        """The encoded answers to one request.

        Args:
            message: the request.
            raw: its octets as they came.
            encrypted: whether the client's connection is.
            stale: answer a read with how things were so many seconds ago; 0 is before the last write.
        """
        ...

    async def close(self) -> None:
        """The client is gone."""
        ...


class Backend(Protocol):
    """What is behind the front."""

    async def open(self) -> Session:
        """A session for a new client."""
        ...

    def guid_of(self, dn: str) -> str | None:
        """The object a DN means now, as far as that is known."""
        ...

    def is_person(self, guid: str) -> bool:
        """Whether the object is a user."""
        ...


class LdapFront:
    """Serves LDAPS, and LDAP with StartTLS, on 127.0.0.1.

    Args:
        backend: what answers.
        tls: certificate and key.
        log: gets a line for every request but unbind, under the system ``ad``; None keeps none.
        faults: orders to misbehave.
        port: of LDAPS; 0 takes a free one. The LDAP port is always a free one.
    """

    def __init__(
        self, backend: Backend, *, tls: LoopbackTls, log: RequestLog | None, faults: FaultBook, port: int = 0
    ) -> None:
        self._backend = backend
        self._log = log
        self._faults = faults
        self._port = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(tls.cert_file, tls.key_file)
        self._servers: list[asyncio.Server] = []
        self._clients: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    @property
    def url(self) -> str:
        """``ldaps://127.0.0.1:PORT``."""
        return f"ldaps://127.0.0.1:{_port(self._servers[0])}"

    @property
    def plain_url(self) -> str:
        """``ldap://127.0.0.1:PORT``, where binds are refused until StartTLS."""
        return f"ldap://127.0.0.1:{_port(self._servers[1])}"

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        self._servers = [
            await asyncio.start_server(self._secure_client, "127.0.0.1", self._port, ssl=self._context),
            await asyncio.start_server(self._plain_client, "127.0.0.1", 0),
        ]

    async def stop(self) -> None:
        """Stop listening and cut every connection."""
        for server in self._servers:
            server.close()
        for writer in self._clients:
            writer.transport.abort()
        if self._clients:
            await asyncio.wait([task for task in self._clients.values() if task is not None])
        for server in self._servers:
            await server.wait_closed()

    async def _secure_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._client(reader, writer, encrypted=True)

    async def _plain_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._client(reader, writer, encrypted=False)

    async def _client(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, encrypted: bool
    ) -> None:
        self._clients[writer] = asyncio.current_task()
        session: Session | None = None
        try:
            session = await self._backend.open()
            await _Conversation(self, session, reader, writer, encrypted=encrypted).run()
        except (OSError, ber.BerError, asyncio.IncompleteReadError):
            writer.transport.abort()
        finally:
            if session is not None:
                await session.close()
            del self._clients[writer]
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()

    def fault_for(self, message: Message, path: str, intent: Intent) -> Fault | None:
        """The order this request meets, counted down."""
        return self._faults.take(
            system=SYSTEM,
            method=method_of(message.request),
            path=path,
            operation=intent.operation,
            mutating=intent.mutating,
            in_batch=False,
        )

    def intent_of(self, message: Message) -> tuple[str, Intent]:
        """What a request asks for, and of what; before it is carried out."""
        return intent_of(message.request, self._backend.guid_of, self._backend.is_person)

    def note(self, message: Message, path: str, intent: Intent, status: int, fault: Fault | None) -> None:
        """Write the line."""
        if self._log is None:
            return
        self._log.write(
            RequestRecord(
                time=stamp(time.time()),
                system=SYSTEM,
                method=method_of(message.request),
                path=path,
                status=status,
                mutating=intent.mutating,
                objects=intent.people or intent.related,
                related=intent.related,
                operation=intent.operation,
                summary=redacted(intent.summary),
                request_id=str(uuid.uuid4()),
                fault=fault.kind.value if fault else None,
            )
        )

    @property
    def tls_context(self) -> ssl.SSLContext:
        """For StartTLS."""
        return self._context


class _Conversation:
    """One client's connection."""

    def __init__(
        self,
        front: LdapFront,
        session: Session,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        encrypted: bool,
    ) -> None:
        self._front = front
        self._session = session
        self._reader = reader
        self._writer = writer
        self._encrypted = encrypted

    async def run(self) -> None:
        """Until the client goes, or is hung up on."""
        while (raw := await read_message(self._reader)) is not None:
            message = messages.decode(raw)
            if isinstance(message.request, Unbind):
                return
            if message.request == Extended(messages.START_TLS):
                await self._start_tls(message)
            elif message.answer_tag and not await self._handle(message, raw):
                self._writer.transport.abort()
                return

    async def _handle(self, message: Message, raw: bytes) -> bool:
        """Answer one request; False means hang up instead."""
        path, intent = self._front.intent_of(message)
        fault = self._front.fault_for(message, path, intent)
        kind = fault.kind if fault else None
        if kind is FaultKind.DROP_BEFORE_COMMIT:
            self._front.note(message, path, intent, 0, fault)
            return False
        if fault and kind is FaultKind.SLOW:
            await asyncio.sleep(fault.seconds)
        if kind in _ANSWERS:
            answers = [messages.result(message, *_ANSWERS[kind])]
        else:
            stale = fault.seconds if fault and kind is FaultKind.STALE_READS else None
            answers = await self._session.answer(message, raw, encrypted=self._encrypted, stale=stale)
        self._front.note(message, path, intent, _status(answers), fault)
        if kind is FaultKind.DROP_AFTER_COMMIT:
            return False
        self._writer.writelines(answers)
        await self._writer.drain()
        return True

    async def _start_tls(self, message: Message) -> None:
        if self._encrypted:
            self._writer.write(messages.result(message, Code.OPERATIONS_ERROR, "TLS is already established"))
            return
        self._writer.write(messages.result(message))
        await self._writer.drain()
        await self._writer.start_tls(self._front.tls_context)
        self._encrypted = True


async def read_message(reader: asyncio.StreamReader) -> bytes | None:
    """One whole LDAP message; None where the other side closed in between.

    Raises:
        BerError: it is none.
        IncompleteReadError: the other side closed in the middle.
    """
    data = bytearray(await reader.read(2))
    if not data:
        return None
    if len(data) == 1:
        data += await reader.readexactly(1)
    while (span := ber.extent(data)) is None:
        data += await reader.readexactly(1)
    return bytes(data) + await reader.readexactly(span[1] - len(data))


def _status(answers: list[bytes]) -> int:
    _, operation = messages.answer_parts(answers[-1])
    return operation.children()[0].number


def _port(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])
