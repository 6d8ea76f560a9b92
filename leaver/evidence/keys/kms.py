"""Keys in AWS KMS, which never leave it: the process may ask for signatures and for the public key.

The public key is fetched once, when it is first needed, and each signature is verified with it before it is
used: an alias that was pointed at another key, or a broken proxy, is an error here instead of evidence that
nobody can verify. Source: AWS KMS API reference, ``Sign`` and ``GetPublicKey``.

Credentials come as boto3 finds them (environment, profile, instance or container role). The AWS package is
imported when the first call is made, so that an installation with keys in files does not need it.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from leaver.evidence.errors import KeyRefusedError, KeyServiceError
from leaver.evidence.keys.public import public_pem
from leaver.evidence.log.notes import NoteSignature, NoteVerifier, check_name

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

MAX_RAW: Final = 4096
"""Bytes that ``Sign`` takes as they are; Ed25519 keys sign nothing but whole messages."""

_PASSING: Final = frozenset(
    {
        "DependencyTimeoutException",
        "InternalFailure",
        "KeyUnavailableException",
        "KMSInternalException",
        "LimitExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
    }
)
"""Error codes after which the same request may succeed."""

_SERVER_ERRORS: Final = 500

_T = TypeVar("_T")


@dataclass(frozen=True)
class KmsOptions:
    """Where the service is and how long to wait for it (seconds, each attempt).

    ``endpoint_url`` is for private endpoints and emulators; without ``region`` boto3's own rules decide.
    """

    region: str | None = None
    endpoint_url: str | None = None
    connect_seconds: float = 5.0
    read_seconds: float = 10.0
    attempts: int = 3


class KmsSigner:
    """A P-256 key in AWS KMS (``ECC_NIST_P256``, ``SIGN_VERIFY``). Safe to use from several threads.

    Signatures are not deterministic: the service takes a fresh random number for each, so that signing the
    same content twice gives different bytes, both valid.

    Args:
        key_id: key id, key ARN, ``alias/…`` or alias ARN.
        options: region, endpoint, limits.
    """

    def __init__(self, key_id: str, options: KmsOptions | None = None) -> None:
        self._kms = _Kms(key_id, options or KmsOptions())

    @property
    def public_pem(self) -> bytes:
        """The public key, SubjectPublicKeyInfo in PEM.

        Raises:
            KeyServiceError: the service did not answer.
            KeyRefusedError: no such key, no permission, or not a key on P-256.
        """
        return public_pem(self._public())

    def sign(self, message: bytes) -> bytes:
        """ECDSA P-256 with SHA-256 over the message, DER.

        Raises:
            KeyServiceError: the service did not answer, or sent a signature that does not hold.
            KeyRefusedError: no such key, no permission, or not a key on P-256.
        """
        digest = hashlib.sha256(message).digest()
        signature = self._kms.sign(digest, "DIGEST", "ECDSA_SHA_256")
        try:
            self._public().verify(signature, digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        except InvalidSignature:
            raise _unfit() from None
        return signature

    def _public(self) -> ec.EllipticCurvePublicKey:
        key = self._kms.public()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise KeyRefusedError("the bundle key in KMS has to be an ECC_NIST_P256 key for SIGN_VERIFY")
        return key


class KmsLogSigner:
    """The log's Ed25519 key in AWS KMS (``ECC_NIST_EDWARDS25519``). Safe to use from several threads.

    Args:
        key_id: key id, key ARN, ``alias/…`` or alias ARN.
        name: the log's name, e.g. ``example.com/leaver``.
        options: region, endpoint, limits.

    Raises:
        MalformedNoteError: the name is not one a key may have.
    """

    def __init__(self, key_id: str, name: str, options: KmsOptions | None = None) -> None:
        check_name(name)
        self._name = name
        self._kms = _Kms(key_id, options or KmsOptions())

    @property
    def name(self) -> str:
        """The name in the signature line."""
        return self._name

    @property
    def public(self) -> bytes:
        """The public key, its 32 bytes.

        Raises:
            KeyServiceError: the service did not answer.
            KeyRefusedError: no such key, no permission, or not an Ed25519 key.
        """
        key = self._kms.public()
        if not isinstance(key, ed25519.Ed25519PublicKey):
            raise KeyRefusedError("the log key in KMS has to be an ECC_NIST_EDWARDS25519 key for SIGN_VERIFY")
        return key.public_bytes_raw()

    @property
    def vkey(self) -> str:
        """The verifier key as text.

        Raises:
            KeyServiceError: see ``public``.
        """
        return self._verifier().vkey

    def sign_note(self, text: bytes) -> NoteSignature:
        """The signature line for a note's text of at most 4,096 bytes; a checkpoint has about 100.

        Raises:
            KeyServiceError: the service did not answer, or sent a signature that does not hold.
            KeyRefusedError: no such key, no permission, not an Ed25519 key, or the text is too long.
        """
        if len(text) > MAX_RAW:
            raise KeyRefusedError(f"KMS signs notes of at most {MAX_RAW} bytes with an Ed25519 key")
        signature = self._kms.sign(text, "RAW", "ED25519_SHA_512")
        verifier = self._verifier()
        if not verifier.verifies(text, signature):
            raise _unfit()
        return NoteSignature(self._name, verifier.key_id, signature)

    def _verifier(self) -> NoteVerifier:
        return NoteVerifier(self._name, self.public)


class _Kms:
    """One key in the service: the two calls that this program is allowed to make."""

    def __init__(self, key_id: str, options: KmsOptions) -> None:
        self._key_id = key_id
        self._options = options
        self._lock = threading.Lock()
        self._client: KMSClient | None = None
        self._der: bytes | None = None

    def sign(
        self,
        message: bytes,
        kind: Literal["DIGEST", "RAW"],
        algorithm: Literal["ECDSA_SHA_256", "ED25519_SHA_512"],
    ) -> bytes:
        """A signature as the service sends it."""
        return self._call(
            lambda kms: kms.sign(
                KeyId=self._key_id, Message=message, MessageType=kind, SigningAlgorithm=algorithm
            )["Signature"]
        )

    def public(self) -> PublicKeyTypes:
        """The public key, fetched once."""
        if self._der is None:
            self._der = self._call(lambda kms: kms.get_public_key(KeyId=self._key_id)["PublicKey"])
        try:
            return serialization.load_der_public_key(self._der)
        except (ValueError, UnsupportedAlgorithm):
            raise KeyRefusedError("the key in KMS is of a kind that nothing here can use") from None

    def _call(self, ask: Callable[[KMSClient], _T]) -> _T:
        client = self._connected()
        # Imported by now; the names are needed here only.
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            return ask(client)
        except ClientError as err:
            code = err.response.get("Error", {}).get("Code", "no code")
            raise _refusal(code, err.response["ResponseMetadata"]["HTTPStatusCode"]) from None
        except BotoCoreError as err:
            raise _trouble(err) from None

    def _connected(self) -> KMSClient:
        # Making a session is not safe in several threads at once; using the client is (boto3 guide, Clients).
        with self._lock:
            if self._client is None:
                self._client = _connect(self._options)
            return self._client


def _connect(options: KmsOptions) -> KMSClient:
    try:
        import boto3  # noqa: PLC0415 - an extra: installations with keys in files do without
        from botocore.config import Config  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415
    except ImportError:
        raise KeyRefusedError("keys in KMS need the AWS package: install leaver[aws]") from None
    limits = Config(
        connect_timeout=options.connect_seconds,
        read_timeout=options.read_seconds,
        retries={"mode": "standard", "total_max_attempts": options.attempts},
    )
    try:
        return boto3.session.Session().client(
            "kms", region_name=options.region, endpoint_url=options.endpoint_url, config=limits
        )
    except (BotoCoreError, ValueError) as err:
        # ValueError: an endpoint that is no address.
        raise _trouble(err) from None


def _refusal(code: str, status: int) -> KeyServiceError:
    """The service's answer as our error. Its own text is left out: it may name the caller and the account."""
    if code in _PASSING or status >= _SERVER_ERRORS:
        return KeyServiceError(f"KMS could not answer now: {code}")
    return KeyRefusedError(
        f"KMS refused: {code}; check that the key exists in this region and is enabled, and that this "
        "process has kms:Sign and kms:GetPublicKey on it"
    )


def _trouble(err: Exception) -> KeyServiceError:
    from botocore.exceptions import (  # noqa: PLC0415
        ConnectionError as NoConnectionError,
    )
    from botocore.exceptions import (  # noqa: PLC0415
        CredentialRetrievalError,
        HTTPClientError,
    )

    kind = type(err).__name__
    if isinstance(err, NoConnectionError | HTTPClientError | CredentialRetrievalError):
        return KeyServiceError(f"KMS cannot be reached: {kind}")
    return KeyRefusedError(f"KMS cannot be used as it is configured: {kind}; check region and credentials")


def _unfit() -> KeyServiceError:
    return KeyServiceError("KMS sent a signature that the key it names does not verify; nothing was signed")
