"""From the wire name of a unit to the activity that runs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from activities.contracts import AdContract, EntraContract, ExchangeContract, OneDriveContract
from leaver.domain.account import ResolveInput, ResolveResult
from leaver.domain.effect import UnitInput, UnitResult
from leaver.domain.words import System

# Any stands for the contract class, which differs by row; argument and result are typed.
UNITS: Final[dict[str, Callable[[Any, UnitInput], Awaitable[UnitResult]]]] = {
    "entra.contain": EntraContract.contain,
    "entra.credentials": EntraContract.credentials,
    "entra.entitlements": EntraContract.entitlements,
    "entra.licences": EntraContract.licences,
    "exchange.preserve": ExchangeContract.preserve,
    "exchange.entitlements": ExchangeContract.entitlements,
    "onedrive.handover": OneDriveContract.handover,
    "ad.contain": AdContract.contain,
    "ad.entitlements": AdContract.entitlements,
}

VERIFIERS: Final[dict[System, Callable[[Any, UnitInput], Awaitable[UnitResult]]]] = {
    System.ENTRA: EntraContract.verify,
    System.AD: AdContract.verify,
}

RESOLVERS: Final[dict[System, Callable[[Any, ResolveInput], Awaitable[ResolveResult]]]] = {
    System.ENTRA: EntraContract.resolve,
    System.EXCHANGE: ExchangeContract.resolve,
    System.ONEDRIVE: OneDriveContract.resolve,
    System.AD: AdContract.resolve,
}
