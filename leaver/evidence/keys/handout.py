"""The public keys as they are handed to auditors and witnesses, by another path than the evidence."""

from __future__ import annotations

from dataclasses import dataclass

from leaver.evidence.keys.in_force import RotationLedger, rotations
from leaver.evidence.keys.model import LogSigner, Signer
from leaver.evidence.keys.public import fingerprint, load_public
from leaver.evidence.keys.rotation import KeySpan, KeyUse, key_history


@dataclass(frozen=True)
class Handout:
    """All keys this log ever had, the oldest first; the last of each is in force.

    Attributes:
        log: verifier keys (c2sp.org/signed-note) of the log.
        bundles: public keys in PEM that sign bundles.
        lines: the log's keys as a verifier needs them, the one in force first; behind each former one the
            size of the last checkpoint that it signs. A key that was given up is worth nothing beyond.
    """

    log: tuple[str, ...]
    bundles: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """SHA-256 (hex) of each bundle key's DER encoding, to be read out and compared."""
        return tuple(fingerprint(load_public(pem.encode())) for pem in self.bundles)

    def files(self) -> dict[str, bytes]:
        """The files of a folder for ``--trust``, by name: ``log.vkey`` and ``signer.pem``."""
        return {
            "log.vkey": "".join(f"{line}\n" for line in self.lines).encode(),
            "signer.pem": "".join(self.bundles).encode(),
        }


def handout(ledger: RotationLedger, log: LogSigner, bundles: Signer) -> Handout:
    """Gather the keys: those in use now and, from the log, those they followed. Reads only.

    Raises:
        RotationError: a change of keys in the log does not hold, or a key in use is none of the log's.
        KeyServiceError: a key management service holds a key and does not answer.
    """
    spans = _spans(ledger, KeyUse.LOG, log.vkey)
    return Handout(
        log=tuple(span.key for span in spans),
        bundles=tuple(span.key for span in _spans(ledger, KeyUse.BUNDLE, bundles.public_pem.decode())),
        lines=tuple(span.key if span.last is None else f"{span.key} {span.last}" for span in reversed(spans)),
    )


def log_keys(ledger: RotationLedger, log: LogSigner) -> tuple[str, ...]:
    """The verifier keys of the log, the oldest first, the one in use last. Reads only.

    Raises:
        RotationError: a change of keys in the log does not hold, or the key in use is none of the log's.
    """
    return tuple(span.key for span in _spans(ledger, KeyUse.LOG, log.vkey))


def _spans(ledger: RotationLedger, use: KeyUse, current: str) -> tuple[KeySpan, ...]:
    changes = [(done.seq, done.rotation) for done in rotations(ledger, use)]
    return key_history(current, changes).spans
