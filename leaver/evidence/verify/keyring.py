"""The keys to check a bundle with: the auditor's own where there are any, else the bundle's."""

from __future__ import annotations

from dataclasses import dataclass

from leaver.evidence.errors import NoteError, TrustError
from leaver.evidence.log.notes import KeyKind, NoteVerifier
from leaver.evidence.verify.contents import Contents
from leaver.evidence.verify.layout import LOG_KEYS, TSA_CA, WITNESS_KEYS
from leaver.evidence.verify.report import FindingKind
from leaver.evidence.verify.trust import Trust


@dataclass(frozen=True, slots=True)
class Keyring:
    """Keys by what they are for.

    ``log`` must have signed the bundle's checkpoint. The checkpoint that the auditor kept may bear a former
    key of the log, which their copy need not have: ``logs`` are those of the bundle as well.
    """

    log: tuple[NoteVerifier, ...]
    logs: tuple[NoteVerifier, ...]
    witnesses: tuple[NoteVerifier, ...]
    tsa_ca: bytes | None


def keyring(contents: Contents, trust: Trust) -> Keyring:
    """Gather the keys.

    Raises:
        TrustError: one of the auditor's own files is malformed. The bundle's are findings.
    """
    inside = _inside(contents, LOG_KEYS, KeyKind.ED25519)
    log = inside if trust.log is None else _own(trust.log, "log.vkey", KeyKind.ED25519)
    if trust.witnesses is None:
        witnesses = _inside(contents, WITNESS_KEYS, KeyKind.COSIGNATURE)
    else:
        witnesses = _own(trust.witnesses, "witnesses.vkeys", KeyKind.COSIGNATURE)
    tsa_ca = contents.files.get(TSA_CA) if trust.tsa_ca is None else trust.tsa_ca
    return Keyring(log, tuple(dict.fromkeys((*log, *inside))), witnesses, tsa_ca)


def read_vkeys(raw: bytes, kind: KeyKind) -> tuple[NoteVerifier, ...]:
    """The keys of a file of vkeys, one a line; empty lines are ignored.

    Raises:
        ValueError: a line is not such a key; names the line.
    """
    found = []
    for number, line in enumerate(raw.decode(errors="replace").split("\n"), 1):
        if not line.strip():
            continue
        try:
            verifier = NoteVerifier.from_vkey(line)
        except NoteError as err:
            raise ValueError(f"line {number}: {err}") from None
        if verifier.kind is not kind:
            wanted = "a log's" if kind is KeyKind.ED25519 else "a witness's"
            raise ValueError(f"line {number}: this is not {wanted} key")
        found.append(verifier)
    return tuple(found)


def _own(raw: bytes, name: str, kind: KeyKind) -> tuple[NoteVerifier, ...]:
    try:
        return read_vkeys(raw, kind)
    except ValueError as err:
        raise TrustError(f"{name}: {err}") from None


def _inside(contents: Contents, name: str, kind: KeyKind) -> tuple[NoteVerifier, ...]:
    try:
        return read_vkeys(contents.files.get(name, b""), kind)
    except ValueError as err:
        contents.wrong(name, str(err), FindingKind.SIGNATURE)
        return ()
