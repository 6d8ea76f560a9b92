"""A company whose sealer issues reports: real publisher, outsiders that answer at once, real bundles."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from pathlib import Path

from temporalio.client import Client
from temporalio.worker import Worker

from activities.reports import ReportActivities
from leaver.domain.ids import EVIDENCE_QUEUE
from leaver.domain.report import ReportInput
from leaver.domain.words import RecordType
from leaver.evidence.anchors.publisher import Publisher
from leaver.evidence.bundle import BundleStore, KnownAuthority, KnownWitness, Material
from leaver.evidence.bundle.issuing import Issuing
from leaver.evidence.keys.files import FileSigner
from leaver.evidence.ledger.model import AnchorKind, RawRecord
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.signing import envelope, statement
from tests.support.bundle_world import WITNESS, Keys
from tests.support.population import Company, row

MONTH = ReportInput(first=date(2026, 11, 1), last=date(2026, 11, 30))


@dataclass
class Office:
    """``fail``: what the next attempts to publish raise; ``failed`` is set once nothing of it is left."""

    company: Company
    keys: Keys
    fail: list[Exception] = field(default_factory=list)
    failed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        ledger, keys, folder = self.company.ledger, self.keys, self.company.folder
        self.bundles = folder / "bundles"
        self.publisher = Publisher(
            ledger, keys.log, clock=lambda: self.company.now, kept=folder / "last-checkpoint"
        )
        self.material = Material(
            (keys.log.vkey,),
            (KnownAuthority(keys.authority.name, keys.authority.ca_pem, outside=True),),
            (KnownWitness(keys.witness_vkey.vkey, outside=True),),
        )
        self.outsiders = {(AnchorKind.TIMESTAMP, keys.authority.name), (AnchorKind.WITNESS, WITNESS)}
        self.issuing = self.started()

    def started(self) -> Issuing:
        """A sealer that has just started."""
        return Issuing(
            self.company.ledger,
            BundleStore(self.bundles, self.keys.signer, [self.keys.log.vkey]),
            self.bundles,
            self.publish,
            lambda: self.material,
            outsiders=self.outsiders,
            clock=lambda: self.company.now,
        )

    @property
    def ledger(self) -> Ledger:
        return self.company.ledger

    async def publish(self) -> None:
        if self.fail:
            err = self.fail.pop(0)
            if not self.fail:
                self.failed.set()
            raise err
        published = await self.publisher.publish()
        if published is None:
            return
        at, stored = self.company.now, self.ledger.latest_checkpoint()
        assert stored is not None
        reply = self.keys.authority.stamp(stored.note)
        self.ledger.add_anchor(stored.size, AnchorKind.TIMESTAMP, self.keys.authority.name, reply, at)
        line = self.keys.cosign(stored.note.partition(b"\n\n")[0] + b"\n", at).line().encode()
        self.ledger.add_anchor(stored.size, AnchorKind.WITNESS, WITNESS, line, at)

    async def month(self, without: Iterable[str] = ()) -> list[str]:
        """Two leavers, one of them sealed already; HR's list was pulled, the log is signed.

        Cases of those in ``without`` get lost.
        """
        self.company.write(row("E1"), row("E2"))
        cases = self.company.deliver(without=without)
        self.company.later(hours=20)
        self.company.finish(cases[0])
        await self.company.keeper().tick(self.company.now)
        await self.publish()
        return cases

    @asynccontextmanager
    async def sealing(self, client: Client) -> AsyncIterator[None]:
        """The evidence worker, as far as reports go."""
        does = ReportActivities(self.issuing)
        doing = [does.choose_checkpoint, does.issue_report]
        async with Worker(client, task_queue=EVIDENCE_QUEUE, activities=doing):
            yield

    def issued(self) -> list[RawRecord]:
        return list(self.ledger.stream((RecordType.REPORT_ISSUED,)))


def resign(folder: Path, signer: FileSigner) -> None:
    """The manifest anew, over what lies there: what somebody with its key can do."""
    file = folder / "manifest.dsse.json"
    claims = json.loads(base64.b64decode(json.loads(file.read_bytes())["payload"]))["predicate"]
    there = (path for path in folder.rglob("*") if path.is_file() and path != file)
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in there}
    file.write_bytes(envelope(statement(files, claims), signer))


def alone(folder: Path) -> tuple[int, str]:
    """What the bundle's own verifier says: exit code and text."""
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-I", folder / "verify.py", folder], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def hashes(folder: Path, names: object) -> dict[str, str]:
    assert isinstance(names, dict)
    return {name: sha256((folder / name).read_bytes()).hexdigest() for name in names}
