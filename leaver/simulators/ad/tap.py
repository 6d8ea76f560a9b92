"""A look into the LDAP traffic of a real domain controller.

Clients talk TLS to the front on loopback; every message is read, logged and handed on over LDAPS unchanged.
So a real domain has the same request log as the stand-in, and can be given the same faults.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from leaver.simulators.ad import messages
from leaver.simulators.ad.front import read_message
from leaver.simulators.ad.messages import Bind, Code, Message, Search
from leaver.simulators.ad.names import guid_of

_GUID: Final = "objectguid"


class TapBackend:
    """Hands everything on to one domain controller.

    Args:
        host: its address; its certificate must be made out to it.
        port: its LDAPS port.
        ca_file: the authority that issued the certificate.
    """

    def __init__(self, host: str, port: int, ca_file: Path) -> None:
        self._host = host
        self._port = port
        self._context = ssl.create_default_context(cafile=str(ca_file))
        self._by_dn: dict[str, str] = {}
        self._people: set[str] = set()
        self._now: dict[Search, list[bytes]] = {}
        self._earlier: dict[Search, list[bytes]] = {}

    async def open(self) -> TapSession:
        """A connection of its own for every client.

        Raises:
            OSError: the domain controller does not answer.
        """
        reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._context)
        return TapSession(self, reader, writer)

    def guid_of(self, dn: str) -> str | None:
        """What a DN means, as far as answers that went by have told."""
        return guid_of(dn) or self._by_dn.get(dn.lower())

    def is_person(self, guid: str) -> bool:
        """Whether the object was seen to be a user."""
        return guid in self._people

    def learn(self, dn: str, guid: str, *, person: bool) -> None:
        """Remember what a DN means."""
        self._by_dn[dn.lower()] = guid
        if person:
            self._people.add(guid)

    def remember(self, request: Search, answers: list[bytes]) -> None:
        """Keep a search's answer, for reads that are ordered to be stale."""
        self._now[request] = answers
        for answer in answers:
            _, operation = messages.answer_parts(answer)
            if operation.tag != messages.ENTRY_TAG:
                continue
            dn, listed = operation.children()
            attributes = messages.attribute_values(listed)
            for raw in attributes.get(_GUID, ()):
                self.learn(dn.text, str(uuid.UUID(bytes_le=raw)), person=_is_user(attributes))

    def written(self) -> None:
        """A write went through: what was read so far is how things were before it."""
        self._earlier, self._now = {**self._earlier, **self._now}, {}

    def earlier(self, request: Search) -> list[bytes] | None:
        """The answer to the same search before the last write, if it was asked."""
        return self._earlier.get(request)


def _is_user(attributes: Mapping[str, tuple[bytes, ...]]) -> bool:
    return "useraccountcontrol" in attributes or b"user" in attributes.get("objectclass", ())


class TapSession:
    """One client's connection, and ours to the domain controller."""

    def __init__(self, tap: TapBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tap = tap
        self._reader = reader
        self._writer = writer

    async def close(self) -> None:
        """Close ours too."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def answer(
        self, message: Message, raw: bytes, /, *, encrypted: bool, stale: float | None
    ) -> list[bytes]:
        """Hand the request on and bring the answers back.

        Raises:
            OSError: the domain controller went away.
        """
        request = message.request
        if isinstance(request, Bind) and not encrypted:
            text = "BindSimple: Transport encryption required."
            return [messages.result(message, Code.STRONGER_AUTH_REQUIRED, text)]
        if isinstance(request, Search) and stale is not None:
            old = self._tap.earlier(request)
            if old is not None:
                return [messages.renumbered(answer, message.number) for answer in old]
        answers = await self._forward(message, raw)
        if isinstance(request, Search):
            self._tap.remember(request, answers)
        elif not isinstance(request, Bind):
            self._tap.written()
        return answers

    async def _forward(self, message: Message, raw: bytes) -> list[bytes]:
        self._writer.write(raw)
        await self._writer.drain()
        answers: list[bytes] = []
        while True:
            answer = await read_message(self._reader)
            if answer is None:
                raise ConnectionResetError("the domain controller closed the connection")
            answers.append(answer)
            number, operation = messages.answer_parts(answer)
            if number == message.number and operation.tag == message.answer_tag:
                return answers
