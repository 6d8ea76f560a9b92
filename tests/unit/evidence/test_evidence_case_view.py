"""What the records tell: steps, lags, exceptions; and the page made of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from leaver.domain.records import RecordDraft
from leaver.domain.words import CaseOutcome, Outcome, Phase, RecordType, System
from leaver.evidence.case_view import case_view
from leaver.evidence.errors import UnreadableRecordsError
from leaver.evidence.ledger import Ledger
from leaver.evidence.report import banner, breakable, controls, fact_list, lag, render, system_groups
from leaver.evidence.views import CaseView


@pytest.fixture
def view(tmp_path_factory: pytest.TempPathFactory) -> Any:
    def make(drafts: Iterable[RecordDraft]) -> CaseView:
        given = list(drafts)
        with Ledger(tmp_path_factory.mktemp("view") / "ledger.sqlite") as ledger:
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
    assert banner(case).tone == "good"


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
    assert banner(case).tone == "bad"
    assert "2 exceptions" in banner(case).figures


def test_a_case_that_calls_itself_complete_in_spite_of_an_exception_is_not_believed(
    view: Any, samples: Any
) -> None:
    drafts = samples.with_exceptions()
    lying = drafts[-1].model_copy(update={"body": {**drafts[-1].body, "outcome": "completed"}})
    assert banner(view([*drafts[:-1], lying])).tone == "bad"


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
    assert banner(closed).tone == "bad"
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
    assert shown.tone == "open"
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
    assert "contained 2.0 s after HR's message" in banner(late).figures
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


# --------------------------------------------------------------------- the page


class Page(HTMLParser):
    """Collects what a browser would fetch or run, and checks that tags close."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "hr", "wbr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [str(value) for name, value in attrs if name in ("href", "src", "srcset", "action")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_is_one_file_without_scripts_or_foreign_resources(view: Any, samples: Any) -> None:
    for drafts in (samples.clean(), samples.with_exceptions(), samples.planned_only(), samples.clean()[:9]):
        text = render(view(drafts))
        page = Page(text)
        assert page.open == []
        assert not page.tags & {"script", "link", "img", "iframe", "object", "form"}
        assert page.links == []
        assert not re.search(r"url\(|@import|https?:", text)
        assert "Outside anchors: none" in " ".join(page.texts)


def test_the_page_shows_every_step_and_every_record_number(view: Any, samples: Any) -> None:
    case = view(samples.with_exceptions())
    text = "".join(Page(render(case)).texts)
    for step in case.steps:
        assert step.step in text
        assert step.title in text
    for item in case.omitted:
        assert item.detail in text
    for value in (
        case.case,
        case.person_ref,
        case.policy_digest,
        case.plan_digest,
        case.head,
        case.raw_sha256,
    ):
        assert value in text
    assert "verified, late" in text
    assert "needs Sites.FullControl.All" in text


def test_what_the_records_say_cannot_become_markup(view: Any, samples: Any) -> None:
    drafter = samples.drafter()
    drafter.opened()
    bad = "<script>alert(1)</script>"
    drafter.result("entra.block_sign_in", Outcome.OPEN, reason="access_denied", detail=bad)
    text = render(view(drafter.drafts), label="<b>1042</b>")
    assert "<script>" not in text
    assert "<b>1042" not in text
    assert "&lt;script&gt;" in text


def test_names_break_without_becoming_markup() -> None:
    assert breakable("a.b_c<i>_") == "a.b_<wbr>c&lt;i&gt;_<wbr>"


def test_the_label_is_only_where_it_was_asked_for(view: Any, samples: Any, sealed: Path) -> None:
    case = view(samples.clean())
    assert "employee number 1042" in render(case, label="employee number 1042")
    assert "1042" not in render(case)
    assert all(b"employee number" not in path.read_bytes() for path in sealed.rglob("*.*") if path.is_file())


def test_the_same_records_give_the_same_page(view: Any, samples: Any) -> None:
    case = view(samples.clean())
    assert render(case) == render(case)


def test_groups_and_controls_lose_no_step(view: Any, samples: Any) -> None:
    case = view(samples.with_exceptions())
    grouped = [step.step for group in system_groups(case) for step in group.steps]
    assert sorted(grouped) == sorted(step.step for step in case.steps)
    by_name = {control.name: control for control in controls(case)}
    assert (by_name["NIST:PS-4e"].steps, by_name["NIST:PS-4e"].proven) == (4, 3)
    assert by_name["NIST:AC-2h"].proven == by_name["NIST:AC-2h"].steps - 1


def test_facts_are_marked_where_they_changed() -> None:
    facts = fact_list({"b": [1, "x"], "a": True, "c": None, "d": {"y": 1, "x": []}}, {"a": False, "c": None})
    assert [(fact.name, fact.text, fact.changed) for fact in facts] == [
        ("a", "yes", True),
        ("b", "1; x", True),
        ("d", "x none, y 1", True),
    ]
    same = fact_list({"at": "2026-11-22T13:39:27+00:00"}, {"at": "2026-11-22T13:39:27+00:00"})
    assert [(fact.text, fact.changed) for fact in same] == [("2026-11-22 13:39:27", False)]
    assert [fact.changed for fact in fact_list({"a": 1}, {})] == [False]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "\N{EN DASH}"),
        (0, "0.0 s"),
        (4.24, "4.2 s"),
        (10, "10 s"),
        (119, "119 s"),
        (125, "2 min 05 s"),
        (7199.6, "2 h 00 min"),
        (11_220, "3 h 07 min"),
        (187_200, "2 d 4 h"),
        (-65, "\N{MINUS SIGN}65 s"),
    ],
)
def test_durations_for_people(seconds: float | None, text: str) -> None:
    assert lag(seconds) == text
