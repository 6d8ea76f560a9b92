"""Opening a key by its reference: a file's path, or ``kms:`` and the name of a key in AWS KMS."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from leaver.evidence.errors import KeyFileError
from leaver.evidence.keys.files import FileLogSigner, FileSigner
from leaver.evidence.keys.kms import KmsLogSigner, KmsOptions, KmsSigner
from leaver.evidence.keys.model import LogSigner, Signer

KMS: Final = "kms:"
"""What a reference to a key in AWS KMS begins with: ``kms:<key id, ARN, alias/name or alias ARN>``."""


def open_signer(reference: str, *, folder: Path | None = None, kms: KmsOptions | None = None) -> Signer:
    """The bundle key (P-256). A missing file is created; KMS is asked when the key is first used.

    Args:
        reference: ``path`` or ``kms:<key>``.
        folder: what a relative path is relative to; the working directory if not given.
        kms: where the service is.

    Raises:
        KeyFileError: the reference names no key, or the file cannot be used.
    """
    if (key_id := _kms_key(reference)) is not None:
        return KmsSigner(key_id, kms)
    return FileSigner(_path(reference, folder))


def open_log_signer(
    reference: str, name: str, *, folder: Path | None = None, kms: KmsOptions | None = None
) -> LogSigner:
    """The log key (Ed25519) under the log's name. A missing file is created; KMS is asked at first use.

    Args:
        reference: ``path`` or ``kms:<key>``.
        name: the log's name, which is its origin.
        folder: what a relative path is relative to; the working directory if not given.
        kms: where the service is.

    Raises:
        KeyFileError: the reference names no key, or the file cannot be used.
        MalformedNoteError: the name is not one a key may have.
    """
    if (key_id := _kms_key(reference)) is not None:
        return KmsLogSigner(key_id, name, kms)
    return FileLogSigner(_path(reference, folder), name)


def _kms_key(reference: str) -> str | None:
    if not reference.startswith(KMS):
        return None
    key_id = reference.removeprefix(KMS).strip()
    if not key_id:
        raise KeyFileError("the key reference ends after kms:; put the key id, its ARN or alias/name there")
    return key_id


def _path(reference: str, folder: Path | None) -> Path:
    if not reference.strip():
        raise KeyFileError("the key reference is empty; it is a file's path or kms:<key>")
    return (folder or Path()) / reference
