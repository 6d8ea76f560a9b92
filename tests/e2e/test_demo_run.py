"""The demonstration, run once: what it leaves behind, judged by the simulators' own logs and journals."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from leaver.domain.words import CaseOutcome, Outcome, Phase
from leaver.embedded.demo import Demo, DemoOptions, play
from leaver.embedded.stack import running_stack
from leaver.evidence.verify import verify_bundle
from leaver.simulators.company import GROUPS, PEOPLE, person
from tests.support.stack import (
    FAST,
    HR_FILE,
    POLICY,
    SUCCESSORS,
    SYSTEMS,
    UNSYNCED,
    Request,
    check_that_changes_name_only,
    check_that_only_leavers_changed,
    journal,
    mutations,
    options,
    requests,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATER = (Phase.CREDENTIALS, Phase.PRESERVE, Phase.ENTITLEMENTS, Phase.LICENCES)
PROVEN = {Outcome.VERIFIED, Outcome.ALREADY, Outcome.ABSENT}
LICENCE_GROUPS = {group.object_id for group in GROUPS if group.licences}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def output(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    """What ``leaver demo`` writes: the same run at a faster pace. The stack is gone when tests look at it."""
    folder = tmp_path_factory.mktemp("demo") / "demo-output"
    demo = Demo(options=DemoOptions(hr_file=HR_FILE, policy=POLICY, output=folder, ad="standin", limit=90))
    async with running_stack(options(folder, pace=UNSYNCED)) as stack:
        await play(demo, stack)
    assert demo.problems == []
    yield folder


@pytest.fixture
def summary(output: Path) -> dict[str, Any]:
    found = json.loads((output / "summary.json").read_text("utf-8"))
    assert isinstance(found, dict)
    return found


@pytest.fixture
def state(output: Path) -> Path:
    return output / "state"


def case_of(summary: dict[str, Any], number: str) -> dict[str, Any]:
    (found,) = [case for case in summary["cases"] if case["person"] == number]
    assert isinstance(found, dict)
    return found


def instant(text: str) -> datetime:
    assert text.endswith("Z"), text
    return datetime.fromisoformat(text)


def changes(state: Path, number: str, *systems: str) -> list[Request]:
    found = [each for each in mutations(state, *systems) if each.about(person(number))]
    assert found, f"the simulators saw no change of {number}"
    return found


def is_containment(request: Request) -> bool:
    return request.operation in {"/users/{user}", "modify userAccountControl", "modify unicodePwd"}


def is_revocation(request: Request) -> bool:
    return request.operation.endswith("/revokeSignInSessions")


def takes_licences(request: Request) -> bool:
    leaves_group = request.method == "DELETE" and bool(LICENCE_GROUPS & set(request.related))
    return leaves_group or request.operation.endswith("/assignLicense")


# ---------------------------------------------------------------------------------------- the summary


async def test_the_summary_has_exactly_the_documented_fields(summary: dict[str, Any]) -> None:
    assert set(summary) == {"cases", "rejected", "held"}
    for case in summary["cases"]:
        assert set(case) == {
            "case", "person", "phase", "outcome", "hr_time", "cutoff", "contained_at", "lag_seconds",
            "lag_effective_seconds", "bundle", "steps",
        }  # fmt: skip
        for step in case["steps"]:
            assert set(step) == {
                "step", "system", "phase", "outcome", "started_at", "finished_at", "attempts",
            }  # fmt: skip
    assert [set(row) for row in summary["rejected"]] == [{"source", "line", "field", "reason"}]
    assert [set(row) for row in summary["held"]] == [{"person", "reason", "case"}]


async def test_everybody_gets_what_the_sample_says(summary: dict[str, Any]) -> None:
    assert [case["person"] for case in summary["cases"]] == ["E1001", "E1002", "E1003", "E1004"]
    (rejected,) = summary["rejected"]
    assert (rejected["source"], rejected["line"], rejected["field"]) == (
        HR_FILE.name, 6, "last_working_day",
    )  # fmt: skip
    assert "2026-02-31" in rejected["reason"]
    (held,) = summary["held"]
    assert held["person"] == "E1006"
    assert "protect" in held["reason"]


@pytest.mark.parametrize("number", SUCCESSORS)
async def test_a_leaver_is_completed_with_every_step_proven(summary: dict[str, Any], number: str) -> None:
    case = case_of(summary, number)
    assert (case["phase"], case["outcome"]) == (Phase.WATCH, CaseOutcome.COMPLETED)
    assert {step["outcome"] for step in case["steps"]} <= PROVEN
    systems = {step["system"] for step in case["steps"] if step["phase"] != Phase.INTAKE}
    assert systems == ({*SYSTEMS} if number == "E1002" else {*SYSTEMS} - {"ad"})
    assert {step["phase"] for step in case["steps"]} == {Phase.INTAKE, Phase.CONTAIN, *LATER}
    for step in case["steps"]:
        assert step["attempts"] >= 1 or step["outcome"] == Outcome.ABSENT or step["phase"] == Phase.INTAKE
        assert instant(step["started_at"]) <= instant(step["finished_at"])


@pytest.mark.parametrize("number", SUCCESSORS)
async def test_the_lag_is_what_the_times_say(summary: dict[str, Any], number: str) -> None:
    case = case_of(summary, number)
    contained, cutoff = instant(case["contained_at"]), instant(case["cutoff"])
    notice = max(cutoff, instant(case["hr_time"]))
    finished = [instant(s["finished_at"]) for s in case["steps"] if s["phase"] == Phase.CONTAIN]
    assert contained == max(finished)
    assert case["lag_seconds"] == pytest.approx((contained - notice).total_seconds(), abs=0.001)
    assert case["lag_effective_seconds"] == pytest.approx((contained - cutoff).total_seconds(), abs=0.001)
    assert 0 < case["lag_seconds"] < 60


async def test_a_later_leaver_waits_untouched(summary: dict[str, Any], state: Path) -> None:
    case = case_of(summary, "E1004")
    assert (case["phase"], case["outcome"]) == (Phase.SCHEDULED, CaseOutcome.RUNNING)
    assert (case["contained_at"], case["lag_seconds"], case["bundle"], case["steps"]) == (
        None,
        None,
        None,
        [],
    )
    # The end of the last working day in Berlin.
    assert instant(case["cutoff"]) == datetime(2036, 12, 31, 23, tzinfo=UTC)
    assert [each for each in requests(state) if each.about(person("E1004"))] == []


async def test_a_protected_person_is_not_touched(state: Path) -> None:
    assert [each for each in requests(state) if each.about(person("E1006"))] == []


# ---------------------------------------------------------------------------------------- order


@pytest.mark.parametrize("number", SUCCESSORS)
async def test_containment_everywhere_comes_before_any_later_step(
    summary: dict[str, Any], state: Path, number: str
) -> None:
    steps = case_of(summary, number)["steps"]
    contained = max(instant(s["finished_at"]) for s in steps if s["phase"] == Phase.CONTAIN)
    assert contained <= min(instant(s["started_at"]) for s in steps if s["phase"] in LATER)
    seen = changes(state, number)
    containing = [each for each in seen if is_containment(each)]
    first_revocation = next(each for each in seen if is_revocation(each))
    later = [each for each in seen if not is_containment(each) and not is_revocation(each)]
    assert max(each.time for each in (*containing, first_revocation)) < min(each.time for each in later)
    if number == "E1002":
        assert {each.system for each in containing} == {"entra", "ad"}


@pytest.mark.parametrize("number", SUCCESSORS)
async def test_disable_and_password_come_before_revocation(state: Path, number: str) -> None:
    seen = changes(state, number, "entra")
    disabling = [each for each in seen if is_containment(each)]
    assert len(disabling) == 1, "one write disables and sets the password"
    assert disabling[0].summary["accountEnabled"] is False
    # The password of a synced account is Active Directory's business.
    assert ("passwordProfile" in disabling[0].summary) == (number != "E1002")
    revoking = [each for each in seen if is_revocation(each)]
    assert len(revoking) == 3, "after containment, after the credentials, after the groups"
    assert all(disabling[0].time < each.time for each in revoking)


async def test_active_directory_disables_before_two_passwords(state: Path) -> None:
    seen = [each.operation for each in changes(state, "E1002", "ad") if is_containment(each)]
    assert seen == ["modify userAccountControl", "modify unicodePwd", "modify unicodePwd"]


@pytest.mark.parametrize("number", SUCCESSORS)
async def test_licences_stay_until_the_mailbox_reads_as_shared(state: Path, number: str) -> None:
    shared = instant_shared(state, number)
    taking = [each for each in changes(state, number) if takes_licences(each)]
    assert {each.method for each in taking} == {"POST", "DELETE"}, "both direct and by group"
    first = min(each.time for each in taking)
    for system, operation in (("exchange", "Get-Mailbox"), ("entra", "/users/{user}/mailboxSettings")):
        proofs = [
            each
            for each in requests(state, system)
            if each.operation == operation and each.about(person(number)) and shared < each.time < first
        ]
        assert proofs, f"no {operation} after the conversion and before the first licence went"


def instant_shared(state: Path, number: str) -> str:
    """When both systems answered that the mailbox is shared, by the simulator's journal."""
    became = [
        line["value"]["type_changed"]
        for line in journal(state)
        if line["table"] == "mailbox" and line["id"] == person(number).object_id
        if line["value"]["type"] == "SharedMailbox"
    ]
    # Graph's userPurpose lags by a second at the usual pace.
    known = datetime.fromtimestamp(min(became), UTC) + timedelta(seconds=FAST.slow_down * 1.0)
    return known.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# ---------------------------------------------------------------------------------------- nobody else


async def test_every_change_is_of_a_leaver_and_names_at_most_the_successor(state: Path) -> None:
    assert {each.system for each in mutations(state)} == set(SYSTEMS)
    check_that_changes_name_only(state, SUCCESSORS)


async def test_the_state_of_everybody_else_is_as_it_was(state: Path) -> None:
    check_that_only_leavers_changed(state, SUCCESSORS)


# ---------------------------------------------------------------------------------------- what is left


async def test_the_state_folder_holds_what_the_stack_left_behind(state: Path) -> None:
    assert (state / "temporal.db").read_bytes().startswith(b"SQLite format 3\x00")
    assert (state / "ledger.db").read_bytes().startswith(b"SQLite format 3\x00")
    for system in SYSTEMS:
        lines = (state / f"requests-{system}.jsonl").read_text("utf-8").splitlines()
        assert lines
        for line in lines:
            assert {"time", "method", "path", "status", "mutating", "object"} <= set(json.loads(line))


@pytest.mark.parametrize("number", SUCCESSORS)
async def test_both_verifiers_accept_the_bundle_and_see_an_edited_record(
    output: Path, summary: dict[str, Any], tmp_path: Path, number: str
) -> None:
    bundle = output / case_of(summary, number)["bundle"]
    report = verify_bundle(bundle)
    assert (report.ok, report.case) == (True, case_of(summary, number)["case"])
    assert report.records > 20
    assert report.events > 50
    code, said = await standalone(bundle)
    assert code == 0, said

    edited = tmp_path / "edited"
    shutil.copytree(bundle, edited)
    record = sorted((edited / "records").glob("*.json"))[10]
    text = record.read_text("utf-8")
    fields = json.loads(text)
    record.write_text(text.replace(fields["at"], fields["at"].replace("2", "3", 1)), "utf-8")
    assert any(record.name in finding.file for finding in verify_bundle(edited).findings)
    code, said = await standalone(edited)
    assert (code, record.name in said) == (1, True), said


async def standalone(bundle: Path) -> tuple[int, str]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-I", str(bundle / "verify.py"), str(bundle),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await child.communicate()
    assert child.returncode is not None
    return child.returncode, said.decode()


@pytest.mark.parametrize("number", SUCCESSORS)
async def test_a_readable_page_per_leaver(output: Path, summary: dict[str, Any], number: str) -> None:
    page = (output / f"{number}.html").read_text("utf-8")
    assert case_of(summary, number)["case"] in page
    assert "SharedMailbox" in page or "shared mailbox" in page.lower()


async def test_no_sample_person_is_forgotten_by_these_tests() -> None:
    known = {*SUCCESSORS, *SUCCESSORS.values(), "E1004", "E1006", "E3001"}
    assert {each.number for each in PEOPLE} == known
