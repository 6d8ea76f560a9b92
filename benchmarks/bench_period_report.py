"""The period report over many leavers: a real ledger (SQLite), read once, written as HTML, PDF, XLSX and CSV.

Makes a ledger of as many cases as asked for, with the records that a case leaves, then times every phase of
the report. Prints a table, then one line of JSON. Nothing is asserted.

    python benchmarks/bench_period_report.py [--leavers 10000] [--ledger FILE]

A ledger named with ``--ledger`` is kept and used again; making it takes longer than the report.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from leaver.domain.base import Facts
from leaver.domain.catalogue import CATALOGUE
from leaver.domain.records import RecordDraft
from leaver.domain.words import Phase, RecordType
from leaver.evidence.errors import EvidenceError
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.population.model import Period
from leaver.evidence.population.observed import load_seen
from leaver.evidence.population.reconcile import reconcile
from leaver.evidence.reports.files import period_csvs
from leaver.evidence.reports.html import page_html
from leaver.evidence.reports.load import Frame, load_period
from leaver.evidence.reports.model import CheckpointLine
from leaver.evidence.reports.pdf import page_pdf
from leaver.evidence.reports.period import count_period
from leaver.evidence.reports.period_page import period_page
from leaver.evidence.reports.sources import completeness_table, members, uncased
from leaver.evidence.reports.xlsx import period_xlsx

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 365
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
ACCOUNT = "8f3a1c52-77aa-4c0e-9d55-0b1f2e3d4c5b"
BATCH = 40
HR_LATE = 0.05
NOT_DONE = 0.01


def text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def drafts(number: int, records: int) -> list[RecordDraft]:
    """A case as the workflow drafts it; failed attempts fill it up to the wanted number of records."""
    chance = random.Random(number)  # noqa: S311 - the same ledger every time
    case = "c-" + "".join(chance.choices(ALPHABET, k=26))
    cutoff = START + timedelta(minutes=chance.randrange(DAYS * 1440))
    told = cutoff + timedelta(hours=20) if chance.random() < HR_LATE else cutoff - timedelta(days=9)
    clock, made = max(cutoff, told), []

    def add(kind: RecordType, at: datetime, body: Facts) -> None:
        made.append(RecordDraft(case=case, case_seq=len(made), type=kind, at=at, body=body))

    add(RecordType.CASE_OPENED, told, opened(case, cutoff, told))
    add(RecordType.PLAN, clock, plan(clock))
    now, contained = clock, clock
    for step in CATALOGUE.values():
        fast = step.phase in (Phase.INTAKE, Phase.CONTAIN)
        done = clock + timedelta(seconds=chance.lognormvariate(2.0 if fast else 7.0, 1.1))
        now = max(now, done)
        contained = max(contained, done) if step.phase is Phase.CONTAIN else contained
        open_step = step.name == "onedrive.grant_successor" and chance.random() < NOT_DONE
        add(RecordType.RESULT, now, result(step.name, clock, done, "open" if open_step else "verified"))
        if open_step:
            body: Facts = {
                "step": step.name,
                "cause": "access_denied",
                "due": None,
                "detail": "no permission",
            }
            add(RecordType.EXCEPTION_RAISED, now, body)
    for attempt in range(max(records - len(made) - 2, 0)):
        body = {"unit": "exchange.preserve", "run": 1, "attempt": attempt + 1, "error": "throttled"}
        add(RecordType.ATTEMPT, now, body)
    add(RecordType.APPROVAL, now, approval(now))
    outcome = (
        "completed_with_exceptions" if any(d.body.get("outcome") == "open" for d in made) else "completed"
    )
    times = {"contained_at": text(contained), "closed_at": text(now)}
    add(RecordType.CASE_CLOSED, now, {"outcome": outcome, **times, "count": len(made) + 1, "steps": {}})
    return made


def opened(case: str, cutoff: datetime, told: datetime) -> Facts:
    return {
        "person_ref": f"p-{case[2:]}",
        "event_id": "sha256-" + "0f" * 16,
        "event_type": "leaver.scheduled.v1",
        "source": "hris/bamboohr/bench",
        "raw_sha256": "ab" * 32,
        "hr_time": text(told),
        "cutoff": text(cutoff),
        "received_at": text(told),
        "mode": "enforce",
        "policy_digest": "sha256:" + "cd" * 32,
        "policy_name": "standard",
        "policy_version": "3",
        "workflow_id": f"leaver-{case}",
        "run_id": "019a9d3e-0000-7000-8000-000000000001",
        "immediate": False,
        "legal_hold": "no",
    }


def plan(clock: datetime) -> Facts:
    due = text(clock + timedelta(hours=24))
    return {
        "plan_digest": "sha256:" + "ef" * 32,
        "policy_digest": "sha256:" + "cd" * 32,
        "accounts": [ACCOUNT],
        "successor_id": None,
        "steps": [{"step": step, "account": ACCOUNT, "due": due} for step in CATALOGUE],
        "omitted": [],
    }


def result(step: str, clock: datetime, done: datetime, outcome: str) -> Facts:
    row = CATALOGUE[step]
    due = clock + timedelta(hours=1 if row.phase is Phase.CONTAIN else 24)
    receipt: Facts = {
        "method": "PATCH",
        "path": f"/v1.0/users/{ACCOUNT}",
        "status": 204,
        "mutating": True,
        "request_id": "5f6b8a0c-1111-4222-8333-444455556666",
        "client_request_id": None,
        "server_date": text(done),
        "at": text(done),
    }
    return {
        "step": step,
        "system": row.system.value,
        "phase": row.phase.value,
        "account": ACCOUNT,
        "outcome": outcome,
        "reason": "access_denied" if outcome == "open" else None,
        "detail": "",
        "before": {"account_enabled": True},
        "after": {"account_enabled": outcome == "open"},
        "started_at": text(clock),
        "finished_at": text(done),
        "attempts": 1,
        "writes": 1,
        "run": 1,
        "due": text(due),
        "late": done > due,
        "controls": list(row.controls),
        "receipts": [receipt, receipt],
    }


def approval(at: datetime) -> Facts:
    return {
        "verb": "approve",
        "by_ref": "p-" + "m" * 26,
        "at": text(at),
        "plan_digest": "sha256:" + "ef" * 32,
        "statement_sha256": "99" * 32,
        "key_id": "k-" + "0" * 32,
        "accepted": True,
        "refusal": "",
        "reason_given": False,
    }


def fill(ledger: Ledger, leavers: int, records: int) -> None:
    waiting: list[tuple[RecordDraft, ...]] = []
    for number in range(leavers):
        waiting += batches(drafts(number, records))
        if len(waiting) >= 100:  # noqa: PLR2004 - batches of one transaction
            append(ledger, waiting)
            waiting = []
    append(ledger, waiting)


def batches(made: list[RecordDraft]) -> Iterator[tuple[RecordDraft, ...]]:
    for start in range(0, len(made), BATCH):
        yield tuple(made[start : start + BATCH])


def append(ledger: Ledger, waiting: list[tuple[RecordDraft, ...]]) -> None:
    for answer in ledger.append_many(waiting):
        if isinstance(answer, EvidenceError):
            raise answer


def measure(ledger: Ledger) -> dict[str, Any]:
    """Every phase of the report, in seconds."""
    spent: dict[str, float] = {}
    worked: dict[str, float] = {}
    clock = [time.perf_counter(), time.process_time()]

    def lap(name: str) -> None:
        spent[name] = round(time.perf_counter() - clock[0], 2)
        worked[name] = round(time.process_time() - clock[1], 2)
        clock[:] = time.perf_counter(), time.process_time()

    as_of = START + timedelta(days=DAYS + 30)
    end = START + timedelta(days=DAYS)
    head = ledger.head()
    line = CheckpointLine(head.size, head.root.hex(), as_of)
    clock[:] = time.perf_counter(), time.process_time()
    found = reconcile(Period(START, end), load_seen(ledger, until_seq=head.size), now=as_of)
    lap("completeness")
    frame = Frame(
        completeness=completeness_table(found),
        members=members(found),
        uncased=tuple(uncased(found)),
        mode=found.mode,
    )
    given = load_period(ledger, START, end, line, frame)
    lap("read the ledger")
    report = count_period(given)
    lap("count")
    page = period_page(report)
    html = page_html(page)
    lap("HTML")
    csvs = period_csvs(report)
    lap("CSV")
    book = period_xlsx(report)
    lap("XLSX")
    pdf = page_pdf(page)
    lap("PDF")
    sizes = {"html": len(html), "csv": sum(map(len, csvs.values())), "xlsx": len(book), "pdf": len(pdf)}
    return {
        "leavers": len(given.leavers),
        "records": head.size,
        "systems_rows": len(report.rows),
        "seconds": spent,
        "processor_seconds": worked,
        "without_pdf": round(sum(value for name, value in spent.items() if name != "PDF"), 2),
        "kilobytes": {name: size // 1000 for name, size in sizes.items()},
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
    }


def show(found: dict[str, Any]) -> None:
    table = Table(
        "phase", "seconds", "processor", title=f"{found['leavers']:,} leavers, {found['records']:,} records"
    )
    for name, spent in found["seconds"].items():
        table.add_row(name, f"{spent:.2f}", f"{found['processor_seconds'][name]:.2f}")
    table.add_row("all but PDF", f"{found['without_pdf']:.2f}")
    Console(stderr=True).print(table)
    print(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leavers", type=int, default=10_000)
    parser.add_argument("--records", type=int, default=50, help="records per case, at least 25")
    parser.add_argument("--ledger", type=Path, help="keep the ledger here and use it again")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        file = given.ledger or Path(scratch) / "ledger.db"
        if not file.exists():
            start = time.perf_counter()
            with Ledger.open(file) as ledger:
                fill(ledger, given.leavers, given.records)
            print(f"made the ledger in {time.perf_counter() - start:.0f} s", file=sys.stderr)
        with Ledger.open(file, read_only=True) as ledger:
            show(measure(ledger))


if __name__ == "__main__":
    main()
