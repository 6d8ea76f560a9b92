"""What an auditor brings along: keys and a checkpoint that reached them by another path than the bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from leaver.evidence.errors import TrustError


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The auditor's own material; None where the bundle's own copy has to serve.

    Attributes:
        signer: public keys on P-256, PEM, one after another.
        log: the log's vkeys, one a line.
        tsa_ca: certificates of the timestamp authorities' roots, PEM.
        witnesses: the witnesses' vkeys, one a line. Every witness named here must have cosigned.
        checkpoint: a checkpoint of this log that was kept from earlier or later.
    """

    signer: bytes | None = None
    log: bytes | None = None
    tsa_ca: bytes | None = None
    witnesses: bytes | None = None
    checkpoint: bytes | None = None

    @property
    def own(self) -> frozenset[str]:
        """Which of it is there, by the names of ``VerifyReport.own``."""
        given = {
            "signer": self.signer,
            "log": self.log,
            "tsa": self.tsa_ca,
            "witnesses": self.witnesses,
            "checkpoint": self.checkpoint,
        }
        return frozenset(name for name, content in given.items() if content is not None)


def load_trust(folder: Path, *, key: Path | None = None) -> Trust:
    """Read ``signer.pem``, ``log.vkey``, ``tsa-ca.pem``, ``witnesses.vkeys``, ``checkpoint``, where present.

    Args:
        folder: the trust folder.
        key: the signer's public key, instead of the folder's.

    Raises:
        TrustError: no such folder, nothing of this in it, or a file that cannot be read.
    """
    if not folder.is_dir():
        raise TrustError(f"{folder}: no such folder")

    def content(name: str) -> bytes | None:
        path = folder / name
        return _read(path) if path.exists() else None

    trust = Trust(
        signer=_read(key) if key else content("signer.pem"),
        log=content("log.vkey"),
        tsa_ca=content("tsa-ca.pem"),
        witnesses=content("witnesses.vkeys"),
        checkpoint=content("checkpoint"),
    )
    if not trust.own:
        raise TrustError(
            f"{folder}: holds none of signer.pem, log.vkey, tsa-ca.pem, witnesses.vkeys, checkpoint"
        )
    return trust


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise TrustError(f"{path}: cannot be read: {err.strerror}") from err
