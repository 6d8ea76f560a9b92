"""The attack matrix: what is done to a bundle, by whom, and what catches it, in both verifiers.

Three attackers: one who can only edit files; one who also holds the key of the manifests; and the operator,
who also holds the log key and rebuilds the whole log round the change.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import rfc8785
from google.protobuf.json_format import MessageToJson
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History
from typer.testing import CliRunner

from leaver.cli.evidence import app
from leaver.domain.words import RecordType
from leaver.evidence.anchors.layout import continuation_bytes
from leaver.evidence.bundle import STANDALONE, BundleInput, BundleKind, bundle_files
from leaver.evidence.errors import TrustError
from leaver.evidence.keys.files import FileLogSigner, FileSigner
from leaver.evidence.log.merkle import consistency_path, leaf_hash
from leaver.evidence.log.notes import cosignature_bytes, cosignature_message, note_bytes
from leaver.evidence.signing import envelope, statement
from leaver.evidence.verify import NO_ANCHOR, FindingKind, VerifyReport, load_trust, verify_bundle
from leaver.temporal.history import HistoryFile
from tests.support.bundle_world import (
    Authority,
    Keys,
    MemoryLog,
    World,
    bundle_input,
    commit,
    edit,
    final_body,
    payload_of,
    sample_world,
    signed_note,
    write_trust,
)

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="needs the system package openssl")

MANIFEST = "manifest.dsse.json"
RUN = "019a9d3e-0000-7000-8000-000000000001"
FIRST, SIZE = 38, 99
RESULT = FIRST + 5


def load_standalone() -> ModuleType:
    spec = importlib.util.spec_from_file_location("matrix_verifier", STANDALONE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ALONE = load_standalone()


@dataclass
class Seen:
    """What both verifiers said."""

    ours: VerifyReport
    alone: Any

    @property
    def ok(self) -> bool:
        return self.ours.ok

    @property
    def kinds(self) -> set[FindingKind]:
        return {found.kind for found in self.ours.findings}

    def says(self, pattern: str) -> None:
        """Both name the file and the reason."""
        for texts in (
            [f"{found.file}: {found.reason}" for found in self.ours.findings],
            [f"{file}: {reason}" for file, reason in self.alone.problems],
        ):
            assert any(re.search(pattern, text) for text in texts), (pattern, texts)


def check(folder: Path, trust: Path | None = None, proof: bytes | None = None) -> Seen:
    ours = verify_bundle(folder, load_trust(trust) if trust else None, consistency=proof)
    alone = ALONE.Check(folder, ALONE.read_trust(trust, None), proof or b"")
    assert {found.file for found in ours.findings} == {file for file, _ in alone.problems}, (
        ours.findings,
        alone.problems,
    )
    assert (alone.outside, alone.remarks) == (
        ours.anchored,
        [each for each in ours.remarks if "case.json" not in each],
    )
    return Seen(ours, alone)


# --------------------------------------------------------------------- the attackers' tools


def rec(seq: int, end: str = "json") -> str:
    return f"records/{seq:08d}.{end}"


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def resign(
    folder: Path, signer: FileSigner, change: Callable[[dict[str, Any]], object] | None = None
) -> None:
    """The manifest anew, over what lies there."""
    predicate = payload_of(folder)["predicate"]
    if change:
        change(predicate)
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }
    (folder / MANIFEST).write_bytes(envelope(statement(files, predicate), signer))


def relinked(raws: list[bytes]) -> MemoryLog:
    """Every record numbered and linked anew, every case counted anew: what a careful forger does."""
    heads: dict[tuple[str, str], tuple[int, str]] = {}
    log = MemoryLog()
    for seq, raw in enumerate(raws):
        value = json.loads(raw)
        chain = (value["case"], value["chain"])
        number, head = heads.get(chain, (0, "0" * 64))
        value.update(seq=seq, case_seq=number, prev_case=head)
        if value["type"] == "case.closed":
            value["body"]["count"] = number + 1
        if value["type"] == "bundle.sealing":
            value["body"]["sealer_records"] = number + 1
            value["body"]["case_records"] = heads[value["case"], "case"][0]
        log.raws.append(rfc8785.dumps(value))
        heads[chain] = number + 1, leaf_hash(log.raws[-1]).hex()
    return log


def changed(raw: bytes, **body: object) -> bytes:
    value = json.loads(raw)
    value["body"].update(body)
    return rfc8785.dumps(value)


@pytest.fixture
def world(sealed_world: World) -> World:
    return replace(sealed_world, log=MemoryLog(sealed_world.log.raws))


@pytest.fixture
def bundle(sealed: Path, tmp_path: Path) -> Path:
    shutil.copytree(sealed, tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def trust(world: World, tmp_path: Path) -> Path:
    return write_trust(tmp_path / "trust", world.keys)


def kept(tmp_path: Path, world: World, size: int, name: str = "kept") -> Path:
    """Nothing but a checkpoint from before."""
    folder = tmp_path / name
    folder.mkdir()
    (folder / "checkpoint").write_bytes(signed_note(world.log, world.keys, size))
    return folder


# --------------------------------------------------------------------- the matrix


def edit_record(folder: Path, world: World) -> None:
    edit(folder / rec(RESULT), lambda value: value["body"].update(outcome="already"))


def drop_middle(folder: Path, world: World) -> None:
    for end in ("json", "tlog-proof"):
        (folder / rec(RESULT, end)).unlink()


def drop_last(folder: Path, world: World) -> None:
    for end in ("json", "tlog-proof"):
        (folder / rec(FIRST + 28, end)).unlink()


def add_one(folder: Path, world: World) -> None:
    for end in ("json", "tlog-proof"):
        shutil.copy(folder / rec(RESULT, end), folder / rec(75, end))
    edit(folder / rec(75), lambda value: value.update(seq=75, chain="sealer", case_seq=3))
    head = leaf_hash((folder / rec(68)).read_bytes()).hex()
    edit(folder / rec(75), lambda value: value.update(prev_case=head))
    proof = folder / rec(75, "tlog-proof")
    proof.write_bytes(proof.read_bytes().replace(b"index %d" % RESULT, b"index 75"))


def swap_two(folder: Path, world: World) -> None:
    one, two = folder / rec(RESULT), folder / rec(RESULT + 1)
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


def swap_proofs(folder: Path, world: World) -> None:
    """Of two records of this bundle."""
    one, two = folder / rec(RESULT, "tlog-proof"), folder / rec(RESULT + 1, "tlog-proof")
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


def foreign_proofs(folder: Path, world: World) -> None:
    """Of another bundle, with another checkpoint."""
    log = MemoryLog(world.log.raws[:80])
    other = bundle_files(world.make(log), world.keys.signer)
    for name in [name for name in other if name.endswith(".tlog-proof")]:
        (folder / name).write_bytes(other[name])


def change_size(folder: Path, world: World) -> None:
    path = folder / f"checkpoint.{SIZE}"
    path.write_bytes(path.read_bytes().replace(b"\n99\n", b"\n98\n"))
    path.rename(folder / "checkpoint.98")


def strip_witness(folder: Path, world: World) -> None:
    path = folder / f"checkpoint.{SIZE}"
    lines = path.read_bytes().split(b"\n")
    note = path.read_bytes()
    path.write_bytes(b"\n".join([line for line in lines if b"audit.example.org" not in line]))
    for proof in (folder / "records").glob("*.tlog-proof"):
        proof.write_bytes(proof.read_bytes().replace(note, path.read_bytes()))


def replace_reply(folder: Path, world: World) -> None:
    """The same authority's reply, about something else."""
    (folder / f"tsa/{SIZE}.tsr").write_bytes(world.keys.authority.stamp(b"another checkpoint"))


def edit_history(folder: Path, world: World) -> None:
    path = folder / "history" / f"{RUN}.pb"
    path.write_bytes(path.read_bytes()[:-1] + b"\x05")


def edit_readable_history(folder: Path, world: World) -> None:
    path = folder / "history" / f"{RUN}.json"
    path.write_bytes(path.read_bytes().replace(b"TASK_SCHEDULED", b"TASK_COMPLETED", 1))


def edit_pdf(folder: Path, world: World) -> None:
    path = folder / "report.pdf"
    path.write_bytes(path.read_bytes().replace(b"verified", b"Verified"))


def sizes(predicate: dict[str, Any]) -> None:
    predicate["checkpoint"]["size"] = 98
    for each in predicate["anchors"]:
        each["file"] = each["file"].replace("checkpoint.99", "checkpoint.98")


CHANGED = "changed: its SHA-256 is not the signed one"
MATRIX: list[tuple[Callable[[Path, World], None], str, str]] = [
    # attack; what is said to who edits files; what is said to who signs the manifest again
    (
        edit_record,
        f"{rec(RESULT)}: {CHANGED}",
        "00043.tlog-proof: it does not prove that the record is in the log",
    ),
    (
        drop_middle,
        f"{rec(RESULT)}: in the signed manifest but missing",
        "00044.json: a record of its chain is miss",
    ),
    (
        drop_last,
        f"{rec(66)}: in the signed manifest but missing",
        "records: no last record that counts the others",
    ),
    (add_one, f"{rec(75)}: not in the signed manifest: it was added", "00075.tlog-proof: it does not prove"),
    (swap_two, f"{rec(RESULT)}: {CHANGED}", "00043.json: its seq is not the place"),
    (swap_proofs, f"00043.tlog-proof: {CHANGED}", "00043.tlog-proof: it is the proof of another record"),
    (
        foreign_proofs,
        f"00043.tlog-proof: {CHANGED}",
        "00043.tlog-proof: it is a proof against another checkpoint",
    ),
    (change_size, "checkpoint.98: not in the signed manifest", "checkpoint.98: .*signature.* does not fit"),
    (
        strip_witness,
        f"checkpoint.99: {CHANGED}",
        "checkpoint.99: no cosignature of the witness audit.example.org/w1",
    ),
    (replace_reply, f"tsa/99.tsr: {CHANGED}", "tsa/99.tsr: the timestamp does not hold for this checkpoint"),
    (edit_history, f"{RUN}.pb: {CHANGED}", f"{RUN}.pb: not the history whose SHA-256 is in the log"),
    (
        edit_readable_history,
        f"{RUN}.json: {CHANGED}",
        f"{RUN}.json: not the history whose SHA-256 is in the log",
    ),
    (edit_pdf, f"report.pdf: {CHANGED}", ""),
]


@pytest.mark.parametrize(
    ("attack", "edited", "signed"), MATRIX, ids=lambda value: getattr(value, "__name__", "")
)
def test_matrix(
    bundle: Path, world: World, trust: Path, attack: Callable[[Path, World], None], edited: str, signed: str
) -> None:
    attack(bundle, world)
    check(bundle, trust).says(re.escape(edited))
    resign(bundle, world.keys.signer, sizes if attack is change_size else None)
    if attack is edit_pdf:
        # The readable pages of a case are made from its records, and only the manifest vouches for them.
        assert check(bundle, trust).ok
        return
    check(bundle).says(signed)
    assert exit_codes(bundle, trust) == (1, 1)


def exit_codes(folder: Path, trust: Path | None = None) -> tuple[int, int]:
    """Of the command, and of the stand-alone program in a clean process."""
    more = ["--trust", str(trust)] if trust else []
    ours = CliRunner().invoke(app, ["verify", str(folder), *more])
    words = [sys.executable, "-I", "-S", str(STANDALONE), str(folder), *more]
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    alone = subprocess.run(words, capture_output=True, text=True, check=False, env=env)  # noqa: S603
    assert alone.stderr == ""
    assert ("FAIL" in alone.stdout) == bool(alone.returncode), alone.stdout
    return ours.exit_code, alone.returncode


def test_files_that_were_only_edited_give_exit_code_1(bundle: Path, world: World) -> None:
    edit_pdf(bundle, world)
    assert exit_codes(bundle) == (1, 1)


def test_the_honest_bundle_passes(bundle: Path, world: World, tmp_path: Path) -> None:
    trust = write_trust(tmp_path / "trust", world.keys, signed_note(world.log, world.keys, 40))
    for given in (None, trust):
        assert check(bundle, given).ok
        assert exit_codes(bundle, given) == (0, 0)
    report = check(bundle, trust).ours
    assert re.fullmatch(
        r"tamper-evident since checkpoint 99 \(stamped [-\d]+ [\d:]+ UTC by stamps\.example\.net,"
        r" witnessed 2026-11-20 17:00:00 UTC by audit\.example\.org/w1\)",
        report.claim,
    )
    assert report.caveats == ()
    assert report.notes == ("Consistent with the checkpoint you kept (size 40).",)
    assert (report.records, report.events, report.size) == (33, 300, 99)


# --------------------------------------------------------------------- a stranger's key


def test_signed_again_with_another_key(bundle: Path, world: World, trust: Path, tmp_path: Path) -> None:
    stranger = FileSigner(tmp_path / "stranger.pem")
    edit_pdf(bundle, world)
    resign(bundle, stranger)
    check(bundle).says("manifest.dsse.json: it is signed with another key than the one it is checked with")
    (bundle / "keys" / "signer.pem").write_bytes(stranger.public_pem)
    resign(bundle, stranger)
    check(bundle, trust).says("manifest.dsse.json: it is signed with another key")
    assert exit_codes(bundle, trust) == (1, 1)
    # Without a copy of the key that came by another path, only the fingerprint can tell.
    alone = check(bundle)
    assert alone.ok
    assert any("came from inside the bundle" in caveat for caveat in alone.ours.caveats)


def test_a_whole_other_log_needs_the_keys_from_elsewhere(
    world: World, trust: Path, authority: Authority, samples: Any, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    other = Keys(
        FileSigner(mine / "s.pem"), type(world.keys.log)(mine / "l.pem", "log.example.com/leaver"), authority
    )
    forged = sample_world(other, samples.clean(), world.run)
    folder = write(tmp_path / "forged", bundle_files(forged.input, other.signer))
    assert check(folder).ok
    seen = check(folder, trust)
    seen.says("manifest.dsse.json: it is signed with another key")
    seen.says("checkpoint.99: .*sign")
    # A kept checkpoint alone is enough, too.
    check(folder, kept(tmp_path, world, 40)).says("FORK: the checkpoint you kept is of another log")


# --------------------------------------------------------------------- the operator, who holds the log key


def forged_log(world: World, change: Callable[[list[bytes]], None]) -> MemoryLog:
    raws = list(world.log.raws)
    change(raws)
    return relinked(raws)


def edit_one(raws: list[bytes]) -> None:
    raws[RESULT] = changed(raws[RESULT], outcome="already")


def drop_one(raws: list[bytes]) -> None:
    del raws[RESULT]


def insert_one(raws: list[bytes]) -> None:
    raws.insert(RESULT, raws[RESULT])


def exchange(raws: list[bytes]) -> None:
    raws[RESULT], raws[RESULT + 1] = raws[RESULT + 1], raws[RESULT]


def forge_history(raws: list[bytes]) -> None:
    raws[68] = changed(raws[68], close_status="TERMINATED")


@pytest.mark.parametrize("change", [edit_one, drop_one, insert_one, exchange, forge_history])
def test_the_operators_forgery_is_caught_by_whoever_saw_the_log(
    world: World, trust: Path, tmp_path: Path, change: Callable[[list[bytes]], None]
) -> None:
    log = forged_log(world, change)
    honest, forged = world.input, world.make(log)
    # With the anchors there were, for the log there was.
    old = replace(forged, stamps=honest.stamps, witnesses=honest.witnesses)
    seen = check(write(tmp_path / "old", bundle_files(old, world.keys.signer)))
    seen.says(r"\.tsr: the timestamp does not hold for this checkpoint")
    seen.says(r"checkpoint\.\d+: the .*signature of (the witness )?audit.example.org/w1 does not (fit|hold)")
    assert {FindingKind.TIMESTAMP, FindingKind.WITNESS} <= seen.kinds
    # Without any.
    bare = write(tmp_path / "bare", bundle_files(replace(forged, stamps=(), witnesses=()), world.keys.signer))
    alone = check(bare)
    assert alone.ok
    assert alone.ours.caveats[0] == NO_ANCHOR
    assert "NO OUTSIDE ANCHOR" in " ".join(ALONE.told(alone.alone))
    trusted = check(bare, trust)
    trusted.says("tsa: no timestamp of an authority")
    trusted.says("no cosignature of the witness")
    assert exit_codes(bare, trust) == (1, 1)


@pytest.mark.parametrize("size", [40, 45, SIZE])
def test_a_forked_log_against_a_kept_checkpoint(world: World, tmp_path: Path, size: int) -> None:
    """Even with new anchors for the forged log: whoever kept a checkpoint sees it."""
    log = forged_log(world, edit_one)
    log.raws[30] = changed(log.raws[30], change=999)
    log = relinked(log.raws)
    folder = write(tmp_path / "forked", bundle_files(world.make(log), world.keys.signer))
    assert check(folder).ok
    own = kept(tmp_path, world, size)
    seen = check(folder, own)
    if size == 45:  # the bundle holds nothing about that one
        seen.says("checkpoint.99: nothing joins it to the checkpoint you kept .*from 45 to 99")
        lie = continuation_bytes("log.example.com/leaver", 45, 99, consistency_path(log.nodes(99), 45, 99))
        seen = check(folder, own, lie)
    seen.says(rf"checkpoint\.99: FORK: this is not the log of the checkpoint you kept \(size {size}\)")
    assert FindingKind.FORK in seen.kinds
    assert exit_codes(folder, own) == (1, 1)


def test_a_checkpoint_kept_from_later_needs_its_proof(bundle: Path, world: World, tmp_path: Path) -> None:
    for number in range(21):
        world.log.add("log", "log", RecordType.CONFIG_CHANGE, {"change": number})
    own = kept(tmp_path, world, 120)
    check(bundle, own).says("nothing joins it to the checkpoint you kept .*from 99 to 120")
    proof = continuation_bytes("o", 99, 120, consistency_path(world.log.nodes(120), 99, 120))
    assert check(bundle, own, proof).ours.notes == ("Consistent with the checkpoint you kept (size 120).",)
    assert check(bundle, own, proof).ok
    other = continuation_bytes("o", 98, 120, consistency_path(world.log.nodes(120), 98, 120))
    check(bundle, own, other).says("nothing joins it")


def test_a_kept_checkpoint_between_the_listed_ones_needs_its_proof(
    bundle: Path, world: World, tmp_path: Path
) -> None:
    own = kept(tmp_path, world, 50)
    check(bundle, own).says("nothing joins it to the checkpoint you kept .*from 50 to 99")
    proof = continuation_bytes("o", 50, 99, consistency_path(world.log.nodes(99), 50, 99))
    assert check(bundle, own, proof).ok


def test_another_size_signed_by_the_log_key(world: World, tmp_path: Path) -> None:
    text = world.log.text(SIZE).replace(b"\n99\n", b"\n98\n")
    honest = world.input
    given = replace(honest, checkpoint=note_bytes(text, [world.keys.log.sign_note(text)]), earlier=())
    seen = check(write(tmp_path / "b", bundle_files(given, world.keys.signer)))
    seen.says(r"tsa/98\.tsr: the timestamp does not hold")
    seen.says(r"checkpoint\.98: the (cosignature of the witness|signature of)")


def test_earlier_checkpoints_are_checked(bundle: Path, world: World) -> None:
    edit(bundle / "consistency.json", lambda value: value["checkpoints"][0].update(size=21))
    resign(bundle, world.keys.signer)
    check(bundle).says("consistency.json: the log is not shown to go on from size 21")


# --------------------------------------------------------------------- anchors


def test_a_determined_stripper_of_anchors_is_found_by_who_expects_them(
    bundle: Path, world: World, trust: Path
) -> None:
    strip_witness(bundle, world)
    shutil.rmtree(bundle / "tsa")
    (bundle / "keys" / "witnesses.vkeys").unlink()
    resign(bundle, world.keys.signer, lambda predicate: predicate.update(anchors=[]))
    plain = check(bundle)
    assert plain.ok
    assert not plain.ours.anchored
    assert plain.ours.claim == "tamper-evident since checkpoint 99 (no outside anchor)"
    seen = check(bundle, trust)
    seen.says("checkpoint.99: no cosignature of the witness audit.example.org/w1")
    seen.says("tsa: no timestamp of an authority")


def test_a_reply_of_another_authority(bundle: Path, world: World, trust: Path, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other", "friend.example.org")
    note = world.input.checkpoint
    (bundle / "tsa" / "99.tsr").write_bytes(other.stamp(note))
    resign(bundle, world.keys.signer)
    check(bundle).says("tsa/99.tsr: the timestamp does not hold")
    (bundle / "keys" / "tsa-ca.pem").write_bytes(other.ca_pem)
    resign(bundle, world.keys.signer)
    assert check(bundle).ok  # by a key from inside the bundle, as it says
    check(bundle, trust).says("tsa/99.tsr: the timestamp does not hold")


def test_anchors_of_the_operators_own_do_not_count(world: World, tmp_path: Path) -> None:
    given = world.input
    inside = replace(
        given,
        stamps=tuple(replace(each, outside=False) for each in given.stamps),
        witnesses=tuple(replace(each, outside=False) for each in given.witnesses),
    )
    seen = check(write(tmp_path / "b", bundle_files(inside, world.keys.signer)))
    assert seen.ok
    assert seen.ours.caveats[0].startswith("NO OUTSIDE ANCHOR")
    assert "the operator's own" in seen.ours.claim
    assert any("the operator's own" in line for line in ALONE.told(seen.alone))


def test_a_timestamp_outlives_the_authoritys_certificate(world: World, tmp_path: Path) -> None:
    """Both check the certificate as of the stamp's own time."""
    old = Authority(tmp_path / "old", "old.example.net", lifetime=timedelta(seconds=2))
    given = replace(world, keys=replace(world.keys, authority=old)).input
    folder = write(tmp_path / "b", bundle_files(given, world.keys.signer))
    time.sleep(max(0.0, (old.expires - datetime.now(UTC)).total_seconds() + 0.1))
    assert check(folder).ok


# --------------------------------------------------------------------- openings


def with_opening(folder: Path, content: dict[str, Any], seq: int = 37) -> None:
    path = folder / "openings" / f"{seq:08d}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(rfc8785.dumps({"salt": bytes(range(16)).hex(), "content": content}))


def test_openings_are_checked_and_not_signed(bundle: Path, trust: Path) -> None:
    with_opening(bundle, {"name": "Ada Example", "worker": "4711"})
    seen = check(bundle, trust)
    assert seen.ok
    assert seen.ours.openings == 1
    with_opening(bundle, {"name": "Eve Example", "worker": "4711"})
    check(bundle).says("openings/00000037.json: it is not what the record commits to")
    (bundle / "openings" / "00000037.json").write_text("{}")
    check(bundle).says("openings/00000037.json: ")
    shutil.rmtree(bundle / "openings")
    assert check(bundle).ok


def test_nothing_hides_among_the_openings(bundle: Path, world: World) -> None:
    with_opening(bundle, {"name": "x"}, seq=40)
    check(bundle).says("openings/00000040.json: no record here commits to it: it was added")
    (bundle / "openings" / "00000040.json").rename(bundle / "openings" / "note.txt")
    check(bundle).says("openings/note.txt: no record here commits to it: it was added")
    resign(bundle, world.keys.signer)
    assert not check(bundle).ok


# --------------------------------------------------------------------- the other kinds


def watch_input(world: World) -> BundleInput:
    log = world.log
    for number in range(3):
        log.add(world.case, "watch", RecordType.READBACK, {"round": number})
    log.seal(world.case, BundleKind.WATCH)
    places = [FIRST + 28, *log.places(world.case, "watch", "sealer")]
    return bundle_input(log, world.keys, sorted(places), subject=world.case, kind=BundleKind.WATCH)


def test_a_watch_bundle(world: World, tmp_path: Path) -> None:
    given = watch_input(world)
    folder = write(tmp_path / "b", bundle_files(given, world.keys.signer))
    assert check(folder).ok
    assert check(folder).ours.case == world.case
    check(write(tmp_path / "none", bundle_files(drop(given, 102), world.keys.signer))).says(ENDS)
    for end in ("json", "tlog-proof"):
        (folder / rec(100, end)).unlink()
    resign(folder, world.keys.signer)
    check(folder).says("00101.json: a record of its chain is missing")
    for end in ("json", "tlog-proof"):
        (folder / rec(FIRST + 28, end)).unlink()
    resign(folder, world.keys.signer)
    check(folder).says("records: no last record that counts the others")


# --------------------------------------------------------------------- the ends of the chains


def drop(given: BundleInput, *seqs: int) -> BundleInput:
    return replace(given, records=tuple(each for each in given.records if each.record.seq not in seqs))


ENDS = "records: the sealer's last record does not count those of every chain"


def test_the_end_of_the_sealers_chain_cannot_be_dropped(world: World, tmp_path: Path) -> None:
    raws = [raw for raw in world.log.raws if b"bundle.sealing" not in raw]
    log = relinked(raws)
    exception = log.add(world.case, "sealer", RecordType.EXCEPTION_RAISED, raised("history_changed"))
    note = log.seal(world.case)
    honest = world.make(log)
    assert check(write(tmp_path / "whole", bundle_files(honest, world.keys.signer))).ok
    for number, dropped in enumerate(((note,), (exception, note))):
        given = drop(honest, *dropped)
        check(write(tmp_path / str(number), bundle_files(given, world.keys.signer))).says(ENDS)
    assert exit_codes(tmp_path / "1") == (1, 1)


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "watch"},
        {"case_records": 28},
        {"case_records": True},
        {"sealer_records": 3},
        {"sealer_records": "4"},
        {"watch_records": None},
    ],
)
def test_a_sealing_record_that_counts_otherwise(world: World, tmp_path: Path, body: dict[str, Any]) -> None:
    log = MemoryLog(world.log.raws)
    log.raws[69] = changed(log.raws[69], **body)
    check(write(tmp_path / "b", bundle_files(world.make(log), world.keys.signer))).says(ENDS)


def test_the_end_of_the_watch_cannot_be_dropped(world: World, tmp_path: Path) -> None:
    honest = watch_input(world)
    last = [each.record.seq for each in honest.records if each.record.chain == "watch"][-1]
    seen = check(write(tmp_path / "b", bundle_files(drop(honest, last), world.keys.signer)))
    seen.says(ENDS)


def test_the_watchs_own_history_belongs_to_its_bundle(world: World, samples: Any, tmp_path: Path) -> None:
    run = samples.history("watch-run", 5)
    body = final_body(run, f"leaver-{world.case}-watch")
    world.log.add(world.case, "sealer", RecordType.HISTORY_FINAL, body)
    given = watch_input(world)
    check(write(tmp_path / "b", bundle_files(given, world.keys.signer))).says(
        "history/watch-run.pb: the history that a record tells of is missing"
    )
    assert check(write(tmp_path / "c", bundle_files(replace(given, histories=(run,)), world.keys.signer))).ok


# --------------------------------------------------------------------- a former key of the log


def test_a_former_key_counts_up_to_its_last_checkpoint(world: World, tmp_path: Path) -> None:
    """Whoever took it could otherwise go on with a log of their own."""
    new = FileLogSigner(tmp_path / "new.pem", "log.example.com/leaver")
    former, present = world.keys.log.vkey, new.vkey
    folder = write(tmp_path / "b", bundle_files(replace(world.input, witnesses=()), world.keys.signer))
    reason = "checkpoint.99: it is signed with a former key of the log, which does not count at this size"
    for number, (lines, good) in enumerate(
        (
            ([former], True),
            ([former, present], True),
            ([present, former], False),
            ([present, f"{former} 98"], False),
            ([f"{former} 98", present], False),
            ([present, f"{former} 99"], True),
        )
    ):
        trust = tmp_path / f"trust{number}"
        trust.mkdir()
        (trust / "log.vkey").write_text("".join(f"{line}\n" for line in lines))
        seen = check(folder, trust)
        assert seen.ok is good, lines
        if not good:
            seen.says(reason)
            assert exit_codes(folder, trust) == (1, 1)
    trust = tmp_path / "trust0"
    for bad in (f"{present} 07", f"{present} x", f"{present} 1 2"):
        (trust / "log.vkey").write_text(bad + "\n")
        with pytest.raises(TrustError, match="line 1: what follows the key is not a size"):
            check(folder, trust)
        with pytest.raises(ValueError, match="what follows the key is not a size"):
            ALONE.read_trust(trust, None)


def test_the_keys_inside_say_the_same(world: World, tmp_path: Path) -> None:
    new = FileLogSigner(tmp_path / "new.pem", "log.example.com/leaver")
    given = world.input
    for number, (line, good) in enumerate(
        ((f"{world.keys.log.vkey} 99", True), (world.keys.log.vkey, False))
    ):
        keys = replace(given.keys, log=(new.vkey, line))
        folder = write(tmp_path / str(number), bundle_files(replace(given, keys=keys), world.keys.signer))
        assert check(folder).ok is good


# --------------------------------------------------------------------- where the two once differed


@pytest.mark.parametrize("seconds", [253402300800, 2**40, 2**60, 2**62, 2**63 - 1])
def test_a_witness_with_a_time_that_no_calendar_has(world: World, tmp_path: Path, seconds: int) -> None:
    given = world.input
    text = world.log.text(SIZE)
    sig = cosignature_bytes(seconds, world.keys.witness.sign(cosignature_message(seconds, text)))
    line = replace(given.witnesses[0], signature=replace(given.witnesses[0].signature, sig=sig))
    folder = write(tmp_path / "b", bundle_files(replace(given, witnesses=(line,)), world.keys.signer))
    check(folder).says(r"checkpoint\.99: ")
    assert exit_codes(folder) == (1, 1)


def test_an_opening_needs_a_salt(world: World, tmp_path: Path) -> None:
    for number, salt in enumerate((b"", b"short")):
        raws = list(world.log.raws)
        raws[37] = changed(raws[37], person_commit=commit(salt))
        given = world.make(relinked(raws))
        folder = write(tmp_path / str(number), bundle_files(given, world.keys.signer))
        (folder / "openings").mkdir()
        opening: dict[str, Any] = {"salt": salt.hex(), "content": {"name": "Ada Example", "worker": "4711"}}
        (folder / "openings" / "00000037.json").write_bytes(rfc8785.dumps(opening))
        check(folder).says("openings/00000037.json: ")


@pytest.mark.parametrize("value", [1, 0, "yes", None, []])
def test_whether_an_anchor_is_outside_is_yes_or_no(bundle: Path, world: World, value: object) -> None:
    resign(bundle, world.keys.signer, lambda predicate: predicate["anchors"][1].update(outside=value))
    check(bundle).says("manifest.dsse.json: ")


def test_anchors_that_only_the_bundle_calls_outside(bundle: Path, trust: Path) -> None:
    """Whoever makes a bundle can make a witness and an authority, too."""
    seen = check(bundle)
    assert seen.ok
    assert not seen.ours.anchored
    assert seen.ours.caveats[0].startswith("NO OUTSIDE ANCHOR OF YOUR OWN")
    assert "by audit.example.org/w1, by the bundle's own word" in seen.ours.claim
    lines = list(ALONE.told(seen.alone))
    assert any(line.startswith("NO OUTSIDE ANCHOR OF YOUR OWN") for line in lines)
    assert any("by audit.example.org/w1, by the bundle's own word" in line for line in lines)
    assert check(bundle, trust).ours.anchored


# --------------------------------------------------------------------- what the operator makes of the records


def test_the_case_file_is_what_the_records_say(bundle: Path, world: World) -> None:
    path = bundle / "case.json"
    changes: list[tuple[Callable[[dict[str, Any]], object], str]] = [
        (lambda view: view.update(lag_effective_seconds=0.1), "lag_effective_seconds"),
        (lambda view: view["steps"][3].update(outcome="open"), "steps[3].outcome"),
        (lambda view: view["steps"].pop(), "steps"),
        (lambda view: view.update(exceptions=["none"]), "exceptions"),
    ]
    for change, place in changes:
        before = path.read_bytes()
        view = json.loads(before)
        change(view)
        path.write_text(json.dumps(view))
        resign(bundle, world.keys.signer)
        found = verify_bundle(bundle).findings
        assert [(each.file, each.reason) for each in found] == [
            ("case.json", f"{place}: the records say something else")
        ]
        path.write_bytes(before)
    path.write_text("{")
    resign(bundle, world.keys.signer)
    assert [each.reason for each in verify_bundle(bundle).findings] == ["it is not JSON"]
    path.unlink()
    resign(bundle, world.keys.signer)
    assert [each.file for each in verify_bundle(bundle).findings] == ["case.json"]


def test_what_another_version_tells_of_a_case_is_a_remark(bundle: Path, world: World) -> None:
    edit(bundle / "case.json", lambda view: (view.update(new_field=1), view.pop("changes")))
    resign(bundle, world.keys.signer)
    report = verify_bundle(bundle)
    assert report.ok
    assert [each.split()[1] for each in report.remarks] == ["changes", "new_field"]


def period_input(world: World, pages: dict[str, bytes], told: dict[str, bytes] | None = None) -> BundleInput:
    files = {name: sha256(content).hexdigest() for name, content in (told or pages).items()}
    seq = world.log.add("log", "log", RecordType.REPORT_ISSUED, {"files": dict(files)})
    return bundle_input(world.log, world.keys, [seq], subject="2026-q4", kind=BundleKind.PERIOD, pages=pages)


def test_a_period_bundle_holds_the_files_that_were_issued(world: World, tmp_path: Path) -> None:
    pages = {"report.pdf": b"%PDF verified", "data/population.csv": b"a,b\n"}
    folder = write(tmp_path / "b", bundle_files(period_input(world, pages), world.keys.signer))
    assert check(folder).ok
    edit_pdf(folder, world)
    check(folder).says(f"report.pdf: {CHANGED}")
    resign(folder, world.keys.signer)
    check(folder).says("report.pdf: it is not the file that was issued: the log has another SHA-256")
    (folder / "report.pdf").unlink()
    resign(folder, world.keys.signer)
    check(folder).says("report.pdf: ")
    assert exit_codes(folder) == (1, 1)


# --------------------------------------------------------------------- histories


def test_a_prefix_that_the_history_does_not_begin_with(world: World, tmp_path: Path) -> None:
    raws = list(world.log.raws)
    raws[67] = changed(raws[67], head="ab" * 32)
    forged = replace(world, log=relinked(raws))
    folder = write(tmp_path / "b", bundle_files(forged.input, world.keys.signer))
    check(folder).says(f"history/{RUN}.pb: its first events are not those that a record in the log tells of")


def raised(cause: str, **more: Any) -> dict[str, Any]:
    """What the sealer raises about the run."""
    return {"step": None, "cause": cause, "due": None, "detail": "", "run_id": RUN, **more}


def test_a_history_that_the_sealer_itself_found_changed_is_excused_and_told(
    world: World, tmp_path: Path
) -> None:
    """By the exception that says so, about these events, and by no other."""
    raws = [raw for raw in world.log.raws if b"bundle.sealing" not in raw]
    raws[67] = changed(raws[67], head="ab" * 32)
    causes: list[tuple[str, dict[str, Any], bool]] = [
        ("history_changed", {"events": 100}, True),
        ("history_changed", {}, True),
        ("history_changed", {"events": 99}, False),
        ("history_changed", {"events": 100, "run_id": "other"}, False),
        ("sealing_late", {"events": 100}, False),
        ("run_reset", {}, False),
    ]
    for cause, more, good in causes:
        log = relinked(raws)
        log.add(world.case, "sealer", RecordType.EXCEPTION_RAISED, raised(cause, **more))
        log.seal(world.case)
        folder = write(
            tmp_path / f"{cause}{len(list(tmp_path.iterdir()))}",
            bundle_files(world.make(log), world.keys.signer),
        )
        seen = check(folder)
        assert seen.ok is good, (cause, more)
        assert any(cause in caveat for caveat in seen.ours.caveats)
        if not good:
            seen.says("its first events are not those that a record in the log tells of")


def without(raws: list[bytes], *words: bytes) -> MemoryLog:
    return relinked([raw for raw in raws if not any(word in raw for word in words)])


def test_a_history_that_is_lost_is_excused_by_the_sealers_exception_alone(
    world: World, tmp_path: Path
) -> None:
    cases: list[tuple[dict[str, Any], bool]] = [
        ({}, False),
        ({"lost": False}, False),
        ({"lost": True, "run_id": "other"}, False),
        ({"lost": True}, True),
    ]
    for number, (more, good) in enumerate(cases):
        log = without(world.log.raws, b"history.", b"bundle.sealing")
        log.add(world.case, "sealer", RecordType.EXCEPTION_RAISED, raised("run_deleted", **more))
        log.seal(world.case)
        folder = write(tmp_path / str(number), bundle_files(world.make(log, histories=[]), world.keys.signer))
        seen = check(folder)
        assert seen.ok is good, more
        if good:
            assert any(f"run {RUN}, whose history is lost: run_deleted" in c for c in seen.ours.caveats)
        else:
            seen.says(f"history: the history of run {RUN} is not sealed, and no exception says")


def test_another_runs_history_does_not_stand_for_the_cases(
    world: World, samples: Any, tmp_path: Path
) -> None:
    for number, (run, workflow) in enumerate(
        (("other-run", f"leaver-{world.case}"), (RUN, f"leaver-{world.case}-watch"))
    ):
        log, other = without(world.log.raws, b"history.", b"bundle.sealing"), samples.history(run, 5)
        log.add(world.case, "sealer", RecordType.HISTORY_FINAL, final_body(other, workflow))
        log.seal(world.case)
        folder = write(
            tmp_path / str(number), bundle_files(world.make(log, histories=[other]), world.keys.signer)
        )
        check(folder).says(f"history: the history of run {RUN} is not sealed, and no exception says")


@pytest.mark.parametrize("link", ["first_run_id", "continued_from", "continued_as", "reset_of", "history"])
def test_every_run_of_the_chain_is_there(world: World, samples: Any, tmp_path: Path, link: str) -> None:
    """By what the records say, and by what the history itself says about where it went on."""
    run = world.run
    if link == "history":
        run = continued(run, "next-run")
    body = {**final_body(run), **({} if link == "history" else {link: "next-run"})}
    log = without(world.log.raws, b"history.", b"bundle.sealing")
    log.add(world.case, "sealer", RecordType.HISTORY_FINAL, body)
    short = relinked(log.raws)
    short.seal(world.case)
    given = world.make(short, histories=[run])
    seen = check(write(tmp_path / "short", bundle_files(given, world.keys.signer)))
    seen.says("history: the history of run next-run is not sealed, and no exception says")
    other = samples.history("next-run", 5)
    log.add(world.case, "sealer", RecordType.HISTORY_FINAL, final_body(other))
    log.seal(world.case)
    given = world.make(log, histories=[run, other])
    assert check(write(tmp_path / "whole", bundle_files(given, world.keys.signer))).ok


def continued(run: HistoryFile, to: str) -> HistoryFile:
    """The same history, but that its last event continues as another run."""
    message = History.FromString(run.proto)
    message.events[-1].event_type = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW
    message.events[-1].worker_may_ignore = True
    message.events[-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id = to
    raw = message.SerializeToString(deterministic=True)
    return replace(run, proto=raw, json=MessageToJson(message).encode())


def test_the_readable_history_tells_what_the_exact_one_tells(world: World, tmp_path: Path) -> None:
    """The operator logs both hashes, so only the contents can tell."""
    value = json.loads(world.run.json)
    value["events"][7]["eventType"] = "EVENT_TYPE_TIMER_FIRED"
    one = json.dumps(value).encode()
    every = world.run.json.replace(b"EVENT_TYPE_WORKFLOW_TASK_SCHEDULED", b"EVENT_TYPE_TIMER_FIRED")
    for name, text in (("one", one), ("every", every)):
        seen = check(write(tmp_path / name, bundle_files(with_readable(world, text), world.keys.signer)))
        seen.says(f"history/{RUN}.json: it does not tell what the exact history tells")
    value = json.loads(world.run.json)
    value["events"][7]["eventTime"] = "2026-11-20T17:00:00Z"
    given = with_readable(world, json.dumps(value).encode())
    # The stand-alone one knows no more of protobuf than numbers and types of events.
    ours = verify_bundle(write(tmp_path / "time", bundle_files(given, world.keys.signer)))
    assert [found.reason for found in ours.findings] == ["it does not tell what the exact history tells"]


def with_readable(world: World, text: bytes) -> BundleInput:
    run = replace(world.run, json=text)
    log = without(world.log.raws, b"history.", b"bundle.sealing")
    log.add(world.case, "sealer", RecordType.HISTORY_FINAL, final_body(run))
    log.seal(world.case)
    return world.make(log, histories=[run])


def test_the_stand_alone_one_knows_temporals_types_of_events() -> None:
    for name, number in EventType.items():
        if number:
            assert ALONE.event_name(number) == name.removeprefix("EVENT_TYPE_")
    assert ALONE.event_name(9999) == "9999"


def test_a_history_without_a_record_and_a_record_without_a_history(world: World, tmp_path: Path) -> None:
    folder = write(tmp_path / "b", bundle_files(world.make(histories=[]), world.keys.signer))
    check(folder).says(f"history/{RUN}.pb: the history that a record tells of is missing")
    other = replace(world.run, run_id="other")
    again = write(tmp_path / "c", bundle_files(world.make(histories=[world.run, other]), world.keys.signer))
    check(again).says("history/other.pb: no record in the log tells of this history")


def test_a_final_record_that_tells_other_numbers(world: World, tmp_path: Path) -> None:
    for change in ({"events": 299}, {"head": "00" * 32}, {"events": "300"}):
        raws = list(world.log.raws)
        raws[68] = changed(raws[68], **{**final_body(world.run), **change})
        forged = replace(world, log=relinked(raws))
        folder = write(tmp_path / str(change), bundle_files(forged.input, world.keys.signer))
        check(folder).says(f"history/{RUN}.pb: ")
