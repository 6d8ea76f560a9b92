"""Group commit: appends that wait at the same time go into one transaction.

A transaction costs a write to the disk, whether it holds one record or thousands. While one is being
committed the others gather; each caller gets its own answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from leaver.domain.records import AppendResult, RecordDraft
from leaver.evidence.errors import LedgerError, LedgerUnavailableError

_AT_ONCE: Final = 2_000
"""Drafts in a transaction: enough to make its cost small, few enough that nobody waits long."""

Batch = Sequence[RecordDraft]
_Waiting = tuple[Batch, "asyncio.Future[AppendResult]"]


class Appends(Protocol):
    """What is needed of a ledger here."""

    def append_many(self, batches: Sequence[Batch]) -> list[AppendResult | LedgerError]:
        """Store each batch or refuse it, all in one transaction."""
        ...


class GroupCommit:
    """Joins the appends of one event loop.

    Example::

        group = GroupCommit(ledger)
        result = await group.append(drafts)
        await group.close()
    """

    def __init__(self, ledger: Appends) -> None:
        self._ledger = ledger
        self._waiting: list[_Waiting] = []
        self._worker: asyncio.Task[None] | None = None
        self._closed = False

    async def append(self, drafts: Batch) -> AppendResult:
        """Do what ``Ledger.append`` does.

        A caller that is cancelled does not undo or delay what the others wait for; whether its own batch was
        stored is then not known, and sending it again is safe.

        Raises:
            LedgerError: as ``Ledger.append`` does.
        """
        if self._closed:
            raise LedgerUnavailableError("the ledger is being closed")
        answer: asyncio.Future[AppendResult] = asyncio.get_running_loop().create_future()
        self._waiting.append((drafts, answer))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work(), name="ledger group commit")
        return await answer

    async def close(self) -> None:
        """Refuse what comes from now on, and wait for what is on its way."""
        self._closed = True
        if self._worker is not None:
            await asyncio.wait([self._worker])

    async def _work(self) -> None:
        while self._waiting:
            group = self._next_group()
            try:
                answers = await asyncio.to_thread(
                    self._ledger.append_many, [drafts for drafts, _answer in group]
                )
            except LedgerError as err:
                for _drafts, answer in group:
                    _refuse(answer, type(err)(*err.args))
            except BaseException as err:
                # Nobody may wait for ever: not when the loop is being stopped, not on a defect of ours.
                why = f"the append was interrupted: {type(err).__name__}"
                for _drafts, answer in (*group, *self._waiting):
                    _refuse(answer, LedgerUnavailableError(why))
                self._waiting.clear()
                raise
            else:
                for (_drafts, answer), result in zip(group, answers, strict=True):
                    _tell(answer, result)

    def _next_group(self) -> list[_Waiting]:
        """Those who waited longest; a cancelled caller's batch is left out."""
        group: list[_Waiting] = []
        drafts = 0
        while self._waiting and drafts < _AT_ONCE:
            waiting = self._waiting.pop(0)
            if not waiting[1].done():
                group.append(waiting)
                drafts += len(waiting[0])
        return group


def _tell(answer: asyncio.Future[AppendResult], result: AppendResult | LedgerError) -> None:
    if isinstance(result, LedgerError):
        _refuse(answer, result)
    elif not answer.done():
        answer.set_result(result)


def _refuse(answer: asyncio.Future[AppendResult], err: LedgerError) -> None:
    if not answer.done():
        answer.set_exception(err)
