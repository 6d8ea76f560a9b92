"""The steps on one account in Active Directory: disable, two passwords, groups, OU."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pydantic import JsonValue

from activities.unit import StepRun, UnitRun
from leaver.connectors.ad.protocol import AccountGone, AdAccount, Directory
from leaver.connectors.errors import AccessDenied, ConnectorError, Rejected, UnknownOutcomeError
from leaver.domain.base import Facts
from leaver.domain.effect import Effect
from leaver.domain.words import Mode, Outcome, Reason

DISABLE: Final = "ad.disable_account"
PASSWORD: Final = "ad.reset_password"  # noqa: S105 - the name of a step
GROUPS: Final = "ad.remove_groups"
MOVE: Final = "ad.move_to_leavers_ou"

GONE: Final[Facts] = {"exists": False}
"""The facts of an account that is not there."""

RESETS: Final = 2
"""Twice: where hashes are synchronised or cached, the one before the last may be tried too (trap T28)."""

_SKEW: Final = timedelta(minutes=5)
"""How far a domain controller's clock may be off ours: beyond it Kerberos itself stops working."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object lies."""

    container: str | None
    in_leavers_ou: bool


class AdSteps:
    """The steps of one unit on one account.

    Times in facts are the directory's own. Whether a password is ours is told by how often it was written and
    by comparing the directory's times with each other; the worker's clock decides only for an attempt that
    was lost with its notes.
    """

    def __init__(self, directory: Directory, unit: UnitRun) -> None:
        self._directory = directory
        self._unit = unit
        self._guid: Final = unit.arg.account.id

    async def disable(self, step: StepRun) -> Effect:
        """Set ACCOUNTDISABLE."""

        async def write(_: AdAccount) -> None:
            await asyncio.to_thread(self._directory.disable, self._guid)

        return await step.converge(
            read=self._read,
            so=lambda account: not account.enabled,
            facts=lambda account: {"account_enabled": account.enabled},
            write=write,
        )

    async def reset_password(self, step: StepRun) -> Effect:
        """Set two random passwords, one after the other. Never ``already``: only our own resets count."""

        async def write(account: AdAccount) -> None:
            await self._reset(step, account)

        return await step.converge(
            read=self._read, so=lambda account: _is_ours(step, account), facts=password_facts, write=write
        )

    async def remove_groups(self, step: StepRun) -> Effect:
        """Leave every direct group; the primary group is none of them and stays, as every account has one."""
        refused: dict[str, ConnectorError] = {}

        async def write(groups: tuple[str, ...]) -> None:
            await self._leave(step, groups, refused)

        effect = await step.converge(
            read=self._groups,
            so=lambda groups: all(group in refused for group in groups),
            facts=lambda groups: {"groups": [*groups]},
            write=write,
        )
        return _with_refusals(effect, refused)

    async def move_to_leavers_ou(self, step: StepRun) -> Effect:
        """Move the object, keeping its name. That the OU is synced was checked when the case was planned."""
        ou = step.arg.parameters.get("leavers_ou")
        if not isinstance(ou, str) or not ou:
            detail = "the policy names no leavers' OU: set ad.leavers_ou"
            return step.effect(Outcome.OPEN, {}, {}, Reason.MISCONFIGURED, detail)

        async def read() -> Place:
            under = await asyncio.to_thread(self._directory.is_under, self._guid, ou)
            return Place(await asyncio.to_thread(self._directory.container, self._guid), under)

        async def write(_: Place) -> None:
            await asyncio.to_thread(self._directory.move, self._guid, ou)

        effect = await step.converge(
            read=read,
            so=lambda place: place.in_leavers_ou,
            facts=lambda place: {"container": place.container, "in_leavers_ou": place.in_leavers_ou},
            write=write,
        )
        return _honest_before(effect)

    async def still_contained(self, step: StepRun) -> Effect:
        """Read one containment step again; what does not hold any more is ``left_behind``. Writes nothing."""
        before, proven = step.arg.account.before, step.arg.parameters.get(step.step)
        then: Facts = dict(proven) if isinstance(proven, dict) else {}
        account = await self._read()
        facts: Facts = (
            {"account_enabled": account.enabled} if step.step == DISABLE else password_facts(account)
        )
        if step.arg.mode is Mode.NOTIFICATION_ONLY:
            return step.effect(Outcome.PLANNED, facts, facts)
        what = _left_behind(step, account, before, then)
        if what is None:
            return step.effect(Outcome.VERIFIED, then or _of(before, facts), facts)
        return step.effect(Outcome.OPEN, then or _of(before, facts), facts, Reason.LEFT_BEHIND, what)

    async def _read(self) -> AdAccount:
        account = await asyncio.to_thread(self._directory.get, self._guid)
        if account is None:
            raise AccountGone
        return account

    async def _groups(self) -> tuple[str, ...]:
        return await asyncio.to_thread(self._directory.groups, self._guid)

    async def _reset(self, step: StepRun, before: AdAccount) -> None:
        lost = 0
        for _ in range(RESETS):
            try:
                await asyncio.to_thread(self._directory.set_random_password, self._guid)
            except UnknownOutcomeError:
                lost += 1
            step.wrote_part()
        if not lost:
            return
        # A reply was lost: the version tells whether the password was set all the same.
        now = (await self._read()).password_version
        if now is not None and before.password_version is not None:
            lost = RESETS - (now - before.password_version)
        for _ in range(lost):
            await asyncio.to_thread(self._directory.set_random_password, self._guid)

    async def _leave(self, step: StepRun, groups: Iterable[str], refused: dict[str, ConnectorError]) -> None:
        """Leave each group. A refusal of one does not keep the others; it is noted in ``refused``."""
        lost: set[str] = set()
        for group in groups:
            try:
                await asyncio.to_thread(self._directory.remove_from_group, self._guid, group)
            except AccountGone:
                raise
            except (AccessDenied, Rejected) as err:
                refused[group] = err
                continue
            except UnknownOutcomeError:
                lost.add(group)
            step.wrote_part()
        if lost:
            for group in lost.intersection(await self._groups()):
                await asyncio.to_thread(self._directory.remove_from_group, self._guid, group)


def password_facts(account: AdAccount) -> Facts:
    """What goes into evidence about a password: when it was set, and how often; nothing of itself."""
    at = account.password_set_at
    return {"password_set_at": at.isoformat() if at else None, "password_version": account.password_version}


def _is_ours(step: StepRun, account: AdAccount) -> bool:
    """Whether the two passwords that a read shows are those of this step."""
    if not step.may_have_written:
        return False
    touched = step.touched
    before = touched.before if touched else step.arg.account.before
    set_at, was_set_at = account.password_set_at, _moment(before, "password_set_at")
    if set_at is None or (was_set_at is not None and set_at <= was_set_at):
        return False
    version, was = account.password_version, before.get("password_version")
    if version is not None and isinstance(was, int):
        twice = version >= was + RESETS
    else:
        # Nobody can tell one reset from two: what broke off in the middle is done again.
        twice = touched is None or not touched.partial
    return twice and (touched is not None or set_at >= step.arg.not_before)


def _left_behind(step: StepRun, account: AdAccount, before: Facts, proven: Facts) -> str | None:
    """What of a containment step does not hold (any more), None where all does."""
    if proven == GONE:
        return "the account is back in the directory"
    if step.step == DISABLE:
        return "the account is enabled again" if account.enabled else None
    now = password_facts(account)
    if proven:
        same = all(proven.get(key) == value for key, value in now.items())
        return None if same else "the password was set again after containment"
    set_at, was_set_at = account.password_set_at, _moment(before, "password_set_at")
    if set_at is None or (was_set_at is not None and set_at <= was_set_at):
        return "the password is the one from before containment"
    # ``not_before`` is when the account was contained, by the workflow's clock.
    if set_at > step.arg.not_before + _SKEW:
        return "the password was set again after containment"
    return None


def _with_refusals(effect: Effect, refused: dict[str, ConnectorError]) -> Effect:
    if not refused:
        return effect
    left: list[JsonValue] = [*sorted(refused)]
    first = next(iter(refused.values()))
    update = {
        "outcome": Outcome.OPEN,
        "reason": Reason.LEFT_BEHIND,
        "detail": f"{len(refused)} of the groups could not be left: {first}",
        "after": {**effect.after, "left": left},
    }
    return effect.model_copy(update=update)


def _honest_before(effect: Effect) -> Effect:
    """Where notes were lost, ``before`` is intake's, which knows the container but not the leavers' OU."""
    if effect.outcome is Outcome.VERIFIED and effect.before["container"] != effect.after["container"]:
        return effect.model_copy(update={"before": {**effect.before, "in_leavers_ou": False}})
    return effect


def _of(known: Facts, keys: Iterable[str]) -> Facts:
    return {key: known[key] for key in keys if key in known}


def _moment(known: Facts, key: str) -> datetime | None:
    value = known.get(key)
    return datetime.fromisoformat(value) if isinstance(value, str) else None
