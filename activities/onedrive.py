"""OneDrive: the activities of the ``leaver-onedrive`` queue."""

from __future__ import annotations

from typing import Final

from temporalio import activity

from activities.contracts import OneDriveContract
from activities.exchange_steps import successor_of
from activities.presence import NOT_FOUND, is_absent, resolved, unless_gone
from activities.unit import ReadBack, StepRun, UnitRun
from leaver.connectors.errors import AccessDenied, Rejected
from leaver.connectors.onedrive.protocol import Drive, FileSystem, SharePointRefusedError
from leaver.domain.account import Account, LinkRule, ResolveInput, ResolveResult
from leaver.domain.base import Facts
from leaver.domain.effect import Effect, UnitInput, UnitResult
from leaver.domain.words import System

SITE_ADMIN: Final = "site_admin"
ROOT_INVITE: Final = "root_invite"


class OneDriveActivities(OneDriveContract):
    """Runs the units against a file system. ``read_back`` says how effects are proven."""

    def __init__(self, files: FileSystem, read_back: ReadBack | None = None) -> None:
        self._files = files
        self._read_back = read_back or ReadBack()

    @activity.defn(name="onedrive.resolve")
    async def resolve(self, arg: ResolveInput) -> ResolveResult:
        """Find the drive of the linked Entra user. Reads only."""
        return await resolved(System.ONEDRIVE, lambda: self._find(arg))

    @activity.defn(name="onedrive.handover")
    async def handover(self, arg: UnitInput) -> UnitResult:
        """Make the successor site-collection administrator, or share the root as a fallback."""

        async def gone_facts() -> Facts:
            return {"drive": None}

        unit = UnitRun(arg, self._read_back)
        runner = unless_gone(
            self._grant_successor, lambda: self._has_drive(arg.account.id), self._read_back, gone_facts
        )
        people = [arg.account.id] + ([arg.successor.id] if arg.successor else [])
        return await unit.run({"onedrive.grant_successor": runner}, people)

    async def _find(self, arg: ResolveInput) -> ResolveResult:
        entra = next((account for account in arg.linked if account.system is System.ENTRA), None)
        if entra is None:
            return ResolveResult(system=System.ONEDRIVE, detail="no Entra account, so no drive")
        if await is_absent(lambda: self._has_drive(entra.id), self._read_back):
            return ResolveResult(system=System.ONEDRIVE)
        drive = await self._drive(entra.id)
        account = Account(
            system=System.ONEDRIVE,
            id=entra.id,
            rule=LinkRule.LINKED_ACCOUNT,
            synced=entra.synced,
            locator=drive.site_url,
        )
        return ResolveResult(system=System.ONEDRIVE, account=account)

    async def _grant_successor(self, step: StepRun) -> Effect:
        successor = successor_of(step)
        if isinstance(successor, Effect):
            return successor
        # Read again by id: the address that intake found may have changed with the owner's name.
        drive = await self._drive(step.arg.account.id)
        try:
            return await self._make_site_admin(step, drive, successor)
        except SharePointRefusedError as refusal:
            try:
                effect = await self._share_root(step, drive, successor)
            except AccessDenied as err:
                raise AccessDenied(f"{refusal}; or: {err}", needs=f"{refusal.needs}, or {err.needs}") from err
            detail = f"shared through Graph, without items of broken inheritance, because {refusal}"
            return effect.model_copy(update={"detail": detail})

    async def _make_site_admin(self, step: StepRun, drive: Drive, successor: str) -> Effect:
        async def write(_: bool) -> None:
            await self._files.make_site_admin(drive, successor)

        return await step.converge(
            read=lambda: self._files.is_site_admin(drive, successor),
            so=lambda granted: granted,
            facts=lambda granted: {"successor": successor, "method": SITE_ADMIN, "granted": granted},
            write=write,
        )

    async def _share_root(self, step: StepRun, drive: Drive, successor: str) -> Effect:
        async def write(_: bool) -> None:
            await self._files.grant_root(drive, successor)

        return await step.converge(
            read=lambda: self._files.has_root_grant(drive, successor),
            so=lambda granted: granted,
            facts=lambda granted: {"successor": successor, "method": ROOT_INVITE, "granted": granted},
            write=write,
        )

    async def _has_drive(self, owner: str) -> bool:
        return await self._files.drive(owner) is not None

    async def _drive(self, owner: str) -> Drive:
        drive = await self._files.drive(owner)
        if drive is None:
            raise Rejected("read drive: there is none", code="no_drive", status=NOT_FOUND)
        return drive
