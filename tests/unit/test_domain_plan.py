"""The plan is a pure function of policy and inventory; the catalogue's order can be trusted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from leaver.domain.account import Account, LinkRule
from leaver.domain.catalogue import CATALOGUE, Gate
from leaver.domain.plan import Plan, build_plan
from leaver.domain.policy import Policy
from leaver.domain.words import Mode, Phase, Reason, System

CASE = "c-" + "a" * 26
PHASES = list(Phase)


def account(system: System, *, synced: bool = False) -> Account:
    return Account(system=system, id=f"id-{system.value}", rule=LinkRule.EMPLOYEE_ID, synced=synced)


accounts = st.lists(st.sampled_from(list(System)), unique=True).flatmap(
    lambda systems: st.tuples(*(st.builds(account, st.just(s), synced=st.booleans()) for s in systems))
)
flags = st.booleans()


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    convert = draw(flags)
    return Policy.model_validate(
        {
            "mode": draw(st.sampled_from(list(Mode))),
            "ad": {
                "leavers_ou": draw(st.sampled_from([None, "OU=Leavers,DC=x"])),
                "leavers_ou_in_sync_scope": draw(flags),
                "remove_groups": draw(flags),
            },
            "mailbox": {
                "convert_to_shared": convert,
                "delegate_successor": draw(flags),
                "auto_reply": draw(st.sampled_from([None, "gone"])),
            },
            "files": {"grant_successor": draw(flags)},
            "licences": {"reclaim": convert and draw(flags)},
        }
    )


def plan_of(policy: Policy, found: tuple[Account, ...], successor: Account | None = None) -> Plan:
    return build_plan(case=CASE, policy=policy, accounts=found, successor=successor)


@given(policies(), accounts, st.randoms(use_true_random=False))
def test_the_same_inputs_give_the_same_plan_whatever_their_order(
    policy: Policy, found: tuple[Account, ...], random: Any
) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)
    one, two = plan_of(policy, found), plan_of(policy, tuple(shuffled))
    assert one == two
    assert one.digest == two.digest


@given(policies(), accounts)
def test_every_step_is_planned_or_omitted_with_a_reason(policy: Policy, found: tuple[Account, ...]) -> None:
    plan = plan_of(policy, found)
    systems = {each.system for each in found}
    due = {s.name for s in CATALOGUE.values() if s.system in systems and s.phase is not Phase.INTAKE}
    planned, omitted = {s.step for s in plan.steps}, {o.step for o in plan.omitted}
    assert planned | omitted == due
    assert not planned & omitted
    assert all(omission.detail for omission in plan.omitted)


@given(policies(), accounts)
def test_containment_is_never_left_out_by_policy(policy: Policy, found: tuple[Account, ...]) -> None:
    planned = {step.step for step in plan_of(policy, found).steps}
    for each in found:
        critical = {s.name for s in CATALOGUE.values() if s.system is each.system and s.critical}
        if each.synced:
            critical -= {"entra.reset_password"}
        assert critical <= planned


@given(policies(), accounts)
def test_a_synced_account_is_never_moved_out_of_the_synced_scope(
    policy: Policy, found: tuple[Account, ...]
) -> None:
    """T27: the move would delete the cloud account and the mailbox."""
    plan = plan_of(policy, found)
    synced = any(each.system is System.ENTRA and each.synced for each in found)
    if synced and not policy.ad.leavers_ou_in_sync_scope:
        assert "ad.move_to_leavers_ou" not in {step.step for step in plan.steps}


@given(policies(), accounts)
def test_a_synced_password_is_left_to_active_directory(policy: Policy, found: tuple[Account, ...]) -> None:
    plan = plan_of(policy, found)
    if any(each.system is System.ENTRA and each.synced for each in found):
        (why,) = [o for o in plan.omitted if o.step == "entra.reset_password"]
        assert why.reason is Reason.MASTERED_ELSEWHERE


def test_the_digest_changes_with_policy_account_and_successor() -> None:
    base = plan_of(Policy(), (account(System.ENTRA),))
    other_policy = plan_of(Policy(version="2"), (account(System.ENTRA),))
    other_account = plan_of(Policy(), (account(System.ENTRA).model_copy(update={"id": "x"}),))
    successor = plan_of(Policy(), (account(System.ENTRA),), account(System.ENTRA))
    assert len({base.digest, other_policy.digest, other_account.digest, successor.digest}) == 4


def test_forerunners_are_never_in_a_later_phase_and_never_in_a_circle() -> None:
    for row in CATALOGUE.values():
        for name in row.after:
            assert PHASES.index(CATALOGUE[name].phase) <= PHASES.index(row.phase)

    def depth(name: str, seen: tuple[str, ...] = ()) -> None:
        assert name not in seen, f"{name} waits for itself"
        for before in CATALOGUE[name].after:
            depth(before, (*seen, name))

    for name in CATALOGUE:
        depth(name)


def test_within_a_unit_forerunners_stand_first() -> None:
    names = list(CATALOGUE)
    for row in CATALOGUE.values():
        for before in row.after:
            if CATALOGUE[before].unit == row.unit:
                assert names.index(before) < names.index(row.name)


def test_sessions_are_revoked_after_block_and_password() -> None:
    """T15."""
    assert set(CATALOGUE["entra.revoke_sessions"].after) == {"entra.block_sign_in", "entra.reset_password"}


def test_every_licence_step_stands_behind_the_mailbox_gate() -> None:
    """T30."""
    for row in CATALOGUE.values():
        if row.phase is Phase.LICENCES:
            assert row.gate is Gate.MAILBOX_SAFE
            assert row.destructive
            assert "exchange.convert_to_shared_mailbox" in row.after


def test_contradictory_options_are_refused() -> None:
    """T11: without conversion a reclaimed licence deletes the mailbox."""
    with pytest.raises(ValidationError, match=r"licences\.reclaim needs mailbox\.convert_to_shared"):
        Policy.model_validate({"mailbox": {"convert_to_shared": False}})


def test_every_problem_of_a_policy_is_named_at_once() -> None:
    wrong = {"approvals": {"deadline_hours": 0}, "mailbox": {"max_unlicensed_gb": 90}, "modus": "x"}
    with pytest.raises(ValidationError) as caught:
        Policy.model_validate(wrong)
    fields = {".".join(str(part) for part in error["loc"]) for error in caught.value.errors()}
    assert fields == {"approvals.deadline_hours", "mailbox.max_unlicensed_gb", "modus"}


def test_a_new_policy_writes_nothing() -> None:
    assert Policy().mode is Mode.NOTIFICATION_ONLY
