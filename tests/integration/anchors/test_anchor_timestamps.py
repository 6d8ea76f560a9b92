"""RFC 3161 timestamps against a real authority (OpenSSL), and against one that misbehaves."""

from __future__ import annotations

import asyncio
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from leaver.evidence.anchors.timestamp import (
    TimestampAuthority,
    stamp_time,
    timestamped_bytes,
    verify_timestamp,
)
from leaver.evidence.errors import AnchorError, TimestampError
from leaver.simulators.tsa import TsaAddress, TsaFault, running_tsa
from tests.support.anchors import PlainLog

DATA = b"the bytes of a checkpoint\n"


def _authority(tsa: TsaAddress, *, timeout: float = 5.0) -> TimestampAuthority:
    return TimestampAuthority(tsa.url, tsa.ca_file.read_bytes(), timeout=timeout)


async def test_a_stamp_tells_the_time_and_holds_offline(tsa: TsaAddress) -> None:
    before = datetime.now(UTC)
    tsr = await _authority(tsa).stamp(DATA)
    at = verify_timestamp(tsr, DATA, tsa.ca_file.read_bytes())
    assert at.tzinfo is not None
    assert before - timedelta(seconds=2) < at < datetime.now(UTC) + timedelta(seconds=2)
    assert stamp_time(tsr) == at
    assert len(tsr) < 4000


async def test_openssl_alone_confirms_the_stamp(tsa: TsaAddress, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(DATA)
    (tmp_path / "stamp.tsr").write_bytes(await _authority(tsa).stamp(DATA))
    command = ["openssl", "ts", "-verify", "-data", "data", "-in", "stamp.tsr", "-CAfile", str(tsa.ca_file)]
    done = await asyncio.to_thread(subprocess.run, command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    (tmp_path / "data").write_bytes(DATA + b" ")
    done = await asyncio.to_thread(subprocess.run, command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode != 0


async def test_many_at_once_get_a_serial_number_each(tsa: TsaAddress) -> None:
    authority = _authority(tsa)
    stamps = await asyncio.gather(*(authority.stamp(DATA + bytes([n])) for n in range(6)))
    for number, tsr in enumerate(stamps):
        verify_timestamp(tsr, DATA + bytes([number]), tsa.ca_file.read_bytes())
    assert len(set(stamps)) == 6
    assert int((tsa.ca_file.parent / "serial").read_text(), 16) == 7


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (TsaFault.DOWN, "no answer: "),
        (TsaFault.SLOW, "no answer within 0.3 s"),
        (TsaFault.BUSY, "answered HTTP 503"),
        (TsaFault.WRONG_IMPRINT, "stamped something else"),
        (TsaFault.WRONG_NONCE, "the nonce is not ours"),
        (TsaFault.REJECTED, "did not stamp: rejected: Bad request format"),
        (TsaFault.PAGE, r"answered text/html and sent no timestamp reply"),
        (TsaFault.TRUNCATED, "or one that is cut off"),
        (TsaFault.ENDLESS, "longer than 65536 bytes"),
    ],
)
async def test_what_proves_nothing_is_refused(tsa: TsaAddress, fault: TsaFault, said: str) -> None:
    tsa.fault = fault
    with pytest.raises(TimestampError, match=said) as caught:
        await _authority(tsa, timeout=0.3 if fault is TsaFault.SLOW else 5.0).stamp(DATA)
    assert str(caught.value).startswith("the timestamp authority tsa")
    assert "127.0.0.1" not in str(caught.value)
    tsa.fault = None
    await _authority(tsa).stamp(DATA)


async def test_nobody_there(tsa: TsaAddress) -> None:
    authority = TimestampAuthority("http://127.0.0.1:1/", tsa.ca_file.read_bytes(), name="gone")
    with pytest.raises(TimestampError, match="the timestamp authority gone: no answer: ConnectError"):
        await authority.stamp(DATA)


async def test_another_authority_is_not_believed(tsa: TsaAddress, tmp_path: Path) -> None:
    async with running_tsa(tmp_path / "other") as other:
        theirs = await _authority(other).stamp(DATA)
        with pytest.raises(TimestampError, match="not the authority that is trusted here"):
            verify_timestamp(theirs, DATA, tsa.ca_file.read_bytes())
        with pytest.raises(TimestampError, match="not the authority that is trusted here"):
            await TimestampAuthority(other.url, tsa.ca_file.read_bytes()).stamp(DATA)
        both = tsa.ca_file.read_bytes() + other.ca_file.read_bytes()
        verify_timestamp(theirs, DATA, both)


async def test_a_stamp_is_about_its_own_data_only(tsa: TsaAddress) -> None:
    tsr = await _authority(tsa).stamp(DATA)
    with pytest.raises(TimestampError, match="stamped something else"):
        verify_timestamp(tsr, DATA + b"\n", tsa.ca_file.read_bytes())
    changed = tsr[:-1] + bytes([tsr[-1] ^ 1])
    with pytest.raises(TimestampError):
        verify_timestamp(changed, DATA, tsa.ca_file.read_bytes())


async def test_a_restarted_authority_is_still_trusted(tsa: TsaAddress, tmp_path: Path) -> None:
    first = await _authority(tsa).stamp(DATA)
    folder = tsa.ca_file.parent
    async with running_tsa(folder) as again:
        second = await _authority(again).stamp(DATA)
    for tsr in (first, second):
        verify_timestamp(tsr, DATA, (folder / "ca.pem").read_bytes())


@pytest.mark.parametrize(
    "pem", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"]
)
def test_the_trusted_certificates_are_looked_at_at_once(pem: bytes) -> None:
    with pytest.raises(TimestampError, match="CA file"):
        TimestampAuthority("https://tsa.example/", pem)


async def test_an_intermediate_alone_is_no_trust(tsa: TsaAddress) -> None:
    signer = (tsa.ca_file.parent / "tsa.pem").read_bytes()
    with pytest.raises(TimestampError, match="lacks the root"):
        TimestampAuthority(tsa.url, signer)


def test_stamped_is_the_note_with_the_logs_line_only(plain_log: PlainLog) -> None:
    note = plain_log.grow(3).note()
    assert timestamped_bytes(note) == note
    cosigned = note + "— audit.example/w1 AAAA\n— other AAAA\n".encode()
    assert timestamped_bytes(cosigned) == note
    assert re.match(rb"northwind.example/leaver\n3\n[^\n]+\n\n\xe2\x80\x94 northwind.example/leaver ", note)


def test_no_checkpoint_is_not_stamped(plain_log: PlainLog) -> None:
    note = plain_log.grow(3).note()
    head, _, line = note.partition(b"\n\n")
    foreign = head + "\n\n— audit.example/w1 AAAA\n".encode() + line
    for bad in (b"", b"text", head, head + b"\n\n", head + b"\n\n" + line.rstrip(), foreign):
        with pytest.raises(AnchorError, match="first signature line is the log's own"):
            timestamped_bytes(bad)
