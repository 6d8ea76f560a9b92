"""The kill switch in Entra ID: right writes, right number, right order, proven."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.exceptions import ApplicationError

from activities.entra import EntraActivities
from leaver.domain.words import ErrorType, Mode, Outcome, Reason
from leaver.simulators.faults import FaultKind
from leaver.simulators.m365.simulator import M365Simulator
from leaver.simulators.m365.state import PRIVILEGED_AUTHENTICATION_ADMINISTRATOR
from tests.support.m365_runs import READ_BACK, Clients, account, perform, unit, writes

BLOCK, PASSWORD, REVOKE = "entra.block_sign_in", "entra.reset_password", "entra.revoke_sessions"
ALL = (BLOCK, PASSWORD, REVOKE)
PATCH, POST_REVOKE = "/users/{user}", "/users/{user}/revokeSignInSessions"


def operations(sim: M365Simulator) -> list[tuple[str, str]]:
    return [(record.method, record.operation) for record in writes(sim)]


def summaries(sim: M365Simulator) -> list[dict[str, object]]:
    """What each write wanted, without the type names that the SDK adds."""
    return [
        {key: value for key, value in record.summary.items() if not key.startswith("@")}
        for record in writes(sim)
    ]


async def test_one_patch_then_revocation_each_proven(entra: EntraActivities, sim: M365Simulator) -> None:
    run = await perform(entra.contain, unit("entra.contain", *ALL))

    assert [effect.outcome for effect in run.result.effects] == [Outcome.VERIFIED] * 3
    assert operations(sim) == [("PATCH", PATCH), ("POST", POST_REVOKE)]
    assert summaries(sim)[0] == {"accountEnabled": False, "passwordProfile": True}
    user = sim.tenant.user("E1001")
    assert not user.enabled
    assert user.password_changes == 1
    assert user.force_password_change
    assert user.sessions_valid_from >= user.password_changed
    block, password = run.effect(BLOCK), run.effect(PASSWORD)
    assert (block.before["account_enabled"], block.after["account_enabled"]) == (True, False)
    assert str(password.after["password_changed_at"]) > str(password.before["password_changed_at"])
    assert [receipt.method for receipt in block.receipts if receipt.mutating] == ["PATCH"]
    assert all(receipt.server_date and receipt.request_id for receipt in block.receipts)
    assert "@" not in run.result.model_dump_json()


async def test_a_synced_account_gets_no_cloud_password(entra: EntraActivities, sim: M365Simulator) -> None:
    hybrid = account("E1002", synced=True)
    run = await perform(entra.contain, unit("entra.contain", *ALL, account=hybrid))

    assert summaries(sim)[0] == {"accountEnabled": False}
    assert run.effect(BLOCK).outcome is Outcome.VERIFIED
    assert run.effect(PASSWORD).reason is Reason.MASTERED_ELSEWHERE
    assert run.effect(REVOKE).outcome is Outcome.VERIFIED


async def test_a_disabled_account_still_gets_password_and_revocation(
    entra: EntraActivities, sim: M365Simulator
) -> None:
    with sim.tenant.users.change(sim.tenant.user("E1001").id, at=0) as user:
        user.enabled = False
    run = await perform(entra.contain, unit("entra.contain", *ALL))

    assert [effect.outcome for effect in run.result.effects] == [
        Outcome.ALREADY,
        Outcome.VERIFIED,
        Outcome.VERIFIED,
    ]
    assert summaries(sim) == [{"passwordProfile": True}, {}]


@pytest.mark.parametrize("operation", [rf"^{PATCH}$", "revokeSignInSessions"])
async def test_retry_after_becomes_the_next_delay(
    entra: EntraActivities, sim: M365Simulator, operation: str
) -> None:
    sim.faults.add(FaultKind.THROTTLE, retry_after=2, operation=operation, method="*")
    run = await perform(entra.contain, unit("entra.contain", *ALL))

    assert [error.type for error in run.errors] == [ErrorType.THROTTLED]
    assert run.errors[0].next_retry_delay == timedelta(seconds=2)
    assert [effect.outcome for effect in run.result.effects] == [Outcome.VERIFIED] * 3
    assert [attempt.error for attempt in run.result.attempts] == [ErrorType.THROTTLED, None]
    assert sim.tenant.user("E1001").password_changes == 1


async def test_retry_after_as_a_date(entra: EntraActivities, sim: M365Simulator) -> None:
    sim.faults.add(FaultKind.THROTTLE, retry_after=90, http_date=True, method="PATCH")
    run = await perform(entra.contain, unit("entra.contain", *ALL))

    assert run.errors[0].next_retry_delay is not None
    assert timedelta(seconds=88) <= run.errors[0].next_retry_delay <= timedelta(seconds=91)


@pytest.mark.parametrize("method", ["GET", "PATCH", "POST"])
async def test_503_is_retried_by_temporal_alone(
    entra: EntraActivities, sim: M365Simulator, method: str
) -> None:
    sim.faults.add(FaultKind.UNAVAILABLE, method=method, path="/users/")
    run = await perform(entra.contain, unit("entra.contain", *ALL))

    assert [error.type for error in run.errors] == [ErrorType.UNAVAILABLE]
    refused = [record for record in sim.requests if record.status == 503]
    assert len(refused) == 1
    assert [effect.outcome for effect in run.result.effects] == [Outcome.VERIFIED] * 3


@pytest.mark.parametrize("operation", [rf"^{PATCH}$", "revokeSignInSessions"])
async def test_a_reply_lost_after_commit_is_not_written_twice(
    entra: EntraActivities, sim: M365Simulator, operation: str
) -> None:
    method = "PATCH" if PATCH in operation else "POST"
    sim.faults.add(FaultKind.DROP_AFTER_COMMIT, operation=operation, method=method)
    run = await perform(entra.contain, unit("entra.contain", *ALL))

    assert [effect.outcome for effect in run.result.effects] == [Outcome.VERIFIED] * 3
    assert operations(sim) == [("PATCH", PATCH), ("POST", POST_REVOKE)]
    lost = [receipt for effect in run.result.effects for receipt in effect.receipts if receipt.status == 0]
    assert [receipt.mutating for receipt in lost] == [True]


async def test_a_lost_worker_does_not_block_again_but_revokes_again(
    entra: EntraActivities, sim: M365Simulator
) -> None:
    arg = unit("entra.contain", *ALL, account=account("E1001", before={"account_enabled": True}))
    await perform(entra.contain, arg)
    # The worker dies before it reports: the second attempt knows nothing but that there was a first.
    again = await perform(entra.contain, arg, first=2)

    assert [effect.outcome for effect in again.result.effects] == [Outcome.VERIFIED] * 3
    assert operations(sim) == [("PATCH", PATCH), ("POST", POST_REVOKE), ("POST", POST_REVOKE)]
    assert again.effect(BLOCK).before["account_enabled"] is True
    assert again.result.attempts[0].lost


async def test_a_revocation_before_the_lost_one_does_not_pass_for_it(
    entra: EntraActivities, sim: M365Simulator
) -> None:
    """Containment revoked a moment ago; the worker that removed the methods died before it revoked again."""
    await perform(entra.contain, unit("entra.contain", *ALL))
    steps = ("entra.remove_auth_methods", "entra.revoke_sessions_after_credentials")
    again = await perform(entra.credentials, unit("entra.credentials", *steps), first=2)

    assert [effect.outcome for effect in again.result.effects] == [Outcome.VERIFIED] * 2
    order = [operation for _, operation in operations(sim)]
    assert order.count(POST_REVOKE) == 2
    assert order[-1] == POST_REVOKE


async def test_a_lost_worker_that_never_wrote_is_made_good(
    entra: EntraActivities, sim: M365Simulator
) -> None:
    run = await perform(entra.contain, unit("entra.contain", *ALL), first=2)

    assert [effect.outcome for effect in run.result.effects] == [Outcome.VERIFIED] * 3
    assert operations(sim) == [("PATCH", PATCH), ("POST", POST_REVOKE)]


async def test_a_password_the_leaver_set_before_does_not_count(
    entra: EntraActivities, sim: M365Simulator
) -> None:
    with sim.tenant.users.change(sim.tenant.user("E1001").id) as user:
        user.password_changed = sim.tenant.now - 30
        user.enabled = False
    run = await perform(entra.contain, unit("entra.contain", *ALL), first=2)

    assert sim.tenant.user("E1001").password_changes == 1
    assert run.effect(PASSWORD).outcome is Outcome.VERIFIED


async def test_stale_reads_cause_no_second_write(entra: EntraActivities, sim: M365Simulator) -> None:
    sim.faults.add(FaultKind.STALE_READS, method="GET", operation=rf"^{PATCH}$", skip=1, times=4)
    run = await perform(entra.contain, unit("entra.contain", *ALL))

    assert [effect.outcome for effect in run.result.effects] == [Outcome.VERIFIED] * 3
    assert operations(sim) == [("PATCH", PATCH), ("POST", POST_REVOKE)]


async def test_an_effect_that_stays_invisible_is_never_called_done(
    clients: Clients, sim: M365Simulator
) -> None:
    quick = READ_BACK.__class__(
        agree=2,
        interval=READ_BACK.interval,
        deadline=timedelta(seconds=0.2),
        rewrite_after=timedelta(minutes=2),
    )
    entra = EntraActivities(clients.entra(), quick)
    sim.faults.add(FaultKind.STALE_READS, method="GET", operation=rf"^{PATCH}$", skip=1, times=10_000)

    with pytest.raises(ApplicationError) as caught:
        await perform(entra.contain, unit("entra.contain", BLOCK), attempts=2)
    assert caught.value.type == ErrorType.NOT_YET_EFFECTIVE
    assert operations(sim) == [("PATCH", PATCH)]


async def test_an_administrator_needs_a_role_and_the_step_says_which(
    entra: EntraActivities, sim: M365Simulator
) -> None:
    run = await perform(entra.contain, unit("entra.contain", *ALL, number="E1006"))

    for step in (BLOCK, PASSWORD):
        assert run.effect(step).outcome is Outcome.OPEN
        assert run.effect(step).reason is Reason.ACCESS_DENIED
        assert PRIVILEGED_AUTHENTICATION_ADMINISTRATOR in run.effect(step).detail
    assert run.effect(REVOKE).outcome is Outcome.VERIFIED
    assert sim.tenant.user("E1006").enabled


async def test_notification_only_plans_with_before_states(entra: EntraActivities, sim: M365Simulator) -> None:
    run = await perform(entra.contain, unit("entra.contain", *ALL, mode=Mode.NOTIFICATION_ONLY))

    assert [effect.outcome for effect in run.result.effects] == [Outcome.PLANNED] * 3
    assert run.effect(BLOCK).before["account_enabled"] is True
    assert writes(sim) == []


async def test_the_installation_switch_beats_the_case(clients: Clients, sim: M365Simulator) -> None:
    entra = EntraActivities(clients.entra(mode=Mode.NOTIFICATION_ONLY), READ_BACK)
    run = await perform(entra.contain, unit("entra.contain", *ALL))

    assert {effect.reason for effect in run.result.effects} == {Reason.WRITE_REFUSED}
    assert writes(sim) == []


async def test_a_wrong_secret_is_named_and_writes_nothing(clients: Clients, sim: M365Simulator) -> None:
    entra = EntraActivities(clients.entra(secret="not-the-secret"), READ_BACK)
    run = await perform(entra.contain, unit("entra.contain", *ALL))

    assert {effect.reason for effect in run.result.effects} == {Reason.INVALID_CREDENTIALS}
    assert "AADSTS7000215" in run.effect(BLOCK).detail
    assert "not-the-secret" not in run.result.model_dump_json()
    assert writes(sim) == []


async def test_an_unreachable_graph_is_retried(clients: Clients) -> None:
    entra = EntraActivities(clients.entra(url="https://127.0.0.1:9/v1.0"), READ_BACK)
    with pytest.raises(ApplicationError) as caught:
        await perform(entra.contain, unit("entra.contain", *ALL), attempts=1)

    assert caught.value.type == ErrorType.UNAVAILABLE
    assert not caught.value.non_retryable


async def test_a_deleted_user_is_absent(entra: EntraActivities, sim: M365Simulator) -> None:
    sim.tenant.delete_user(sim.tenant.user("E1001").id)
    sim.tenant.clock.advance(5)
    run = await perform(entra.contain, unit("entra.contain", *ALL))

    assert {effect.outcome for effect in run.result.effects} == {Outcome.ABSENT}
    assert run.effect(BLOCK).after == {"user": None, "in_recycle_bin": True}
    assert writes(sim) == []


async def test_one_lagging_404_is_not_absence(entra: EntraActivities, sim: M365Simulator) -> None:
    sim.faults.add(FaultKind.NOT_FOUND_ONCE, method="GET", operation=rf"^{PATCH}$")
    run = await perform(entra.contain, unit("entra.contain", *ALL))

    assert [error.type for error in run.errors] == [ErrorType.UNAVAILABLE]
    assert [effect.outcome for effect in run.result.effects] == [Outcome.VERIFIED] * 3


async def test_a_claims_challenge_is_answered_with_a_new_token(
    entra: EntraActivities, sim: M365Simulator
) -> None:
    sim.faults.add(FaultKind.CLAIMS_CHALLENGE, method="GET", operation=rf"^{PATCH}$")
    run = await perform(entra.contain, unit("entra.contain", *ALL))

    assert run.errors == []
    assert [effect.outcome for effect in run.result.effects] == [Outcome.VERIFIED] * 3


async def test_sign_in_is_blocked_without_the_right_to_passwords(
    entra: EntraActivities, sim: M365Simulator
) -> None:
    with sim.tenant.apps.change(sim.tenant.app.id) as app:
        app.permissions = [name for name in app.permissions if "PasswordProfile" not in name]
    run = await perform(entra.contain, unit("entra.contain", *ALL))

    assert run.effect(BLOCK).outcome is Outcome.VERIFIED
    assert run.effect(PASSWORD).reason is Reason.ACCESS_DENIED
    assert "User-PasswordProfile.ReadWrite.All" in run.effect(PASSWORD).detail
    assert run.effect(REVOKE).outcome is Outcome.VERIFIED


async def test_verification_reads_only(entra: EntraActivities, sim: M365Simulator) -> None:
    contained = await perform(entra.contain, unit("entra.contain", *ALL))
    proven = {effect.step: effect.after for effect in contained.result.effects}
    before = {key: value for key, value in contained.effect(BLOCK).before.items() if key != "read_at"}
    arg = unit("entra.verify", *ALL, account=account("E1001", before=before), parameters=proven)
    count = len(writes(sim))

    still = await perform(entra.verify, arg)
    assert [effect.outcome for effect in still.result.effects] == [Outcome.VERIFIED] * 3

    sim.tenant.clock.advance(5)
    with sim.tenant.users.change(arg.account.id) as user:
        user.enabled = True
        user.password_changed = sim.tenant.now
    sim.tenant.clock.advance(5)
    drifted = await perform(entra.verify, arg)
    assert drifted.effect(BLOCK).reason is Reason.LEFT_BEHIND
    assert drifted.effect(PASSWORD).reason is Reason.LEFT_BEHIND
    assert drifted.effect(REVOKE).outcome is Outcome.VERIFIED
    assert len(writes(sim)) == count
