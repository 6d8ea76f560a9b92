"""How fast the evidence ledger appends, publishes, proves and verifies.

Appends records of about 700 bytes in batches of 40, eight cases to a transaction as group commit makes them,
signs and stores a checkpoint after every 1,000, then proves and verifies records spread over the log, checks
the whole log anew and streams it as a report does. Prints a table, then one line of JSON.

    python benchmarks/bench_evidence_ledger.py [--records 100000] [--proofs 10000] [--where URL]

Without ``--where`` the ledger is an SQLite file in the system's folder for temporary files; with it, a new
ledger at ``postgresql+pg8000://…``. Times depend on the machine and its disk.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from leaver.domain.base import Facts
from leaver.domain.records import AppendResult, RecordDraft
from leaver.domain.words import RecordType
from leaver.evidence.keys.files import FileLogSigner
from leaver.evidence.ledger.model import StoredCheckpoint
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.log.checkpoint import Checkpoint
from leaver.evidence.log.merkle import consistent, included
from leaver.evidence.log.notes import note_bytes

BATCH = 40
CHAINS = 8
CHECKPOINT_EVERY = 1_000
START = datetime(2026, 11, 20, 17, tzinfo=UTC)
ACCOUNT = "8f3a1c52-77aa-4c0e-9d55-0b1f2e3d4c5b"


@dataclass
class Row:
    """One thing that was measured."""

    what: str
    count: int
    seconds: float
    aim: int | None = None

    @property
    def rate(self) -> float:
        return self.count / self.seconds


@dataclass
class Results:
    rows: list[Row] = field(default_factory=list)

    @contextmanager
    def measured(self, what: str, count: int, aim: int | None = None) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.rows.append(Row(what, count, time.perf_counter() - begun, aim))


def body(number: int) -> Facts:
    """A result as a step records it."""
    moment = (START + timedelta(seconds=number)).isoformat()
    return {
        "step": "entra.block_sign_in",
        "system": "entra",
        "phase": "contain",
        "account": ACCOUNT,
        "outcome": "verified",
        "before": {"account_enabled": True},
        "after": {"account_enabled": False},
        "started_at": moment,
        "finished_at": moment,
        "attempts": 1,
        "run": 1,
        "late": False,
        "receipts": [
            {
                "method": "PATCH",
                "path": f"/v1.0/users/{ACCOUNT}",
                "status": 204,
                "mutating": True,
                "request_id": f"5f6b8a0c-1111-4222-8333-{number:012d}",
                "server_date": moment,
            }
        ],
        "controls": ["SOC2:CC6.2", "ISO27001:2022:A.5.18", "NIST:PS-4a"],
    }


def case_id(number: int) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    return "c-" + "".join(letters[number // 32**place % 32] for place in range(6)).rjust(26, "a")


def groups(records: int) -> Iterator[list[list[RecordDraft]]]:
    """What one transaction takes: batches of several cases."""
    for number in range(-(-records // (BATCH * CHAINS))):
        yield [
            [
                RecordDraft(
                    case=case_id(number * CHAINS + chain),
                    case_seq=place,
                    type=RecordType.RESULT,
                    at=START + timedelta(seconds=place),
                    body=body(number * BATCH * CHAINS + chain * BATCH + place),
                )
                for place in range(BATCH)
            ]
            for chain in range(CHAINS)
        ]


def publish(ledger: Ledger, signer: FileLogSigner) -> None:
    """Check that the log only grew, sign it, store the checkpoint."""
    head = ledger.check_grown()
    text = Checkpoint(signer.name, head.size, head.root).text()
    note = note_bytes(text, [signer.sign_note(text)])
    ledger.add_checkpoint(StoredCheckpoint(head.size, head.root, note, datetime.now(UTC)))


def append_all(ledger: Ledger, signer: FileLogSigner, records: int, results: Results) -> int:
    """Append everything, publishing on the way; the two are timed apart."""
    appending, publishing, stored, published = 0.0, 0.0, 0, 0
    for group in groups(records):
        begun = time.perf_counter()
        answers = ledger.append_many(group)
        appending += time.perf_counter() - begun
        if not all(isinstance(answer, AppendResult) for answer in answers):
            raise SystemExit(f"the ledger refused: {answers}")
        stored += BATCH * CHAINS
        if stored // CHECKPOINT_EVERY > published:
            begun = time.perf_counter()
            publish(ledger, signer)
            publishing += time.perf_counter() - begun
            published = stored // CHECKPOINT_EVERY
    results.rows.append(Row("append (records)", stored, appending, 5_000))
    results.rows.append(Row("check, sign, store checkpoint", published, publishing))
    return stored


def prove_and_verify(ledger: Ledger, size: int, proofs: int, results: Results) -> None:
    root, leaves = ledger.root(size), ledger.leaves()
    seqs = [number * size // proofs for number in range(proofs)]
    with results.measured("prove inclusion, all at once", proofs):
        paths = ledger.inclusions(seqs, size)
    with results.measured("verify inclusion", proofs, 50_000):
        good = sum(
            included(leaves[seq], seq, size, path, root) for seq, path in zip(seqs, paths, strict=True)
        )
    single = seqs[:: max(1, proofs // 200)]
    with results.measured("prove inclusion, one by one", len(single)):
        for seq in single:
            ledger.inclusion(seq, size)
    known = ledger.checkpoints()
    with results.measured("prove consistency of two checkpoints", len(known)):
        between = [ledger.consistency(each.size, size) for each in known]
    with results.measured("verify consistency", len(known)):
        good += sum(
            consistent(each.size, size, path, each.root, root)
            for each, path in zip(known, between, strict=True)
        )
    if good != proofs + len(known):
        raise SystemExit("a proof does not hold")


def measure(where: str, folder: Path, records: int, proofs: int) -> Results:
    results = Results()
    signer = FileLogSigner(folder / "log.pem", "example.com/benchmark")
    with Ledger.open(where) as ledger:
        if ledger.size():
            raise SystemExit("the benchmark needs a new ledger")
        size = append_all(ledger, signer, records, results)
        prove_and_verify(ledger, size, min(proofs, size), results)
        with results.measured("stream for a report (records)", size):
            streamed = sum(1 for _ in ledger.stream([RecordType.RESULT]))
        with results.measured("full check (records)", size):
            found = ledger.check()
        if streamed != size or found:
            raise SystemExit(f"the ledger is not whole: {found}")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--proofs", type=int, default=10_000)
    parser.add_argument("--where", help="a postgresql+pg8000:// address; an SQLite file without it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = measure(given.where or str(folder / "ledger.db"), folder, given.records, given.proofs)
        file = folder / "ledger.db"
        bytes_each = file.stat().st_size // given.records if file.exists() else None
    kind = "PostgreSQL" if given.where else "SQLite"
    table = Table(
        title=f"evidence ledger on {kind} ({os.cpu_count()} cores, Python {platform.python_version()})"
    )
    for column in ("what", "how many", "seconds", "per second", "aim"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for row in results.rows:
        aim = f"{row.aim:,}" if row.aim else ""
        table.add_row(row.what, f"{row.count:,}", f"{row.seconds:.2f}", f"{row.rate:,.0f}", aim)
    Console(width=110).print(table)
    rows = [{"what": row.what, "count": row.count, "seconds": round(row.seconds, 3)} for row in results.rows]
    told = {"benchmark": "evidence_ledger", "database": kind, "cores": os.cpu_count(), "rows": rows}
    sys.stdout.write(json.dumps({**told, "bytes_per_record": bytes_each}) + "\n")


if __name__ == "__main__":
    main()
