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
    │   ├── LedgerVersionError   the file is not a ledger, or one of another version
    │   └── LedgerDamagedError   what is stored is not what was hashed
    ├── BundleError              a bundle cannot be made, or the one that exists is not the same
    ├── KeyFileError             a private key file cannot be used
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


class LedgerVersionError(LedgerError):
    """The database is not a ledger, or was written by another version."""


class LedgerDamagedError(LedgerError):
    """Stored bytes do not have the hash that was stored with them."""


class BundleError(EvidenceError):
    """The bundle cannot be made; what exists was left as it is."""


class KeyFileError(EvidenceError):
    """A private key file is missing, unreadable, of another kind, or readable by others."""


class PeopleFileError(EvidenceError):
    """The registry of people's keys cannot be read, or contradicts itself."""


class UnreadableRecordsError(EvidenceError):
    """The records do not tell a case: the first is missing, or a body has another shape."""
