"""What the evidence code may raise, and nothing else.

::

    EvidenceError
    ├── LedgerError
    │   ├── UnfitDraftError      the draft cannot become a record (a float, a bad case id …)
    │   ├── DraftConflictError   another draft is already stored under that number
    │   ├── GapError             a number was skipped
    │   ├── ChainClosedError     the chain ended with ``case.closed``
    │   ├── CaseNotClosedError   asked for what only a closed case has
    │   ├── UnknownCaseError     no record of that case
    │   ├── NotStoredError       nothing is stored under that number or hash
    │   ├── CheckpointConflictError  the checkpoint is not one of this ledger, or not the next one
    │   ├── LedgerUnavailableError   the database cannot be used now; trying again may help
    │   ├── LedgerVersionError   the file is not a ledger, or one of another version
    │   └── LedgerDamagedError   what is stored is not what was hashed
    ├── AnchorError              an outside anchor cannot be had, or is not what it claims to be
    │   ├── TimestampError       the timestamp authority's reply is no proof
    │   ├── WitnessError         a witness did not cosign, or what it sent is no cosignature
    │   │   └── ForkError        two checkpoints of one log contradict each other
    │   ├── SinkError            a store did not take a file, or holds other content under its name
    │   └── RolledBackError      the ledger is behind what was signed before: nothing is signed
    ├── BundleError              a bundle cannot be made, or the one that exists is not the same
    ├── TrustError               an auditor's own keys or checkpoint cannot be used
    ├── KeyFileError             a private key file cannot be used
    ├── KeyServiceError          the key management service did not sign now; trying again may help
    │   └── KeyRefusedError      it never will as things are: no such key, no permission, another kind of key
    ├── RotationError            a change of keys is not signed by the old and the new key, or out of order
    ├── NoteError                a signed note, checkpoint or proof is not to be trusted
    │   ├── MalformedNoteError   it does not have the form of the specification
    │   └── UntrustedNoteError   the expected key did not sign it
    ├── ReportError              a report cannot be made of what was asked for
    ├── ErasureRefusedError      what names a person may not be erased now, or not with that reason
    ├── PeopleFileError          the registry of people's keys cannot be used
    └── UnreadableRecordsError   the records do not tell a case

Texts never hold names, addresses or secrets: they reach logs and Temporal.
"""

from __future__ import annotations


class EvidenceError(Exception):
    """Root of the tree."""


class LedgerError(EvidenceError):
    """The ledger refused; nothing was stored."""


class UnfitDraftError(LedgerError):
    """The draft cannot become a record."""


class DraftConflictError(LedgerError):
    """Another draft is already stored under that case, chain and number."""


class GapError(LedgerError):
    """The draft's number is not the chain's next one."""


class ChainClosedError(LedgerError):
    """The chain has ended; nothing can be added."""


class CaseNotClosedError(LedgerError):
    """The case chain has not ended yet."""


class UnknownCaseError(LedgerError):
    """The ledger has no record of that case."""


class NotStoredError(LedgerError):
    """Nothing is stored under that number or hash, or it was erased."""


class CheckpointConflictError(LedgerError):
    """The checkpoint does not fit this ledger, or another one of that size is stored."""


class LedgerUnavailableError(LedgerError):
    """The database cannot be used now. Whether the last call was stored is not known: make it again."""


class LedgerVersionError(LedgerError):
    """The database is not a ledger, or was written by another version."""


class LedgerDamagedError(LedgerError):
    """Stored bytes do not have the hash that was stored with them."""


class BundleError(EvidenceError):
    """The bundle cannot be made; what exists was left as it is."""


class TrustError(EvidenceError):
    """What an auditor brought along to verify with is missing or malformed; nothing was checked."""


class KeyFileError(EvidenceError):
    """A private key file is missing, unreadable, of another kind, or readable by others."""


class KeyServiceError(EvidenceError):
    """The key management service did not answer or could not sign; nothing was signed. Try again later."""


class KeyRefusedError(KeyServiceError):
    """The key management service refused for good: no such key, no permission, or a key of another kind."""


class RotationError(EvidenceError):
    """A change of keys does not hold: a cross signature is wrong, or the chain of keys is broken."""


class NoteError(EvidenceError):
    """A signed note, a checkpoint or a proof cannot be trusted."""


class MalformedNoteError(NoteError):
    """The text does not have the form that the specification asks for."""


class UntrustedNoteError(NoteError):
    """The expected key did not sign the text, or one of its signatures is wrong."""


class PeopleFileError(EvidenceError):
    """The registry of people's keys cannot be read, or contradicts itself."""


class ReportError(EvidenceError):
    """The report asked for cannot be made: the period, the time zone or the checkpoint makes no sense."""


class ErasureRefusedError(EvidenceError):
    """Openings may not be erased now, or not with that reason; nothing was erased."""


class UnreadableRecordsError(EvidenceError):
    """The records do not tell a case: the first is missing, or a body has another shape."""


class AnchorError(EvidenceError):
    """An outside anchor cannot be had, or what came is not what it claims to be."""


class TimestampError(AnchorError):
    """The timestamp authority did not answer, or its reply proves nothing about these bytes."""


class WitnessError(AnchorError):
    """A witness did not cosign, or what it sent is not its cosignature of this checkpoint."""


class ForkError(WitnessError):
    """Two signed checkpoints of one log contradict each other: its history was rewritten."""


class SinkError(AnchorError):
    """A store did not take a file, or holds other content under that name; nothing was replaced."""


class RolledBackError(AnchorError):
    """The ledger lacks what was signed and published before: an older copy, or another history."""
