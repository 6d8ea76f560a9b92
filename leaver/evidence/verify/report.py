"""What a verification found, for people and for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from pydantic import JsonValue, TypeAdapter

from leaver.evidence.verify.layout import BundleKind

NO_ANCHOR: Final = "NO OUTSIDE ANCHOR: whoever holds the log key could have made another log."
CLAIMED_ANCHOR: Final = (
    "NO OUTSIDE ANCHOR OF YOUR OWN: who saw the checkpoint is named as outside by the bundle itself. Whoever"
    " made it could have made these anchors: use your own tsa-ca.pem and witnesses.vkeys (--trust)."
)
INSIDE: Final = (
    "came from inside the bundle, which proves only that the bundle fits together. Compare the fingerprints"
    " with those you received by another path, or use your own copies (--trust)."
)


class FindingKind(StrEnum):
    """What sort of thing is wrong."""

    SIGNATURE = "signature"
    """The manifest is not signed by the key it is checked with, or has another form."""
    CHANGED = "changed"
    MISSING = "missing"
    ADDED = "added"
    RECORD = "record"
    """A record's form, its number, its link or the end of its chain."""
    PROOF = "proof"
    """A record is not proven to be in the log."""
    CHECKPOINT = "checkpoint"
    TIMESTAMP = "timestamp"
    WITNESS = "witness"
    CONSISTENCY = "consistency"
    """Two checkpoints are not shown to be of one log."""
    FORK = "fork"
    """Two checkpoints are shown not to be of one log."""
    HISTORY = "history"
    OPENING = "opening"
    REPORT = "report"
    """An issued file is not the one that the log says was issued."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: in which file of the bundle, what, and of which sort."""

    file: str
    reason: str
    kind: FindingKind


@dataclass(frozen=True, slots=True)
class Anchor:
    """Somebody who saw the checkpoint.

    ``own``: checked with the auditor's own copy of the key. ``outside``: not run by the log's operator, as
    the operator says; an anchor of their own proves nothing against them, and neither does one that only the
    bundle says to be an outsider's.
    """

    kind: Literal["timestamp", "witness"]
    name: str
    at: datetime
    own: bool
    outside: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What a verification found. ``ok`` only when there is nothing.

    ``own`` names the trust material that was the auditor's own (``signer``, ``log``, ``tsa``, ``witnesses``,
    ``checkpoint``). Without it a good result means no more than that the bundle is consistent with itself.
    ``size`` and ``root`` are the checkpoint's, 0 and empty where it could not be read. ``notes`` is what was
    shown besides, ``remarks`` what is wrong with the case by the sealer's own word. Times are UTC.
    """

    findings: tuple[Finding, ...]
    kind: BundleKind | None
    subject: str
    fingerprint: str
    records: int
    events: int
    files: int
    openings: int
    origin: str
    size: int
    root: str
    anchors: tuple[Anchor, ...]
    own: frozenset[str]
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    @property
    def case(self) -> str:
        """The case the bundle is about; empty for a period."""
        return self.subject if self.kind in (BundleKind.CASE, BundleKind.WATCH) else ""

    @property
    def own_key(self) -> bool:
        """Whether the auditor's own copy of the signer's key was used."""
        return "signer" in self.own

    @property
    def anchored(self) -> bool:
        """Whether somebody outside has seen the checkpoint, by the auditor's own copy of their key."""
        return any(anchor.outside and anchor.own for anchor in self.anchors)

    @property
    def claim(self) -> str:
        """What a good result says, in one sentence; empty when something is wrong."""
        if not self.ok:
            return ""
        seen = ", ".join(_seen(anchor) for anchor in self.anchors)
        return f"tamper-evident since checkpoint {self.size} ({seen or 'no outside anchor'})"

    @property
    def caveats(self) -> tuple[str, ...]:
        """What a good result does not say; to be shown with it."""
        claimed = any(anchor.outside for anchor in self.anchors)
        anchor = () if self.anchored else (CLAIMED_ANCHOR if claimed else NO_ANCHOR,)
        used = {
            "signer",
            "log",
            *({"timestamp": "tsa", "witness": "witnesses"}[a.kind] for a in self.anchors),
        }
        inside = sorted(used - self.own)
        keys = (f"Trust material ({', '.join(inside)}) {INSIDE}",) if inside else ()
        return (*anchor, *self.remarks, *keys)

    def plain(self) -> dict[str, JsonValue]:
        """The report as JSON."""
        told = {**asdict(self), "own": sorted(self.own), "ok": self.ok, "claim": self.claim}
        value: dict[str, JsonValue] = TypeAdapter(dict[str, object]).dump_python(
            {**told, "caveats": list(self.caveats)}, mode="json"
        )
        return value


def _seen(anchor: Anchor) -> str:
    how = "stamped" if anchor.kind == "timestamp" else "witnessed"
    whose = "" if anchor.own else ", by the bundle's own word"
    whose = whose if anchor.outside else ", the operator's own"
    return f"{how} {anchor.at:%Y-%m-%d %H:%M:%S} UTC by {anchor.name}{whose}"
