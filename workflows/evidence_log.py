"""The case's evidence as the workflow writes it: numbered here, sealed by the evidence worker.

Records leave in the background while the case goes on, because containment must not wait for the sealer.
Work that could lose data waits until everything before it is sealed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.exceptions import ActivityError

from activities.contracts import EvidenceContract
from leaver.domain.base import Facts
from leaver.domain.records import AppendInput, RecordDraft
from leaver.domain.words import RecordType
from workflows.policies import evidence_config

BATCH: Final = 40
_AGAIN: Final = timedelta(minutes=10)


class EvidenceLog:
    """One chain of records. Its owner is the only writer; ``case_seq`` has no gaps."""

    def __init__(self, case: str, chain: str = "case") -> None:
        self._case = case
        self._chain = chain
        self._next = 0
        self._sealed = 0
        self._outbox: list[RecordDraft] = []
        self._closing = False
        self._gathering = 0
        self._awaited = 0
        self.trouble = ""

    @property
    def count(self) -> int:
        """How many records the chain has, sealed or not."""
        return self._next

    @property
    def sealed(self) -> int:
        """How many of them the sealer has confirmed."""
        return self._sealed

    @property
    def idle(self) -> bool:
        """Whether the sealer has confirmed everything recorded so far."""
        return self._sealed == self._next

    def record(self, kind: RecordType, body: Facts) -> None:
        """Add a record, dated now."""
        draft = RecordDraft(
            case=self._case,
            chain=self._chain,
            case_seq=self._next,
            type=kind,
            at=workflow.now(),
            body=body,
        )
        self._next += 1
        self._outbox.append(draft)

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Send what is recorded inside in one batch, unless somebody waits for it or it fills a batch.

        For rounds that repeat for a month: each batch costs events of a history that must stay short.
        """
        self._gathering += 1
        try:
            yield
        finally:
            self._gathering -= 1

    async def run(self) -> None:
        """Send what is recorded, in order, until ``close``."""
        while True:
            await workflow.wait_condition(lambda: self._ready() or self._closing)
            if not self._outbox:
                return
            await self._send(self._outbox[:BATCH])

    def _ready(self) -> bool:
        wanted = not self._gathering or self._awaited > self._sealed or len(self._outbox) >= BATCH
        return bool(self._outbox) and wanted

    async def send_all(self) -> None:
        """Send what is recorded and wait for it, for an owner that does not run the log in the background."""
        while self._outbox:
            await self._send(self._outbox[:BATCH])

    async def flushed(self) -> None:
        """Wait until everything recorded so far is sealed."""
        goal = self._awaited = self._next
        await workflow.wait_condition(lambda: self._sealed >= goal)

    async def close(self) -> None:
        """Wait for the last record and let ``run`` end."""
        await self.flushed()
        self._closing = True

    async def _send(self, batch: list[RecordDraft]) -> None:
        summary = f"records {batch[0].case_seq}-{batch[-1].case_seq}"
        try:
            await workflow.execute_activity_method(
                EvidenceContract.append, AppendInput(drafts=tuple(batch)), **evidence_config(summary)
            )
        except ActivityError as err:
            # A final refusal means that the ledger and this history disagree. Nothing may be lost, so the
            # case stays unsealed, says so, and tries again once somebody has looked.
            self.trouble = str(err.cause or err)
            await workflow.sleep(_AGAIN)
            return
        self.trouble = ""
        del self._outbox[: len(batch)]
        self._sealed += len(batch)
