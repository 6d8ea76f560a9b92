"""The keys to check a bundle with: the auditor's own where there are any, else the bundle's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from leaver.evidence.errors import NoteError, TrustError
from leaver.evidence.log.notes import KeyKind, NoteVerifier
from leaver.evidence.verify.contents import Contents
from leaver.evidence.verify.layout import LOG_KEYS, TSA_CA, WITNESS_KEYS
from leaver.evidence.verify.report import FindingKind
from leaver.evidence.verify.trust import Trust

Key = TypeVar("Key")

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,15}")


@dataclass(frozen=True, slots=True)
class LogKey:
    """A key of the log, and up to which size it signs checkpoints; None: it is the one in force."""

    verifier: NoteVerifier
    last: int | None = None

    def counts_at(self, size: int) -> bool:
        """Whether a checkpoint of this size may be signed with it."""
        return self.last is None or size <= self.last


@dataclass(frozen=True, slots=True)
class Keyring:
    """Keys by what they are for.

    One of ``log`` must have signed the bundle's checkpoint. The checkpoint that the auditor kept may bear a
    former key of the log, which their copy need not have: ``logs`` are those of the bundle as well.
    """

    log: tuple[LogKey, ...]
    logs: tuple[NoteVerifier, ...]
    witnesses: tuple[NoteVerifier, ...]
    tsa_ca: bytes | None


def keyring(contents: Contents, trust: Trust) -> Keyring:
    """Gather the keys.

    Raises:
        TrustError: one of the auditor's own files is malformed. The bundle's are findings.
    """
    inside = _inside(contents, LOG_KEYS, read_log_keys)
    log = inside if trust.log is None else _own(trust.log, "log.vkey", read_log_keys)
    if trust.witnesses is None:
        witnesses = _inside(contents, WITNESS_KEYS, read_witness_keys)
    else:
        witnesses = _own(trust.witnesses, "witnesses.vkeys", read_witness_keys)
    tsa_ca = contents.files.get(TSA_CA) if trust.tsa_ca is None else trust.tsa_ca
    logs = tuple(dict.fromkeys(each.verifier for each in (*log, *inside)))
    return Keyring(log, logs, witnesses, tsa_ca)


def read_log_keys(raw: bytes) -> tuple[LogKey, ...]:
    """The keys of a log, one a line: the one in force first, behind a former one the last size that it signs.

    A former key without a size signs nothing that counts: whoever took it could go on with it for ever.

    Raises:
        ValueError: a line is not such a key; names the line.
    """
    found: list[LogKey] = []
    for number, line in _lines(raw):
        vkey, _, last = line.partition(" ")
        if last and not _SIZE.fullmatch(last):
            raise ValueError(f"line {number}: what follows the key is not a size")
        verifier = _verifier(number, vkey, KeyKind.ED25519)
        found.append(LogKey(verifier, int(last) if last else 0 if found else None))
    return tuple(found)


def read_witness_keys(raw: bytes) -> tuple[NoteVerifier, ...]:
    """The keys of a file of witnesses' vkeys, one a line; empty lines are ignored.

    Raises:
        ValueError: a line is not such a key; names the line.
    """
    return tuple(_verifier(number, line, KeyKind.COSIGNATURE) for number, line in _lines(raw))


def _lines(raw: bytes) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(raw.decode(errors="replace").split("\n"), 1):
        if line.strip():
            yield number, line


def _verifier(number: int, vkey: str, kind: KeyKind) -> NoteVerifier:
    try:
        verifier = NoteVerifier.from_vkey(vkey)
    except NoteError as err:
        raise ValueError(f"line {number}: {err}") from None
    if verifier.kind is not kind:
        wanted = "a log's" if kind is KeyKind.ED25519 else "a witness's"
        raise ValueError(f"line {number}: this is not {wanted} key")
    return verifier


def _own(raw: bytes, name: str, read: Callable[[bytes], tuple[Key, ...]]) -> tuple[Key, ...]:
    try:
        return read(raw)
    except ValueError as err:
        raise TrustError(f"{name}: {err}") from None


def _inside(contents: Contents, name: str, read: Callable[[bytes], tuple[Key, ...]]) -> tuple[Key, ...]:
    try:
        return read(contents.files.get(name, b""))
    except ValueError as err:
        contents.wrong(name, str(err), FindingKind.SIGNATURE)
        return ()
