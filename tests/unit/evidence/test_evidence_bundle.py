"""Bundles: whole or not there, the same bytes every time, never one that would not verify."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from leaver.domain.base import Facts
from leaver.domain.words import RecordType
from leaver.evidence.anchors.layout import parse_continuation
from leaver.evidence.bundle import (
    STANDALONE,
    BundleInput,
    BundleKind,
    BundleStore,
    KnownAuthority,
    KnownWitness,
    Material,
    Sealing,
    bundle_files,
    bundle_name,
    collect,
    consistency_proof,
    export_bundle,
)
from leaver.evidence.bundle.collect import listed
from leaver.evidence.case_view import case_view
from leaver.evidence.errors import (
    BundleError,
    CaseNotClosedError,
    EvidenceError,
    KeyServiceError,
    UnknownCaseError,
)
from leaver.evidence.keys.files import FileSigner
from leaver.evidence.ledger.model import AnchorKind, Note, Opening, StoredCheckpoint
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.log.checkpoint import Checkpoint
from leaver.evidence.log.notes import note_bytes
from leaver.evidence.records import Chain, parse_record
from leaver.evidence.verify import Trust, load_trust, verify_bundle
from tests.support.bundle_world import (
    PERSON,
    PERSON_SALT,
    START,
    Keys,
    MemoryLog,
    World,
    bundle_input,
    commit,
    final_body,
    sample_world,
    write_trust,
)

NEEDS_OPENSSL = pytest.mark.skipif(not shutil.which("openssl"), reason="needs the system package openssl")
CHAINS = (Chain.CASE, Chain.WATCH, Chain.SEALER)
RUN = "019a9d3e-0000-7000-8000-000000000001"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture
def given(sealed_world: World) -> BundleInput:
    return sealed_world.input


@pytest.fixture
def store(tmp_path: Path, signer: FileSigner, sealed_world: World) -> BundleStore:
    return BundleStore(tmp_path / "bundles", signer, [sealed_world.keys.log.vkey])


def test_a_bundle_holds_what_it_says(store: BundleStore, given: BundleInput) -> None:
    bundle = store.seal(given)
    files = contents(bundle.path)
    places = [each.record.seq for each in given.records]
    assert places == [37, *range(38, 67), 67, 68, 69]
    assert sorted(files) == sorted(
        [
            *(f"records/{seq:08d}.{end}" for seq in places for end in ("json", "tlog-proof")),
            *(f"history/{RUN}.{end}" for end in ("json", "pb")),
            *(f"keys/{name}" for name in ("signer.pem", "log.vkey", "witnesses.vkeys", "tsa-ca.pem")),
            *("checkpoint.99", "consistency.json", "tsa/99.tsr", "manifest.dsse.json", "case.json"),
            *("VERIFY.md", "verify.py", "report.html", "report.pdf"),
        ]
    )
    assert [files[f"records/{each.record.seq:08d}.json"] for each in given.records] == [
        each.record.raw for each in given.records
    ]
    assert files["verify.py"] == STANDALONE.read_bytes()
    assert (bundle.name, bundle.records, bundle.events, bundle.size) == (given.subject, 33, 300, 99)
    assert [path.name for path in bundle.path.parent.iterdir()] == [given.subject]
    report = verify_bundle(bundle.path)
    assert (report.ok, report.case, report.records, report.events) == (True, given.subject, 33, 300)


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path, signer: FileSigner, given: BundleInput) -> None:
    one = BundleStore(tmp_path / "one", signer).seal(given)
    other = BundleStore(tmp_path / "other", signer).seal(given)
    assert contents(one.path) == contents(other.path) == bundle_files(given, signer)
    assert one.manifest_sha256 == other.manifest_sha256


def test_sealing_again_returns_the_bundle_that_exists(
    store: BundleStore, given: BundleInput, sealed_world: World
) -> None:
    case = [each.record for each in given.records if each.record.chain is Chain.CASE]
    assert store.find(given.subject) is None
    assert store.find_same(case) is None
    first = store.seal(given)
    before = contents(first.path)
    assert store.seal(given) == store.find(given.subject) == store.find_same(case) == first
    # Later the sealer may have noted more about the case, and the log has grown.
    log = MemoryLog(sealed_world.log.raws)
    log.add(given.subject, "sealer", RecordType.EXCEPTION_RAISED, {"cause": "late"})
    assert store.seal(sealed_world.make(log)) == first
    assert contents(first.path) == before


def test_a_changed_bundle_is_neither_returned_nor_overwritten(store: BundleStore, given: BundleInput) -> None:
    bundle = store.seal(given)
    (bundle.path / "report.html").write_text("all is well")
    for attempt in (lambda: store.seal(given), lambda: store.find(given.subject)):
        with pytest.raises(BundleError, match=r"does not verify.*report\.html"):
            attempt()
    assert (bundle.path / "report.html").read_text() == "all is well"


def test_a_bundle_of_other_records_is_not_taken_for_this_case(
    store: BundleStore, given: BundleInput, sealed_world: World, samples: Any
) -> None:
    store.seal(given)
    drafts = [draft.model_copy(update={"at": draft.at + timedelta(hours=1)}) for draft in samples.clean()]
    other = sample_world(sealed_world.keys, drafts, sealed_world.run).input
    with pytest.raises(BundleError, match="other records"):
        store.seal(other)
    with pytest.raises(BundleError, match="other records"):
        store.find_same([each.record for each in other.records if each.record.chain is Chain.CASE])


def test_what_would_not_verify_is_never_published(
    store: BundleStore, given: BundleInput, sealed_world: World, tmp_path: Path
) -> None:
    run, records = sealed_world.run, given.records
    forged = parse_record(records[4].record.raw.replace(b'"verified"', b'"already"'))
    attempts = [
        replace(given, records=()),
        replace(given, records=records[:-3]),
        replace(given, records=(*records[:4], *records[5:])),
        replace(given, records=(*records[:4], replace(records[4], record=forged), *records[5:])),
        replace(given, records=(*records[:4], replace(records[4], path=records[5].path), *records[5:])),
        replace(given, histories=()),
        replace(given, histories=(run, run)),
        replace(given, histories=(replace(run, run_id="../../etc/passwd"),)),
        replace(given, histories=(replace(run, run_id=".hidden"),)),
        replace(given, histories=(replace(run, proto=run.proto[:-3]),)),
        replace(given, histories=(replace(run, json=run.json.replace(b'"7"', b'"8"')),)),
        replace(given, stamps=(replace(given.stamps[0], tsr=b"no reply"),)),
        replace(given, keys=replace(given.keys, log=("nonsense",))),
        replace(given, keys=replace(given.keys, log=())),
        replace(given, checkpoint=b"nonsense"),
        replace(given, subject="c-" + "b" * 26),
        *(replace(given, pages={name: b"x"}) for name in BAD_PAGES),
    ]
    for attempt in attempts:
        with pytest.raises(EvidenceError):
            store.seal(attempt)
        assert not list((tmp_path / "bundles").glob("*")) if (tmp_path / "bundles").exists() else True


BAD_PAGES = (
    "../x",
    "/x",
    "records/x",
    "verify.py",
    "manifest.dsse.json",
    "keys/x",
    "a//b",
    ".x",
    "openings/x",
)


def test_what_a_killed_process_left_is_swept(store: BundleStore, given: BundleInput, tmp_path: Path) -> None:
    half = tmp_path / "bundles" / f".{given.subject}.0123456789abcdef"
    half.mkdir(parents=True)
    (half / "manifest.dsse.json").write_text("{")
    bundle = store.seal(given)
    assert [path.name for path in bundle.path.parent.iterdir()] == [given.subject]


def test_a_full_disk_leaves_nothing_behind(store: BundleStore, given: BundleInput, tmp_path: Path) -> None:
    (tmp_path / "bundles").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="exists"):
        store.seal(given)
    (tmp_path / "bundles").unlink()
    assert store.seal(given).records == 33


def test_names_in_the_store(store: BundleStore) -> None:
    case = "c-" + "a" * 26
    assert bundle_name(BundleKind.CASE, case) == case
    assert bundle_name(BundleKind.WATCH, case) == f"{case}.watch"
    assert bundle_name(BundleKind.PERIOD, "2026-10") == "period.2026-10"
    for name in ("../x", "c-x", "", case + "\n"):
        with pytest.raises(BundleError, match="case id"):
            store.find(name)
    for name in ("../x", "", "A", "a/b"):
        with pytest.raises(BundleError, match="period"):
            store.find(name, BundleKind.PERIOD)


def test_export_copies_whole_and_never_over_something(sealed: Path, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    assert export_bundle(sealed, target) == 0
    assert contents(target) == contents(sealed)
    assert [path.name for path in target.parent.iterdir()] == ["out"]
    with pytest.raises(BundleError, match="exists already"):
        export_bundle(sealed, target)
    with pytest.raises(BundleError, match="cannot be copied"):
        export_bundle(tmp_path / "missing", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_openings_go_out_only_when_asked_for_and_verify(sealed: Path, tmp_path: Path) -> None:
    case = sealed.name
    held = [
        Opening(37, case, PERSON_SALT, PERSON, commit()),
        Opening(5000, case, PERSON_SALT, PERSON, commit()),  # of a record that is not in this bundle
    ]
    assert export_bundle(sealed, tmp_path / "with", held) == 1
    report = verify_bundle(tmp_path / "with")
    assert (report.ok, report.openings) == (True, 1)
    assert "Ada" in (tmp_path / "with" / "openings" / "00000037.json").read_text()
    assert not (sealed / "openings").exists()
    assert all(b"Ada" not in content for content in contents(sealed).values())


def test_case_json_is_made_from_the_records_in_the_bundle(sealed: Path) -> None:
    records = [parse_record(path.read_bytes()) for path in sorted((sealed / "records").glob("*.json"))]
    view = case_view([each for each in records if each.chain is Chain.CASE])
    assert json.loads((sealed / "case.json").read_text()) == view.model_dump(mode="json")


# --------------------------------------------------------------------- by hand


def commands(folder: Path) -> list[str]:
    return [part.split("```")[0] for part in (folder / "VERIFY.md").read_text().split("```sh\n")[1:]]


def shell(script: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        ["/bin/sh", "-e", "-c", script], cwd=cwd, capture_output=True, text=True, check=False
    )


@NEEDS_OPENSSL
@pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs the system package coreutils")
def test_the_commands_of_verify_md_work_as_printed(sealed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(sealed, copy)
    text = (copy / "VERIFY.md").read_text()
    files, log, stamp, witness = (shell(script, copy) for script in commands(copy))
    assert [done.returncode for done in (files, log, stamp, witness)] == [0, 0, 0, 0], (
        files,
        log,
        stamp,
        witness,
    )
    fingerprint = text.split("DER form):\n\n    ")[1].split("\n")[0]
    assert len(fingerprint) == 64
    assert fingerprint in files.stdout
    assert "Verified OK" in files.stdout
    assert "Signature Verified Successfully" in log.stdout
    assert "log.example.com/leaver\n99\n" in log.stdout
    assert "Verification: OK" in stamp.stdout + stamp.stderr
    assert "Time stamp: " in stamp.stdout
    assert "Signature Verified Successfully" in witness.stdout
    leaf = text.split("    { printf '\\0'; cat records")[1].split("\n")[0]
    printed = shell("{ printf '\\0'; cat records" + leaf, copy).stdout
    assert parse_record((copy / "records" / "00000037.json").read_bytes()).leaf in printed


@NEEDS_OPENSSL
def test_the_commands_of_verify_md_see_a_change(sealed: Path, tmp_path: Path) -> None:
    def after(name: str, change: bytes) -> list[str]:
        copy = tmp_path / name.replace("/", "-")
        shutil.copytree(sealed, copy)
        path = copy / name
        path.write_bytes(path.read_bytes().replace(*change.split(b" ")))
        done = [shell(script, copy) for script in commands(copy)]
        return ["" if each.returncode == 0 else each.stdout + each.stderr for each in done]

    assert "case.json" in after("case.json", b"completed Completed")[0]
    broken = after("checkpoint.99", b"\n99\n \n98\n")
    assert "Signature Verification Failure" in broken[1]
    assert "Verification: FAILED" in broken[2]
    assert "Signature Verification Failure" in broken[3]


def test_the_claims_are_worded_honestly(sealed: Path, given: BundleInput, signer: FileSigner) -> None:
    bare = bundle_files(replace(given, stamps=(), witnesses=()), signer)["VERIFY.md"].decode()
    assert "NO OUTSIDE ANCHOR: whoever holds the log key could have made another log." in bare
    text = (sealed / "VERIFY.md").read_text()
    assert "NO OUTSIDE ANCHOR" not in text
    for each in (bare, text):
        assert "HR told us of every leaver" in each
        assert "are a\nconvenience" in each
        words = ("tamper-proof", "immutable", "unalterable", "audit-passed")
        assert not any(word in each.lower() for word in words)


# --------------------------------------------------------------------- how long it takes


@NEEDS_OPENSSL
def test_a_case_of_200_records_verifies_in_under_a_second(
    sealed_world: World, samples: Any, tmp_path: Path, signer: FileSigner
) -> None:
    drafter = samples.drafter()
    drafter.opened()
    for number in range(198):
        drafter.add(RecordType.CHANGE, {"change": "held" if number % 2 else "released", "why": "x" * 300})
    drafter.closed("completed")
    world = sample_world(sealed_world.keys, drafter.drafts, sealed_world.run)
    log = world.log
    others = samples.drafter("c-" + "e" * 26)
    for _ in range(200):
        others.add(RecordType.CHANGE, {"change": "held"})
    log.add_case(others.drafts)
    earlier = list(range(100, 260, 10))
    given = bundle_input(
        log,
        world.keys,
        log.places(world.case, "case", "sealer"),
        subject=world.case,
        histories=[world.run],
        earlier=earlier,
    )
    folder = BundleStore(tmp_path, signer).seal(given).path
    trust = write_trust(tmp_path / "trust", world.keys)
    own = load_trust(trust)
    library = min(timed(lambda: verify_bundle(folder, own)) for _ in range(3))
    words = [sys.executable, "-I", "-S", str(folder / "verify.py"), str(folder), "--trust", str(trust)]
    alone = min(timed(lambda: subprocess.run(words, check=True, capture_output=True)) for _ in range(3))  # noqa: S603
    sys.stdout.write(f"203 records: library {library * 1000:.0f} ms, verify.py {alone * 1000:.0f} ms\n")
    assert max(library, alone) < 1.0


def timed(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# --------------------------------------------------------------------- from the ledger


@pytest.fixture
def filled(ledger: Ledger, sealed_world: World, samples: Any) -> Ledger:
    """A closed case with its history and an opening, between other records."""
    run, case = sealed_world.run, samples.case
    facts: Facts = {
        "workflow_type": "LeaverWorkflow", "first_run_id": RUN, "started_at": "2026-11-20T17:00:00Z",
        "closed_at": "2026-11-20T17:04:00Z", "library": "temporalio", **final_body(run, f"leaver-{case}"),
    }  # fmt: skip
    for raw in (run.proto, run.json):
        ledger.store_content(raw)
    expected = Note(Chain.SEALER, RecordType.CASE_EXPECTED, START, {}, "expected", case, opening=PERSON)
    ledger.notes([expected, *(config(number) for number in range(5))])
    ledger.append(samples.clean())
    ledger.notes([Note(Chain.SEALER, RecordType.HISTORY_FINAL, START, facts, "final", case)])
    return ledger


def end(ledger: Ledger, case: str, kind: BundleKind = BundleKind.CASE) -> None:
    """What the sealer notes before it seals."""
    counts: Facts = {f"{chain.value}_records": len(ledger.records(case, chain)) for chain in CHAINS}
    number = len(ledger.records(case, Chain.SEALER)) + 1
    body = {**counts, "sealer_records": number, "kind": kind.value}
    ledger.note(Chain.SEALER, case, RecordType.BUNDLE_SEALING, START, body, key=f"test:{number}")


def config(number: int) -> Note:
    return Note(Chain.LOG, RecordType.CONFIG_CHANGE, START, {"change": number}, f"c{number}")


def sign(ledger: Ledger, keys: Keys, at: datetime = START) -> StoredCheckpoint:
    text = Checkpoint(keys.log.name, ledger.size(), ledger.root()).text()
    stored = StoredCheckpoint(ledger.size(), ledger.root(), note_bytes(text, [keys.log.sign_note(text)]), at)
    ledger.add_checkpoint(stored)
    return stored


def anchor(ledger: Ledger, keys: Keys, stored: StoredCheckpoint) -> None:
    reply = keys.authority.stamp(stored.note)
    ledger.add_anchor(stored.size, AnchorKind.TIMESTAMP, keys.authority.name, reply, START)
    text = stored.note.partition(b"\n\n")[0] + b"\n"
    line = keys.cosign(text).line().encode()
    ledger.add_anchor(stored.size, AnchorKind.WITNESS, "w1", line, START)


def material(keys: Keys) -> Material:
    return Material(
        (keys.log.vkey,),
        (KnownAuthority(keys.authority.name, keys.authority.ca_pem, outside=True),),
        (KnownWitness(keys.witness_vkey.vkey, outside=True),),
    )


def test_collecting_from_the_ledger(
    filled: Ledger, sealed_world: World, signer: FileSigner, samples: Any, tmp_path: Path
) -> None:
    keys = sealed_world.keys
    end(filled, samples.case)
    old = sign(filled, keys, START)
    filled.notes([config(5)])
    stored = sign(filled, keys, START + timedelta(hours=2))
    anchor(filled, keys, stored)
    given = collect(filled, samples.case, BundleKind.CASE, stored.size, material=material(keys))
    assert [each.size for each in given.earlier] == [old.size]
    assert given.histories == (sealed_world.run,)
    store = BundleStore(tmp_path / "bundles", signer, [keys.log.vkey])
    bundle = store.seal(given)
    target = tmp_path / "out"
    assert export_bundle(bundle.path, target, filled.opening(samples.case)) == 1
    report = verify_bundle(target, load_trust(write_trust(tmp_path / "trust", keys, old.note)))
    assert (report.findings, report.openings, len(report.anchors)) == ((), 1, 2)
    assert report.caveats == ()
    again = collect(filled, samples.case, BundleKind.CASE, stored.size, material=material(keys))
    assert bundle_files(again, signer) == contents(bundle.path)


def test_what_is_not_ready_is_not_collected(filled: Ledger, sealed_world: World, samples: Any) -> None:
    keys = sealed_world.keys
    stored = sign(filled, keys)
    known = material(keys)
    with pytest.raises(BundleError, match="no checkpoint of size 7"):
        collect(filled, samples.case, BundleKind.CASE, 7, material=known)
    with pytest.raises(UnknownCaseError):
        collect(filled, "c-" + "b" * 26, BundleKind.CASE, stored.size, material=known)
    late = samples.drafter("c-" + "d" * 26)
    late.opened()
    filled.append(late.drafts)
    with pytest.raises(CaseNotClosedError):
        collect(filled, late.case, BundleKind.CASE, stored.size, material=known)
    with pytest.raises(BundleError, match=r"no record bundle\.sealing below"):
        collect(filled, samples.case, BundleKind.CASE, stored.size, material=known)
    late.closed("planned", contained=False)
    filled.append(late.drafts)
    with pytest.raises(BundleError, match="does not cover all records"):
        collect(filled, late.case, BundleKind.CASE, stored.size, material=known)
    with pytest.raises(BundleError, match=r"report\.issued"):
        collect(filled, "2026-q4", BundleKind.PERIOD, stored.size, material=known, issued=3)


def test_the_watch_and_the_period_from_the_ledger(
    filled: Ledger, sealed_world: World, signer: FileSigner, samples: Any, tmp_path: Path
) -> None:
    keys, known = sealed_world.keys, material(sealed_world.keys)
    watch = samples.drafter(samples.case, "watch")
    for number in range(3):
        watch.add(RecordType.READBACK, {"round": number})
    filled.append(watch.drafts)
    end(filled, samples.case, BundleKind.WATCH)
    pages = {"report.pdf": b"%PDF"}
    (issued,) = filled.notes([issued_note(pages)])
    size = sign(filled, keys).size
    store = BundleStore(tmp_path / "bundles", signer)
    given = collect(filled, samples.case, BundleKind.WATCH, size, material=known)
    assert given.histories == ()  # those of the case are in the bundle of the case
    assert store.seal(given).records == 1 + 3 + 3
    report = collect(
        filled, "2026-q4", BundleKind.PERIOD, size, material=known, issued=issued.seq, pages=pages
    )
    sealed = store.seal(report)
    assert (sealed.name, sealed.records) == ("period.2026-q4", 1)
    assert store.find("2026-q4", BundleKind.PERIOD) == sealed
    assert verify_bundle(sealed.path).case == ""


def issued_note(pages: dict[str, bytes]) -> Note:
    files: Facts = {name: sha256(content).hexdigest() for name, content in pages.items()}
    return Note(Chain.LOG, RecordType.REPORT_ISSUED, START, {"files": files}, "report")


async def test_sealing_publishes_first_and_makes_the_pages(
    filled: Ledger, sealed_world: World, signer: FileSigner, samples: Any, tmp_path: Path
) -> None:
    published: list[int] = []

    async def publish() -> None:
        published.append(sign(filled, sealed_world.keys).size)

    def pages(given: BundleInput) -> dict[str, bytes]:
        return {"report.html": f"{len(given.records)} records".encode()}

    sealing = Sealing(
        filled, BundleStore(tmp_path / "b", signer), publish, material(sealed_world.keys), pages
    )
    assert await sealing.find(samples.case) is None
    bundle = await sealing.seal(samples.case)
    assert (bundle.size, published) == (filled.size(), [filled.size()])
    assert (bundle.path / "report.html").read_text() == "32 records"
    assert not verify_bundle(bundle.path, Trust(signer=signer.public_pem)).anchored
    assert await sealing.seal(samples.case) == await sealing.find(samples.case) == bundle
    assert len(published) == 1


async def test_a_sealer_counts_again_when_something_was_noted_in_between(
    filled: Ledger, sealed_world: World, signer: FileSigner, samples: Any, tmp_path: Path
) -> None:
    fails = [OSError("no network")]

    async def publish() -> None:
        if fails:
            raise fails.pop()
        sign(filled, sealed_world.keys)

    sealing = Sealing(filled, BundleStore(tmp_path / "b", signer), publish, material(sealed_world.keys))

    def sealings() -> list[Facts]:
        records = filled.records(samples.case, Chain.SEALER)
        return [each.body for each in records if each.type is RecordType.BUNDLE_SEALING]

    with pytest.raises(OSError, match="no network"):
        await sealing.seal(samples.case)
    assert sealings() == [{"kind": "case", "case_records": 29, "watch_records": 0, "sealer_records": 3}]
    fails.append(OSError("still none"))
    with pytest.raises(OSError, match="still none"):
        await sealing.seal(samples.case)
    assert len(sealings()) == 1  # nothing came in between: the note still fits
    raised: Facts = {"cause": "run_reset", "run_id": "x"}
    filled.note(Chain.SEALER, samples.case, RecordType.EXCEPTION_RAISED, START, raised, key="raised")
    bundle = await sealing.seal(samples.case)
    assert [each["sealer_records"] for each in sealings()] == [3, 5]
    report = verify_bundle(bundle.path)
    assert report.ok
    assert any("run x: run_reset" in remark for remark in report.remarks)


async def test_the_first_checkpoint_over_the_case_is_taken_not_one_that_is_being_anchored(
    filled: Ledger, sealed_world: World, signer: FileSigner, samples: Any, tmp_path: Path
) -> None:
    keys = sealed_world.keys

    async def publish() -> None:
        anchor(filled, keys, sign(filled, keys))
        filled.notes([config(7)])  # another case is sealed beside this one,
        sign(filled, keys)  # and its checkpoint has no anchor yet

    sealing = Sealing(filled, BundleStore(tmp_path / "b", signer), publish, material(keys))
    bundle = await sealing.seal(samples.case)
    assert bundle.size == filled.size() - 1
    assert len(verify_bundle(bundle.path).anchors) == 2


async def test_keys_are_asked_for_when_a_case_is_sealed_not_before(
    filled: Ledger, sealed_world: World, signer: FileSigner, samples: Any, tmp_path: Path
) -> None:
    away = [KeyServiceError("the key service does not answer")]

    async def publish() -> None:
        sign(filled, sealed_world.keys)

    def known() -> Material:
        if away:
            raise away[0]
        return material(sealed_world.keys)

    store = BundleStore(tmp_path / "b", signer, lambda: known().log)
    sealing = Sealing(filled, store, publish, known)
    assert await sealing.find(samples.case) is None
    with pytest.raises(KeyServiceError):
        await sealing.seal(samples.case)
    away.clear()
    assert (await sealing.seal(samples.case)).records == 32


def test_a_consistency_proof_for_an_auditor(filled: Ledger) -> None:
    proof = parse_continuation(consistency_proof(filled, "log.example.com", 5, filled.size()))
    assert (proof.origin, proof.old, proof.new) == ("log.example.com", 5, filled.size())
    assert proof.path == filled.consistency(5, filled.size())


def test_a_bundle_lists_few_checkpoints_however_old_the_log() -> None:
    end = datetime(2026, 11, 20, 17, 0, tzinfo=UTC)
    many = [
        StoredCheckpoint(size, b"", b"", end - timedelta(minutes=5) * (300_000 - size))
        for size in range(1, 300_001, 7)
    ]
    last = StoredCheckpoint(300_001, b"", b"", end)
    kept = listed(many, last)
    assert len(kept) < 17 + 400 + 24
    assert [each.size for each in kept] == sorted(each.size for each in kept)
    days = {each.at.date() for each in kept if end - each.at < timedelta(days=399)}
    assert len(days) >= 399
    assert listed([last, many[0]], many[0]) == ()
