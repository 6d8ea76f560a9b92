"""Cases for the formats: records as a ledger would hold them, made from the step catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from leaver.domain.base import Facts
from leaver.domain.catalogue import CATALOGUE
from leaver.domain.records import RecordDraft
from leaver.domain.words import Outcome, Phase, RecordType, System
from leaver.evidence.formats.model import Anchors, CaseEvidence, case_evidence
from leaver.evidence.formats.oscal_parts import Scope
from leaver.evidence.records import NO_RECORD, Record, parse_record, record_bytes

ORIGIN = "evidence.example.net/leaver"
CUTOFF = datetime(2026, 11, 20, 17, 0, tzinfo=UTC)
RUN = "019a9d3e-0000-7000-8000-000000000001"
ACCOUNTS = {
    System.ENTRA: "8f3a1c52-77aa-4c0e-9d55-0b1f2e3d4c5b",
    System.EXCHANGE: "8f3a1c52-77aa-4c0e-9d55-0b1f2e3d4c5b",
    System.ONEDRIVE: "8f3a1c52-77aa-4c0e-9d55-0b1f2e3d4c5b",
    System.AD: "c2a4e6f8-1357-4bdf-8ace-02468ace1357",
}
SUCCESSOR = "11112222-3333-4444-8555-666677778888"
GROUP, DYNAMIC, SKU = (
    "0a1b2c3d-0001-4000-8000-000000000001",
    "0a1b2c3d-0002-4000-8000-000000000002",
    "5be85829",
)
ANCHORS = Anchors(
    origin=ORIGIN,
    size=4000,
    root="ab" * 32,
    at=datetime(2026, 11, 21, 6, 0, tzinfo=UTC),
    vouchers=("stamps.example.net", "witness.example.org"),
)
STATES: dict[str, tuple[Facts, Facts]] = {
    "entra.remove_groups": ({"groups": [GROUP, DYNAMIC]}, {"groups": [DYNAMIC]}),
    "entra.remove_direct_licences": ({"licences": [{"sku": SKU, "group": None}]}, {"licences": []}),
    "exchange.delegate_to_successor": (
        {"full_access": False, "successor": SUCCESSOR},
        {"full_access": True, "successor": SUCCESSOR},
    ),
}
STEPS = tuple(name for name, row in CATALOGUE.items() if row.phase is not Phase.INTAKE)


def text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def case_id(number: int) -> str:
    return "c-" + f"{number:026d}".translate(str.maketrans("0123456789", "abcdefghij"))


@dataclass
class Maker:
    """Writes the chains of one case. ``seq`` counts as if other cases' records stood between."""

    number: int = 1
    now: datetime = CUTOFF
    chains: dict[str, list[Record]] = field(default_factory=dict)

    @property
    def case(self) -> str:
        return case_id(self.number)

    def add(self, kind: RecordType, body: Facts, *, chain: str = "case", case: str = "") -> Record:
        self.now += timedelta(milliseconds=250)
        records = self.chains.setdefault(chain, [])
        draft = RecordDraft(
            case=case or self.case, chain=chain, case_seq=len(records), type=kind, at=self.now, body=body
        )
        count = sum(map(len, self.chains.values()))
        raw = record_bytes(
            draft,
            seq=self.number * 300 + 3 * count,
            salt=f"{self.number:016x}{count:016x}",
            prev_case=records[-1].leaf if records else NO_RECORD,
        )
        records.append(parse_record(raw))
        return records[-1]

    def opened(self, *, mode: str = "enforce") -> None:
        self.add(
            RecordType.CASE_OPENED,
            {
                "person_ref": "p-qwertyuiopasdfghjklzxcvbnm",
                "event_id": "sha256-0f1e2d3c",
                "event_type": "leaver.scheduled.v1",
                "source": "hris/bamboohr/demo",
                "raw_sha256": "ab" * 32,
                "hr_time": "2026-11-12T09:31:07Z",
                "cutoff": text(CUTOFF),
                "received_at": "2026-11-12T09:31:09Z",
                "mode": mode,
                "policy_digest": "sha256:" + "cd" * 32,
                "policy_name": "standard",
                "policy_version": "3",
                "workflow_id": f"leaver-{self.case}",
                "run_id": RUN,
                "legal_hold": "no",
            },
        )

    def planned(self, steps: Iterable[str] = STEPS) -> None:
        due = text(CUTOFF + timedelta(hours=24))
        self.add(
            RecordType.PLAN,
            {
                "plan_digest": "sha256:" + "ef" * 32,
                "policy_digest": "sha256:" + "cd" * 32,
                "successor_id": SUCCESSOR,
                "steps": [
                    {"step": step, "account": ACCOUNTS[CATALOGUE[step].system], "due": due} for step in steps
                ],
            },
        )

    def result(
        self,
        step: str,
        outcome: Outcome = Outcome.VERIFIED,
        *,
        kind: RecordType = RecordType.RESULT,
        chain: str = "case",
        late: bool = False,
        reason: str | None = None,
        detail: str = "",
        attempts: int = 1,
    ) -> Record:
        row = CATALOGUE[step]
        before, after = STATES.get(step, ({"so": False}, {"so": True}))
        started, finished = self.now, self.now + timedelta(milliseconds=200)
        return self.add(
            kind,
            {
                "step": step,
                "system": row.system.value,
                "phase": row.phase.value,
                "account": ACCOUNTS[row.system],
                "outcome": outcome.value,
                "reason": reason,
                "detail": detail,
                "before": before,
                "after": after if outcome.proven else before,
                "started_at": text(started),
                "finished_at": text(finished),
                "attempts": attempts,
                "writes": int(outcome is Outcome.VERIFIED),
                "due": text(CUTOFF + timedelta(hours=24)),
                "late": late,
                "controls": list(row.controls),
            },
            chain=chain,
        )

    def raised(
        self, step: str | None, cause: str, detail: str = "", chain: str = "case", **more: str
    ) -> Record:
        body: Facts = {"step": step, "cause": cause, "due": None, "detail": detail, **more}
        return self.add(RecordType.EXCEPTION_RAISED, body, chain=chain)

    def closed(self, outcome: str = "completed") -> None:
        self.add(
            RecordType.CASE_CLOSED,
            {
                "outcome": outcome,
                "contained_at": text(CUTOFF + timedelta(seconds=6)),
                "closed_at": text(self.now),
                "count": len(self.chains["case"]) + 1,
                "steps": {},
            },
        )

    def evidence(self) -> CaseEvidence:
        chains = self.chains
        return case_evidence(chains["case"], watch=chains.get("watch", ()), sealer=chains.get("sealer", ()))


def honest(number: int = 1) -> Maker:
    """Everything proven in time; one list was empty before, one account was not there."""
    made = Maker(number)
    made.opened()
    for system in System:
        made.result(f"{system.value}.identify_account")
    made.planned()
    for step in STEPS:
        outcome = Outcome.ALREADY if step == "exchange.remove_distribution_groups" else Outcome.VERIFIED
        made.result(step, outcome)
    made.closed()
    return made


def troubled(number: int = 2) -> Maker:
    """Late, refused, done at the second try, never run, drifted, and a history that was reset."""
    made = Maker(number)
    made.opened()
    made.planned()
    for step in STEPS:
        if step == "onedrive.grant_successor":
            hostile = "needs *Sites*.FullControl <b>\n| $x"
            made.result(step, Outcome.OPEN, reason="access_denied", detail=hostile)
            made.raised(step, "access_denied", hostile)
        elif step == "entra.remove_groups":
            made.result(step, Outcome.FAILED, reason="retries_exhausted", detail="it did not end in time")
            made.raised(step, "retries_exhausted", "it did not end in time")
            made.result(step)
        elif step == "entra.remove_licence_groups":
            made.result(step, Outcome.OPEN, reason="blocked_by_step", attempts=0)
            made.raised(step, "blocked_by_step")
        elif step == "exchange.set_auto_reply":
            made.result(step, Outcome.WAIVED)
        elif step != "ad.move_to_leavers_ou":
            made.result(step, late=step == "ad.disable_account")
    made.closed("completed_with_exceptions")
    made.result("ad.disable_account", Outcome.OPEN, kind=RecordType.READBACK, chain="watch")
    made.raised("ad.disable_account", "drift", "the account is enabled again", chain="watch")
    made.result("ad.disable_account", kind=RecordType.READBACK, chain="watch")
    made.raised(None, "history.reset", "run forked", chain="sealer", run_id=RUN)
    return made


def planned_only(number: int = 3) -> Maker:
    """Notification-only mode."""
    made = Maker(number)
    made.opened(mode="notification_only")
    made.planned()
    for step in STEPS:
        made.result(step, Outcome.PLANNED)
    made.closed("planned")
    return made


def rescinded(number: int = 4) -> Maker:
    """Called off before the cut-off: nothing was done."""
    made = Maker(number)
    made.opened()
    made.closed("rescinded")
    return made


def running(number: int = 5) -> Maker:
    """Half done."""
    made = Maker(number)
    made.opened()
    made.planned()
    for step in STEPS[:6]:
        made.result(step)
    return made


def everything() -> list[CaseEvidence]:
    return [make().evidence() for make in (honest, troubled, planned_only, rescinded, running)]


def scope_of(cases: list[CaseEvidence]) -> Scope:
    if len(cases) == 1:
        return Scope.of_case(cases[0])
    return Scope.of_period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
