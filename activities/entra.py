"""Entra ID: the activities of the ``leaver-entra`` queue."""

from __future__ import annotations

from collections.abc import Mapping

from temporalio import activity

from activities.contracts import EntraContract
from activities.entra_access import Access
from activities.entra_contain import BLOCK, PASSWORD, REVOKE, Containment
from activities.entra_resolve import Resolver
from activities.presence import NOT_FOUND, resolved, unless_gone
from activities.unit import ReadBack, StepRunner, UnitRun
from leaver.connectors.entra.protocol import Directory
from leaver.connectors.errors import Rejected
from leaver.domain.account import ResolveInput, ResolveResult
from leaver.domain.base import Facts
from leaver.domain.effect import UnitInput, UnitResult
from leaver.domain.words import System


class EntraActivities(EntraContract):
    """Runs the units against a directory. ``read_back`` says how effects are proven."""

    def __init__(self, directory: Directory, read_back: ReadBack | None = None) -> None:
        self._directory = directory
        self._read_back = read_back or ReadBack()

    @activity.defn(name="entra.resolve")
    async def resolve(self, arg: ResolveInput) -> ResolveResult:
        """Find the leaver's user object, and the successor's. Reads only."""
        resolver = Resolver(self._directory, self._read_back)
        return await resolved(System.ENTRA, lambda: resolver.resolve(arg))

    @activity.defn(name="entra.contain")
    async def contain(self, arg: UnitInput) -> UnitResult:
        """Block sign-in and set a random password in one write, then invalidate sessions."""
        unit = UnitRun(arg, self._read_back)
        containment = Containment(self._directory, unit)
        return await self._run(
            unit,
            {
                BLOCK: containment.block_sign_in,
                PASSWORD: containment.reset_password,
                REVOKE: containment.revoke_sessions,
            },
        )

    @activity.defn(name="entra.credentials")
    async def credentials(self, arg: UnitInput) -> UnitResult:
        """Remove the sign-in methods, the default one last; invalidate sessions again."""
        unit = UnitRun(arg, self._read_back)
        return await self._run(
            unit,
            {
                "entra.remove_auth_methods": Access(self._directory, unit).remove_auth_methods,
                "entra.revoke_sessions_after_credentials": Containment(self._directory, unit).revoke_sessions,
            },
        )

    @activity.defn(name="entra.entitlements")
    async def entitlements(self, arg: UnitInput) -> UnitResult:
        """Leave the cloud groups, except those that carry licences; invalidate sessions again."""
        unit = UnitRun(arg, self._read_back)
        return await self._run(
            unit,
            {
                "entra.remove_groups": Access(self._directory, unit).remove_groups,
                "entra.revoke_sessions_after_groups": Containment(self._directory, unit).revoke_sessions,
            },
        )

    @activity.defn(name="entra.licences")
    async def licences(self, arg: UnitInput) -> UnitResult:
        """Remove direct licences and leave licence-bearing groups. Only behind the mailbox gate."""
        unit = UnitRun(arg, self._read_back)
        access = Access(self._directory, unit)
        return await self._run(
            unit,
            {
                "entra.remove_direct_licences": access.remove_direct_licences,
                "entra.remove_licence_groups": access.remove_licence_groups,
            },
        )

    @activity.defn(name="entra.verify")
    async def verify(self, arg: UnitInput) -> UnitResult:
        """Read the containment steps again. Writes nothing.

        ``parameters`` may hold, per step, the ``after`` facts of its containment: then a password that was
        changed since, or sessions that are valid again, are found too.
        """
        unit = UnitRun(arg, self._read_back)
        still = Containment(self._directory, unit).still_contained
        return await self._run(unit, dict.fromkeys((BLOCK, PASSWORD, REVOKE), still))

    async def _run(self, unit: UnitRun, runners: Mapping[str, StepRunner]) -> UnitResult:
        user = unit.arg.account.id

        async def is_there() -> bool:
            try:
                await self._directory.user(user)
            except Rejected as err:
                if err.status == NOT_FOUND:
                    return False
                raise
            return True

        async def gone_facts() -> Facts:
            return {"user": None, "in_recycle_bin": await self._directory.is_deleted(user)}

        guarded = {
            name: unless_gone(runner, is_there, self._read_back, gone_facts)
            for name, runner in runners.items()
        }
        # The successor is not among the subjects: nothing here may ever write to anybody but the leaver.
        return await unit.run(guarded, [user])
