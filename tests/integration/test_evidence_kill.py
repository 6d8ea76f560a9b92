"""The evidence worker is killed in the middle of its work, again and again: nothing is lost or doubled."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from leaver.domain.words import RecordType
from leaver.evidence.ledger import Ledger
from leaver.evidence.records import NO_RECORD

CASES = [f"c-{letter * 26}" for letter in "abcd"]
LENGTH = 60

# What Temporal does with a workflow's drafts: send a batch, and send it again until it is confirmed. After
# each restart the writer begins at the beginning, so every record that is stored already is offered again.
WRITER = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from leaver.domain.records import RecordDraft
from leaver.domain.words import RecordType
from leaver.evidence.ledger import Ledger

path, length, *cases = sys.argv[1:]
length = int(length)
start = datetime(2026, 11, 20, tzinfo=UTC)

def draft(case, number):
    last = number == length - 1
    body = {"count": length} if last else {"number": number, "text": "y" * (number * 37 % 2000)}
    kind = RecordType.CASE_CLOSED if last else RecordType.CHANGE
    at = start + timedelta(seconds=number)
    return RecordDraft(case=case, case_seq=number, type=kind, at=at, body=body)

with Ledger(Path(path)) as ledger:
    print("ready", flush=True)
    place = 0
    while place < length:
        size = 1 + place % 7
        for case in cases:
            batch = [draft(case, number) for number in range(place, min(place + size, length))]
            answer = ledger.append(batch)
            print(case, answer.count, answer.head, flush=True)
        place += size
print("done", flush=True)
"""


def write_until_killed(path: Path, after: float) -> tuple[dict[tuple[str, int], str], bool]:
    """Start a writer, kill it ``after`` seconds, and give back what it was told was stored."""
    command = [sys.executable, "-c", WRITER, str(path), str(LENGTH), *CASES]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:  # noqa: S603
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(after)
        writer.send_signal(signal.SIGKILL)
        lines = writer.stdout.read().splitlines()
    confirmed: dict[tuple[str, int], str] = {}
    for line in lines:
        words = line.split()
        if len(words) == 3 and len(words[2]) == 64:
            confirmed[words[0], int(words[1])] = words[2]
    return confirmed, "done" in lines


def check_whole(path: Path, confirmed: dict[tuple[str, int], str]) -> int:
    """Everything confirmed is there under its hash; every chain is a chain; the ledger has no gap."""
    with Ledger(path, read_only=True) as ledger:
        stored = {case: ledger.records(case) for case in CASES}
        leaves = ledger.leaves()
    everything = [record for records in stored.values() for record in records]
    assert sorted(record.seq for record in everything) == list(range(len(leaves)))
    for case, records in stored.items():
        assert [record.case_seq for record in records] == list(range(len(records)))
        assert [record.body.get("number", record.body.get("count")) for record in records[:-1]] == list(
            range(len(records[:-1]))
        )
        previous = NO_RECORD
        for record in records:
            assert record.prev_case == previous
            previous = record.leaf
        for (told, count), head in confirmed.items():
            if told == case:
                assert len(records) >= count
                # A later call may confirm a longer chain, so the head names the record it was made at.
                assert head in {record.leaf for record in records[count - 1 :]}
    return len(everything)


@pytest.mark.parametrize("seed", [11, 2026, 777])
def test_sigkill_loses_and_doubles_nothing(tmp_path: Path, seed: int) -> None:
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)  # noqa: S311 - moments to kill at, not secrets
    path = tmp_path / "ledger.sqlite"
    confirmed: dict[tuple[str, int], str] = {}
    kills, before, whole = 0, 0, False
    while not whole:
        # Short enough to hit the middle of the work; longer and longer, so that the test ends.
        told, whole = write_until_killed(path, after=chance.uniform(0, 0.03) * (1 + kills / 2))
        confirmed.update(told)
        stored = check_whole(path, confirmed)
        assert stored >= before
        before, kills = stored, kills + 1
        assert kills < 60
    assert kills > 2
    assert before == LENGTH * len(CASES)
    with Ledger(path, read_only=True) as ledger:
        for case in CASES:
            assert ledger.closed_records(case)[-1].type is RecordType.CASE_CLOSED
