"""Bundles: a closed case as a folder that anyone can verify offline.

::

    <case>/ manifest.dsse.json   DSSE over an in-toto Statement with the SHA-256 of every other file
            records/00000.json … the exact bytes of the records
            history/<run>.json   Temporal's history, readable; and .pb, the exact protobuf bytes
            case.json            the case for programs, made from the records
            report.html          the case for people, made from the records
            keys/signer.pem  VERIFY.md  verify.py

Nothing inside depends on the clock: the same records, histories, key and version give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from leaver.domain.ids import CASE_ID
from leaver.evidence.case_view import case_view
from leaver.evidence.errors import BundleError
from leaver.evidence.records import Record
from leaver.evidence.report import render, render_text
from leaver.evidence.signing import Signer, envelope, fingerprint, load_public, statement
from leaver.evidence.verify import KEY, MANIFEST, verify_bundle
from leaver.temporal.history import HistoryFile

STANDALONE: Final = Path(__file__).with_name("standalone") / "verify.py"
"""The verifier that goes into every bundle; an auditor's own copy is this file."""

_RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A sealed bundle: its name in the store, where it lies, and what it holds."""

    name: str
    path: Path
    records: int
    events: int
    manifest_sha256: str


class BundleStore:
    """A folder of bundles, one per case, named by the case id. Bundles are never changed once there."""

    def __init__(self, folder: Path, signer: Signer) -> None:
        self._folder = folder
        self._signer = signer
        self._lock = threading.Lock()

    def find(self, case: str) -> Bundle | None:
        """The case's bundle, verified with our own key; None when there is none.

        Raises:
            BundleError: what lies there does not verify.
        """
        path = self._path(case)
        return self._verified(path) if path.exists() else None

    def find_same(self, records: Sequence[Record]) -> Bundle | None:
        """The bundle of exactly these records (at least one); None when the case has no bundle yet.

        Raises:
            BundleError: what lies there does not verify, or holds other records.
        """
        path = self._path(records[0].case)
        return self._same(path, records) if path.exists() else None

    def seal(self, records: Sequence[Record], histories: Sequence[HistoryFile]) -> Bundle:
        """Make and sign the bundle of a closed case, or return the one that exists.

        The bundle appears under its name only when it is whole and verified.

        Raises:
            BundleError: it would not verify (the records are not a whole closed case, a history is not), or
                another bundle lies there.
            UnreadableRecordsError: the records do not tell a case.
            OSError: the disk refuses.
        """
        if not records:
            raise BundleError("there are no records to seal")
        path = self._path(records[0].case)
        with self._lock:
            if existing := self.find_same(records):
                return existing
            self._folder.mkdir(parents=True, exist_ok=True)
            self._sweep(path.name)
            fresh = self._folder / f".{path.name}.{secrets.token_hex(8)}"
            try:
                _write(fresh, bundle_files(records, histories, self._signer))
                self._verified(fresh)
                fresh.rename(path)
                _sync_folder(self._folder)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
            return self._verified(path)

    def _path(self, case: str) -> Path:
        if not CASE_ID.fullmatch(case):
            raise BundleError("that is not a case id")
        return self._folder / case

    def _same(self, path: Path, records: Sequence[Record]) -> Bundle:
        """The existing bundle, if it is of these records. Another version would write other pages."""
        bundle = self._verified(path)
        if bundle.records != len(records) or any(
            (path / _record_name(record)).read_bytes() != record.raw for record in records
        ):
            raise BundleError(f"{path} holds other records than the ledger; it was left as it is")
        return bundle

    def _verified(self, path: Path) -> Bundle:
        report = verify_bundle(path, key=self._signer.public_pem)
        if not report.ok:
            first = report.findings[0]
            raise BundleError(
                f"{path} does not verify with this installation's key; it was left as it is, move it away to"
                f" seal again. First of {len(report.findings)} findings: {first.file}: {first.reason}"
            )
        manifest = (path / MANIFEST).read_bytes()
        return Bundle(
            name=path.name,
            path=path,
            records=report.records,
            events=report.events,
            manifest_sha256=hashlib.sha256(manifest).hexdigest(),
        )

    def _sweep(self, name: str) -> None:
        """Remove what a killed process left of this bundle."""
        for left in self._folder.glob(f".{name}.*"):
            shutil.rmtree(left, ignore_errors=True)


def bundle_files(
    records: Sequence[Record], histories: Sequence[HistoryFile], signer: Signer
) -> dict[str, bytes]:
    """Every file of the bundle by its path, the manifest included.

    Raises:
        BundleError: a run id that cannot be a file name, or one that comes twice.
        UnreadableRecordsError: the records do not tell a case.
    """
    view = case_view(records)
    runs = sorted(histories, key=lambda history: history.run_id)
    _check_run_ids([run.run_id for run in runs])
    key = signer.public_pem
    files = {_record_name(record): record.raw for record in records}
    for run in runs:
        files[f"history/{run.run_id}.json"] = run.json
        files[f"history/{run.run_id}.pb"] = run.proto
    files["case.json"] = _readable(view.model_dump(mode="json"))
    files["report.html"] = render(view).encode()
    files[KEY] = key
    files["verify.py"] = STANDALONE.read_bytes()
    files["VERIFY.md"] = render_text(
        "VERIFY.md.j2",
        case=view.case,
        records=len(records),
        runs=len(runs),
        events=sum(run.event_count for run in runs),
        fingerprint=fingerprint(load_public(key)),
    ).encode()
    payload = statement(
        files,
        {
            "case": view.case,
            "records": len(records),
            "head": view.head,
            "histories": [{"run_id": run.run_id, "events": run.event_count} for run in runs],
        },
    )
    return {**files, MANIFEST: envelope(payload, signer)}


def export_bundle(bundle: Path, target: Path) -> None:
    """Copy a bundle to a folder that does not exist yet; it appears there whole or not at all.

    Raises:
        BundleError: the target exists or cannot be written.
    """
    if target.exists():
        raise BundleError(f"{target} exists already; give another folder")
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(bundle, fresh, symlinks=True)
        fresh.rename(target)
    except (OSError, shutil.Error) as err:
        raise BundleError(f"{target}: the bundle cannot be copied there: {err}") from err
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _record_name(record: Record) -> str:
    return f"records/{record.case_seq:05d}.json"


def _check_run_ids(run_ids: Sequence[str]) -> None:
    if not run_ids:
        raise BundleError("a bundle needs the workflow's history")
    if len(set(run_ids)) != len(run_ids):
        raise BundleError("the history of one run was given twice")
    for run_id in run_ids:
        if not _RUN_ID.fullmatch(run_id):
            raise BundleError("a run id cannot be used as a file name")


def _readable(value: object) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write all files and have the disk confirm them."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    for below in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        _sync_folder(below)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
