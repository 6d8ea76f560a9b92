"""The sealer's activities, run as Temporal runs them: answers, retries and refusals."""

from __future__ import annotations

import base64
import json
import sqlite3
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.evidence import EvidenceActivities
from leaver.domain.base import Facts
from leaver.domain.ids import person_ref
from leaver.domain.records import AppendInput, AppendResult, SealInput, SealResult
from leaver.domain.statement import Statement, StatementBody, Verdict, VerifyStatementInput
from leaver.domain.words import ErrorType, RecordType, Verb
from leaver.evidence.anchors.publisher import Publisher
from leaver.evidence.bundle import BundleStore, Material, Sealing
from leaver.evidence.errors import KeyFileError, PeopleFileError
from leaver.evidence.keys.files import FileLogSigner, FileSigner
from leaver.evidence.ledger.group import GroupCommit
from leaver.evidence.ledger.model import Note
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.people import People, PersonEntry, Role, load_people, save_people
from leaver.evidence.records import Chain, Record
from leaver.evidence.statements import new_person_key, person_key, sign_statement
from leaver.evidence.verify import verify_bundle
from leaver.temporal.history import HistoryFile, HistoryMissingError, NotClosedError
from tests.support.bundle_world import final_body

ID_KEY = b"0123456789abcdef"
SOURCE = "hris/bamboohr/demo"
WHEN = datetime(2026, 11, 20, 17, 5, tzinfo=UTC)
REST: Facts = {
    "workflow_type": "LeaverWorkflow",
    "first_run_id": "019a9d3e-0000-7000-8000-000000000001",
    "started_at": "2026-11-20T17:00:00Z",
    "closed_at": "2026-11-20T17:04:00Z",
    "library": "temporalio",
}


@dataclass
class Histories:
    """Seals one history, after it has failed as often as it is told to."""

    ledger: Ledger
    file: HistoryFile
    failures: list[Exception] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def seal_case(self, case: str, workflow_id: str, first_run_id: str) -> tuple[Record, ...]:
        self.asked.append((workflow_id, first_run_id))
        if self.failures:
            raise self.failures.pop(0)
        for raw in (self.file.proto, self.file.json):
            self.ledger.store_content(raw)
        body = {**final_body(self.file, workflow_id), **REST}
        note = Note(Chain.SEALER, RecordType.HISTORY_FINAL, WHEN, body, key="final", case=case)
        return tuple(self.ledger.notes([note]))


@dataclass
class Sealer:
    activities: EvidenceActivities
    histories: Histories
    folder: Path
    ledger: Ledger

    async def append(self, drafts: list[Any]) -> AppendResult:
        answer = await ActivityEnvironment().run(self.activities.append, AppendInput(drafts=tuple(drafts)))
        assert isinstance(answer, AppendResult)
        return answer

    async def seal(self, case: str) -> SealResult:
        arg = SealInput(case=case, workflow_id=f"leaver-{case}", first_run_id="run-1")
        answer = await ActivityEnvironment().run(self.activities.seal, arg)
        assert isinstance(answer, SealResult)
        return answer

    async def verify(self, case: str, statement: Statement) -> Verdict:
        arg = VerifyStatementInput(case=case, statement=statement)
        answer = await ActivityEnvironment().run(self.activities.verify_statement, arg)
        assert isinstance(answer, Verdict)
        return answer


@pytest.fixture
def sealer(tmp_path: Path, ledger: Ledger, signer: FileSigner, samples: Any) -> Sealer:
    histories = Histories(ledger, samples.history())
    log = FileLogSigner(tmp_path / "log.pem", "log.example.com/leaver")
    sealing = Sealing(
        ledger,
        BundleStore(tmp_path / "bundles", signer, [log.vkey]),
        Publisher(ledger, log, kept=tmp_path / "last-checkpoint").publish,
        Material((log.vkey,)),
    )
    for name in ("manager", "operator", "security"):
        new_person_key(tmp_path / f"{name}.pem")
    save_people(
        tmp_path / "people.json",
        People(
            people=(
                entry(tmp_path / "manager.pem", "4711", Role.APPROVER),
                entry(tmp_path / "operator.pem", "it-1", Role.OPERATOR),
                entry(tmp_path / "security.pem", "sec-1", Role.SECURITY, Role.OPERATOR),
            )
        ),
    )
    activities = EvidenceActivities(
        appends=GroupCommit(ledger),
        bundles=sealing,
        history=histories,
        people=tmp_path / "people.json",
        id_key=ID_KEY,
        source=SOURCE,
    )
    return Sealer(activities, histories, tmp_path, ledger)


def entry(path: Path, subject: str, *roles: Role) -> PersonEntry:
    key = person_key(path)
    return PersonEntry(subject=subject, key_id=key.key_id, public_key=key.public_key, roles=roles)


def body(case: str, verb: Verb = Verb.APPROVE, by: str = "4711", **more: str) -> StatementBody:
    return StatementBody(case=case, verb=verb, by=by, at=WHEN, nonce="n-1", **more)


# --------------------------------------------------------------------- append


async def test_append_answers_the_same_when_asked_again(sealer: Sealer, samples: Any) -> None:
    drafts = samples.clean()
    first = await sealer.append(drafts[:10])
    assert first.count == 10
    assert await sealer.append(drafts[:10]) == first
    assert (await sealer.append(drafts[10:])).count == len(drafts)
    assert len(sealer.ledger.records(samples.case)) == len(drafts)


async def test_what_the_ledger_refuses_is_final(sealer: Sealer, samples: Any) -> None:
    drafts = samples.clean()
    await sealer.append(drafts[:5])
    other = drafts[4].model_copy(update={"type": RecordType.READBACK})
    floating = drafts[5].model_copy(update={"body": {"x": 0.5}})
    for batch in ([other], [drafts[7]], [floating], []):
        with pytest.raises(ApplicationError) as caught:
            await sealer.append(batch)
        assert caught.value.type == ErrorType.REJECTED
        assert caught.value.non_retryable


async def test_a_ledger_that_cannot_be_written_now_is_tried_again(sealer: Sealer, samples: Any) -> None:
    sealer.ledger.close()
    with pytest.raises(ApplicationError) as caught:
        await sealer.append(samples.clean())
    assert caught.value.type == ErrorType.UNAVAILABLE
    assert not caught.value.non_retryable


async def test_a_locked_ledger_waits_for_its_turn(sealer: Sealer, samples: Any) -> None:
    other = sqlite3.connect(sealer.folder / "ledger.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.3, lambda: other.execute("ROLLBACK")).start()
    assert (await sealer.append(samples.clean())).count == len(samples.clean())
    other.close()


# --------------------------------------------------------------------- seal


async def test_seal_waits_for_workflow_and_case_to_close(sealer: Sealer, samples: Any) -> None:
    drafts = samples.clean()
    for known in (0, 5):
        if known:
            await sealer.append(drafts[:known])
        with pytest.raises(ApplicationError) as caught:
            await sealer.seal(samples.case)
        assert caught.value.type == ErrorType.NOT_CLOSED_YET
        assert not caught.value.non_retryable
    assert sealer.histories.asked == []
    await sealer.append(drafts)
    sealer.histories.failures += [NotClosedError("still runs"), HistoryMissingError("not there")]
    for kind in (ErrorType.NOT_CLOSED_YET, ErrorType.UNAVAILABLE):
        with pytest.raises(ApplicationError) as caught:
            await sealer.seal(samples.case)
        assert caught.value.type == kind
        assert not caught.value.non_retryable
    assert not (sealer.folder / "bundles").exists()
    sealed = await sealer.seal(samples.case)
    assert sealer.histories.asked[-1] == (f"leaver-{samples.case}", "run-1")
    assert (sealed.bundle, sealed.records, sealed.events) == (samples.case, len(drafts) + 2, 300)
    assert verify_bundle(sealer.folder / "bundles" / sealed.bundle).ok


async def test_seal_again_needs_no_history(sealer: Sealer, samples: Any) -> None:
    await sealer.append(samples.clean())
    first = await sealer.seal(samples.case)
    sealer.histories.failures.append(HistoryMissingError("deleted after the namespace's retention"))
    assert await sealer.seal(samples.case) == first


async def test_seal_refuses_for_good_what_will_never_verify(sealer: Sealer, samples: Any) -> None:
    await sealer.append(samples.clean())
    sealed = await sealer.seal(samples.case)
    (sealer.folder / "bundles" / sealed.bundle / "case.json").write_text("{}")
    with pytest.raises(ApplicationError) as caught:
        await sealer.seal(samples.case)
    assert caught.value.type == ErrorType.REJECTED
    assert caught.value.non_retryable


# --------------------------------------------------------------------- statements


async def test_a_good_statement(sealer: Sealer, samples: Any) -> None:
    statement = sign_statement(body(samples.case, plan_digest="sha256:00"), sealer.folder / "manager.pem")
    verdict = await sealer.verify(samples.case, statement)
    assert verdict.valid
    assert verdict.refusal == ""
    assert verdict.roles == ("approver",)
    assert verdict.by_ref == person_ref(ID_KEY, source=SOURCE, worker="4711")
    assert len(verdict.sha256) == 64
    assert "4711" not in verdict.model_dump_json()


@pytest.mark.parametrize(
    ("name", "subject", "allowed"),
    [
        ("manager", "4711", {Verb.APPROVE, Verb.REJECT}),
        ("operator", "it-1", {Verb.RETRY, Verb.HOLD, Verb.RELEASE, Verb.RESCIND}),
        ("security", "sec-1", set(Verb) - {Verb.APPROVE, Verb.REJECT}),
    ],
)
async def test_roles_say_who_may_say_what(
    sealer: Sealer, samples: Any, name: str, subject: str, allowed: set[Verb]
) -> None:
    for verb in Verb:
        statement = sign_statement(body(samples.case, verb, subject), sealer.folder / f"{name}.pem")
        verdict = await sealer.verify(samples.case, statement)
        assert verdict.valid is (verb in allowed), verb
        assert verdict.by_ref.startswith("p-")  # who it is was proven, whatever they may say
        assert (verdict.refusal == "") is verdict.valid


async def test_what_is_not_proven_is_refused_without_a_person(sealer: Sealer, samples: Any) -> None:
    good = sign_statement(body(samples.case), sealer.folder / "manager.pem")
    new_person_key(sealer.folder / "unknown.pem")
    other_case = "c-" + "b" * 26
    signature = bytearray(base64.b64decode(good.signature))
    signature[5] ^= 1
    attempts = [
        (samples.case, sign_statement(body(other_case), sealer.folder / "manager.pem"), "another case"),
        (other_case, good, "another case"),
        (samples.case, sign_statement(body(samples.case), sealer.folder / "unknown.pem"), "no person"),
        (samples.case, sign_statement(body(samples.case), sealer.folder / "security.pem"), "another person"),
        (
            samples.case,
            good.model_copy(update={"key_id": person_key(sealer.folder / "operator.pem").key_id}),
            "another person",
        ),
        (
            samples.case,
            good.model_copy(update={"signature": base64.b64encode(signature).decode()}),
            "signature",
        ),
        (samples.case, good.model_copy(update={"signature": "not base64!"}), "signature"),
        (samples.case, good.model_copy(update={"signature": "AAAA"}), "signature"),
        (samples.case, good.model_copy(update={"body": body(samples.case, Verb.REJECT)}), "signature"),
        (samples.case, good.model_copy(update={"body": body(samples.case, reason="x")}), "signature"),
    ]
    for case, statement, why in attempts:
        verdict = await sealer.verify(case, statement)
        assert not verdict.valid
        assert why in verdict.refusal
        assert (verdict.by_ref, verdict.roles) == ("", ())


async def test_a_removed_key_stops_counting_at_once(sealer: Sealer, samples: Any) -> None:
    statement = sign_statement(body(samples.case), sealer.folder / "manager.pem")
    assert (await sealer.verify(samples.case, statement)).valid
    save_people(sealer.folder / "people.json", People())
    assert not (await sealer.verify(samples.case, statement)).valid


async def test_a_broken_registry_is_asked_again_not_answered(sealer: Sealer, samples: Any) -> None:
    statement = sign_statement(body(samples.case), sealer.folder / "manager.pem")
    (sealer.folder / "people.json").write_text("{")
    with pytest.raises(ApplicationError) as caught:
        await sealer.verify(samples.case, statement)
    assert caught.value.type == ErrorType.MISCONFIGURED
    assert not caught.value.non_retryable


# --------------------------------------------------------------------- the registry and the keys


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    key = new_person_key(tmp_path / "a.pem")
    toml, as_json = tmp_path / "people.toml", tmp_path / "people.json"
    toml.write_text(
        f'[[people]]\nsubject = "4711"\nkey_id = "{key.key_id}"\npublic_key = "{key.public_key}"\n'
        'roles = ["approver", "operator"]\n'
    )
    save_people(as_json, load_people(toml))
    assert load_people(as_json) == load_people(toml)
    assert load_people(toml).by_key(key.key_id) == load_people(toml).people[0]
    assert load_people(toml).by_key("k-0") is None


def test_mistakes_in_the_registry_are_named(tmp_path: Path) -> None:
    one, two = (new_person_key(tmp_path / name) for name in ("one.pem", "two.pem"))
    good = {"subject": "4711", "key_id": one.key_id, "public_key": one.public_key, "roles": ["approver"]}
    cases: list[tuple[object, str]] = [
        ({"people": [{**good, "roles": []}]}, r"people\.0\.roles"),
        ({"people": [{**good, "roles": ["boss"]}]}, r"people\.0\.roles\.0"),
        ({"people": [{**good, "public_key": "AAAA"}]}, r"people\.0\.public_key.*32 bytes"),
        ({"people": [{**good, "public_key": "!"}]}, r"people\.0\.public_key.*base64"),
        ({"people": [{**good, "key_id": two.key_id}]}, "key_id does not belong"),
        ({"people": [good, {**good, "subject": "other"}]}, "listed twice"),
        ({"people": [{**good, "extra": 1}]}, r"people\.0\.extra"),
        ({"persons": []}, "persons"),
        ([], "file"),
    ]
    path = tmp_path / "people.json"
    for content, why in cases:
        path.write_text(json.dumps(content))
        with pytest.raises(PeopleFileError, match=why):
            load_people(path)
    path.write_bytes(b"\xff")
    with pytest.raises(PeopleFileError, match="not valid JSON"):
        load_people(path)
    (tmp_path / "people.toml").write_text("people = [")
    with pytest.raises(PeopleFileError, match="not valid TOML"):
        load_people(tmp_path / "people.toml")
    with pytest.raises(PeopleFileError, match="cannot be read"):
        load_people(tmp_path / "missing.toml")


def test_person_keys_are_never_overwritten_and_never_shared(tmp_path: Path, samples: Any) -> None:
    path = tmp_path / "me.pem"
    made = new_person_key(path)
    assert person_key(path) == made
    with pytest.raises(KeyFileError, match="never overwritten"):
        new_person_key(path)
    assert person_key(path) == made
    path.chmod(0o604)
    with pytest.raises(KeyFileError, match="chmod 600"):
        sign_statement(body(samples.case), path)
    FileSigner(tmp_path / "evidence.pem")
    with pytest.raises(KeyFileError, match="Ed25519"):
        sign_statement(body(samples.case), tmp_path / "evidence.pem")
    with pytest.raises(KeyFileError, match="cannot be read"):
        sign_statement(body(samples.case), tmp_path / "missing.pem")
