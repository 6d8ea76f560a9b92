"""Private key files: created once, readable by their owner only."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from leaver.evidence.errors import KeyFileError


def write_new(path: Path, key: PrivateKeyTypes) -> bool:
    """Write the key as PKCS #8 PEM with mode 0600, unless the file exists.

    The file appears whole or not at all, also when two processes try at once.

    Returns:
        False when there was a file already; it is left as it is.

    Raises:
        KeyFileError: the folder cannot be written.
    """
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)
        except FileExistsError:
            return False
        finally:
            fresh.unlink()
    except OSError as err:
        raise KeyFileError(f"{path}: the key file cannot be written: {err.strerror}") from err
    return True


def read(path: Path) -> PrivateKeyTypes:
    """Load a private key in PEM without a passphrase.

    Raises:
        KeyFileError: missing, unreadable, not such a key, or readable by everybody.
    """
    try:
        if stat.S_IMODE(path.stat().st_mode) & stat.S_IROTH:
            raise KeyFileError(f"{path}: everybody on this machine can read this key; run chmod 600 on it")
        pem = path.read_bytes()
    except OSError as err:
        raise KeyFileError(f"{path}: the key file cannot be read: {err.strerror}") from err
    try:
        return serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise KeyFileError(f"{path}: this is not a private key in PEM without a passphrase") from err
