"""On-premises Active Directory: the activities of the ``leaver-ad-<site>`` queues."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from temporalio import activity

from activities.ad_resolve import Resolver
from activities.ad_steps import DISABLE, GONE, GROUPS, MOVE, PASSWORD, AdSteps
from activities.contracts import AdContract
from activities.presence import is_absent, resolved
from activities.unit import ReadBack, StepRun, StepRunner, UnitRun
from leaver.connectors.ad.protocol import AccountGone, Directory
from leaver.connectors.errors import Unavailable
from leaver.domain.account import ResolveInput, ResolveResult
from leaver.domain.effect import Effect, UnitInput, UnitResult
from leaver.domain.words import Outcome, System


class AdActivities(AdContract):
    """Runs the units against one domain. ``read_back`` says how effects are proven.

    The directory blocks, so each call runs in a thread, which sees the write scope and the receipts of the
    step that made it.
    """

    def __init__(self, directory: Directory, read_back: ReadBack | None = None) -> None:
        self._directory = directory
        self._read_back = read_back or ReadBack()

    @activity.defn(name="ad.resolve")
    async def resolve(self, arg: ResolveInput) -> ResolveResult:
        """Find the account by linked objectGUID, employee number, then user name or mail. Reads only."""
        resolver = Resolver(self._directory, self._read_back)
        return await resolved(System.AD, lambda: resolver.resolve(arg))

    @activity.defn(name="ad.contain")
    async def contain(self, arg: UnitInput) -> UnitResult:
        """Disable the account and set two random passwords."""
        unit = UnitRun(arg, self._read_back)
        steps = AdSteps(self._directory, unit)
        return await self._run(unit, {DISABLE: steps.disable, PASSWORD: steps.reset_password})

    @activity.defn(name="ad.entitlements")
    async def entitlements(self, arg: UnitInput) -> UnitResult:
        """Leave groups, move to the leavers' OU."""
        unit = UnitRun(arg, self._read_back)
        steps = AdSteps(self._directory, unit)
        return await self._run(unit, {GROUPS: steps.remove_groups, MOVE: steps.move_to_leavers_ou})

    @activity.defn(name="ad.verify")
    async def verify(self, arg: UnitInput) -> UnitResult:
        """Read the containment steps again. Writes nothing.

        ``parameters`` may hold, per step, the ``after`` facts of its containment: then a password that was
        set since is found too.
        """
        unit = UnitRun(arg, self._read_back)
        still = AdSteps(self._directory, unit).still_contained
        return await self._run(unit, {DISABLE: still, PASSWORD: still})

    async def _run(self, unit: UnitRun, runners: Mapping[str, StepRunner]) -> UnitResult:
        guarded = {name: self._unless_gone(runner, unit.arg.account.id) for name, runner in runners.items()}
        return await unit.run(guarded, [unit.arg.account.id])

    def _unless_gone(self, runner: StepRunner, guid: str) -> StepRunner:
        """A step whose account was deleted is ``absent``, once that is certain."""

        async def is_there() -> bool:
            return await asyncio.to_thread(self._directory.get, guid) is not None

        async def run(step: StepRun) -> Effect:
            try:
                return await runner(step)
            except AccountGone as err:
                if not await is_absent(is_there, self._read_back):
                    raise Unavailable(f"{step.step}: not found once, and there after all") from err
                return _gone(step)

        return run


def _gone(step: StepRun) -> Effect:
    proven = step.arg.parameters.get(step.step)
    if proven == GONE:
        # Verified again: it was gone at containment, and still is.
        return step.effect(Outcome.VERIFIED, {**GONE}, {**GONE})
    return step.effect(Outcome.ABSENT, {}, {**GONE}, detail="the account is not in the directory")
