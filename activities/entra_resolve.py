"""Who the leaver is in Entra ID: by employee number first, then by name, never by guess."""

from __future__ import annotations

from typing import Final

from activities.entra_contain import state
from activities.presence import NOT_FOUND, is_absent
from activities.unit import ReadBack
from leaver.connectors.entra.protocol import Directory, DirectoryUser, UserKey
from leaver.connectors.errors import Rejected, Unavailable
from leaver.domain.account import Account, LinkRule, ResolveInput, ResolveResult
from leaver.domain.event import Person
from leaver.domain.words import Reason, System

_RULES: Final = (
    (LinkRule.EMPLOYEE_ID, (UserKey.EMPLOYEE_ID,)),
    (LinkRule.USER_NAME, (UserKey.USER_NAME,)),
    # A mail address may be the user principal name, or differ from it (trap T7): both, or it is ambiguous.
    (LinkRule.MAIL, (UserKey.MAIL, UserKey.USER_NAME)),
)


class Resolver:
    """Finds the leaver and the successor. Searches find candidates; what counts is read by id."""

    def __init__(self, directory: Directory, how: ReadBack) -> None:
        self._directory = directory
        self._how = how

    async def resolve(self, arg: ResolveInput) -> ResolveResult:
        """The leaver's account, or why there is none that may be touched."""
        found = await self._leaver(arg.person)
        if arg.successor_email is None:
            return found
        leaver = found.account.id if found.account else None
        successor, why_not = await self._successor(arg.successor_email, leaver)
        detail = "; ".join(filter(None, (found.detail, why_not)))
        return found.model_copy(update={"successor": successor, "detail": detail})

    async def _leaver(self, person: Person) -> ResolveResult:
        rule, ids = await self._search(person)
        if not ids:
            if not await is_absent(lambda: self._any(person), self._how):
                raise Unavailable("search users: not found once, and there after all")
            return ResolveResult(system=System.ENTRA, detail=await self._in_bin(person))
        if len(ids) > 1:
            detail = f"{len(ids)} users answer to the person by {rule.value}: nothing is touched"
            return ResolveResult(system=System.ENTRA, reason=Reason.AMBIGUOUS_ACCOUNT, detail=detail)
        user = await self._read(ids[0])
        if rule is not LinkRule.EMPLOYEE_ID and not _same_person(user, person):
            detail = f"the user found by {rule.value} carries another employee number: a recycled address?"
            return ResolveResult(system=System.ENTRA, reason=Reason.WRONG_PERSON, detail=detail)
        return ResolveResult(system=System.ENTRA, account=_account(user, rule))

    async def _search(self, person: Person) -> tuple[LinkRule, tuple[str, ...]]:
        values = {
            LinkRule.EMPLOYEE_ID: (person.external_id,),
            LinkRule.USER_NAME: (person.user_name,) if person.user_name else (),
            LinkRule.MAIL: person.emails,
        }
        for rule, keys in _RULES:
            ids = [
                found
                for value in values[rule]
                for key in keys
                for found in await self._directory.find(key, value)
            ]
            if ids:
                return rule, tuple(dict.fromkeys(ids))
        return LinkRule.EMPLOYEE_ID, ()

    async def _any(self, person: Person) -> bool:
        return bool((await self._search(person))[1])

    async def _in_bin(self, person: Person) -> str:
        deleted = await self._directory.deleted(person.external_id)
        if not deleted:
            return ""
        since = [item.deleted_at.date().isoformat() for item in deleted if item.deleted_at]
        return (
            f"deleted already ({', '.join(since) or 'date unknown'}): restorable for 30 days, and live then"
        )

    async def _successor(self, email: str, leaver: str | None) -> tuple[Account | None, str]:
        ids: dict[str, LinkRule] = {}
        for rule, key in ((LinkRule.MAIL, UserKey.MAIL), (LinkRule.USER_NAME, UserKey.USER_NAME)):
            for found in await self._directory.find(key, email):
                ids.setdefault(found, rule)
        if len(ids) != 1:
            return None, f"successor: {len(ids)} users have this address"
        ((found, rule),) = ids.items()
        if found == leaver:
            return None, "successor: is the leaver"
        user = await self._read(found)
        if not user.enabled:
            return None, "successor: is disabled"
        return _account(user, rule), ""

    async def _read(self, user: str) -> DirectoryUser:
        try:
            return await self._directory.user(user)
        except Rejected as err:
            if err.status == NOT_FOUND:
                raise Unavailable(
                    "read user: found by search and not there: an index or a replica lags"
                ) from err
            raise


def _same_person(user: DirectoryUser, person: Person) -> bool:
    """A user without an employee number may be the person; one with another number is not."""
    return user.employee_id is None or _folded(user.employee_id) == _folded(person.external_id)


def _folded(number: str) -> str:
    return number.strip().casefold()


def _account(user: DirectoryUser, rule: LinkRule) -> Account:
    return Account(
        system=System.ENTRA,
        id=user.id,
        rule=rule,
        synced=user.synced,
        linked_id=user.ad_object_guid,
        before={**state(user), "user_type": user.user_type},
    )
