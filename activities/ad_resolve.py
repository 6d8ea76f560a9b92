"""Whose account it is: the rules that link a person of HR to one object in Active Directory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from activities.ad_steps import password_facts
from activities.presence import is_absent
from activities.unit import ReadBack
from leaver.connectors.ad.protocol import AdAccount, Directory, Key
from leaver.connectors.errors import Ambiguous, Unavailable
from leaver.domain.account import Account, LinkRule, ResolveInput, ResolveResult
from leaver.domain.base import Facts
from leaver.domain.event import Person
from leaver.domain.words import Reason, System

_RULES: Final = {Key.USER_NAME: LinkRule.USER_NAME, Key.MAIL: LinkRule.MAIL}


class Resolver:
    """Finds the account, or says why it cannot be told for certain.

    In this order: the object a synced cloud account is mastered by; the employee number; user name and mail,
    which are given to somebody else once a person has left, so that another employee number on the object
    stops everything (traps T7, T44).
    """

    def __init__(self, directory: Directory, read_back: ReadBack) -> None:
        self._directory = directory
        self._read_back = read_back

    async def resolve(self, arg: ResolveInput) -> ResolveResult:
        """The account, a reason, or neither: read more than once, and there is none.

        Raises:
            ConnectorError: from the directory.
        """
        result = await self._look(arg)
        if result.account is not None or result.reason is not None:
            return result

        async def is_there() -> bool:
            again = await self._look(arg)
            return again.account is not None or again.reason is not None

        if not await is_absent(is_there, self._read_back):
            raise Unavailable("ad.resolve: not found once, and there after all")
        if _linked_guid(arg):
            # The cloud says that an object exists: "none" would be a false all-clear.
            detail = "the cloud account is synced from an object that this domain does not show to us"
            return ResolveResult(system=System.AD, reason=Reason.MISCONFIGURED, detail=detail)
        return result

    async def _look(self, arg: ResolveInput) -> ResolveResult:
        number, guid = arg.person.external_id, _linked_guid(arg)
        linked = await asyncio.to_thread(self._directory.find_linked, guid) if guid else None
        numbered, others = await self._by_number(number, linked)
        if linked is not None:
            if _is_another(linked, number) or (numbered is not None and numbered.guid != linked.guid):
                return _wrong_person(
                    "the object the cloud account is synced from has another employee number"
                )
            return await self._found(linked, LinkRule.LINKED_ACCOUNT, others)
        if numbered is not None:
            return await self._found(numbered, LinkRule.EMPLOYEE_ID, "")
        return await self._by_name(arg.person, guid)

    async def _by_number(self, number: str, linked: AdAccount | None) -> tuple[AdAccount | None, str]:
        """The account with the employee number; with a linked one at hand, others are only told of (T8)."""
        try:
            return await asyncio.to_thread(self._directory.find, Key.EMPLOYEE_ID, number), ""
        except Ambiguous as err:
            if linked is None:
                raise
            return (
                None,
                f"{err.count} accounts have this employee number; the others are not part of this case",
            )

    async def _by_name(self, person: Person, linked: str | None) -> ResolveResult:
        found: dict[str, tuple[AdAccount, LinkRule]] = {}
        for key, value in _names(person):
            account = await asyncio.to_thread(self._directory.find, key, value)
            if account is not None:
                found.setdefault(account.guid, (account, _RULES[key]))
        if len(found) > 1:
            raise Ambiguous("user name and mail addresses belong to different accounts", count=len(found))
        for account, rule in found.values():
            if _is_another(account, person.external_id):
                return _wrong_person("the user name or mail address now belongs to another employee number")
            if linked is not None:
                return _wrong_person("the cloud account is synced from another object than this one")
            return await self._found(account, rule, "")
        return ResolveResult(system=System.AD)

    async def _found(self, account: AdAccount, rule: LinkRule, detail: str) -> ResolveResult:
        groups = await asyncio.to_thread(self._directory.groups, account.guid)
        before: Facts = {
            "account_enabled": account.enabled,
            **password_facts(account),
            "groups": [*groups],
            "container": await asyncio.to_thread(self._directory.container, account.guid),
            "primary_group_id": account.primary_group_id,
            "privileged": account.privileged,
        }
        found = Account(
            system=System.AD,
            id=account.guid,
            rule=rule,
            locator=self._directory.base_dn,
            before=before,
        )
        return ResolveResult(system=System.AD, account=found, detail=detail)


def _linked_guid(arg: ResolveInput) -> str | None:
    return next((account.linked_id for account in arg.linked if account.linked_id), None)


def _is_another(account: AdAccount, number: str) -> bool:
    return account.employee_id is not None and account.employee_id.casefold() != number.casefold()


def _names(person: Person) -> Iterator[tuple[Key, str]]:
    if person.user_name:
        yield Key.USER_NAME, person.user_name
    yield from ((Key.MAIL, address) for address in person.emails)


def _wrong_person(detail: str) -> ResolveResult:
    return ResolveResult(system=System.AD, reason=Reason.WRONG_PERSON, detail=detail)
