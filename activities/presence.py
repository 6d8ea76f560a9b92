"""Whether something is there at all: one "not found" of a lagging replica must never pass for an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from activities.beating import beating
from activities.errors import application_error, open_reason
from activities.unit import ReadBack, StepRun, StepRunner
from leaver.connectors.errors import ConnectorError, Rejected, Unavailable
from leaver.domain.account import ResolveResult
from leaver.domain.base import Facts
from leaver.domain.effect import Effect
from leaver.domain.words import Outcome, System

NOT_FOUND: Final = 404


async def resolved(system: System, find: Callable[[], Awaitable[ResolveResult]]) -> ResolveResult:
    """Run a search; what only a person can cure becomes its reason, the rest is for Temporal to retry.

    Raises:
        ApplicationError: worth trying again.
    """
    try:
        async with beating():
            return await find()
    except ConnectorError as err:
        reason = open_reason(err)
        if reason is None:
            raise application_error(err) from err
        return ResolveResult(system=system, reason=reason, detail=str(err))


async def is_absent(is_there: Callable[[], Awaitable[bool]], how: ReadBack) -> bool:
    """Whether enough reads in a row, some time apart, agree that the thing is not there."""
    for turn in range(max(how.agree, 1)):
        if turn:
            await asyncio.sleep(how.interval.total_seconds())
        if await is_there():
            return False
    return True


def unless_gone(
    runner: StepRunner,
    is_there: Callable[[], Awaitable[bool]],
    how: ReadBack,
    facts: Callable[[], Awaitable[Facts]],
) -> StepRunner:
    """A step whose account has vanished is ``absent``, once that is certain.

    Raises:
        Unavailable: "not found" once, and there after all.
    """

    async def run(step: StepRun) -> Effect:
        try:
            return await runner(step)
        except Rejected as err:
            if err.status != NOT_FOUND:
                raise
            if not await is_absent(is_there, how):
                raise Unavailable(f"{step.step}: not found once, and there after all") from err
            return step.effect(Outcome.ABSENT, {}, await facts())

    return run
