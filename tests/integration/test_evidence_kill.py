"""The sealer and its database are killed at random moments under 50 parallel cases, again and again.

Nothing that was confirmed is lost, nothing is doubled, and the tree still begins with every checkpoint that
was published before.
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from leaver.evidence.errors import LedgerUnavailableError
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.log.merkle import consistent, root_of
from leaver.evidence.records import NO_RECORD
from tests.support.ledgers import case_id
from tests.support.postgres import running_postgres

CASES = 50
LENGTH = 36
MOST_KILLS = 60

# What the evidence worker does: many workflows send drafts, each again until it is confirmed; beside them
# checkpoints are published. After each start every workflow begins at its beginning, so that every record
# which is stored already is offered again.
SEALER = """
import asyncio, sys
from datetime import UTC, datetime
from leaver.evidence.errors import LedgerUnavailableError
from leaver.evidence.ledger.group import GroupCommit
from leaver.evidence.ledger.model import StoredCheckpoint
from leaver.evidence.ledger.store import Ledger
from tests.support.ledgers import case_id, draft, note_of

where, cases, length = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

async def again(work, *args):
    while True:
        try:
            return await work(*args)
        except LedgerUnavailableError:
            await asyncio.sleep(0.02)

async def workflow(group, number):
    case, place = case_id(number), 0
    while place < length:
        size = 1 + (place + number) % 4
        batch = [draft(case, each, length=length) for each in range(place, min(place + size, length))]
        answer = await again(group.append, batch)
        print("stored", case, answer.count, answer.head, flush=True)
        place += size

def publish(ledger):
    head = ledger.check_grown()
    last = ledger.latest_checkpoint()
    if head.size and (last is None or last.size < head.size):
        note = note_of(head.size, head.root)
        ledger.add_checkpoint(StoredCheckpoint(head.size, head.root, note, datetime.now(UTC)))
        return ["published", head.size, head.root.hex()]
    return []

async def publisher(ledger):
    while True:
        news = await again(asyncio.to_thread, publish, ledger)
        if news:
            print(*news, flush=True)  # in this thread alone, so that lines do not mix
        await asyncio.sleep(0.01)

async def main():
    ledger = await again(asyncio.to_thread, Ledger.open, where)
    print("ready", flush=True)
    group, publishing = GroupCommit(ledger), asyncio.create_task(publisher(ledger))
    await asyncio.gather(*(workflow(group, number) for number in range(cases)))
    publishing.cancel()
    await asyncio.wait([publishing])
    print("done", flush=True)

asyncio.run(main())
"""


@dataclass
class Told:
    """What all sealers said so far: each line is a promise."""

    stored: dict[tuple[str, int], str] = field(default_factory=dict)
    published: dict[int, bytes] = field(default_factory=dict)
    done: bool = False

    def hear(self, line: str) -> None:
        match line.split():
            case ["stored", case, count, head] if len(head) == 64:
                self.stored[case, int(count)] = head
            case ["published", size, root] if len(root) == 64:
                assert self.published.setdefault(int(size), bytes.fromhex(root)) == bytes.fromhex(root)
            case ["done"]:
                self.done = True


@contextmanager
def sealer(where: str, told: Told) -> Iterator[subprocess.Popen[str]]:
    """A sealer at work, listened to; killed at the end of the block."""
    command = [sys.executable, "-c", SEALER, where, str(CASES), str(LENGTH)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        lines = process.stdout

        def listen() -> None:
            for line in lines:
                if line.endswith("\n"):
                    told.hear(line)

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            listener.join()


def check_promises(where: str, told: Told) -> int:
    """Everything confirmed is there under its hash, once; the tree begins with all that was published."""
    with Ledger.open(where, read_only=True) as ledger:
        assert ledger.check() == ()
        leaves = ledger.leaves()
        assert root_of(leaves) == ledger.root()
        for size, root in told.published.items():
            assert size <= len(leaves)
            assert ledger.root(size) == root
            path = ledger.consistency(size, len(leaves))
            assert consistent(size, len(leaves), path, root, ledger.root())
        records = {case_id(number): ledger.records(case_id(number)) for number in range(CASES)}
    assert sorted(record.seq for chain in records.values() for record in chain) == list(range(len(leaves)))
    for chain in records.values():
        assert [record.case_seq for record in chain] == list(range(len(chain)))
        assert [record.body.get("number", LENGTH - 1) for record in chain] == list(range(len(chain)))
        links = [NO_RECORD, *(record.leaf for record in chain)]
        assert [record.prev_case for record in chain] == links[:-1]
    for (case, count), head in told.stored.items():
        # A later call may confirm a longer chain, so the head names the record it was made at.
        assert head in {record.leaf for record in records[case][count - 1 :]}
    return len(leaves)


def run_until_whole(where: str, chance: random.Random, moments: Callable[[float], None]) -> None:
    """Start a sealer, let ``moments`` pass, kill it, look; until a sealer has done everything."""
    told, before, kills = Told(), 0, 0
    while not told.done:
        with sealer(where, told):
            # Short enough to hit the middle of the work; longer and longer, so that the test ends.
            moments(chance.uniform(0, 0.06) * (1 + 2 * kills))
        stored = check_promises(where, told)
        assert stored >= before
        before, kills = stored, kills + 1
        assert kills < MOST_KILLS
    assert before == CASES * LENGTH
    assert kills > 1
    assert len(told.published) > 1
    assert len(told.stored) > CASES


@pytest.mark.parametrize("seed", [2026])
def test_sigkill_of_the_sealer_loses_and_doubles_nothing(tmp_path: Path, seed: int) -> None:
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)  # noqa: S311 - moments to kill at, not secrets
    run_until_whole(str(tmp_path / "ledger.db"), chance, time.sleep)


@pytest.mark.parametrize("seed", [5])
def test_sigkill_of_sealer_and_postgres_loses_and_doubles_nothing(seed: int) -> None:
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)  # noqa: S311 - moments to kill at, not secrets
    with running_postgres() as server:
        where = server.url(server.database())
        crashes = 0

        def moments(seconds: float) -> None:
            nonlocal crashes
            # The database goes down and comes back under the sealer, which is itself killed a little later.
            time.sleep(seconds)
            server.kill()
            with pytest.raises(LedgerUnavailableError):
                Ledger.open(where)
            server.start()
            crashes += 1
            time.sleep(seconds)

        run_until_whole(where, chance, moments)
        assert crashes > 1
