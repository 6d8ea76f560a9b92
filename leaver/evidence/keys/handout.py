"""The public keys as they are handed to auditors and witnesses, by another path than the evidence."""

from __future__ import annotations

from dataclasses import dataclass

from leaver.evidence.keys.in_force import RotationLedger, rotations
from leaver.evidence.keys.model import LogSigner, Signer
from leaver.evidence.keys.public import fingerprint, load_public
from leaver.evidence.keys.rotation import KeyUse, key_history


@dataclass(frozen=True)
class Handout:
    """All keys this log ever had, the oldest first; the last of each is in force.

    Attributes:
        log: verifier keys (c2sp.org/signed-note) of the log.
        bundles: public keys in PEM that sign bundles.
    """

    log: tuple[str, ...]
    bundles: tuple[str, ...]

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """SHA-256 (hex) of each bundle key's DER encoding, to be read out and compared."""
        return tuple(fingerprint(load_public(pem.encode())) for pem in self.bundles)

    def files(self) -> dict[str, bytes]:
        """The files of a folder for ``--trust``, by name: ``log.vkey`` and ``signer.pem``."""
        return {
            "log.vkey": "".join(f"{vkey}\n" for vkey in self.log).encode(),
            "signer.pem": "".join(self.bundles).encode(),
        }


def handout(ledger: RotationLedger, log: LogSigner, bundles: Signer) -> Handout:
    """Gather the keys: those in use now and, from the log, those they followed. Reads only.

    Raises:
        RotationError: a change of keys in the log does not hold, or a key in use is none of the log's.
        KeyServiceError: a key management service holds a key and does not answer.
    """
    return Handout(
        _all(ledger, KeyUse.LOG, log.vkey), _all(ledger, KeyUse.BUNDLE, bundles.public_pem.decode())
    )


def _all(ledger: RotationLedger, use: KeyUse, current: str) -> tuple[str, ...]:
    changes = [(done.seq, done.rotation) for done in rotations(ledger, use)]
    return tuple(span.key for span in key_history(current, changes).spans)
