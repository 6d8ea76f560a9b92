"""The kill switch in Entra ID: block sign-in, set a password, invalidate sessions, in this order (T15)."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import SecretStr

from activities.unit import StepRun, Touched, UnitRun
from leaver.connectors.entra.protocol import Directory, DirectoryUser
from leaver.connectors.errors import AccessDenied, ConnectorError, Rejected, UnknownOutcomeError
from leaver.domain.base import Facts
from leaver.domain.effect import Effect
from leaver.domain.words import Mode, Outcome, Reason

BLOCK: Final = "entra.block_sign_in"
PASSWORD: Final = "entra.reset_password"  # noqa: S105 - the name of a step
REVOKE: Final = "entra.revoke_sessions"

_READ_AT: Final = "read_at"
_SKEW: Final = timedelta(seconds=2)
"""How far the clock that stamps sessions may lag behind the one that answers requests."""


class Containment:
    """The steps of one unit on one user.

    A change counts as ours when the directory dates it at or after the read that came before our write. Both
    times are the directory's own; the worker's clock decides nothing.
    """

    def __init__(self, directory: Directory, unit: UnitRun) -> None:
        self._directory = directory
        self._unit = unit
        self._user: Final = unit.arg.account.id

    async def block_sign_in(self, step: StepRun) -> Effect:
        """Disable the user, and set the password in the same request where that step is planned too."""

        async def write(user: DirectoryUser) -> None:
            if self._password_too():
                await self._block_with_password(user)
            else:
                await self._directory.block_sign_in(self._user, None)

        return await step.converge(
            read=self._read, so=lambda user: not user.enabled, facts=facts, write=write
        )

    async def reset_password(self, step: StepRun) -> Effect:
        """Prove the password that was set together with the block; set one where none was."""
        if self._unit.arg.account.synced:
            detail = "the password is mastered in Active Directory; ad.reset_password sets it"
            return step.effect(Outcome.OPEN, {}, {}, Reason.MASTERED_ELSEWHERE, detail)

        async def write(_: DirectoryUser) -> None:
            await self._directory.set_password(self._user, new_password())

        return await step.converge(
            read=self._read,
            so=lambda user: _not_before(user.password_changed_at, self._since(step, user)),
            facts=facts,
            write=write,
        )

    async def revoke_sessions(self, step: StepRun) -> Effect:
        """Invalidate every session issued before now; strictly after block and password.

        Only a revocation that this step has noted counts. One whose notes died with a worker is made again,
        which harms nobody: an earlier step's, moments before, would otherwise pass for it.
        """

        async def write(_: DirectoryUser) -> None:
            await self._directory.revoke_sessions(self._user)

        def so(user: DirectoryUser) -> bool:
            revoked = step.touched is not None and _revoked_since(user, step.touched.before)
            if PASSWORD not in self._unit.arg.steps or user.password_changed_at is None:
                return revoked
            return revoked and _not_before(user.sessions_valid_from, user.password_changed_at)

        return await step.converge(read=self._read, so=so, facts=facts, write=write)

    async def still_contained(self, step: StepRun) -> Effect:
        """Read one containment step again; what does not hold any more is ``left_behind``. Writes nothing."""
        before, proven = step.arg.account.before, self._proven(step)
        if step.arg.mode is Mode.NOTIFICATION_ONLY:
            return step.effect(Outcome.PLANNED, before, before)
        how = self._unit.read_back
        user = await self._read()
        for _ in range(how.agree - 1):
            if left_behind(step.step, user, before, proven) is None:
                break
            await asyncio.sleep(how.interval.total_seconds())
            user = await self._read()
        what = left_behind(step.step, user, before, proven)
        if what is None:
            return step.effect(Outcome.VERIFIED, proven or before, facts(user))
        return step.effect(Outcome.OPEN, proven or before, facts(user), Reason.LEFT_BEHIND, what)

    async def _read(self) -> DirectoryUser:
        return await self._directory.user(self._user)

    def _password_too(self) -> bool:
        arg = self._unit.arg
        done = any(effect.step == PASSWORD for effect in self._unit.progress.effects)
        return PASSWORD in arg.steps and not arg.account.synced and not done

    async def _block_with_password(self, user: DirectoryUser) -> None:
        now = datetime.now(UTC)
        self._unit.touch(PASSWORD, Touched(before=facts(user), writes=0, last_write=now))
        try:
            await self._directory.block_sign_in(self._user, new_password())
        except UnknownOutcomeError:
            raise  # it may have been done: the password step reads the directory's date
        except (AccessDenied, Rejected):
            # The right to set passwords may be all that lacks; sign-in is blocked none the less.
            self._unit.untouch(PASSWORD, 0)
            await self._directory.block_sign_in(self._user, None)
        except ConnectorError:
            self._unit.untouch(PASSWORD, 0)
            raise

    def _since(self, step: StepRun, user: DirectoryUser) -> datetime | None:
        """From when on, by the directory's clock, a change is ours; None while we have not written."""
        if step.touched is not None:
            return datetime.fromisoformat(str(step.touched.before[_READ_AT]))
        if not step.may_have_written:
            return None
        # An attempt was lost with its notes: then everything since this unit was scheduled, and since the
        # writes of earlier steps, is ours. Our clock's times are moved onto the directory's.
        earlier = [touched.last_write for touched in self._unit.progress.touched.values()]
        moved = max([step.arg.not_before, *earlier]) + (user.read_at - datetime.now(UTC))
        return moved.replace(microsecond=0)

    def _proven(self, step: StepRun) -> Facts:
        """What the containment read back at the time, where the workflow hands it on."""
        proven = step.arg.parameters.get(step.step)
        return dict(proven) if isinstance(proven, dict) else {}


def facts(user: DirectoryUser) -> Facts:
    """What goes into evidence about a user's state."""
    return {**state(user), _READ_AT: user.read_at.isoformat()}


def state(user: DirectoryUser) -> Facts:
    """The part of the facts that is the user's, as intake keeps it in ``Account.before``."""
    return {
        "account_enabled": user.enabled,
        "password_changed_at": _text(user.password_changed_at),
        "sessions_valid_from": _text(user.sessions_valid_from),
    }


def left_behind(step: str, user: DirectoryUser, before: Facts, proven: Facts) -> str | None:
    """What of a containment step does not hold (any more), None where all does.

    Args:
        step: the step's name.
        user: as read now.
        before: what intake read.
        proven: what containment read back; empty where nobody handed it on.
    """
    if step == BLOCK:
        return "sign-in is enabled" if user.enabled else None
    if step == PASSWORD:
        then, now = _moment(proven, "password_changed_at"), user.password_changed_at
        if then is not None and now != then:
            return "the password was changed after containment"
        return _unmoved("the credentials", now, _moment(before, "password_changed_at"))
    then, now = _moment(proven, "sessions_valid_from"), user.sessions_valid_from
    if then is not None and (now is None or now < then):
        return "sessions from before containment are valid again"
    return _unmoved("the sessions", now, _moment(before, "sessions_valid_from"))


def new_password() -> SecretStr:
    """A password nobody knows; every class of characters is in it, as the vendor demands."""
    return SecretStr(f"{secrets.token_urlsafe(48)}aA1!")


def _unmoved(what: str, now: datetime | None, before: datetime | None) -> str | None:
    if now is None or (before is not None and now <= before):
        return f"{what} are as they were before containment"
    return None


def _moment(known: Facts, key: str) -> datetime | None:
    value = known.get(key)
    return datetime.fromisoformat(value) if isinstance(value, str) else None


def _revoked_since(user: DirectoryUser, before: Facts) -> bool:
    """Whether sessions were revoked after ``before`` was read, allowing for a lagging clock."""
    read_at, then, now = (
        _moment(before, _READ_AT),
        _moment(before, "sessions_valid_from"),
        user.sessions_valid_from,
    )
    if read_at is None or now is None:
        return False
    moved = then is None or now > then
    return now >= read_at or (moved and now >= read_at - _SKEW)


def _not_before(moment: datetime | None, since: datetime | None) -> bool:
    return moment is not None and since is not None and moment >= since


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
