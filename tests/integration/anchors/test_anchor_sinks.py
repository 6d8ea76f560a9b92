"""Stores that take each file once: a folder, and a bucket of a real S3 server that enforces Object Lock."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from pydantic import SecretStr

from leaver.evidence.anchors.s3 import S3Options, S3Sink
from leaver.evidence.anchors.sinks import FolderSink, Sink
from leaver.evidence.anchors.timestamp import TimestampAuthority, timestamped_bytes, verify_timestamp
from leaver.evidence.errors import AnchorError, SinkError
from leaver.simulators.tsa import TsaAddress
from tests.support.anchors import Clock, SealedLog
from tests.support.seaweed import SeaweedS3

NAME = "checkpoints/7/checkpoint"


@pytest.fixture(scope="session")
def buckets(seaweed: SeaweedS3) -> tuple[str, str]:
    """One with Object Lock, one without."""
    client = seaweed.client()
    client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    client.create_bucket(Bucket="plain")
    return "locked", "plain"


def _options(seaweed: SeaweedS3, bucket: str, *, prefix: str = "", days: int = 30) -> S3Options:
    return S3Options(
        bucket,
        prefix=prefix or secrets.token_hex(6),
        retention_days=days,
        region="us-east-1",
        endpoint_url=seaweed.url,
        access_key_id=seaweed.access_key_id,
        secret_access_key=SecretStr(seaweed.secret_access_key),
        attempts=1,
    )


@pytest.fixture
def s3(seaweed: SeaweedS3, buckets: tuple[str, str]) -> S3Sink:
    return S3Sink(_options(seaweed, buckets[0]))


@pytest.fixture(params=["folder", "s3"])
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Sink:
    if request.param == "folder":
        return FolderSink(tmp_path / "published")
    found: S3Sink = request.getfixturevalue("s3")
    return found


# Both stores.


def test_what_was_put_is_there(sink: Sink) -> None:
    sink.check()
    assert (sink.get(NAME), sink.sizes()) == (None, [])
    version = sink.put(NAME, b"seven")
    assert sink.get(NAME) == b"seven"
    assert sink.put(NAME, b"seven") == version
    for size in (10, 9):
        sink.put(f"checkpoints/{size}/checkpoint", str(size).encode())
    assert sink.sizes() == [10, 9, 7]
    sink.put("checkpoints/99/consistency.json", b"the checkpoint itself never came")
    sink.put("checkpoints/0099/checkpoint", b"no size of ours")
    assert sink.sizes() == [99, 10, 9, 7]


def test_other_content_is_refused_and_changes_nothing(sink: Sink) -> None:
    sink.put(NAME, b"seven")
    with pytest.raises(SinkError, match="other content lies there already"):
        sink.put(NAME, b"eight")
    assert sink.get(NAME) == b"seven"


def test_many_at_once_write_one_file(sink: Sink) -> None:
    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(lambda n: _outcome(sink, bytes([n % 2])), range(6)))
    assert sorted(said) == ["refused"] * 3 + ["stored"] * 3


def _outcome(sink: Sink, content: bytes) -> str:
    try:
        sink.put(NAME, content)
    except SinkError:
        return "refused"
    return "stored"


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../up", "a/../b", "a//b", "a/", ".hidden", "a b", "ä"])
def test_names_stay_inside(sink: Sink, name: str) -> None:
    with pytest.raises(SinkError, match="not a name for a published file"):
        sink.put(name, b"")


# The folder.


def test_a_folder_keeps_files_read_only(tmp_path: Path) -> None:
    FolderSink(tmp_path / "out").put(NAME, b"seven")
    files = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert [str(file.relative_to(tmp_path / "out")) for file in files] == [NAME]
    assert files[0].stat().st_mode & 0o777 == 0o444


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sink = FolderSink(tmp_path / "file")
    for call in (sink.check, lambda: sink.put(NAME, b""), lambda: sink.get(NAME), sink.sizes):
        with pytest.raises(SinkError, match=r"cannot be (made|written|read)"):
            call()
    with pytest.raises(AnchorError, match="no name for a store"):
        FolderSink(tmp_path, name="a/b")


# Object Lock.


def test_nobody_deletes_shortens_or_replaces(s3: S3Sink, seaweed: SeaweedS3) -> None:
    version = s3.put(NAME, b"seven")
    client, key = seaweed.client(), s3._key(NAME)
    found = client.get_object_retention(Bucket="locked", Key=key, VersionId=version)["Retention"]
    assert found["Mode"] == "COMPLIANCE"
    assert timedelta(days=29) < found["RetainUntilDate"] - datetime.now(UTC) < timedelta(days=31)
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_object(Bucket="locked", Key=key, VersionId=version)
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_object(Bucket="locked", Key=key, VersionId=version, BypassGovernanceRetention=True)
    sooner = datetime.now(UTC) + timedelta(hours=1)
    for mode in ("COMPLIANCE", "GOVERNANCE"):
        with pytest.raises(ClientError, match="AccessDenied"):
            client.put_object_retention(
                Bucket="locked", Key=key, VersionId=version, BypassGovernanceRetention=True,
                Retention={"Mode": mode, "RetainUntilDate": sooner},  # type: ignore[typeddict-item]
            )  # fmt: skip
    assert s3.get(NAME) == b"seven"


def test_a_delete_marker_and_a_version_on_top_hide_nothing(s3: S3Sink, seaweed: SeaweedS3) -> None:
    version = s3.put(NAME, b"seven")
    client, key = seaweed.client(), s3._key(NAME)
    client.delete_object(Bucket="locked", Key=key)
    assert (s3.get(NAME), s3.sizes()) == (b"seven", [7])
    client.put_object(Bucket="locked", Key=key, Body=b"forged")
    assert (s3.get(NAME), s3.sizes()) == (b"seven", [7])
    assert s3.put(NAME, b"seven") == version
    with pytest.raises(SinkError, match="other content"):
        s3.put(NAME, b"forged")


def test_the_same_content_without_a_lock_is_not_enough(s3: S3Sink, seaweed: SeaweedS3) -> None:
    seaweed.client().put_object(Bucket="locked", Key=s3._key(NAME), Body=b"seven")
    with pytest.raises(SinkError, match="not under COMPLIANCE retention"):
        s3.put(NAME, b"seven")


def test_a_bucket_without_a_lock_is_refused(seaweed: SeaweedS3, buckets: tuple[str, str]) -> None:
    plain = S3Sink(_options(seaweed, buckets[1]))
    with pytest.raises(SinkError, match=r"bucket plain has no Object Lock.*--object-lock-enabled-for-bucket"):
        plain.check()
    with pytest.raises(SinkError, match="bucket plain"):
        S3Sink(_options(seaweed, "plain")).check()
    with pytest.raises(
        SinkError, match="the bucket absent: the store refused GetObjectLockConfiguration: NoSuchBucket"
    ):
        S3Sink(_options(seaweed, "absent")).check()


def test_put_refuses_an_unlocked_bucket_by_itself(seaweed: SeaweedS3, buckets: tuple[str, str]) -> None:
    with pytest.raises(SinkError):
        S3Sink(_options(seaweed, buckets[1])).put(NAME, b"seven")


def test_a_wrong_key_and_nobody_there(seaweed: SeaweedS3, buckets: tuple[str, str]) -> None:
    right = _options(seaweed, buckets[0])
    wrong = S3Options(**{**right.__dict__, "secret_access_key": SecretStr("nonsense")})
    with pytest.raises(SinkError, match="the store refused PutObject: SignatureDoesNotMatch") as caught:
        S3Sink(wrong).put(NAME, b"seven")
    assert "nonsense" not in str(caught.value)
    gone = S3Options(**{**right.__dict__, "endpoint_url": "http://127.0.0.1:1"})
    with pytest.raises(SinkError, match="the store does not answer: EndpointConnectionError"):
        S3Sink(gone).put(NAME, b"seven")
    with pytest.raises(SinkError, match="at least one day"):
        S3Sink(S3Options("locked", retention_days=0))
    assert "nonsense" not in repr(wrong)


async def test_a_log_is_published_to_a_bucket(
    sealed_log: SealedLog, seaweed: SeaweedS3, buckets: tuple[str, str], tsa: TsaAddress
) -> None:
    sink = S3Sink(_options(seaweed, buckets[0]), independent=True)
    authority = TimestampAuthority(tsa.url, tsa.ca_file.read_bytes())
    publisher = sealed_log.publisher(timestamps=(authority,), sinks=(sink,))
    assert await publisher.check() == ()
    for _ in range(2):
        sealed_log.grow(3)
        published = await publisher.publish()
        assert published is not None
        assert published.troubles == ()
    note = sink.get("checkpoints/6/checkpoint")
    tsr = sink.get("checkpoints/6/timestamp.tsr")
    assert note is not None
    assert tsr is not None
    verify_timestamp(tsr, timestamped_bytes(note), tsa.ca_file.read_bytes())
    assert publisher.status().independent_up_to == 6
    unlocked = S3Sink(_options(seaweed, buckets[1]), name="plain")
    (text,) = await sealed_log.publisher(sinks=(sink, unlocked)).check()
    assert "bucket plain has no Object Lock" in text


def test_retention_counts_from_the_clock(seaweed: SeaweedS3, buckets: tuple[str, str]) -> None:
    clock = Clock(datetime.now(UTC) + timedelta(days=100))
    sink = S3Sink(_options(seaweed, buckets[0], days=10), clock=clock)
    version = sink.put(NAME, b"seven")
    found = seaweed.client().get_object_retention(Bucket="locked", Key=sink._key(NAME), VersionId=version)
    assert abs(found["Retention"]["RetainUntilDate"] - clock() - timedelta(days=10)) < timedelta(seconds=2)
