"""Receipts: transports record every call, the unit of work that made it collects them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from leaver.domain.effect import Receipt

_collector: ContextVar[list[Receipt] | None] = ContextVar("leaver_receipts", default=None)


@contextmanager
def recording() -> Iterator[list[Receipt]]:
    """Collect the receipts of every call made inside, in order."""
    receipts: list[Receipt] = []
    token = _collector.set(receipts)
    try:
        yield receipts
    finally:
        _collector.reset(token)


def record(receipt: Receipt) -> None:
    """Keep a receipt with the unit of work that is running, if one is."""
    receipts = _collector.get()
    if receipts is not None:
        receipts.append(receipt)
