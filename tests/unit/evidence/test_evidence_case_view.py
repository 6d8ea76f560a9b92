"""What the records tell: steps, lags, exceptions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from leaver.domain.records import RecordDraft
from leaver.domain.words import CaseOutcome, Outcome, Phase, RecordType, System
from leaver.evidence.case_view import case_view
from leaver.evidence.errors import UnreadableRecordsError
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.reports.leaver_page import banner
from leaver.evidence.reports.page import Tone
from leaver.evidence.views import CaseView


@pytest.fixture
def view(tmp_path_factory: pytest.TempPathFactory) -> Any:
    def make(drafts: Iterable[RecordDraft]) -> CaseView:
        given = list(drafts)
        with Ledger.open(tmp_path_factory.mktemp("view") / "ledger.sqlite") as ledger:
            ledger.append(given)
            return case_view(ledger.records(given[0].case))

    return make


def test_a_clean_case(view: Any, samples: Any) -> None:
    case = view(samples.clean())
    assert (case.outcome, case.phase, case.closed) == (CaseOutcome.COMPLETED, Phase.CLOSED, True)
    assert case.exceptions == ()
    assert (case.lag_effective_seconds, case.lag_notice_seconds) == (6.0, 6.0)
    assert len(case.steps) == 20
    assert all(step.outcome.proven and step.record is not None for step in case.steps)
    block = next(step for step in case.steps if step.step == "entra.block_sign_in")
    assert (block.title, block.system, block.phase) == ("Block sign-in", System.ENTRA, Phase.CONTAIN)
    assert block.before == {"account_enabled": True}
    assert block.after == {"account_enabled": False}
    assert block.receipts[0].status == 204
    assert block.lag_seconds == pytest.approx((block.finished_at - samples.cutoff).total_seconds())
    assert [item.statement.accepted for item in case.approvals] == [False, True]
    assert [(item.attempt.unit, item.attempt.number) for item in case.failed_attempts] == [
        ("exchange.preserve", 1)
    ]
    assert {item.step for item in case.omitted} == {"entra.reset_password", "ad.move_to_leavers_ou"}
    assert banner(case).tone is Tone.GOOD


def test_exceptions_stand_until_a_later_result_proves_the_step(view: Any, samples: Any) -> None:
    case = view(samples.with_exceptions())
    told = {(item.step, item.cause): item for item in case.exceptions}
    refused = told["onedrive.grant_successor", "access_denied"]
    assert (refused.times, refused.resolved, refused.recorded) == (2, None, True)
    healed = told["entra.remove_groups", "retries_exhausted"]
    assert healed.resolved == next(s.record for s in case.steps if s.step == "entra.remove_groups")
    late = told["ad.disable_account", "late"]
    assert (late.recorded, late.resolved) == (False, None)
    assert len(case.exceptions) == 3
    assert {item.step for item in case.open_exceptions} == {"onedrive.grant_successor", "ad.disable_account"}
    groups = next(step for step in case.steps if step.step == "entra.remove_groups")
    assert (groups.outcome, groups.run, len(groups.earlier)) == (Outcome.VERIFIED, 2, 1)
    assert banner(case).tone is Tone.BAD
    assert "2 exceptions" in banner(case).figures


def test_a_case_that_calls_itself_complete_in_spite_of_an_exception_is_not_believed(
    view: Any, samples: Any
) -> None:
    drafts = samples.with_exceptions()
    lying = drafts[-1].model_copy(update={"body": {**drafts[-1].body, "outcome": "completed"}})
    assert banner(view([*drafts[:-1], lying])).tone is Tone.BAD


def test_a_step_that_never_ran_is_an_exception_of_a_closed_case(view: Any, samples: Any) -> None:
    whole = samples.clean()
    open_case = view(whole[:14])
    assert open_case.outcome is CaseOutcome.RUNNING
    assert not open_case.closed
    pending = [step for step in open_case.steps if step.outcome is Outcome.PENDING]
    assert pending
    assert all(step.record is None and step.due is not None for step in pending)
    assert open_case.exceptions == ()
    drafter = samples.drafter()
    drafter.opened()
    drafter.planned(["entra.block_sign_in"])
    drafter.closed("completed", contained=False)
    closed = view(drafter.drafts)
    assert [(item.step, item.cause) for item in closed.exceptions] == [("entra.block_sign_in", "pending")]
    assert banner(closed).tone is Tone.BAD
    assert "not contained" in banner(closed).figures


def test_containment_is_when_the_last_containment_step_was_read_back(view: Any, samples: Any) -> None:
    whole = samples.clean()
    contain = [
        draft
        for draft in whole
        if draft.type is RecordType.RESULT and draft.body["phase"] == Phase.CONTAIN.value
    ]
    last = contain[-1].case_seq
    assert view(whole[:last]).contained_at is None
    assert view(whole[: last + 1]).contained_at.isoformat() == str(contain[-1].body["finished_at"]).replace(
        "Z", "+00:00"
    )


def test_a_plan_only_case_has_no_exceptions_and_no_praise(view: Any, samples: Any) -> None:
    case = view(samples.planned_only())
    assert case.exceptions == ()
    shown = banner(case)
    assert shown.tone is Tone.OPEN
    assert "nothing was changed" in shown.headline
    assert shown.figures == ("16 steps planned", "no exceptions")


def test_lags_count_from_hr_when_hr_was_late_and_from_receipt_when_immediate(view: Any, samples: Any) -> None:
    def opened(**changes: str) -> CaseView:
        drafts = samples.clean()
        first = drafts[0].model_copy(update={"body": {**drafts[0].body, **changes}})
        case: CaseView = view([first, *drafts[2:-1]][0:1] + renumbered(drafts[2:]))
        return case

    def renumbered(drafts: list[RecordDraft]) -> list[RecordDraft]:
        count = len(drafts) + 1
        moved = [draft.model_copy(update={"case_seq": place}) for place, draft in enumerate(drafts, 1)]
        return [*moved[:-1], moved[-1].model_copy(update={"body": {**moved[-1].body, "count": count}})]

    late = opened(received_at="2026-11-20T17:00:04Z")
    assert (late.lag_effective_seconds, late.lag_notice_seconds) == (6.0, 2.0)
    assert "contained 2.0 s after HR's message, 6.0 s after the cut-off" in banner(late).figures
    early = opened(cutoff="2026-11-20T18:00:00Z", received_at="2026-11-20T17:00:05Z", immediate="true")
    assert (early.lag_effective_seconds, early.lag_notice_seconds) == (-3594.0, 1.0)


def test_a_later_hr_event_moves_the_cut_off_only_if_it_was_applied(view: Any, samples: Any) -> None:
    for applied in (True, False):
        drafter = samples.drafter()
        drafter.opened()
        later = samples.cutoff + timedelta(days=3)
        drafter.add(
            RecordType.HR_EVENT,
            {
                "event_id": "e2",
                "event_type": "leaver.changed.v1",
                "raw_sha256": "aa" * 32,
                "cutoff": later.isoformat(),
                "applied": applied,
                "why": "" if applied else "too late",
            },
        )
        assert view(drafter.drafts).cutoff == (later if applied else samples.cutoff)


def test_held_until_released(view: Any, samples: Any) -> None:
    drafter = samples.drafter()
    drafter.opened()
    drafter.add(RecordType.CHANGE, {"change": "held", "why": "the policy protects this account"})
    assert view(drafter.drafts).outcome is CaseOutcome.HELD
    drafter.add(RecordType.CHANGE, {"change": "released", "by_ref": "p-x"})
    assert view(drafter.drafts).outcome is CaseOutcome.RUNNING


def test_records_that_tell_no_case_are_named(view: Any, samples: Any) -> None:
    with pytest.raises(UnreadableRecordsError, match=r"no case\.opened"):
        case_view([])
    drafter = samples.drafter()
    drafter.opened()
    drafter.add(RecordType.RESULT, {"step": "entra.block_sign_in"})
    with pytest.raises(UnreadableRecordsError, match=r"record 1 \(action\.result\): outcome"):
        view(drafter.drafts)
