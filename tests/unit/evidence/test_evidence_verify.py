"""Two verifiers, written apart, against every attack we know: both see each, and they agree on where."""

from __future__ import annotations

import ast
import base64
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from leaver.evidence.bundle import STANDALONE
from leaver.evidence.errors import BundleError, KeyFileError
from leaver.evidence.keys.files import FileSigner
from leaver.evidence.signing import envelope, statement
from leaver.evidence.verify import Trust, VerifyReport, verify_bundle
from tests.support.bundle_world import edit, payload_of

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="needs the system package openssl")

MANIFEST = "manifest.dsse.json"
RUN = "019a9d3e-0000-7000-8000-000000000001"


def load_standalone(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bundled_verifier", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ALONE = load_standalone(STANDALONE)


FIRST = 38
"""The place in the log of the sample case's first record."""


def rec(number: int) -> str:
    return f"records/{FIRST + number:08d}.json"


def both(folder: Path, key: bytes | None = None) -> VerifyReport:
    """Run both; they must agree on every file that has something wrong."""
    ours = verify_bundle(folder, Trust(signer=key))
    alone = ALONE.Check(folder, {"signer.pem": key} if key else {})
    assert {finding.file for finding in ours.findings} == {file for file, _ in alone.problems}, (
        ours.findings,
        alone.problems,
    )
    assert ours.fingerprint == alone.fingerprint
    return ours


def wrong_files(report: VerifyReport) -> set[str]:
    return {finding.file for finding in report.findings}


@pytest.fixture
def bundle(sealed: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "bundle"
    shutil.copytree(sealed, copy)
    return copy


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> FileSigner:
    return FileSigner(tmp_path_factory.mktemp("stranger") / "key.pem")


def records(folder: Path) -> list[Path]:
    """The records of the chain ``case``."""
    return [path for number in range(60) if (path := folder / rec(number)).is_file()][:29]


def resign(folder: Path, signer: FileSigner) -> None:
    """What somebody with a signing key would do to cover their traces."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }
    (folder / MANIFEST).write_bytes(envelope(statement(files, payload_of(folder)["predicate"]), signer))


def resign_payload(folder: Path, signer: FileSigner, change: Callable[[dict[str, Any]], None]) -> None:
    payload = json.loads(base64.b64decode(json.loads((folder / MANIFEST).read_bytes())["payload"]))
    change(payload)
    (folder / MANIFEST).write_bytes(envelope(rfc8785.dumps(payload), signer))


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    edit(folder / MANIFEST, change)


# --------------------------------------------------------------------- the honest bundle


def test_both_pass_the_honest_bundle(bundle: Path, signer: FileSigner) -> None:
    for key in (None, signer.public_pem):
        report = both(bundle, key)
        assert report.ok
        assert report.own_key is (key is not None)
        inside = next(caveat for caveat in report.caveats if "inside the bundle" in caveat)
        assert ("signer" in inside) is (key is None)


# --------------------------------------------------------------------- without the key


def edit_record(folder: Path) -> None:
    edit(records(folder)[5], lambda record: record["body"].update(outcome="already"))


def edit_last_record(folder: Path) -> None:
    edit(records(folder)[-1], lambda record: record["body"].update(outcome="completed_with_exceptions"))


def spoil_canonical_form(folder: Path) -> None:
    path = records(folder)[4]
    path.write_bytes(path.read_bytes() + b"\n")


def drop_middle(folder: Path) -> None:
    records(folder)[6].unlink()


def drop_last(folder: Path) -> None:
    records(folder)[-1].unlink()


def drop_first(folder: Path) -> None:
    records(folder)[0].unlink()


def add_record(folder: Path) -> None:
    last = records(folder)[-1]
    shutil.copy(last, folder / rec(99))


def swap_two(folder: Path) -> None:
    one, two = records(folder)[3:5]
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


def renumber(folder: Path) -> None:
    edit(records(folder)[3], lambda record: record.update(case_seq=4))


def rename_record(folder: Path) -> None:
    records(folder)[3].rename(folder / "records" / "3.json")


def edit_history(folder: Path) -> None:
    path = folder / "history" / f"{RUN}.json"
    path.write_bytes(path.read_bytes().replace(b"TASK_SCHEDULED", b"TASK_COMPLETED", 1))


def edit_binary_history(folder: Path) -> None:
    path = folder / "history" / f"{RUN}.pb"
    path.write_bytes(path.read_bytes()[:-1] + b"\x05")


def edit_report(folder: Path) -> None:
    path = folder / "report.html"
    path.write_text(path.read_text().replace("verified", "Verified"))


def edit_verifier(folder: Path) -> None:
    (folder / "verify.py").write_text("print('OK')\n")


def edit_summary(folder: Path) -> None:
    (folder / "case.json").write_text("{}")


def empty_a_file(folder: Path) -> None:
    (folder / "VERIFY.md").write_bytes(b"")


def drop_file(folder: Path) -> None:
    (folder / "case.json").unlink()


def drop_history(folder: Path) -> None:
    shutil.rmtree(folder / "history")


def drop_key(folder: Path) -> None:
    (folder / "keys" / "signer.pem").unlink()


def add_file(folder: Path) -> None:
    (folder / "note.txt").write_text("by the way")


def add_hidden_file(folder: Path) -> None:
    (folder / "history" / ".hidden").write_text("")


def add_empty_folder(folder: Path) -> None:
    (folder / "records" / "more").mkdir()


def link_record(folder: Path) -> None:
    path = records(folder)[5]
    path.rename(folder.parent / "elsewhere.json")
    path.symlink_to(folder.parent / "elsewhere.json")


def link_folder(folder: Path) -> None:
    (folder / "history").rename(folder.parent / "history")
    (folder / "history").symlink_to(folder.parent / "history", target_is_directory=True)


def link_to_nothing(folder: Path) -> None:
    (folder / "extra").symlink_to("/nowhere")


def make_fifo(folder: Path) -> None:
    path = folder / "case.json"
    path.unlink()
    os.mkfifo(path)


def folder_for_file(folder: Path) -> None:
    path = folder / "case.json"
    path.unlink()
    path.mkdir()


def drop_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def truncate_manifest(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_bytes(path.read_bytes()[:-40])


def empty_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"")


def binary_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"\xff\xfe" + os.urandom(64))


def deep_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"[" * 100_000)


def strip_signature(folder: Path) -> None:
    edit_manifest(folder, lambda value: value.update(signatures=[]))


def empty_signature(folder: Path) -> None:
    edit_manifest(folder, lambda value: value["signatures"][0].update(sig=""))


def rename_key(folder: Path) -> None:
    """The key's id is not part of what DSSE signs."""
    edit_manifest(folder, lambda value: value["signatures"][0].update(keyid="0" * 64))


def second_signature(folder: Path) -> None:
    edit_manifest(folder, lambda value: value["signatures"].append(value["signatures"][0]))


def other_type(folder: Path) -> None:
    edit_manifest(folder, lambda value: value.update(payloadType="text/plain"))


def spell_base64_differently(folder: Path) -> None:
    edit_manifest(folder, lambda value: value.update(payload=value["payload"] + "\n"))


def pretty_manifest(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_bytes()), indent=1))


def extra_field(folder: Path) -> None:
    edit_manifest(folder, lambda value: value.update(note="x"))


def duplicate_key(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_bytes(path.read_bytes().replace(b'{"payload":', b'{"payload":"","payload":', 1))


def edit_payload(folder: Path) -> None:
    def change(value: dict[str, Any]) -> None:
        payload = json.loads(base64.b64decode(value["payload"]))
        payload["predicate"]["checkpoint"]["size"] += 1
        value["payload"] = base64.b64encode(rfc8785.dumps(payload)).decode()

    edit_manifest(folder, change)


def replace_key(folder: Path) -> None:
    FileSigner(folder.parent / "mine.pem")
    public = FileSigner(folder.parent / "mine.pem").public_pem
    (folder / "keys" / "signer.pem").write_bytes(public)


def key_of_another_kind(folder: Path) -> None:
    openssl = shutil.which("openssl") or ""
    path = folder / "keys" / "signer.pem"
    private = folder.parent / "ed.pem"
    subprocess.run([openssl, "genpkey", "-algorithm", "ed25519", "-out", private], check=True)  # noqa: S603
    subprocess.run([openssl, "pkey", "-in", private, "-pubout", "-out", path], check=True)  # noqa: S603


WITHOUT_KEY: list[tuple[Callable[[Path], None], str]] = [
    (edit_record, rec(5)),
    (edit_last_record, rec(28)),
    (spoil_canonical_form, rec(4)),
    (drop_middle, rec(6)),
    (drop_last, rec(28)),
    (drop_first, rec(0)),
    (add_record, rec(99)),
    (swap_two, rec(3)),
    (renumber, rec(3)),
    (rename_record, "records/3.json"),
    (edit_history, f"history/{RUN}.json"),
    (edit_binary_history, f"history/{RUN}.pb"),
    (edit_report, "report.html"),
    (edit_verifier, "verify.py"),
    (edit_summary, "case.json"),
    (empty_a_file, "VERIFY.md"),
    (drop_file, "case.json"),
    (drop_history, f"history/{RUN}.pb"),
    (drop_key, "keys/signer.pem"),
    (add_file, "note.txt"),
    (add_hidden_file, "history/.hidden"),
    (add_empty_folder, "records/more"),
    (link_record, rec(5)),
    (link_folder, "history"),
    (link_to_nothing, "extra"),
    (make_fifo, "case.json"),
    (folder_for_file, "case.json"),
    (drop_manifest, MANIFEST),
    (truncate_manifest, MANIFEST),
    (empty_manifest, MANIFEST),
    (binary_manifest, MANIFEST),
    (deep_manifest, MANIFEST),
    (strip_signature, MANIFEST),
    (empty_signature, MANIFEST),
    (rename_key, MANIFEST),
    (second_signature, MANIFEST),
    (other_type, MANIFEST),
    (spell_base64_differently, MANIFEST),
    (pretty_manifest, MANIFEST),
    (extra_field, MANIFEST),
    (duplicate_key, MANIFEST),
    (edit_payload, MANIFEST),
    (replace_key, MANIFEST),
    (key_of_another_kind, MANIFEST),
]


@pytest.mark.parametrize(("attack", "file"), WITHOUT_KEY, ids=lambda value: getattr(value, "__name__", ""))
def test_whoever_lacks_the_key_is_found_out(
    bundle: Path, signer: FileSigner, attack: Callable[[Path], None], file: str
) -> None:
    attack(bundle)
    if attack in (drop_key, replace_key, key_of_another_kind):
        # With the auditor's own key, what happens to the key inside is a changed file, not a bad signature.
        assert file in wrong_files(both(bundle))
        file = "keys/signer.pem"
    assert file in wrong_files(both(bundle, signer.public_pem))


# --------------------------------------------------------------------- with a key


@pytest.mark.parametrize("attack", [edit_record, drop_middle, drop_last, edit_report, add_file])
def test_signing_again_with_another_key_fails_against_the_key_known_before(
    bundle: Path, signer: FileSigner, stranger: FileSigner, attack: Callable[[Path], None]
) -> None:
    attack(bundle)
    resign(bundle, stranger)
    assert MANIFEST in wrong_files(both(bundle))
    (bundle / "keys" / "signer.pem").write_bytes(stranger.public_pem)
    resign(bundle, stranger)
    assert MANIFEST in wrong_files(both(bundle, signer.public_pem))


def renumbered_gap(folder: Path) -> None:
    records(folder)[6].unlink()


def closing_dropped(folder: Path) -> None:
    records(folder)[-1].unlink()


def miscounted(folder: Path) -> None:
    edit(records(folder)[-1], lambda record: record["body"].update(count=99))


def counted_as_text(folder: Path) -> None:
    edit(records(folder)[-1], lambda record: record["body"].update(count="29"))


def relinked(folder: Path) -> None:
    edit(records(folder)[7], lambda record: record.update(prev_case="ab" * 32))


def first_linked(folder: Path) -> None:
    edit(records(folder)[0], lambda record: record.update(prev_case="ab" * 32))
    chain_rest(folder)


def chain_rest(folder: Path) -> None:
    previous = hashlib.sha256(b"\0" + records(folder)[0].read_bytes()).hexdigest()
    for path in records(folder)[1:]:
        edit(path, lambda record: record.update(prev_case=previous))  # noqa: B023 - called at once
        previous = hashlib.sha256(b"\0" + path.read_bytes()).hexdigest()


def of_another_case(folder: Path) -> None:
    edit(records(folder)[4], lambda record: record.update(case="c-" + "b" * 26))


def of_the_watch_chain(folder: Path) -> None:
    edit(records(folder)[4], lambda record: record.update(chain="watch"))


def boolean_number(folder: Path) -> None:
    edit(records(folder)[1], lambda record: record.update(case_seq=True))


def boolean_version(folder: Path) -> None:
    edit(records(folder)[1], lambda record: record.update(v=True))


def later_version(folder: Path) -> None:
    edit(records(folder)[4], lambda record: record.update(v=2))


def short_salt(folder: Path) -> None:
    edit(records(folder)[4], lambda record: record.update(salt="00"))


def missing_field(folder: Path) -> None:
    edit(records(folder)[4], lambda record: record.pop("at"))


def further_field(folder: Path) -> None:
    edit(records(folder)[4], lambda record: record.update(note="x"))


def text_body(folder: Path) -> None:
    edit(records(folder)[4], lambda record: record.update(body="x"))


def list_record(folder: Path) -> None:
    records(folder)[4].write_bytes(b"[1,2]")


def list_as_last(folder: Path) -> None:
    records(folder)[-1].write_bytes(b"[]")


def float_inside(folder: Path) -> None:
    edit(records(folder)[4], lambda record: record["body"].update(x=1.5))


def not_a_number_inside(folder: Path) -> None:
    path = records(folder)[4]
    path.write_bytes(path.read_bytes().replace(b'"attempts":1', b'"attempts":NaN'))


def huge_integer(folder: Path) -> None:
    path = records(folder)[4]
    path.write_bytes(path.read_bytes().replace(b'"attempts":1', b'"attempts":9007199254740993'))


def lone_surrogate(folder: Path) -> None:
    path = records(folder)[4]
    path.write_bytes(path.read_bytes().replace(b'"detail":""', b'"detail":"\\ud800"'))


def loose_form(folder: Path) -> None:
    path = records(folder)[4]
    path.write_text(json.dumps(json.loads(path.read_bytes())))


def sorted_by_code_point(folder: Path) -> None:
    """Keys beyond the basic plane sort differently in UTF-16 than by code point."""
    path = records(folder)[4]
    value = json.loads(path.read_bytes())
    value["body"] = {"\uff61": 1, "\U0001f600": 2}
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert text.encode() != rfc8785.dumps(value)
    path.write_text(text, encoding="utf-8")


def ledger_place_back(folder: Path) -> None:
    edit(records(folder)[4], lambda record: record.update(seq=0))


def closed_twice(folder: Path) -> None:
    edit(records(folder)[4], lambda record: record.update(type="case.closed"))


def never_closed(folder: Path) -> None:
    edit(records(folder)[-1], lambda record: record.update(type="plan"))


def misnamed(folder: Path) -> None:
    records(folder)[-1].rename(folder / rec(99))


def history_event_dropped(folder: Path) -> None:
    path = folder / "history" / f"{RUN}.json"
    value = json.loads(path.read_bytes())
    del value["events"][7]
    path.write_text(json.dumps(value))


def history_end_dropped(folder: Path) -> None:
    path = folder / "history" / f"{RUN}.json"
    value = json.loads(path.read_bytes())
    del value["events"][-1]
    path.write_text(json.dumps(value))


def history_empty(folder: Path) -> None:
    (folder / "history" / f"{RUN}.json").write_text('{"events": []}')


def history_no_json(folder: Path) -> None:
    (folder / "history" / f"{RUN}.json").write_text("events")


def binary_event_dropped(folder: Path) -> None:
    path = folder / "history" / f"{RUN}.pb"
    raw = path.read_bytes()
    path.write_bytes(raw[2 + raw[1] :])


def binary_cut(folder: Path) -> None:
    path = folder / "history" / f"{RUN}.pb"
    path.write_bytes(path.read_bytes()[:-2])


def binary_noise(folder: Path) -> None:
    (folder / "history" / f"{RUN}.pb").write_bytes(b"\xff" * 50)


def binary_empty(folder: Path) -> None:
    (folder / "history" / f"{RUN}.pb").write_bytes(b"")


def history_without_twin(folder: Path) -> None:
    (folder / "history" / f"{RUN}.pb").unlink()


def history_of_a_stranger(folder: Path) -> None:
    (folder / "history" / "other.json").write_text("{}")


WITH_KEY: list[tuple[Callable[[Path], None], str]] = [
    (edit_record, rec(6)),
    (renumbered_gap, rec(7)),
    (closing_dropped, "records"),
    (miscounted, "records"),
    (counted_as_text, "records"),
    (relinked, rec(7)),
    (first_linked, rec(0)),
    (of_another_case, rec(4)),
    (of_the_watch_chain, rec(4)),
    (boolean_number, rec(1)),
    (boolean_version, rec(1)),
    (later_version, rec(4)),
    (short_salt, rec(4)),
    (missing_field, rec(4)),
    (further_field, rec(4)),
    (text_body, rec(4)),
    (list_record, rec(4)),
    (list_as_last, "records"),
    (float_inside, rec(4)),
    (not_a_number_inside, rec(4)),
    (huge_integer, rec(4)),
    (lone_surrogate, rec(4)),
    (loose_form, rec(4)),
    (sorted_by_code_point, rec(4)),
    (ledger_place_back, rec(4)),
    (closed_twice, "records"),
    (never_closed, "records"),
    (misnamed, rec(99)),
    (swap_two, rec(3)),
    (history_event_dropped, f"history/{RUN}.json"),
    (history_end_dropped, f"history/{RUN}.json"),
    (history_empty, f"history/{RUN}.json"),
    (history_no_json, f"history/{RUN}.json"),
    (binary_event_dropped, f"history/{RUN}.pb"),
    (binary_cut, f"history/{RUN}.pb"),
    (binary_noise, f"history/{RUN}.pb"),
    (binary_empty, f"history/{RUN}.pb"),
    (history_without_twin, f"history/{RUN}.pb"),
    (history_of_a_stranger, "history/other.json"),
    (drop_history, f"history/{RUN}.pb"),
]


@pytest.mark.parametrize(("attack", "file"), WITH_KEY, ids=lambda value: getattr(value, "__name__", ""))
def test_a_careless_holder_of_the_key_is_found_out_by_the_content(
    bundle: Path, signer: FileSigner, attack: Callable[[Path], None], file: str
) -> None:
    """Hashes and signature are right here, so only the content can tell."""
    attack(bundle)
    resign(bundle, signer)
    assert file in wrong_files(both(bundle, signer.public_pem))


@pytest.mark.parametrize(
    "change",
    [
        lambda payload: payload.update(_type="https://in-toto.io/Statement/v0.1"),
        lambda payload: payload.update(predicateType="https://example.org/other"),
        lambda payload: payload["subject"].reverse(),
        lambda payload: payload["subject"].append(payload["subject"][-1]),
        lambda payload: payload["subject"][0].update(name=7),
        lambda payload: payload["subject"][0].pop("digest"),
        lambda payload: payload["predicate"].pop("kind"),
        lambda payload: payload["predicate"].pop("anchors"),
        lambda payload: payload["predicate"].update(kind="period"),
        lambda payload: payload["predicate"].update(kind="watch"),
        lambda payload: payload["predicate"].update(kind="other"),
        lambda payload: payload["predicate"].update(kind=None),
        lambda payload: payload["predicate"].update(subject="c-" + "b" * 26),
        lambda payload: payload["predicate"].update(subject=1),
        lambda payload: payload["predicate"].update(anchors=[]),
        lambda payload: payload["predicate"].update(anchors=None),
        lambda payload: payload["predicate"]["anchors"][0].update(file="tsa/98.tsr"),
        lambda payload: payload["predicate"]["anchors"][1].update(name="other"),
        lambda payload: payload["predicate"]["checkpoint"].update(size=98),
        lambda payload: payload["predicate"]["checkpoint"].update(size="99"),
        lambda payload: payload["predicate"]["checkpoint"].update(size=True),
        lambda payload: payload["predicate"]["checkpoint"].update(root="00" * 32),
        lambda payload: payload["predicate"]["checkpoint"].update(origin="other.example"),
        lambda payload: payload["predicate"]["checkpoint"].pop("root"),
        lambda payload: payload.update(predicate=[]),
        lambda payload: payload.update(subject={}),
        lambda payload: payload.update(note=1),
    ],
)
def test_a_manifest_that_is_signed_and_wrong_fails_in_both(
    bundle: Path, signer: FileSigner, change: Callable[[dict[str, Any]], None]
) -> None:
    resign_payload(bundle, signer, change)
    assert not verify_bundle(bundle).ok
    assert ALONE.Check(bundle, {}).problems


@pytest.mark.parametrize("text", ["QUJ=", "QUI", "QUI=\n", " QUI=", "QUI==", "Q-I=", "\u00e4"])
def test_base64_has_one_spelling(text: str, bundle: Path) -> None:
    """Else a byte of the manifest could change without its meaning changing."""
    assert ALONE.unbase64("QUI=") == b"AB"
    with pytest.raises(ValueError, match=r"spelling|base64|ASCII|padding|Excess"):
        ALONE.unbase64(text)
    edit_manifest(bundle, lambda value: value["signatures"][0].update(sig=text))
    assert MANIFEST in wrong_files(both(bundle))


def test_a_path_outside_the_bundle_is_never_followed(bundle: Path, signer: FileSigner) -> None:
    secret = bundle.parent / "secret"
    secret.write_text("x")
    digest = {"sha256": hashlib.sha256(b"x").hexdigest()}

    def add(payload: dict[str, Any]) -> None:
        payload["subject"].insert(0, {"name": "../secret", "digest": digest})

    resign_payload(bundle, signer, add)
    assert "../secret" in wrong_files(both(bundle))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_single_byte_of_any_file_is_noticed(
    data: st.DataObject, sealed: Path, signer: FileSigner
) -> None:
    """The bundle is put back as it was after every try, so the files may be shared."""
    paths = sorted(path for path in sealed.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(paths), label="file")
    raw = path.read_bytes()
    place = data.draw(st.integers(0, len(raw) - 1), label="byte")
    flip = data.draw(st.integers(1, 255), label="flip")
    try:
        path.write_bytes(raw[:place] + bytes([raw[place] ^ flip]) + raw[place + 1 :])
        assert not both(sealed, data.draw(st.sampled_from([None, signer.public_pem]), label="key")).ok
    finally:
        path.write_bytes(raw)
    assert verify_bundle(sealed).ok


@settings(max_examples=80, deadline=None)
@given(place=st.integers(0, 10**6), flip=st.integers(1, 255))
@example(place=0, flip=1)
def test_any_single_byte_of_the_manifest_is_noticed(
    place: int, flip: int, sealed: Path, signer: FileSigner
) -> None:
    path = sealed / MANIFEST
    raw = path.read_bytes()
    place %= len(raw)
    try:
        path.write_bytes(raw[:place] + bytes([raw[place] ^ flip]) + raw[place + 1 :])
        assert MANIFEST in wrong_files(verify_bundle(sealed, Trust(signer=signer.public_pem)))
    finally:
        path.write_bytes(raw)


# --------------------------------------------------------------------- as an auditor runs it


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A clean process: isolated, without site-packages, with another locale."""
    return subprocess.run(  # noqa: S603
        [sys.executable, "-I", "-S", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
    )


def test_the_bundled_verifier_runs_alone(bundle: Path, signer: FileSigner, tmp_path: Path) -> None:
    key = tmp_path / "own.pem"
    key.write_bytes(signer.public_pem)
    alone = run(bundle / "verify.py", bundle)
    assert (alone.returncode, alone.stderr) == (0, "")
    assert "OK: case c-" in alone.stdout
    assert "Tamper-evident since checkpoint 99 (stamped " in alone.stdout
    assert "inside the bundle, which proves only" in alone.stdout
    assert verify_bundle(bundle).fingerprint in alone.stdout
    with_key = run("verify.py", ".", "--key", key, cwd=bundle)
    assert (with_key.returncode, with_key.stderr) == (0, "")
    assert "only that the bundle fits together: log.vkey, tsa-ca.pem, witnesses.vkeys" in with_key.stdout
    assert not [path for path in bundle.rglob("*") if path.name == "__pycache__"]


def test_each_failure_names_file_and_reason(bundle: Path) -> None:
    drop_middle(bundle)
    edit_report(bundle)
    (bundle / "bad\x1b[2Jname\n").write_text("x")
    done = run(bundle / "verify.py", bundle)
    assert (done.returncode, done.stderr) == (1, "")
    assert f"FAIL {rec(6)}: in the signed manifest but missing" in done.stdout
    assert "FAIL report.html: changed" in done.stdout
    assert "\x1b" not in done.stdout
    assert "FAILED: 4 problem(s)" in done.stdout


def test_what_cannot_be_checked_is_bad_usage(bundle: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.pem"
    text.write_text("no key")
    for arguments in (
        (),
        (tmp_path / "missing",),
        (text,),
        (bundle, "--key", tmp_path / "no"),
        (bundle, "--key", text),
    ):
        done = run(STANDALONE, *arguments)
        assert done.returncode == 2, arguments
        assert done.stderr
        assert "Traceback" not in done.stderr
    without_openssl = subprocess.run(  # noqa: S603
        [sys.executable, "-I", STANDALONE, bundle],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": str(tmp_path)},
    )
    assert without_openssl.returncode == 2
    assert "openssl" in without_openssl.stderr
    for folder in (tmp_path / "missing", text):
        with pytest.raises(BundleError):
            verify_bundle(folder)
    with pytest.raises(KeyFileError):
        verify_bundle(bundle, Trust(signer=b"no key"))


def test_the_verifier_needs_nothing_but_the_standard_library() -> None:
    allowed = {"__future__", *sys.stdlib_module_names}
    tree = ast.parse(STANDALONE.read_text(), feature_version=(3, 8))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= allowed
