"""MiniStack, an emulator of AWS that signs as KMS does, for tests: started and ended by its pid."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

REGION = "eu-central-1"
_READY = 60.0


@dataclass(frozen=True)
class MiniStack:
    """Where it answers. It takes any credentials."""

    url: str

    def kms(self) -> KMSClient:
        return boto3.client(
            "kms",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )


@contextmanager
def running_ministack(folder: Path) -> Iterator[MiniStack]:
    """Run KMS while the block runs; skips the test where the package is not installed."""
    program = Path(sys.executable).with_name("ministack")
    if not program.exists():
        pytest.skip("needs the package ministack (group dev)")
    log = folder / "ministack.log"
    for _attempt in range(3):  # a port that was free a moment ago may be taken now
        port = _free_port()
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [program],
                stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=folder, start_new_session=True,
                env={
                    "PATH": os.environ.get("PATH", ""), "HOME": str(folder), "TMPDIR": str(folder),
                    "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "SERVICES": "kms",
                    # It would listen on a fixed port otherwise.
                    "IOT_MTLS_ENABLED": "0",
                },
            )  # fmt: skip
        try:
            if _answers(process, port):
                yield MiniStack(f"http://127.0.0.1:{port}")
                return
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    raise AssertionError(f"MiniStack did not start: {log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + _READY
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.05)
    return False
