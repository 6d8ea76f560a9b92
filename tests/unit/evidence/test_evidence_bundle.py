"""Bundles: whole or not there, the same bytes every time, never one that would not verify."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from leaver.domain.words import RecordType
from leaver.evidence.bundle import BundleStore, bundle_files, export_bundle
from leaver.evidence.case_view import case_view
from leaver.evidence.errors import BundleError, EvidenceError
from leaver.evidence.ledger import Ledger
from leaver.evidence.records import Record, parse_record
from leaver.evidence.report import render
from leaver.evidence.signing import FileSigner
from leaver.evidence.verify import verify_bundle
from leaver.temporal.history import HistoryFile


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def shell(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        ["/bin/sh", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.fixture
def records(ledger: Ledger, samples: Any) -> tuple[Record, ...]:
    ledger.append(samples.clean())
    return ledger.closed_records(samples.case)


@pytest.fixture
def store(tmp_path: Path, signer: FileSigner) -> BundleStore:
    return BundleStore(tmp_path / "bundles", signer)


def test_a_bundle_holds_what_it_says(store: BundleStore, records: tuple[Record, ...], samples: Any) -> None:
    bundle = store.seal(records, [samples.history()])
    files = contents(bundle.path)
    assert sorted(files) == sorted(
        [
            *(f"records/{number:05d}.json" for number in range(len(records))),
            "history/019a9d3e-0000-7000-8000-000000000001.json",
            "history/019a9d3e-0000-7000-8000-000000000001.pb",
            *("VERIFY.md", "case.json", "keys/signer.pem", "manifest.dsse.json", "report.html", "verify.py"),
        ]
    )
    assert [files[f"records/{r.case_seq:05d}.json"] for r in records] == [r.raw for r in records]
    assert (bundle.name, bundle.records, bundle.events) == (samples.case, len(records), 300)
    assert [path.name for path in bundle.path.parent.iterdir()] == [samples.case]
    report = verify_bundle(bundle.path)
    assert (report.ok, report.case, report.records, report.events) == (True, samples.case, len(records), 300)


def test_the_same_inputs_give_the_same_bytes(
    tmp_path: Path, signer: FileSigner, records: tuple[Record, ...], samples: Any
) -> None:
    two = [samples.history(), samples.history("019a9d3e-0000-7000-8000-000000000002", 12)]
    one = BundleStore(tmp_path / "one", signer).seal(records, two)
    other = BundleStore(tmp_path / "other", signer).seal(records, list(reversed(two)))
    assert contents(one.path) == contents(other.path)
    assert one.manifest_sha256 == other.manifest_sha256
    assert bundle_files(records, two, signer) == contents(one.path)


def test_sealing_again_returns_the_bundle_that_exists(
    store: BundleStore, records: tuple[Record, ...], samples: Any
) -> None:
    assert store.find(samples.case) is None
    assert store.find_same(records) is None
    first = store.seal(records, [samples.history()])
    before = contents(first.path)
    assert store.seal(records, [samples.history()]) == first
    # Later, Temporal may have deleted the history: the bundle still has it.
    assert store.seal(records, []) == first
    assert store.find(samples.case) == store.find_same(records) == first
    assert contents(first.path) == before


def test_a_changed_bundle_is_neither_returned_nor_overwritten(
    store: BundleStore, records: tuple[Record, ...], samples: Any
) -> None:
    bundle = store.seal(records, [samples.history()])
    (bundle.path / "report.html").write_text("all is well")
    with pytest.raises(BundleError, match=r"does not verify.*report\.html"):
        store.seal(records, [samples.history()])
    with pytest.raises(BundleError, match=r"does not verify.*report\.html"):
        store.find(samples.case)
    assert (bundle.path / "report.html").read_text() == "all is well"


def test_a_bundle_of_other_records_is_not_taken_for_this_case(
    store: BundleStore, records: tuple[Record, ...], samples: Any, tmp_path: Path
) -> None:
    store.seal(records, [samples.history()])
    with Ledger(tmp_path / "second.sqlite") as second:
        second.append(samples.clean())  # the same drafts with other salts
        with pytest.raises(BundleError, match="other records"):
            store.seal(second.closed_records(samples.case), [samples.history()])


def test_what_would_not_verify_is_never_published(
    store: BundleStore, records: tuple[Record, ...], samples: Any, tmp_path: Path
) -> None:
    good = samples.history()
    forged = parse_record(records[3].raw.replace(b'"verified"', b'"already"'))
    attempts: list[tuple[tuple[Record, ...], list[HistoryFile]]] = [
        ((), [good]),
        (records[:-1], [good]),
        ((*records[:4], *records[5:]), [good]),
        ((*records[:3], forged, *records[4:]), [good]),
        (records, []),
        (records, [good, good]),
        (records, [replace(good, run_id="../../etc/passwd")]),
        (records, [replace(good, run_id=".hidden")]),
        (records, [replace(good, event_count=299)]),
        (records, [replace(good, proto=good.proto[:-3])]),
        (records, [replace(good, json=good.json.replace(b'"7"', b'"8"'))]),
        (records, [replace(good, json=good.json.replace(b"EXECUTION_COMPLETED", b"EXECUTION_SIGNALED"))]),
    ]
    for given, histories in attempts:
        with pytest.raises(EvidenceError):
            store.seal(given, histories)
        assert not list((tmp_path / "bundles").glob("*")) if (tmp_path / "bundles").exists() else True


def test_what_a_killed_process_left_is_swept(
    store: BundleStore, records: tuple[Record, ...], samples: Any, tmp_path: Path
) -> None:
    half = tmp_path / "bundles" / f".{samples.case}.0123456789abcdef"
    half.mkdir(parents=True)
    (half / "manifest.dsse.json").write_text("{")
    bundle = store.seal(records, [samples.history()])
    assert [path.name for path in bundle.path.parent.iterdir()] == [samples.case]


def test_a_full_disk_leaves_nothing_behind(
    store: BundleStore, records: tuple[Record, ...], samples: Any, tmp_path: Path
) -> None:
    (tmp_path / "bundles").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="exists"):
        store.seal(records, [samples.history()])
    (tmp_path / "bundles").unlink()
    assert store.seal(records, [samples.history()]).records == len(records)


def test_a_case_id_is_the_only_name_a_bundle_can_have(store: BundleStore) -> None:
    for name in ("../x", "c-x", "", "c-" + "a" * 26 + "\n"):
        with pytest.raises(BundleError, match="case id"):
            store.find(name)


def test_export_copies_whole_and_never_over_something(sealed: Path, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    export_bundle(sealed, target)
    assert contents(target) == contents(sealed)
    assert [path.name for path in target.parent.iterdir()] == ["out"]
    with pytest.raises(BundleError, match="exists already"):
        export_bundle(sealed, target)
    with pytest.raises(BundleError, match="cannot be copied"):
        export_bundle(tmp_path / "missing", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_pages_are_made_from_the_records_in_the_bundle(sealed: Path) -> None:
    records = [parse_record(path.read_bytes()) for path in sorted((sealed / "records").iterdir())]
    view = case_view(records)
    assert (sealed / "report.html").read_text() == render(view)
    assert json.loads((sealed / "case.json").read_text()) == view.model_dump(mode="json")


def test_the_claims_are_worded_honestly(sealed: Path) -> None:
    for name in ("VERIFY.md", "report.html"):
        text = (sealed / name).read_text()
        assert "Outside anchors: none" in text
        assert "HR told us of every leaver" in text
        lowered = text.lower()
        assert not any(
            word in lowered for word in ("tamper-proof", "immutable", "unalterable", "audit-passed")
        )


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs the system package openssl")
@pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs the system package coreutils")
def test_the_commands_of_verify_md_work_as_printed(sealed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(sealed, copy)
    text = (copy / "VERIFY.md").read_text()
    script = text.split("```sh\n")[1].split("```")[0]
    done = shell("-e", "-c", script, cwd=copy)
    assert (done.returncode, done.stderr) == (0, "")
    fingerprint = text.split("DER form):\n\n    ")[1].split("\n")[0]
    assert len(fingerprint) == 64
    assert fingerprint in done.stdout
    assert "Verified OK" in done.stdout
    link = text.split("    { printf")[1].split("\n")[0]
    second = json.loads((copy / "records" / "00001.json").read_bytes())
    assert second["prev_case"] in shell("-c", "{ printf" + link, cwd=copy).stdout
    (copy / "case.json").write_text("{}")
    done = shell("-e", "-c", script, cwd=copy)
    assert done.returncode != 0
    assert "case.json" in done.stdout


def test_the_closing_record_of_the_sample_is_what_the_bundle_counts(records: tuple[Record, ...]) -> None:
    assert records[-1].type is RecordType.CASE_CLOSED
    assert records[-1].body["count"] == len(records)
