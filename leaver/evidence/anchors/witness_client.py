"""The log's side of the witness protocol: asking for cosignatures, and taking those that come on paper."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NoReturn

import httpx

from leaver.evidence.anchors.web import Reply, ask
from leaver.evidence.anchors.witness_wire import MAX_REPLY, SIZE_TYPE, parse_size, request_bytes
from leaver.evidence.errors import AnchorError, ForkError, NoteError, UntrustedNoteError, WitnessError
from leaver.evidence.ledger.model import AnchorKind
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.log.notes import KeyKind, NoteVerifier, parse_note

_TRIES: Final = 2
_SAID: Final = 300

Prove = Callable[[int], Sequence[bytes]]
"""The consistency path from an old size to the checkpoint's."""


@dataclass(frozen=True, slots=True)
class WitnessClient:
    """A witness as the log knows it; with an address it is asked over HTTP (c2sp.org/tlog-witness).

    Args:
        url: its submission prefix, without ``/add-checkpoint``; None for one whose word comes by hand.
        vkey: its verifier key (cosignature/v1), as its owner handed it over.
        independent: somebody else runs it, out of the operator's reach.
        timeout: seconds for one request.
        tls: another trust than the system's for https.

    Raises:
        AnchorError: the key is not a witness's.
        MalformedNoteError: it is no verifier key.
    """

    url: str | None
    vkey: str
    independent: bool = False
    timeout: float = 20.0
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        witness_key(self.vkey)

    @property
    def verifier(self) -> NoteVerifier:
        """Its public key."""
        return witness_key(self.vkey)

    @property
    def name(self) -> str:
        """How it signs, and how anchors and reports call it."""
        return self.verifier.name

    async def cosign(self, note: bytes, size: int, seen: int, prove: Prove) -> str:
        """Have a checkpoint cosigned; sends the checkpoint and hashes, nothing else.

        Args:
            note: the signed checkpoint.
            size: its size.
            seen: the size this witness cosigned last, as far as is known; 0 when unknown.
            prove: called in a thread.

        Returns:
            The witness's signature line, verified, with its newline.

        Raises:
            ForkError: the witness knows another, or a longer, history of this log.
            WitnessError: no cosignature now. Worth trying again later.
        """
        old = min(seen, size)
        for _attempt in range(_TRIES):
            path = await asyncio.to_thread(prove, old)
            reply = await self._post(request_bytes(old, path, note))
            if reply.status == httpx.codes.OK:
                return cosignature_in(note, reply.body.decode(errors="replace"), self.verifier)
            told = parse_size(reply.body) if reply.kind == SIZE_TYPE else None
            if reply.status != httpx.codes.CONFLICT or told is None or told == old:
                self._refused(reply, size)
            if told > size:
                raise ForkError(
                    f"the witness {self.name} has cosigned size {told} of this log, beyond our {size}: "
                    "this ledger is an older copy, or another history was shown to the witness"
                )
            old = told
        raise WitnessError(f"the witness {self.name} changes its mind about the size it cosigned last")

    async def _post(self, body: bytes) -> Reply:
        if self.url is None:
            raise WitnessError(f"the witness {self.name} has no address: its word comes by hand")
        url = f"{self.url.rstrip('/')}/add-checkpoint"
        try:
            return await ask(
                url, body, kind="text/plain", limit=MAX_REPLY, timeout=self.timeout, tls=self.tls
            )
        except AnchorError as err:
            raise WitnessError(f"the witness {self.name}: {err}") from None

    def _refused(self, reply: Reply, size: int) -> NoReturn:
        said = "".join(
            char if char.isprintable() else " " for char in reply.body.decode(errors="replace")[:_SAID]
        )
        text = f"the witness {self.name} did not cosign size {size}: HTTP {reply.status}: {said.strip()}"
        if reply.status in {httpx.codes.CONFLICT, httpx.codes.UNPROCESSABLE_ENTITY}:
            raise ForkError(text)
        raise WitnessError(text)


def witness_key(vkey: str) -> NoteVerifier:
    """Read a witness's verifier key.

    Raises:
        MalformedNoteError: it is no verifier key.
        WitnessError: it is a log's.
    """
    verifier = NoteVerifier.from_vkey(vkey)
    if verifier.kind is not KeyKind.COSIGNATURE:
        raise WitnessError(f"{verifier.name}: this is a log's key; a witness's begins with type 0x04")
    return verifier


def cosignature_in(note: bytes, text: str, verifier: NoteVerifier) -> str:
    """Find a witness's valid signature line for a checkpoint in what it sent; other keys' lines are ignored.

    Args:
        note: the signed checkpoint.
        text: signature lines, or a whole note that ends with them.
        verifier: the witness's key.

    Returns:
        Its line, with the newline.

    Raises:
        WitnessError: there is none, or it does not hold for this checkpoint.
    """
    lines = "".join(f"{line}\n" for line in map(str.rstrip, text.split("\n")) if line.startswith("\u2014 "))
    try:
        signatures = parse_note(note + lines.encode()).signatures_of(verifier)
    except UntrustedNoteError:
        raise WitnessError(f"that is no cosignature of {verifier.name} of this checkpoint") from None
    except NoteError as err:
        raise WitnessError(f"the witness {verifier.name} sent no signature lines: {err}") from None
    return signatures[-1].line()


def add_cosignature(ledger: Ledger, size: int, text: str, vkeys: Iterable[str], at: datetime) -> str:
    """Take a cosignature that came by another way than HTTP into the ledger.

    Args:
        ledger: the log's ledger.
        size: the checkpoint's size.
        text: what the witness printed: its line, or the checkpoint with its line.
        vkeys: the witnesses that are trusted.
        at: now.

    Returns:
        The witness's name. What was there already is left as it is.

    Raises:
        WitnessError: no such checkpoint, or no line of a trusted witness that holds for it.
    """
    stored = ledger.checkpoint(size)
    if stored is None:
        raise WitnessError(f"this log has no checkpoint of size {size}")
    for verifier in map(witness_key, vkeys):
        try:
            line = cosignature_in(stored.note, text, verifier)
        except WitnessError:
            continue
        if not any((a.kind, a.name) == (AnchorKind.WITNESS, verifier.name) for a in ledger.anchors(size)):
            ledger.add_anchor(size, AnchorKind.WITNESS, verifier.name, line.encode(), at)
        return verifier.name
    raise WitnessError(
        f"that text holds no cosignature of a trusted witness over the checkpoint of size {size}; "
        "name the witness's verifier key in the configuration"
    )
