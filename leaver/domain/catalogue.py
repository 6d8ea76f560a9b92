"""The step catalogue: every effect the product can have, in one table.

Adding a system is adding rows here, an activity class and a connector; the workflow does not change.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from leaver.domain.words import Phase, System


class Gate(StrEnum):
    """A condition, read from the systems themselves, that must hold before a step may run."""

    MAILBOX_SAFE = "mailbox_safe"


@dataclass(frozen=True, slots=True)
class StepDefinition:
    """One row: what the step is called, where it runs, what must come first, which controls it serves."""

    name: str
    title: str
    system: System
    phase: Phase
    unit: str
    """Wire name of the activity that runs it, together with the other steps of that unit."""
    after: tuple[str, ...] = ()
    gate: Gate | None = None
    controls: tuple[str, ...] = ()
    critical: bool = False
    destructive: bool = False
    """May lose data or is hard to undo: never under a legal hold."""


_DISABLE = (
    "SOC2:CC6.2",
    "SOC2:CC6.3",
    "ISO27001:2013:A.9.2.6",
    "ISO27001:2022:A.5.18",
    "NIST:PS-4a",
    "NIST:AC-2h",
)
_AUTHENTICATORS = ("SOC2:CC6.1", "ISO27001:2022:A.5.17", "NIST:PS-4b")
_RETAIN = ("ISO27001:2022:A.5.33", "NIST:PS-4e")
_REMOVE = ("SOC2:CC6.3", "ISO27001:2022:A.5.18", "NIST:AC-2l")

_SAVED = (
    # While nobody knows whether there are a mailbox and files, there may be something to lose.
    "exchange.identify_account",
    "onedrive.identify_account",
    "exchange.convert_to_shared_mailbox",
    "onedrive.grant_successor",
)


def _step(  # noqa: PLR0913 - one row of a table
    name: str,
    title: str,
    phase: Phase,
    unit: str,
    controls: tuple[str, ...],
    *,
    after: tuple[str, ...] = (),
    gate: Gate | None = None,
    critical: bool = False,
    destructive: bool = False,
) -> StepDefinition:
    system = System(name.split(".", 1)[0])
    return StepDefinition(name, title, system, phase, unit, after, gate, controls, critical, destructive)


_ROWS: Final = (
    *(
        _step(
            f"{system.value}.identify_account",
            f"Find the account in {system.label}",
            Phase.INTAKE,
            f"{system.value}.resolve",
            ("SOC2:CC6.2",),
            after=after,
        )
        for system, after in (
            (System.ENTRA, ()),
            (System.AD, ()),
            (System.EXCHANGE, ("entra.identify_account",)),
            (System.ONEDRIVE, ("entra.identify_account",)),
        )
    ),
    _step("entra.block_sign_in", "Block sign-in", Phase.CONTAIN, "entra.contain", _DISABLE, critical=True),
    _step(
        "entra.reset_password",
        "Set a random password",
        Phase.CONTAIN,
        "entra.contain",
        _AUTHENTICATORS,
        critical=True,
    ),
    _step(
        "entra.revoke_sessions",
        "Invalidate refresh tokens and session cookies",
        Phase.CONTAIN,
        "entra.contain",
        _DISABLE,
        after=("entra.block_sign_in", "entra.reset_password"),
        critical=True,
    ),
    _step("ad.disable_account", "Disable the account", Phase.CONTAIN, "ad.contain", _DISABLE, critical=True),
    _step(
        "ad.reset_password",
        "Set two random passwords, one after the other",
        Phase.CONTAIN,
        "ad.contain",
        _AUTHENTICATORS,
        after=("ad.disable_account",),
        critical=True,
    ),
    _step(
        "entra.remove_auth_methods",
        "Remove every sign-in method but the password",
        Phase.CREDENTIALS,
        "entra.credentials",
        _AUTHENTICATORS,
        after=("entra.block_sign_in",),
    ),
    _step(
        "entra.revoke_sessions_after_credentials",
        "Invalidate tokens again, after the methods are gone",
        Phase.CREDENTIALS,
        "entra.credentials",
        _DISABLE,
        after=("entra.remove_auth_methods",),
    ),
    _step(
        "exchange.set_auto_reply", "Turn on the automatic reply", Phase.PRESERVE, "exchange.preserve", _RETAIN
    ),
    _step(
        "exchange.delegate_to_successor",
        "Give the successor access to the mailbox",
        Phase.PRESERVE,
        "exchange.preserve",
        _RETAIN,
    ),
    _step(
        "exchange.convert_to_shared_mailbox",
        "Convert the mailbox to a shared one",
        Phase.PRESERVE,
        "exchange.preserve",
        _RETAIN,
        after=("entra.block_sign_in",),
    ),
    _step(
        "onedrive.grant_successor",
        "Make the successor owner of the files",
        Phase.PRESERVE,
        "onedrive.handover",
        _RETAIN,
    ),
    _step("entra.remove_groups", "Leave cloud groups", Phase.ENTITLEMENTS, "entra.entitlements", _REMOVE),
    _step(
        "entra.revoke_sessions_after_groups",
        "Invalidate tokens again, after the groups are gone",
        Phase.ENTITLEMENTS,
        "entra.entitlements",
        _DISABLE,
        after=("entra.remove_groups",),
    ),
    _step(
        "exchange.remove_distribution_groups",
        "Leave distribution lists and mail-enabled groups",
        Phase.ENTITLEMENTS,
        "exchange.entitlements",
        _REMOVE,
    ),
    _step("ad.remove_groups", "Leave on-premises groups", Phase.ENTITLEMENTS, "ad.entitlements", _REMOVE),
    _step(
        "ad.move_to_leavers_ou",
        "Move the account to the leavers' OU",
        Phase.ENTITLEMENTS,
        "ad.entitlements",
        _DISABLE,
        after=("ad.disable_account",),
    ),
    _step(
        "entra.remove_direct_licences",
        "Reclaim directly assigned licences",
        Phase.LICENCES,
        "entra.licences",
        ("SOC2:CC6.3",),
        after=_SAVED,
        gate=Gate.MAILBOX_SAFE,
        destructive=True,
    ),
    _step(
        "entra.remove_licence_groups",
        "Leave groups that carry licences",
        Phase.LICENCES,
        "entra.licences",
        ("SOC2:CC6.3",),
        after=_SAVED,
        gate=Gate.MAILBOX_SAFE,
        destructive=True,
    ),
)

CATALOGUE: Final[dict[str, StepDefinition]] = {row.name: row for row in _ROWS}
"""Every step by name, in the order of its phases."""

IDENTITY_SYSTEMS: Final = (System.ENTRA, System.AD)
"""Systems where sign-in is decided; they are resolved and contained each on its own."""

DEPENDENT_SYSTEMS: Final = (System.EXCHANGE, System.ONEDRIVE)
"""Systems whose account follows from the Entra account."""


def identify_step(system: System) -> str:
    """The step that finds the account in this system."""
    return f"{system.value}.identify_account"
