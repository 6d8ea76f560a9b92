"""How steps and records become OCSF events: the table, and why the rest does not become any.

OCSF 1.8.0, schema.ocsf.io/1.8.0: classes 3001 Account Change, 3005 User Access Management and 2003 Compliance
Finding. Later versions replace 3001 and 3005 by 3007, which is why this is a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from leaver.domain.words import RecordType, System

VERSION: Final = "1.8.0"


class EventClass(IntEnum):
    """The classes that are used."""

    COMPLIANCE_FINDING = 2003
    ACCOUNT_CHANGE = 3001
    USER_ACCESS = 3005


CLASS_NAMES: Final = {
    EventClass.COMPLIANCE_FINDING: "Compliance Finding",
    EventClass.ACCOUNT_CHANGE: "Account Change",
    EventClass.USER_ACCESS: "User Access Management",
}

CATEGORIES: Final = {2: "Findings", 3: "Identity & Access Management"}
"""By the first digit of the class."""

ACCOUNT_TYPES: Final = {
    System.ENTRA: (6, "Azure AD Account"),
    System.EXCHANGE: (18, "Email Account"),
    System.ONEDRIVE: (6, "Azure AD Account"),
    System.AD: (19, "ActiveDirectory Account"),
}
"""OCSF's kind of account for each system: ``type_id`` and its caption."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """What a step's event is.

    ``activity`` is OCSF's caption, or our word where OCSF has none (``activity_id`` 99). ``fact`` names the
    list in the step's facts from which the privileges taken are read, ``item`` the member of its entries.
    ``grants`` says that the successor gets the named privilege on the account.
    """

    event: EventClass
    activity_id: int
    activity: str
    fact: str = ""
    item: str = ""
    grants: str = ""
    disables: bool = False


def _account(activity_id: int, activity: str, *, disables: bool = False) -> Mapping:
    return Mapping(EventClass.ACCOUNT_CHANGE, activity_id, activity, disables=disables)


def _taken(fact: str, item: str = "") -> Mapping:
    return Mapping(EventClass.USER_ACCESS, 2, "Revoke Privileges", fact=fact, item=item)


def _given(privilege: str) -> Mapping:
    return Mapping(EventClass.USER_ACCESS, 1, "Assign Privileges", grants=privilege)


_OTHER: Final = 99

STEPS: Final = {
    "entra.block_sign_in": _account(5, "Disable", disables=True),
    "entra.reset_password": _account(4, "Password Reset"),
    "entra.revoke_sessions": _account(_OTHER, "Sessions Revoked"),
    "ad.disable_account": _account(5, "Disable", disables=True),
    "ad.reset_password": _account(4, "Password Reset"),
    "entra.remove_auth_methods": _account(11, "MFA Factor Disable"),
    "entra.revoke_sessions_after_credentials": _account(_OTHER, "Sessions Revoked"),
    "exchange.delegate_to_successor": _given("mailbox:full_access"),
    "exchange.convert_to_shared_mailbox": _account(_OTHER, "Mailbox Converted To Shared"),
    "onedrive.grant_successor": _given("site:administrator"),
    "entra.remove_groups": _taken("groups"),
    "entra.revoke_sessions_after_groups": _account(_OTHER, "Sessions Revoked"),
    "exchange.remove_distribution_groups": _taken("groups"),
    "ad.remove_groups": _taken("groups"),
    "ad.move_to_leavers_ou": _account(_OTHER, "Moved To Leavers' OU"),
    "entra.remove_direct_licences": _taken("licences", "sku"),
    "entra.remove_licence_groups": _taken("groups"),
}
"""The event of each step that changes an account or somebody's access."""

STEPS_WITHOUT: Final = {
    "entra.identify_account": "finds the account; changes nothing",
    "ad.identify_account": "finds the account; changes nothing",
    "exchange.identify_account": "finds the account; changes nothing",
    "onedrive.identify_account": "finds the account; changes nothing",
    "exchange.set_auto_reply": "a setting of the mailbox; nobody's access changes",
}
"""Why a step has no event of its own. It is still a check of the case's compliance finding."""

RECORDS: Final = {
    RecordType.RESULT: "the step's event, where something was changed or a try failed",
    RecordType.EXCEPTION_RAISED: "2003, created",
    RecordType.RECONCILIATION_FINDING: "2003, created",
    RecordType.EXCEPTION_CLOSED: "2003, closed",
    RecordType.READBACK: "2003, closed, where it proves again what had drifted",
    RecordType.CASE_CLOSED: "2003, created: how the case stands, with a check for each step",
}
"""What each kind of record becomes."""

RECORDS_WITHOUT: Final = {
    RecordType.CASE_OPENED: "the beginning is told with the end, in the case's compliance finding",
    RecordType.HR_EVENT: "no account changes; OCSF has no class for events of HR",
    RecordType.PLAN: "nothing has been done yet",
    RecordType.ATTEMPT: "the result tells how the tries ended",
    RecordType.APPROVAL: "a decision; no account changes",
    RecordType.CHANGE: "a change of the case, not of an account",
    RecordType.CASE_EXPECTED: "bookkeeping of the comparison with HR",
    RecordType.CASE_EXCLUDED: "bookkeeping of the comparison with HR",
    RecordType.POPULATION_ROW: "bookkeeping of the comparison with HR",
    RecordType.POPULATION: "bookkeeping of the comparison with HR",
    RecordType.HR_DELIVERY: "bookkeeping of the comparison with HR",
    RecordType.RECONCILIATION: "its findings are events",
    RecordType.HISTORY_PREFIX: "keeping of evidence",
    RecordType.HISTORY_FINAL: "keeping of evidence",
    RecordType.BUNDLE_SEALING: "keeping of evidence",
    RecordType.POLICY_VERSION: "a change of this product, not of an account",
    RecordType.CONFIG_CHANGE: "a change of this product, not of an account",
    RecordType.KEY_ROTATED: "keeping of evidence",
    RecordType.ERASURE: "keeping of evidence",
    RecordType.REPORT_ISSUED: "keeping of evidence",
}
"""Why the other kinds become none."""
