"""A person's decision that a leaver needs no case: the last way to explain a gap."""

from __future__ import annotations

from datetime import datetime

from leaver.domain.words import Mode, RecordType
from leaver.evidence.errors import UnknownCaseError
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.population.bodies import DecidedBody
from leaver.evidence.population.erasure import Order, check_reason
from leaver.evidence.records import Chain, Record

_NOTED = (RecordType.POPULATION_ROW, RecordType.CASE_EXPECTED, RecordType.CASE_EXCLUDED)


def note_decision(ledger: Ledger, case: str, order: Order, at: datetime) -> Record:
    """Record that this leaver needs no case, who decided it and why. The same order again changes nothing.

    Args:
        ledger: open for writing.
        case: the case that there is not, as the completeness table names it.
        order: who, and why. The reason stands in the log for ever, so it may not name the person.
        at: the sealer's clock.

    Raises:
        UnknownCaseError: neither HR's list nor a delivery ever named this leaver.
        ErasureRefusedError: the reason is empty, too long, or names the person.
        LedgerError: the ledger cannot be written.
    """
    noted = [found for kind in _NOTED if (found := ledger.last(Chain.SEALER, case, kind)) is not None]
    if not noted:
        raise UnknownCaseError(f"{case}: HR never named this leaver; there is nothing to explain")
    check_reason(order.reason, ledger.opening(case))
    known = max(noted, key=lambda record: record.seq).body
    body = DecidedBody(
        case=case,
        person_ref=str(known.get("person_ref", "")),
        mode=Mode(str(known["mode"])),
        why=order.reason,
        approver=order.by_ref,
        statement_sha256=order.statement_sha256,
        received_at=at,
    )
    key = f"excluded:decided:{order.nonce}"
    return ledger.note(Chain.SEALER, case, RecordType.CASE_EXCLUDED, at, body.facts(), key=key)
