"""A bucket with S3 Object Lock: what was stored cannot be deleted or shortened before its time, by nobody.

Retention is in compliance mode, which binds the account's root user as well (Amazon S3 user guide, "Locking
objects with Object Lock"). A lock protects a *version*: whoever may write the bucket can still put a delete
marker or a further version on top. So files are written only where none is (``If-None-Match: *``), read back
by their version, and where several versions of a name exist the oldest is the one that counts.

The AWS package (extra ``aws``) is imported when the first call is made. Credentials come as boto3 finds them
unless they are given.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr

from leaver.evidence.anchors.layout import CHECKPOINTS, checked_anchor_name
from leaver.evidence.anchors.sinks import checked_name, sizes_among
from leaver.evidence.errors import SinkError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

YEARS_7: Final = 2557
"""Days: what auditors of public companies keep papers for, and the default here."""

_MODE: Final = "COMPLIANCE"
_EXISTS: Final = "PreconditionFailed"
_MISSING: Final = frozenset({"NoSuchKey", "NoSuchVersion", "404"})
_NO_LOCK: Final = frozenset({"ObjectLockConfigurationNotFoundError", "ObjectLockConfigurationNotFound"})
_NEVER: Final = datetime.min.replace(tzinfo=UTC)
_SKEW: Final = timedelta(minutes=15)


@dataclass(frozen=True)
class S3Options:
    """Where the bucket is. Seconds are for each attempt.

    ``endpoint_url`` is for other services with the same interface; without ``region`` boto3's rules decide.
    """

    bucket: str
    prefix: str = ""
    retention_days: int = YEARS_7
    region: str | None = None
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = field(default=None, repr=False)
    connect_seconds: float = 5.0
    read_seconds: float = 20.0
    attempts: int = 2


class S3Sink:
    """A bucket with Object Lock. Safe to use from several threads.

    Args:
        options: where it is.
        name: how anchors and reports call it.
        independent: the bucket belongs to an account where the operator of leaver has no rights.
        clock: the time from which retention counts.

    Raises:
        SinkError: the options contradict themselves.
    """

    def __init__(
        self,
        options: S3Options,
        *,
        name: str = "s3",
        independent: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if options.retention_days < 1:
            raise SinkError(f"the bucket {options.bucket}: retention is at least one day")
        self.name = checked_anchor_name(name)
        self.independent = independent
        self._options = options
        self._prefix = f"{checked_name(options.prefix.strip('/'))}/" if options.prefix.strip("/") else ""
        self._clock = clock
        self._making = threading.Lock()
        self._made: S3Client | None = None

    def check(self) -> None:
        """Refuse a bucket that could not keep anything: without Object Lock or without versions."""
        bucket = self._options.bucket
        with self._errors(f"the bucket {bucket}"):
            found = self._client().get_object_lock_configuration(Bucket=bucket)
            lock = found.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled")
            versions = self._client().get_bucket_versioning(Bucket=bucket).get("Status")
        if lock != "Enabled" or versions != "Enabled":
            raise SinkError(_no_lock(bucket))

    def put(self, name: str, content: bytes) -> str:
        """Store a file under retention and read it back.

        Returns:
            The version's id.
        """
        key = self._key(name)
        until = self._clock() + timedelta(days=self._options.retention_days)
        version = self._put(key, content, until)
        if version is None:
            return self._same(key, content)
        self._check_version(key, version, content, until - _SKEW)
        return version

    def get(self, name: str) -> bytes | None:
        """The content of the oldest version, also under a delete marker; None where there is none."""
        key = self._key(name)
        version = self._oldest(key)
        return None if version is None else self._read(key, version)[0]

    def sizes(self) -> list[int]:
        """The sizes of the checkpoints that lie there, also under a delete marker, largest first."""
        prefix = f"{self._prefix}{CHECKPOINTS}"
        names: list[str] = []
        with self._errors(prefix):
            pages = self._client().get_paginator("list_object_versions")
            for page in pages.paginate(Bucket=self._options.bucket, Prefix=prefix, Delimiter="/"):
                found = [common.get("Prefix", "") for common in page.get("CommonPrefixes", [])]
                names += [one.removeprefix(prefix).rstrip("/") for one in found]
        return sizes_among(names)

    def _put(self, key: str, content: bytes, until: datetime) -> str | None:
        """Write a new file; None when there is one already."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 - the extra "aws"

        with self._errors(key):
            try:
                reply = self._client().put_object(
                    Bucket=self._options.bucket,
                    Key=key,
                    Body=content,
                    IfNoneMatch="*",
                    ChecksumAlgorithm="SHA256",
                    ObjectLockMode=_MODE,
                    ObjectLockRetainUntilDate=until,
                )
            except ClientError as err:
                if err.response.get("Error", {}).get("Code") == _EXISTS:
                    return None
                raise
        version = reply.get("VersionId", "null")
        if version == "null":
            raise SinkError(_no_lock(self._options.bucket))
        return version

    def _same(self, key: str, content: bytes) -> str:
        """The version that lies there, if it is this content and locked."""
        version = self._oldest(key)
        if version is None:
            raise SinkError(f"{key}: it was there and is gone; try again")
        self._check_version(key, version, content, self._clock() - _SKEW)
        return version

    def _check_version(self, key: str, version: str, content: bytes, until: datetime) -> None:
        found, reply = self._read(key, version)
        if found != content:
            raise SinkError(f"{key}: other content lies there already; it was left as it is")
        retained = reply.get("ObjectLockRetainUntilDate", _NEVER)
        if reply.get("ObjectLockMode") != _MODE or retained < until:
            raise SinkError(
                f"{key}: the stored version is not under {_MODE} retention as asked "
                "(or s3:GetObjectRetention is not granted)"
            )

    def _read(self, key: str, version: str) -> tuple[bytes, GetObjectOutputTypeDef]:
        with self._errors(key):
            reply = self._client().get_object(Bucket=self._options.bucket, Key=key, VersionId=version)
            return reply["Body"].read(), reply

    def _oldest(self, key: str) -> str | None:
        """The id of a name's first version; None where there never was one."""
        versions: list[str] = []
        with self._errors(key):
            pages = self._client().get_paginator("list_object_versions")
            for page in pages.paginate(Bucket=self._options.bucket, Prefix=key):
                # Newest first, by the service's own order.
                listed = page.get("Versions", [])
                versions += [one.get("VersionId", "") for one in listed if one.get("Key") == key]
        return versions[-1] if versions else None

    def _key(self, name: str) -> str:
        return self._prefix + checked_name(name)

    def _client(self) -> S3Client:
        with self._making:
            if self._made is None:
                self._made = _make(self._options)
            return self._made

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Turn the SDK's errors into ours; nothing of a request gets into the text."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - the extra "aws"

        try:
            yield
        except ClientError as err:
            code = str(err.response.get("Error", {}).get("Code", "unknown"))
            if code in _NO_LOCK:
                raise SinkError(_no_lock(self._options.bucket)) from None
            raise SinkError(f"{what}: the store refused {err.operation_name}: {code}") from None
        except BotoCoreError as err:
            raise SinkError(f"{what}: the store does not answer: {type(err).__name__}") from None


def _make(options: S3Options) -> S3Client:
    try:
        import boto3  # noqa: PLC0415 - the extra "aws"
        from botocore.config import Config  # noqa: PLC0415
    except ImportError:
        raise SinkError("a bucket needs the extra 'aws': pip install 'leaver[aws]'") from None
    secret = options.secret_access_key
    return boto3.client(
        "s3",
        region_name=options.region,
        endpoint_url=options.endpoint_url,
        aws_access_key_id=options.access_key_id,
        aws_secret_access_key=None if secret is None else secret.get_secret_value(),
        config=Config(
            connect_timeout=options.connect_seconds,
            read_timeout=options.read_seconds,
            retries={"total_max_attempts": options.attempts, "mode": "standard"},
        ),
    )


def _no_lock(bucket: str) -> str:
    return (
        f"the bucket {bucket} has no Object Lock with versions: files in it can be replaced and deleted; "
        "make a new one: aws s3api create-bucket --object-lock-enabled-for-bucket --bucket NAME"
    )
