"""Where bundles lie: one folder each, sealed once, verified before they appear, never changed afterwards."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import rfc8785

from leaver.evidence.bundle.files import bundle_files
from leaver.evidence.bundle.model import BundleInput
from leaver.evidence.errors import BundleError
from leaver.evidence.keys.model import Signer
from leaver.evidence.ledger.model import Opening
from leaver.evidence.records import Chain, Record
from leaver.evidence.verify import MANIFEST, BundleKind, Trust, VerifyReport, verify_bundle
from leaver.evidence.verify.layout import opening_name, record_name

_CASE: Final = re.compile(r"c-[a-z2-7]{26}")
_PERIOD: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,60}")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A sealed bundle: its name in the store, where it lies, and what it holds."""

    name: str
    path: Path
    records: int
    events: int
    size: int
    manifest_sha256: str


def bundle_name(kind: BundleKind, subject: str) -> str:
    """The folder's name in the store: ``c-…``, ``c-….watch``, ``period.…``.

    Raises:
        BundleError: the subject cannot be that.
    """
    if kind is BundleKind.PERIOD:
        if not _PERIOD.fullmatch(subject):
            raise BundleError("the name of a period has small letters, digits, dots and hyphens only")
        return f"period.{subject}"
    if not _CASE.fullmatch(subject):
        raise BundleError("that is not a case id")
    return subject if kind is BundleKind.CASE else f"{subject}.watch"


class BundleStore:
    """A folder of bundles.

    Args:
        folder: created when the first bundle is sealed.
        signer: signs the manifests.
        log: the lines of the log's ``log.vkey``, to check our own bundles with; without them those in the
            bundles have to serve. Asked for at every check if it is a function: a key service may be away.
    """

    def __init__(
        self, folder: Path, signer: Signer, log: Sequence[str] | Callable[[], Sequence[str]] = ()
    ) -> None:
        self._folder = folder
        self._signer = signer
        self._log = log if callable(log) else lambda: log
        self._lock = threading.Lock()

    def find(self, subject: str, kind: BundleKind = BundleKind.CASE) -> Bundle | None:
        """The bundle, verified with our own key; None when there is none.

        Raises:
            BundleError: what lies there does not verify.
        """
        path = self._folder / bundle_name(kind, subject)
        return self._verified(path) if path.exists() else None

    def find_same(self, records: Sequence[Record], kind: BundleKind = BundleKind.CASE) -> Bundle | None:
        """The bundle that holds these records of a case (at least one), and no other of their chain.

        What the sealer noted about the case later is in the bundle of the watch.

        Raises:
            BundleError: what lies there does not verify, or holds other records.
        """
        bundle = self.find(records[0].case, kind)
        if bundle is not None and any(_content(bundle.path, record) != record.raw for record in records):
            raise BundleError(f"{bundle.path} holds other records than the ledger; it was left as it is")
        return bundle

    def seal(self, given: BundleInput) -> Bundle:
        """Make and sign a bundle, or return the one that exists.

        The bundle appears under its name only when it is whole and verified.

        Raises:
            BundleError: it would not verify, or another bundle lies there: one of other records. A bundle of
                the same records at another checkpoint is returned as it is.
            UnreadableRecordsError: the records do not tell a case.
            KeyServiceError: the key is with a service that did not sign now.
            OSError: the disk refuses.
        """
        if not given.records:
            raise BundleError("there are no records to seal")
        path = self._folder / bundle_name(given.kind, given.subject)
        with self._lock:
            if path.exists():
                return self._same(path, given)
            self._folder.mkdir(parents=True, exist_ok=True)
            self._sweep(path.name)
            fresh = self._folder / f".{path.name}.{secrets.token_hex(8)}"
            try:
                _write(fresh, bundle_files(given, self._signer))
                report = self._verify(fresh)
                fresh.rename(path)
                _sync_folder(self._folder)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
            return self._described(path, report)

    def _same(self, path: Path, given: BundleInput) -> Bundle:
        """The existing bundle, if it is of these records. Another version would write other pages."""
        bundle = self._verified(path)
        chained = [each.record for each in given.records if each.record.chain is not Chain.SEALER]
        if any(_content(path, record) != record.raw for record in chained):
            raise BundleError(f"{path} holds other records than the ledger; it was left as it is")
        return bundle

    def _verified(self, path: Path) -> Bundle:
        return self._described(path, self._verify(path))

    def _verify(self, path: Path) -> VerifyReport:
        log = "".join(f"{line}\n" for line in self._log()).encode()
        report = verify_bundle(path, Trust(signer=self._signer.public_pem, log=log or None))
        if not report.ok:
            first = report.findings[0]
            raise BundleError(
                f"{path} does not verify with this installation's keys; it was left as it is, move it away to"
                f" seal again. First of {len(report.findings)} findings: {first.file}: {first.reason}"
            )
        return report

    @staticmethod
    def _described(path: Path, report: VerifyReport) -> Bundle:
        return Bundle(
            name=path.name,
            path=path,
            records=report.records,
            events=report.events,
            size=report.size,
            manifest_sha256=hashlib.sha256((path / MANIFEST).read_bytes()).hexdigest(),
        )

    def _sweep(self, name: str) -> None:
        """Remove what a killed process left of this bundle."""
        for left in self._folder.glob(f".{name}.{'?' * 16}"):
            shutil.rmtree(left, ignore_errors=True)


def export_bundle(bundle: Path, target: Path, openings: Sequence[Opening] = ()) -> int:
    """Copy a bundle to a folder that does not exist yet; it appears there whole or not at all.

    Args:
        bundle: the sealed bundle; it is not changed.
        target: the new folder.
        openings: personal data to lay beside the records that commit to it. They are not signed; those of
            records that are not in this bundle are left out.

    Returns:
        How many openings were written.

    Raises:
        BundleError: the target exists or cannot be written.
    """
    if target.exists():
        raise BundleError(f"{target} exists already; give another folder")
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    wanted = [each for each in openings if (bundle / record_name(each.seq)).is_file()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(bundle, fresh, symlinks=True)
        if wanted:
            _write(fresh, {opening_name(each.seq): _opening(each) for each in wanted})
        fresh.rename(target)
    except (OSError, shutil.Error) as err:
        raise BundleError(f"{target}: the bundle cannot be copied there: {err}") from err
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return len(wanted)


def _opening(opening: Opening) -> bytes:
    return rfc8785.dumps({"salt": opening.salt.hex(), "content": opening.content})


def _content(bundle: Path, record: Record) -> bytes:
    path = bundle / record_name(record.seq)
    return path.read_bytes() if path.is_file() else b""


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
