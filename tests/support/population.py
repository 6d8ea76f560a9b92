"""A company whose leavers are delivered, pulled, opened and closed, all on one real ledger."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from leaver.client.deliveries import Namer, delivery_parts
from leaver.domain.base import Facts
from leaver.domain.delivery import ExpectInput
from leaver.domain.event import LeaverEvent
from leaver.domain.policy import Policy
from leaver.domain.records import RecordDraft
from leaver.domain.words import CaseOutcome, Mode, RecordType
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.population.expect import note_delivery
from leaver.evidence.population.keeper import PopulationKeeper
from leaver.evidence.records import Chain
from leaver.hr.ingest import read
from leaver.hr.model import IngestContext, IngestResult, SourceKind
from leaver.hr.population import FilePopulation, same_context
from leaver.hr.screening import screen

ID_KEY = b"0123456789abcdef"
START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
HEADER = (
    "employee_number,employment_id,email,display_name,timezone,last_working_day,status,legal_hold,changed_at"
)


def row(
    number: str,
    day: str = "2026-11-20",
    *,
    status: str = "leaving",
    spell: str = "1",
    name: str = "",
    zone: str = "UTC",
    hold: str = "no",
    changed: str = "",
) -> str:
    """One line of HR's file. Everybody has a name of their own, so that it can be searched for."""
    who = name or f"Zorba {number}son"
    mail = f"zorba.{number.lower()}@northwind.example"
    return f"{number},{number}-{spell},{mail},{who},{zone},{day},{status},{hold},{changed}"


@dataclass
class Company:
    """HR's file, the ledger, and the cases of a company. Time is what the test says it is."""

    folder: Path
    ledger: Ledger
    mode: Mode = Mode.ENFORCE
    brake: int = 50
    now: datetime = START
    rows: list[str] = field(default_factory=list)
    bundles: set[str] = field(default_factory=set)
    _nonce: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def file(self) -> Path:
        return self.folder / "hr.csv"

    @property
    def namer(self) -> Namer:
        return Namer(ID_KEY, self.mode)

    @property
    def policy(self) -> Policy:
        return Policy.model_validate(
            {
                "name": "test",
                "version": "1",
                "mode": self.mode.value,
                "brakes": {"max_leavers_per_feed": self.brake},
            }
        )

    def source(self, **more: object) -> FilePopulation:
        context = IngestContext(tenant="northwind", file="hr.csv", observed_at=self.now)
        return FilePopulation(
            self.file,
            SourceKind.CSV,
            same_context(context),
            ID_KEY,
            self.mode,
            **more,
        )

    def keeper(self) -> PopulationKeeper:
        return PopulationKeeper(self.ledger, self.source(), bundles=lambda: self.bundles)

    def write(self, *rows: str) -> None:
        """What HR's file says from now on."""
        self.rows = list(rows)
        self.file.write_text("\n".join((HEADER, *rows)) + "\n", encoding="utf-8")

    def read(self) -> IngestResult:
        context = IngestContext(tenant="northwind", file="hr.csv", observed_at=self.now)
        return read(self.file.read_bytes(), SourceKind.CSV, context)

    def parts(self) -> tuple[ExpectInput, ...]:
        result = self.read()
        return delivery_parts(self.namer, result, screen(result.events, self.policy, self.now), self.now)

    def deliver(self, *, start: bool = True, without: Iterable[str] = ()) -> list[str]:
        """Ingest: the sealer notes, then the cases start; ``without`` are lost between the two."""
        for part in self.parts():
            note_delivery(self.ledger, part, self.now)
        result = self.read()
        events = screen(result.events, self.policy, self.now).start if start else ()
        opened = []
        for event in events:
            case = self.namer.case(event)
            if event.data.person.external_id not in set(without) and not self._is_open(case):
                self.open(event)
                opened.append(case)
        return opened

    def open(self, event: LeaverEvent) -> str:
        """What a case's workflow records first."""
        case, separation = self.namer.case(event), event.data.separation
        self._append(
            case,
            RecordType.CASE_OPENED,
            {
                "person_ref": self.namer.person(event.source, event.subject),
                "event_id": event.id,
                "event_type": event.type.value,
                "source": event.source,
                "raw_sha256": event.data.provenance.raw_sha256,
                "hr_time": _text(event.data.provenance.observed_at),
                "cutoff": _text(separation.effective_at),
                "received_at": _text(self.now),
                "mode": self.mode.value,
                "policy_digest": "sha256:" + "0" * 64,
                "policy_name": "test",
                "policy_version": "1",
                "workflow_id": f"leaver-{case}",
                "run_id": "run-1",
                "immediate": separation.immediate,
                "legal_hold": separation.legal_hold.value,
            },
        )
        return case

    def close(self, case: str, outcome: CaseOutcome = CaseOutcome.COMPLETED) -> None:
        """What a case's workflow records last."""
        count = len(self.ledger.records(case)) + 1
        body: Facts = {"outcome": outcome.value, "closed_at": _text(self.now), "count": count, "steps": {}}
        self._append(case, RecordType.CASE_CLOSED, body)

    def seal(self, case: str, run: str = "run-1", *, final: bool = True, suffix: str = "") -> None:
        """What the history sealer notes of a run."""
        kind = RecordType.HISTORY_FINAL if final else RecordType.HISTORY_PREFIX
        body: Facts = {"workflow_id": f"leaver-{case}{suffix}", "run_id": run}
        self.ledger.note(Chain.SEALER, case, kind, self.now, body, key=f"{kind.value}:{run}")

    def finish(self, case: str) -> None:
        """Close, seal, bundle."""
        self.close(case)
        self.seal(case)
        self.bundles.add(case)

    def later(self, **span: float) -> None:
        self.now += timedelta(**span)

    def case(self, number: str, spell: str = "1") -> str:
        result = self.read()
        known = [*result.events, *(each.event for each in result.set_aside if each.event)]
        wanted = f"{number}-{spell}"
        return next(self.namer.case(each) for each in known if each.data.employment.source_id == wanted)

    def _is_open(self, case: str) -> bool:
        return bool(self.ledger.records(case))

    def _append(self, case: str, kind: RecordType, body: Facts) -> None:
        number = len(self.ledger.records(case))
        draft = RecordDraft(case=case, case_seq=number, type=kind, at=self.now, body=body)
        self.ledger.append([draft])


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
