"""What one leaver costs: requests per system, activities, history events, evidence records, seconds.

Runs the sample company's HR file once against the embedded stack (real Temporal server, real workers, the
simulators over the wire). Prints a table, then one line of JSON. Times depend on the machine, counts do not.

    python benchmarks/bench_case_cost.py [--ad standin|samba|auto]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from leaver.embedded.demo import Demo, DemoOptions, run_demo
from leaver.embedded.samples import sample

SYSTEMS = ("entra", "exchange", "onedrive", "ad")


async def measure(output: Path, ad: str) -> list[dict[str, Any]]:
    demo = Demo(
        options=DemoOptions(
            hr_file=sample("hr/northwind-leavers.csv"),
            policy=sample("policy.toml"),
            output=output,
            ad=ad,  # type: ignore[arg-type]
        )
    )
    await run_demo(demo)
    if demo.problems or demo.summary is None:
        raise SystemExit("\n".join(["the run did not end as it must:", *demo.problems]))
    return [cost(output, case.model_dump(mode="json")) for case in demo.summary.cases if case.bundle]


def cost(output: Path, case: dict[str, Any]) -> dict[str, Any]:
    bundle = output / case["bundle"]
    events = [
        event
        for file in (bundle / "history").glob("*.json")
        for event in json.loads(file.read_text("utf-8"))["events"]
    ]
    activities = sum("activityTaskScheduledEventAttributes" in event for event in events)
    account = account_of(bundle)
    return {
        "person": case["person"],
        "contained_seconds": case["lag_seconds"],
        "history_events": len(events),
        "activities": activities,
        "records": sum(1 for _ in (bundle / "records").glob("*.json")),
        **requests_about(output / "state", account),
    }


def account_of(bundle: Path) -> frozenset[str]:
    """The ids of the leaver's accounts, from the last plan in the evidence."""
    plans = [
        record["body"]
        for file in sorted((bundle / "records").glob("*.json"))
        if (record := json.loads(file.read_bytes()))["type"] == "plan"
    ]
    return frozenset(account.split(":", 1)[1] for account in plans[-1]["accounts"])


def requests_about(state: Path, accounts: frozenset[str]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for system in SYSTEMS:
        for line in (state / f"requests-{system}.jsonl").read_text("utf-8").splitlines():
            request = json.loads(line)
            if accounts & set(request["object"]):
                counts[f"{system}_requests"] += 1
                counts[f"{system}_writes"] += request["mutating"]
    return dict(counts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--ad", choices=["auto", "standin", "samba"], default="standin")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(measure(Path(folder) / "run", given.ad))
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(*names, title=f"cost of one leaver ({os.cpu_count()} cores)")
    for row in rows:
        table.add_row(*(str(row.get(name, "")) for name in names))
    Console(width=220).print(table)
    sys.stdout.write(json.dumps({"benchmark": "case_cost", "cores": os.cpu_count(), "rows": rows}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
    os._exit(0)  # Temporal's SDK may crash while the interpreter is torn down
