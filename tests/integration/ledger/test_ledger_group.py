"""Group commit: many callers at once, one transaction, each its own answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence

import pytest

from leaver.domain.records import AppendResult, RecordDraft
from leaver.evidence.errors import GapError, LedgerError, LedgerUnavailableError, UnfitDraftError
from leaver.evidence.ledger.group import GroupCommit
from leaver.evidence.ledger.store import Ledger
from tests.support.ledgers import SqlitePlace, case_id, chain_of, draft


class Gate:
    """A ledger that waits at a gate before each transaction, and notes how large each was."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.open = threading.Event()
        self.open.set()
        self.arrived = threading.Event()
        self.groups: list[int] = []

    def append_many(self, batches: Sequence[Sequence[RecordDraft]]) -> list[AppendResult | LedgerError]:
        self.groups.append(len(batches))
        self.arrived.set()
        assert self.open.wait(20)
        return self._ledger.append_many(batches)

    async def reached(self) -> None:
        await asyncio.to_thread(self.arrived.wait, 20)


@pytest.fixture
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with SqlitePlace(tmp_path_factory.mktemp("group")).open() as opened:
        yield opened


async def test_those_who_wait_share_a_transaction(ledger: Ledger) -> None:
    gate = Gate(ledger)
    gate.open.clear()
    group = GroupCommit(gate)
    first = asyncio.create_task(group.append([draft(case_id(0), 0)]))
    await gate.reached()
    others = [asyncio.create_task(group.append(chain_of(case_id(number), 5))) for number in range(1, 50)]
    await asyncio.sleep(0)
    gate.open.set()
    answers = await asyncio.gather(first, *others)
    assert [answer.count for answer in answers] == [1] + [5] * 49
    assert gate.groups == [1, 49]
    assert ledger.size() == 1 + 49 * 5
    assert ledger.check() == ()
    for number, answer in enumerate(answers):
        assert ledger.records(case_id(number))[-1].leaf == answer.head


async def test_each_caller_hears_of_its_own_refusal(ledger: Ledger) -> None:
    gate = Gate(ledger)
    gate.open.clear()
    group = GroupCommit(gate)
    tasks = [
        asyncio.create_task(group.append(drafts))
        for drafts in ([draft(case_id(1), 0)], [draft(case_id(2), 1)], [], [draft(case_id(3), 0)])
    ]
    await gate.reached()
    gate.open.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [AppendResult, GapError, UnfitDraftError, AppendResult]
    assert ledger.size() == 2


async def test_a_cancelled_caller_harms_nobody(ledger: Ledger) -> None:
    gate = Gate(ledger)
    gate.open.clear()
    group = GroupCommit(gate)
    under_way = asyncio.create_task(group.append([draft(case_id(1), 0)]))
    await gate.reached()
    waiting = [asyncio.create_task(group.append([draft(case_id(number), 0)])) for number in (2, 3)]
    await asyncio.sleep(0)
    under_way.cancel()
    waiting[0].cancel()
    await asyncio.wait([under_way, waiting[0]])
    gate.open.set()
    assert (await waiting[1]).count == 1
    assert under_way.cancelled()
    assert waiting[0].cancelled()
    # What was on its way is stored, what only waited is not; sending either again is safe.
    assert [entry.case for entry in ledger.cases()] == [case_id(1), case_id(3)]
    for number in (1, 2):
        assert (await group.append([draft(case_id(number), 0)])).count == 1
    assert ledger.size() == 3


async def test_a_database_that_is_gone_is_told_to_everybody_and_tried_again(ledger: Ledger) -> None:
    gate = Gate(ledger)
    group = GroupCommit(gate)
    assert (await group.append([draft(case_id(1), 0)])).count == 1
    ledger.close()
    answers = await asyncio.gather(
        *(group.append([draft(case_id(number), 0)]) for number in range(5)), return_exceptions=True
    )
    assert {type(answer) for answer in answers} == {LedgerUnavailableError}
    assert len({id(answer) for answer in answers}) == 5


async def test_large_groups_are_cut(ledger: Ledger) -> None:
    gate = Gate(ledger)
    group = GroupCommit(gate)
    await asyncio.gather(*(group.append(chain_of(case_id(number), 150)) for number in range(30)))
    assert sum(gate.groups) == 30
    assert max(gate.groups) == 14
    assert ledger.size() == 30 * 150


async def test_closing_waits_for_what_is_under_way(ledger: Ledger) -> None:
    gate = Gate(ledger)
    gate.open.clear()
    group = GroupCommit(gate)
    tasks = [asyncio.create_task(group.append([draft(case_id(number), 0)])) for number in range(3)]
    await gate.reached()
    closing = asyncio.create_task(group.close())
    await asyncio.sleep(0)
    with pytest.raises(LedgerUnavailableError, match="closed"):
        await group.append([draft(case_id(9), 0)])
    gate.open.set()
    await closing
    assert [task.result().count for task in tasks] == [1, 1, 1]
    assert ledger.size() == 3


async def test_closing_without_work_is_nothing(ledger: Ledger) -> None:
    await GroupCommit(ledger).close()


async def test_nobody_waits_for_ever_when_the_work_is_stopped(ledger: Ledger) -> None:
    gate = Gate(ledger)
    gate.open.clear()
    group = GroupCommit(gate)
    tasks = [asyncio.create_task(group.append([draft(case_id(number), 0)])) for number in range(2)]
    await gate.reached()
    for task in asyncio.all_tasks():
        if task.get_name() == "ledger group commit":
            task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(answer) for answer in answers} == {LedgerUnavailableError}
    gate.open.set()
