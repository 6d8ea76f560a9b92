"""Verification of bundles: the library's own implementation, written apart from the stand-alone one.

Two implementations that must agree keep each other honest: this one uses pydantic, rfc8785, cryptography and
rfc3161-client; ``standalone/verify.py`` uses the standard library and openssl. Tests run both over every
attack we know.
"""

from leaver.evidence.verify.check import verify_bundle
from leaver.evidence.verify.layout import KEY, MANIFEST, BundleKind
from leaver.evidence.verify.report import (
    CLAIMED_ANCHOR,
    NO_ANCHOR,
    Anchor,
    Finding,
    FindingKind,
    VerifyReport,
)
from leaver.evidence.verify.trust import Trust, load_trust

__all__ = [
    "CLAIMED_ANCHOR",
    "KEY",
    "MANIFEST",
    "NO_ANCHOR",
    "Anchor",
    "BundleKind",
    "Finding",
    "FindingKind",
    "Trust",
    "VerifyReport",
    "load_trust",
    "verify_bundle",
]
