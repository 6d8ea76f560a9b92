"""Bundles: a case, its watch or a report as a folder that anyone can verify offline.

::

    manifest.dsse.json                     DSSE over an in-toto statement with the SHA-256 of every other file
    records/<seq>.json  <seq>.tlog-proof   the exact bytes of a record, and its inclusion in the log
    checkpoint.<size>                      the log's signed state, with the witnesses' lines
    tsa/<size>.tsr                         a timestamp authority's reply over it
    consistency.json                       earlier checkpoints, and that the log goes on from them
    history/<run>.pb  <run>.json           Temporal's history, exact and readable
    case.json  report.html …               the case for programs and people, made from the records
    keys/  VERIFY.md  verify.py            how to check, and the public keys as a convenience
    openings/<seq>.json                    only in an export that asks for them; not signed, erasable

Nothing inside depends on the clock: the same input, key and version give the same bytes.
"""

from leaver.evidence.bundle.collect import (
    KnownAuthority,
    KnownWitness,
    Material,
    collect,
    consistency_proof,
)
from leaver.evidence.bundle.files import STANDALONE, bundle_files
from leaver.evidence.bundle.model import BundleInput, Earlier, ProvenRecord, Stamp, TrustKeys, Witness
from leaver.evidence.bundle.sealing import Pages, Sealing
from leaver.evidence.bundle.store import Bundle, BundleStore, bundle_name, export_bundle
from leaver.evidence.verify.layout import BundleKind

__all__ = [
    "STANDALONE",
    "Bundle",
    "BundleInput",
    "BundleKind",
    "BundleStore",
    "Earlier",
    "KnownAuthority",
    "KnownWitness",
    "Material",
    "Pages",
    "ProvenRecord",
    "Sealing",
    "Stamp",
    "TrustKeys",
    "Witness",
    "bundle_files",
    "bundle_name",
    "collect",
    "consistency_proof",
    "export_bundle",
]
