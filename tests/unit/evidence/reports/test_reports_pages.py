"""The pages: complete, self-contained, safe, and honest about what is not proven."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pypdfium2
import pytest

from leaver.domain.records import RecordDraft
from leaver.domain.words import Outcome
from leaver.evidence.case_view import case_view
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.reports.html import breakable, page_html
from leaver.evidence.reports.leaver_page import banner, controls, system_groups
from leaver.evidence.reports.model import ControlText, PeriodInput
from leaver.evidence.reports.onepager import case_files, leaver_html, leaver_pdf
from leaver.evidence.reports.page import Tone
from leaver.evidence.reports.pdf import page_pdf
from leaver.evidence.reports.period import count_period
from leaver.evidence.reports.period_page import period_page
from leaver.evidence.reports.show import state_lines
from leaver.evidence.views import CaseView
from tests.support.period_world import MIXED, Kind, checkpoint, counted, period


@pytest.fixture
def view(tmp_path_factory: pytest.TempPathFactory) -> Any:
    def make(drafts: Iterable[RecordDraft]) -> CaseView:
        given = list(drafts)
        with Ledger.open(tmp_path_factory.mktemp("view") / "ledger.db") as ledger:
            ledger.append(given)
            return case_view(ledger.records(given[0].case))

    return make


class Page(HTMLParser):
    """Collects what a browser would fetch or run, and checks that tags close."""

    VOID = frozenset({"meta", "br", "wbr"})

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

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


def pdf_text(raw: bytes) -> tuple[str, int]:
    document = pypdfium2.PdfDocument(raw)
    text = " ".join(page.get_textpage().get_text_range() for page in document)
    return text.replace("\u200b", "").replace("\ufffe", ""), len(document)


def period_html(given: PeriodInput) -> str:
    return page_html(period_page(count_period(given)))


# ------------------------------------------------------------------------------- the leaver's page


def test_every_page_is_one_file_without_scripts_or_foreign_resources(view: Any, samples: Any) -> None:
    cases = (samples.clean(), samples.with_exceptions(), samples.planned_only(), samples.clean()[:9])
    pages = [leaver_html(view(drafts), (checkpoint(),)) for drafts in cases]
    pages += [period_html(period(kinds)) for kinds in ([], MIXED)]
    for text in pages:
        page = Page(text)
        assert page.open == []
        assert not page.tags & {"script", "link", "img", "iframe", "object", "form"}
        assert page.links == []
        assert not re.search(r"url\(|@import", text)
        assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_the_page_shows_every_step_and_every_record_by_its_place(view: Any, samples: Any) -> None:
    case = view(samples.with_exceptions())
    html = Page(leaver_html(case)).text
    for step in case.steps:
        assert step.step in html
        assert step.title in html
        assert str(case.places[step.record]) in html
    for item in case.omitted:
        assert item.detail in html
    for value in (
        case.case,
        case.person_ref,
        case.policy_digest,
        case.plan_digest,
        case.head,
        case.raw_sha256,
    ):
        assert value in html
    assert "verified, late" in html
    assert "needs Sites.FullControl.All" in html


def test_the_pdf_says_what_the_page_says_on_few_pages(view: Any, samples: Any) -> None:
    for drafts, most in ((samples.clean(), 2), (samples.with_exceptions(), 3)):
        case = view(drafts)
        text, pages = pdf_text(leaver_pdf(case, (checkpoint(),)))
        assert pages <= most
        for step in case.steps:
            assert step.title.split()[0] in text
        assert banner(case).headline in text
        assert "Tamper-evident since checkpoint 100000" in text


def test_the_same_case_gives_the_same_pages(view: Any, samples: Any) -> None:
    case, lines = view(samples.clean()), (checkpoint(),)
    assert leaver_html(case, lines) == leaver_html(case, lines)
    pdf = leaver_pdf(case, lines)
    assert pdf == leaver_pdf(case, lines)
    assert b"pdfaid:part" in pdf
    assert b"pdfuaid:part" in pdf


def test_the_files_for_a_bundle(tmp_path: Any, samples: Any) -> None:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        ledger.append(samples.clean())
        records = ledger.records(samples.case)
    files = case_files(records, (checkpoint(),))
    assert set(files) == {"report.html", "report.pdf", "population.csv"}
    assert files == case_files(records, (checkpoint(),))
    head, row, rest = files["population.csv"].split(b"\r\n")
    assert head.startswith(b"Case,Person,")
    assert row.startswith(samples.case.encode())
    assert b",within," in row
    assert rest == b""


def test_without_an_outside_anchor_the_page_says_so_in_red(view: Any, samples: Any) -> None:
    case = view(samples.clean())
    for lines in ((), (checkpoint(outside=False),)):
        html = leaver_html(case, lines)
        assert '<p class="text bad">Anchors: none.' in html
        assert "Anchors: none." in pdf_text(leaver_pdf(case, lines))[0]
        assert "Tamper-evident" not in html
    html = leaver_html(case, (checkpoint(),))
    assert "Anchors: none" not in html
    assert "anchored outside by tsa.example.org on 2026-12-01 02:00:01 UTC" in html


def test_an_anchor_that_lags_behind_is_told() -> None:
    old, new = checkpoint(500), replace(checkpoint(900), anchors=())
    html = period_html(period(MIXED, anchors=(old, new), checkpoint=new))
    assert "Tamper-evident since checkpoint 500" in html
    assert "Records 500 and later are not anchored outside yet" in html


def test_what_the_records_say_cannot_become_markup(view: Any, samples: Any) -> None:
    drafter = samples.drafter()
    drafter.opened()
    bad = "<script>alert(1)</script> #evil[x] $a$"
    drafter.result("entra.block_sign_in", Outcome.OPEN, reason="access_denied", detail=bad)
    case = view(drafter.drafts)
    text = leaver_html(case, label="<b>1042</b>")
    assert "<script>" not in text
    assert "<b>1042" not in text
    assert "&lt;script&gt;" in text
    assert "#evil[x] $a$" in pdf_text(leaver_pdf(case))[0]


def test_the_label_is_only_where_it_was_asked_for(view: Any, samples: Any) -> None:
    case = view(samples.clean())
    assert "employee number 1042" in leaver_html(case, label="employee number 1042")
    assert "1042" not in leaver_html(case)


def test_names_break_without_becoming_markup() -> None:
    assert breakable("a.b_c<i>_") == "a.b_<wbr>c&lt;i&gt;_<wbr>"


def test_banner_groups_and_controls(view: Any, samples: Any) -> None:
    good, bad = view(samples.clean()), view(samples.with_exceptions())
    assert banner(good).tone is Tone.GOOD
    assert banner(good).figures == ("contained in 6.0 s", "20 of 20 steps proven", "no exceptions")
    assert (banner(bad).tone, banner(bad).figures[2]) == (Tone.BAD, "2 exceptions")
    assert [group.name for group in system_groups(good)] == [
        "Entra ID",
        "Exchange Online",
        "OneDrive",
        "Active Directory",
    ]
    assert sum(len(group.steps) for group in system_groups(good)) == len(good.steps)
    served = {item.name: item for item in controls(bad)}
    assert served["SOC2:CC6.2"].proven < served["SOC2:CC6.2"].steps
    assert all(item.proven == item.steps for item in controls(good))


def test_a_case_that_calls_itself_complete_in_spite_of_an_exception_is_not_believed(
    view: Any, samples: Any
) -> None:
    drafts = samples.with_exceptions()
    lying = drafts[-1].model_copy(update={"body": {**drafts[-1].body, "outcome": "completed"}})
    assert banner(view([*drafts[:-1], lying])).tone is Tone.BAD


def test_states_show_what_changed_and_lists_in_short() -> None:
    def text(lines: Any) -> list[str]:
        return [" ".join(span.text for span in line) for line in lines]

    before, after = (
        {"enabled": True, "uac": 512, "read_at": "x"},
        {"enabled": False, "uac": 512, "read_at": "y"},
    )
    assert text(state_lines(before, after)) == ["enabled yes"]
    assert text(state_lines({"uac": 512}, {})) == ["uac 512"]
    ident = "8f3a1c52-77aa-4c0e-9d55-0b1f2e3d4c5b"
    assert text(state_lines({"groups": [ident, ident]}, {})) == ["groups 2 by id"]
    methods = [{"id": ident, "kind": "fido2", "removable": True}]
    assert text(state_lines({"methods": methods}, {})) == ["methods fido2"]
    assert text(state_lines({"methods": []}, {})) == ["methods none"]
    assert len(text(state_lines({"names": ["abcdefghij"] * 90}, {}))[0]) < 170


# ------------------------------------------------------------------------------- the period's page


def test_the_period_report_has_its_parts_in_order() -> None:
    html = period_html(period(MIXED))
    parts = re.findall(r"<h2>([^<]+?)(?: <span|</h2>)", html.replace("&#39;", "'"))
    assert parts == [
        "Completeness",
        "Result of management's test",
        "How far this can be trusted",
        "Per system",
        "How long it took, and when",
        "Exceptions",
        "Population",
        "Approvals and segregation of duties",
        "Changes of policy, configuration and keys",
        "Controls",
        "Not tested here",
        "Checkpoints",
        "Information produced by the entity",
    ]
    text = Page(html).text
    claim = "Tamper-evident since checkpoint 100000, complete against the HR pull of 2026-12-01 01:00:00 UTC."
    assert claim in text
    assert not re.search(r"tamper-proof|immutable|audit-passed", text, re.IGNORECASE)
    for one in period(MIXED).leavers:
        assert one.case in text


def test_a_gap_is_the_headline_and_red() -> None:
    given = period(MIXED[:2], completeness=counted(2, 2, missing=1))
    page = period_page(count_period(given))
    assert (page.banner.tone, page.banner.headline) == (
        Tone.BAD,
        "The population does not add up: difference 1",
    )
    assert "NOT complete against the HR pull" in page.claim
    html = page_html(page)
    assert '<span class="badge bad">1</span>' in html
    assert "c-" + "z" * 26 in html


def test_headlines_from_good_to_empty() -> None:
    def headline(kinds: list[Kind], **changes: Any) -> tuple[Tone, str]:
        shown = period_page(count_period(period(kinds, **changes))).banner
        return shown.tone, shown.headline

    assert headline([Kind()]) == (Tone.GOOD, "All tested leavers' access was removed within its limits")
    assert headline([Kind(open_step="entra.block_sign_in"), Kind()]) == (
        Tone.BAD,
        "1 leaver of 2 with an exception",
    )
    assert headline([]) == (Tone.OPEN, "No leaver in this period")
    assert headline([MIXED[4]]) == (Tone.OPEN, "Nothing to test yet")
    unasked = replace(counted(1, 1), hr_leavers=None, pulled_at=None)
    assert headline([Kind()], completeness=unasked)[0] is Tone.OPEN


def test_an_auditor_finds_what_was_not_tested_and_an_empty_column() -> None:
    text = ControlText("SOC2:CC6.2", "SOC 2", "CC6.2", "Access ends", "Compare dates", "Only HR's list")
    unserved = ControlText(
        "SOC2:CC6.5", "SOC 2", "CC6.5", "Devices", "Look elsewhere", "Nothing here shows it"
    )
    html = period_html(period([Kind()], controls=(text, unserved)))
    assert "Auditor&#39;s result" in html
    assert "Sign-ins after the effective time (look-back): not testable" in html
    assert "Nothing here shows it" in html
    assert html.count('<td class="text blank" data-label="Auditor&#39;s result">') == 2


def test_a_long_period_shows_its_first_rows_and_says_where_the_rest_is() -> None:
    given = period([Kind(late_step="entra.block_sign_in")] * 130)
    html = period_html(given)
    assert "The first 100 of 130 leavers." in html
    assert "The other 30 are in exceptions.csv" in html
    assert given.leavers[99].case in html
    assert html.count('<td class="text"><div><code>c-') == 200


def test_the_pdf_of_a_period_is_for_keeping_and_for_everybody() -> None:
    page = period_page(count_period(period(MIXED)))
    raw = page_pdf(page)
    assert raw == page_pdf(page)
    assert b"pdfaid:conformance" in raw
    text, _ = pdf_text(raw)
    assert page.banner.headline in text
    assert "Difference" in text


def test_a_late_zone_shows_in_the_name_of_the_period() -> None:
    given = period([Kind()])
    berlin = replace(
        given,
        start=given.start - timedelta(hours=1),
        end=given.end - timedelta(hours=1),
        zone="Europe/Berlin",
    )
    assert "2026-11-01 to 2026-11-30 (Europe/Berlin)" in period_html(berlin)
