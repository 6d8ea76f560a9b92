"""The plan: which steps this case gets. A pure function of policy and inventory, with a digest."""

from __future__ import annotations

from pydantic import Field

from leaver.domain.account import Account
from leaver.domain.base import Facts, Message, digest
from leaver.domain.catalogue import CATALOGUE, StepDefinition
from leaver.domain.policy import Policy
from leaver.domain.words import Phase, Reason, System


class PlannedStep(Message):
    """A step of the plan; its definition is the catalogue's row of that name."""

    step: str
    account: str

    @property
    def definition(self) -> StepDefinition:
        """The catalogue's row."""
        return CATALOGUE[self.step]


class Omission(Message):
    """A step that this case does not get, and why. Nothing is left out silently."""

    step: str
    reason: Reason
    detail: str


class Plan(Message):
    """The steps, in catalogue order, with what was left out.

    The digest covers everything an approver decides about: the policy, the accounts, the successor.
    """

    case: str
    policy_digest: str
    accounts: tuple[str, ...]
    successor: str | None = None
    steps: tuple[PlannedStep, ...]
    omitted: tuple[Omission, ...] = ()
    parameters: dict[str, Facts] = Field(default_factory=dict)
    """Per unit: what the policy says about how."""

    @property
    def digest(self) -> str:
        """``sha256:…`` of the whole plan; approvals bind to it."""
        return digest(self)

    def of(self, phase: Phase) -> tuple[PlannedStep, ...]:
        """The steps of one phase."""
        return tuple(step for step in self.steps if step.definition.phase is phase)


def build_plan(
    *,
    case: str,
    policy: Policy,
    accounts: tuple[Account, ...],
    successor: Account | None,
    policy_digest: str | None = None,
) -> Plan:
    """Plan a case from its policy and what intake found.

    Deterministic: equal inputs give an equal plan and digest, whatever the order of ``accounts``.
    """
    by_system = {account.system: account for account in accounts}
    steps: list[PlannedStep] = []
    omitted: list[Omission] = []
    for row in CATALOGUE.values():
        account = by_system.get(row.system)
        if account is None or row.phase is Phase.INTAKE:
            continue
        why = _why_omitted(row, policy, account, by_system)
        if why is None:
            steps.append(PlannedStep(step=row.name, account=account.id))
        else:
            omitted.append(why)
    return Plan(
        case=case,
        policy_digest=policy_digest or policy.digest,
        accounts=tuple(sorted(f"{account.system.value}:{account.id}" for account in accounts)),
        successor=successor.id if successor else None,
        steps=tuple(steps),
        omitted=tuple(omitted),
        parameters=_parameters(policy, frozenset(planned.step for planned in steps)),
    )


def _why_omitted(
    row: StepDefinition,
    policy: Policy,
    account: Account,
    by_system: dict[System, Account],
) -> Omission | None:
    if row.name == "entra.reset_password" and account.synced:
        return Omission(
            step=row.name,
            reason=Reason.MASTERED_ELSEWHERE,
            detail="a synced account's password is mastered in Active Directory; ad.reset_password sets it",
        )
    if row.name == "ad.move_to_leavers_ou":
        return _why_not_moved(row, policy, by_system)
    wanted = {
        "exchange.set_auto_reply": policy.mailbox.auto_reply is not None,
        "exchange.delegate_to_successor": policy.mailbox.delegate_successor,
        "exchange.convert_to_shared_mailbox": policy.mailbox.convert_to_shared,
        "onedrive.grant_successor": policy.files.grant_successor,
        "ad.remove_groups": policy.ad.remove_groups,
        "entra.remove_direct_licences": policy.licences.reclaim,
        "entra.remove_licence_groups": policy.licences.reclaim,
    }
    if not wanted.get(row.name, True):
        return Omission(step=row.name, reason=Reason.NOT_IN_POLICY, detail="the policy does not ask for it")
    return None


def _why_not_moved(row: StepDefinition, policy: Policy, by_system: dict[System, Account]) -> Omission | None:
    if policy.ad.leavers_ou is None:
        return Omission(step=row.name, reason=Reason.NOT_IN_POLICY, detail="the policy names no leavers' OU")
    entra = by_system.get(System.ENTRA)
    if entra is not None and entra.synced and not policy.ad.leavers_ou_in_sync_scope:
        return Omission(
            step=row.name,
            reason=Reason.NOT_SUPPORTED,
            detail="the policy does not state that the leavers' OU is synced; moving a synced account out of"
            " the synced scope would delete the cloud account and the mailbox",
        )
    return None


def _parameters(policy: Policy, steps: frozenset[str]) -> dict[str, Facts]:
    elsewhere = {"synced": "ad.remove_groups", "mail_enabled": "exchange.remove_distribution_groups"}
    return {
        "exchange.preserve": {"auto_reply": policy.mailbox.auto_reply},
        "entra.entitlements": {
            "handled_elsewhere": [kind for kind, step in elsewhere.items() if step in steps]
        },
        "ad.entitlements": {"leavers_ou": policy.ad.leavers_ou},
    }
