"""What lies where in a bundle. The stand-alone verifier spells the same names out for itself."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

MANIFEST: Final = "manifest.dsse.json"
CONSISTENCY: Final = "consistency.json"
CASE_FILE: Final = "case.json"
KEY: Final = "keys/signer.pem"
LOG_KEYS: Final = "keys/log.vkey"
WITNESS_KEYS: Final = "keys/witnesses.vkeys"
TSA_CA: Final = "keys/tsa-ca.pem"
RECORDS: Final = "records/"
HISTORY: Final = "history/"
STAMPS: Final = "tsa/"
OPENINGS: Final = "openings/"


class BundleKind(StrEnum):
    """What a bundle is about."""

    CASE = "case"
    """A closed case: its records, what the sealer noted about it, the workflow's history."""
    WATCH = "watch"
    """The re-verification after the case: its records, and what the sealer has noted about the case since."""
    PERIOD = "period"
    """A report over a period: its files, and the record that says they were issued."""


def record_name(seq: int) -> str:
    """The file of the record at this place in the log."""
    return f"{RECORDS}{seq:08d}.json"


def proof_name(seq: int) -> str:
    """The file of that record's inclusion proof."""
    return f"{RECORDS}{seq:08d}.tlog-proof"


def opening_name(seq: int) -> str:
    """The file of what that record's ``person_commit`` commits to."""
    return f"{OPENINGS}{seq:08d}.json"


def checkpoint_name(size: int) -> str:
    """The file of the signed checkpoint over a log of this size."""
    return f"checkpoint.{size}"


def stamp_name(size: int, number: int = 1) -> str:
    """The file of a timestamp reply over that checkpoint; ``number`` counts the authorities from 1."""
    return f"{STAMPS}{size}.tsr" if number == 1 else f"{STAMPS}{size}.{number}.tsr"


def history_names(run_id: str) -> tuple[str, str]:
    """The files of a run's history: readable, and the exact bytes."""
    return f"{HISTORY}{run_id}.json", f"{HISTORY}{run_id}.pb"
