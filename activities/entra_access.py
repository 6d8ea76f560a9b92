"""What is left of a blocked user's access in Entra ID: sign-in methods, groups, licences."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from activities.errors import open_reason
from activities.unit import StepRun, UnitRun
from leaver.connectors.entra.protocol import AuthMethod, Directory, Group, GroupClass, Licence
from leaver.connectors.errors import AccessDenied, ConnectorError, Rejected, UnknownOutcomeError
from leaver.domain.base import Facts
from leaver.domain.effect import Effect
from leaver.domain.words import Mode, Outcome, Reason

LEAVABLE: Final = frozenset({GroupClass.PLAIN, GroupClass.ROLE_ASSIGNABLE})
HANDLED_BY: Final = {
    GroupClass.LICENCE_BEARING: "entra.remove_licence_groups, once the mailbox is safe",
    GroupClass.MAIL_ENABLED: "exchange.remove_distribution_groups",
    GroupClass.DYNAMIC: "the group's own membership rule",
    GroupClass.SYNCED: "ad.remove_groups",
}
"""Who ends the memberships that Graph cannot, or must not yet."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """A user's groups and licences, as one round of reads showed them."""

    groups: tuple[Group, ...]
    licences: tuple[Licence, ...] = ()

    def of(self, *kinds: GroupClass) -> tuple[Group, ...]:
        """The groups of these classes."""
        return tuple(group for group in self.groups if group.kind in kinds)


class Access:
    """The steps of one unit on one user."""

    def __init__(self, directory: Directory, unit: UnitRun) -> None:
        self._directory = directory
        self._unit = unit
        self._user: Final = unit.arg.account.id
        self._known: dict[str, Group] = {}

    async def remove_auth_methods(self, step: StepRun) -> Effect:
        """Remove every sign-in method but the password; the default one goes last (trap T24)."""
        effect = await step.converge(
            read=lambda: self._directory.methods(self._user),
            so=lambda methods: not any(method.removable for method in methods),
            facts=_method_facts,
            write=lambda methods: self._remove_methods(step, methods),
        )
        kinds = sorted({str(row["kind"]) for row in _rows(effect.after["methods"]) if not row["removable"]})
        if not kinds or not effect.outcome.proven:
            return effect
        detail = f"remove by hand, the interface cannot: {', '.join(kinds)}"
        return _opened(effect, Reason.NOT_SUPPORTED, detail)

    async def remove_groups(self, step: StepRun) -> Effect:
        """Leave every cloud group that Graph may end a membership of, except those that carry licences."""
        refused: dict[str, ConnectorError] = {}

        async def write(held: Holdings) -> None:
            await self._leave(step, held.of(*LEAVABLE), refused)

        effect = await step.converge(
            read=self._groups,
            so=lambda held: all(group.id in refused for group in held.of(*LEAVABLE)),
            facts=_group_facts,
            write=write,
        )
        return _with_refusals(self._nobody_handles(effect), refused)

    def _nobody_handles(self, effect: Effect) -> Effect:
        """Memberships that no step of the plan ends are for a person; they are never passed over."""
        elsewhere = self._unit.arg.parameters.get("handled_elsewhere")
        if not isinstance(elsewhere, list) or not effect.outcome.proven:
            return effect
        kinds = {GroupClass.SYNCED.value, GroupClass.MAIL_ENABLED.value} - {str(kind) for kind in elsewhere}
        left = sorted({str(row["class"]) for row in _rows(effect.after["left"])} & kinds)
        if not left:
            return effect
        detail = f"no step of this plan ends memberships of class {', '.join(left)}; end them by hand"
        return _opened(effect, Reason.LEFT_BEHIND, detail)

    async def remove_direct_licences(self, step: StepRun) -> Effect:
        """Give back the licences that were assigned to the user and not to a group."""

        async def write(licences: tuple[Licence, ...]) -> None:
            await self._directory.remove_licences(self._user, _direct(licences))

        async def read() -> tuple[Licence, ...]:
            return await self._directory.licences(self._user)

        gated = await self._gated(step) if _direct(await read()) else None
        return gated or await step.converge(
            read=read, so=lambda licences: not _direct(licences), facts=_licence_facts, write=write
        )

    async def remove_licence_groups(self, step: StepRun) -> Effect:
        """Leave the groups that carry licences, and wait until their licences are gone."""
        refused: dict[str, ConnectorError] = {}

        async def write(held: Holdings) -> None:
            await self._leave(step, held.of(GroupClass.LICENCE_BEARING), refused)

        def so(held: Holdings) -> bool:
            staying = {group.id for group in held.groups if group.kind is not GroupClass.LICENCE_BEARING}
            staying |= refused.keys()
            leaving = [group for group in held.of(GroupClass.LICENCE_BEARING) if group.id not in refused]
            return not leaving and all(row.group in staying for row in held.licences if row.group)

        gated = await self._gated(step) if not so(await self._holdings()) else None
        if gated is not None:
            return gated
        effect = await step.converge(read=self._holdings, so=so, facts=_holding_facts, write=write)
        left = _rows(effect.after["left"])
        if left and effect.outcome.proven and not refused:
            kinds = ", ".join(f"{row['class']} ({row['handled_by']})" for row in left)
            return _opened(effect, Reason.LEFT_BEHIND, f"still licensed through groups of class {kinds}")
        return _with_refusals(effect, refused)

    async def _gated(self, step: StepRun) -> Effect | None:
        """The last look before a licence goes: without one an unconverted mailbox is deleted (trap T30)."""
        if step.arg.mode is Mode.NOTIFICATION_ONLY:
            return None
        purpose = await self._directory.mailbox_purpose(self._user)
        if purpose in (None, "shared"):
            return None
        found: Facts = {"user_purpose": purpose}
        detail = "Graph does not show the mailbox as shared; nothing was removed"
        return step.effect(Outcome.OPEN, found, found, Reason.GATE_CLOSED, detail)

    async def _remove_methods(self, step: StepRun, methods: Iterable[AuthMethod]) -> None:
        waiting = sorted((item for item in methods if item.removable), key=lambda item: item.last)
        while waiting:
            kept: list[AuthMethod] = []
            refusal: Rejected | None = None
            for method in waiting:
                try:
                    # A lost answer must not keep the others waiting; reading back tells what became of it.
                    with contextlib.suppress(UnknownOutcomeError):
                        await self._directory.remove_method(self._user, method)
                    step.wrote_part()
                except Rejected as err:
                    # The default method is refused while others exist, and nothing tells which one it is.
                    kept.append(method)
                    refusal = err
            if refusal is not None and len(kept) == len(waiting):
                raise refusal
            waiting = kept

    async def _leave(
        self, step: StepRun, groups: Iterable[Group], refused: dict[str, ConnectorError]
    ) -> None:
        """Leave each group. A refusal of one does not keep the others; it is noted in ``refused``."""
        for group in groups:
            try:
                with contextlib.suppress(UnknownOutcomeError):
                    await self._directory.leave_group(self._user, group)
                step.wrote_part()
            except (AccessDenied, Rejected) as err:
                refused[group.id] = err

    async def _groups(self) -> Holdings:
        ids = await self._directory.member_of(self._user)
        for group in ids:
            if group not in self._known:
                self._known[group] = await self._directory.group(group)
        return Holdings(tuple(self._known[group] for group in ids))

    async def _holdings(self) -> Holdings:
        held = await self._groups()
        return Holdings(held.groups, await self._directory.licences(self._user))


def _opened(effect: Effect, reason: Reason, detail: str) -> Effect:
    return effect.model_copy(update={"outcome": Outcome.OPEN, "reason": reason, "detail": detail})


def _with_refusals(effect: Effect, refused: dict[str, ConnectorError]) -> Effect:
    if not refused:
        return effect
    first = next(iter(refused.values()))
    detail = f"{len(refused)} of the groups could not be left: {first}"
    return _opened(effect, open_reason(first) or Reason.REJECTED_BY_SYSTEM, detail)


def _direct(licences: Iterable[Licence]) -> list[str]:
    return sorted(licence.sku for licence in licences if licence.group is None)


def _method_facts(methods: tuple[AuthMethod, ...]) -> Facts:
    rows: list[JsonValue] = [
        {"kind": item.kind, "id": item.id, "removable": item.removable}
        for item in sorted(methods, key=lambda item: (item.kind, item.id))
    ]
    return {"methods": rows}


def _group_facts(held: Holdings) -> Facts:
    return {"groups": _ids(held.of(*LEAVABLE)), "left": _left(held.of(*HANDLED_BY))}


def _licence_facts(licences: tuple[Licence, ...]) -> Facts:
    rows: list[JsonValue] = [
        {"sku": item.sku, "group": item.group}
        for item in sorted(licences, key=lambda item: (item.sku, item.group or ""))
    ]
    return {"licences": rows}


def _holding_facts(held: Holdings) -> Facts:
    others = [
        group for group in held.groups if group.licensed and group.kind is not GroupClass.LICENCE_BEARING
    ]
    return {
        "groups": _ids(held.of(GroupClass.LICENCE_BEARING)),
        "left": _left(others),
        **_licence_facts(held.licences),
    }


def _left(groups: Iterable[Group]) -> list[JsonValue]:
    by_class: dict[GroupClass, list[Group]] = {}
    for group in groups:
        by_class.setdefault(group.kind, []).append(group)
    return [
        {"class": kind.value, "groups": _ids(members), "handled_by": HANDLED_BY[kind]}
        for kind, members in sorted(by_class.items())
    ]


def _ids(groups: Iterable[Group]) -> list[JsonValue]:
    return [*sorted(group.id for group in groups)]


def _rows(value: JsonValue) -> list[dict[str, JsonValue]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
