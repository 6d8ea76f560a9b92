"""A sample case as a workflow would draft it, its histories, and a place to seal it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToJson
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History, HistoryEvent

from leaver.domain.base import Facts
from leaver.domain.catalogue import CATALOGUE, identify_step
from leaver.domain.records import RecordDraft
from leaver.domain.words import Outcome, Phase, RecordType, System
from leaver.evidence.bundle import BundleStore
from leaver.evidence.keys.files import FileSigner
from leaver.evidence.ledger.store import Ledger
from leaver.temporal.history import HistoryFile
from tests.support.bundle_world import OPENSSL, Authority, World, make_keys, sample_world

CASE = "c-abcdefghijklmnopqrstuvwxyz"
CUTOFF = datetime(2026, 11, 20, 17, 0, tzinfo=UTC)
ACCOUNTS = {
    System.ENTRA: "8f3a1c52-77aa-4c0e-9d55-0b1f2e3d4c5b",
    System.EXCHANGE: "8f3a1c52-77aa-4c0e-9d55-0b1f2e3d4c5b",
    System.ONEDRIVE: "8f3a1c52-77aa-4c0e-9d55-0b1f2e3d4c5b",
    System.AD: "c2a4e6f8-1357-4bdf-8ace-02468ace1357",
}
STATES: dict[str, tuple[Facts, Facts]] = {
    "entra.block_sign_in": ({"account_enabled": True}, {"account_enabled": False}),
    "entra.reset_password": (
        {"last_password_change": "2026-03-02T08:11:40Z"},
        {"last_password_change": "2026-11-20T17:00:03Z"},
    ),
    "entra.revoke_sessions": (
        {"sessions_valid_from": "2026-03-02T08:11:40Z"},
        {"sessions_valid_from": "2026-11-20T17:00:04Z"},
    ),
    "ad.disable_account": ({"enabled": True, "uac": 512}, {"enabled": False, "uac": 514}),
    "entra.remove_auth_methods": (
        {"methods": ["microsoftAuthenticator", "phone", "fido2"]},
        {"methods": []},
    ),
    "exchange.convert_to_shared_mailbox": (
        {"recipient_type": "UserMailbox", "user_purpose": "user"},
        {"recipient_type": "SharedMailbox", "user_purpose": "shared"},
    ),
    "entra.remove_groups": (
        {"groups": ["0a1b2c3d-0001-4000-8000-000000000001", "0a1b2c3d-0001-4000-8000-000000000002"]},
        {"groups": []},
    ),
}


def _text(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


class Drafter:
    """Drafts records like the workflow does: numbered, dated one after the other."""

    def __init__(self, case: str = CASE, chain: str = "case", start: datetime = CUTOFF) -> None:
        self.case, self.chain, self.now = case, chain, start
        self.drafts: list[RecordDraft] = []

    def add(self, kind: RecordType, body: Facts, *, after: float = 0.4) -> None:
        self.now += timedelta(seconds=after)
        self.drafts.append(
            RecordDraft(
                case=self.case,
                chain=self.chain,
                case_seq=len(self.drafts),
                type=kind,
                at=self.now,
                body=body,
            )
        )

    def opened(self, *, mode: str = "enforce", immediate: bool = False) -> None:
        self.add(
            RecordType.CASE_OPENED,
            {
                "person_ref": "p-qwertyuiopasdfghjklzxcvbnm",
                "event_id": "sha256-0f1e2d3c",
                "event_type": "leaver.immediate.v1" if immediate else "leaver.scheduled.v1",
                "source": "hris/bamboohr/demo",
                "raw_sha256": "ab" * 32,
                "hr_time": "2026-11-12T09:31:07Z",
                "cutoff": _text(CUTOFF),
                "received_at": "2026-11-12T09:31:09Z",
                "mode": mode,
                "policy_digest": "sha256:" + "cd" * 32,
                "policy_name": "standard",
                "policy_version": "3",
                "workflow_id": f"leaver-{self.case}",
                "run_id": "019a9d3e-0000-7000-8000-000000000001",
                "immediate": immediate,
                "legal_hold": "no",
            },
        )

    def result(
        self,
        step: str,
        outcome: Outcome,
        *,
        reason: str | None = None,
        detail: str = "",
        late: bool = False,
        run: int = 1,
        attempts: int = 1,
        after: float = 0.4,
    ) -> None:
        row = CATALOGUE[step]
        started = self.now
        self.now += timedelta(seconds=after)
        before, then = STATES.get(step, ({"so": False}, {"so": True}))
        written = outcome is Outcome.VERIFIED
        due = CUTOFF + (timedelta(hours=1) if row.phase is Phase.CONTAIN else timedelta(hours=24))
        self.add(
            RecordType.RESULT,
            {
                "step": step,
                "system": row.system.value,
                "phase": row.phase.value,
                "account": ACCOUNTS[row.system],
                "outcome": outcome.value,
                "reason": reason,
                "detail": detail,
                "before": {} if outcome is Outcome.OPEN else then if outcome is Outcome.ALREADY else before,
                "after": {} if outcome is Outcome.OPEN else then if outcome.proven else before,
                "started_at": _text(started),
                "finished_at": _text(self.now),
                "attempts": attempts,
                "writes": int(written),
                "run": run,
                "due": _text(due),
                "late": late,
                "receipts": [
                    {
                        "method": "PATCH",
                        "path": f"/v1.0/users/{ACCOUNTS[row.system]}",
                        "status": 204,
                        "mutating": True,
                        "request_id": "5f6b8a0c-1111-4222-8333-444455556666",
                        "client_request_id": None,
                        "server_date": _text(self.now),
                        "at": _text(self.now),
                    }
                ],
                "controls": list(row.controls),
            },
            after=0.05,
        )

    def planned(self, steps: list[str]) -> None:
        self.add(
            RecordType.PLAN,
            {
                "plan_digest": "sha256:" + "ef" * 32,
                "policy_digest": "sha256:" + "cd" * 32,
                "accounts": [f"{system.value}:{account}" for system, account in sorted(ACCOUNTS.items())],
                "successor_id": "11112222-3333-4444-8555-666677778888",
                "steps": [
                    {
                        "step": step,
                        "account": ACCOUNTS[CATALOGUE[step].system],
                        "due": _text(CUTOFF + timedelta(hours=24)),
                    }
                    for step in steps
                ],
                "omitted": [
                    {
                        "step": "entra.reset_password",
                        "reason": "mastered_elsewhere",
                        "detail": "the password of a synced account is mastered in Active Directory",
                    },
                    {
                        "step": "ad.move_to_leavers_ou",
                        "reason": "not_in_policy",
                        "detail": "the policy names no leavers' OU",
                    },
                ],
            },
        )

    def closed(self, outcome: str, *, contained: bool = True) -> None:
        contained_at = _text(CUTOFF + timedelta(seconds=6)) if contained else None
        self.add(
            RecordType.CASE_CLOSED,
            {
                "outcome": outcome,
                "contained_at": contained_at,
                "closed_at": _text(self.now),
                "count": len(self.drafts) + 1,
                "steps": {},
            },
        )


OMITTED = ("entra.reset_password", "ad.move_to_leavers_ou")
STEPS = [name for name, row in CATALOGUE.items() if row.phase is not Phase.INTAKE and name not in OMITTED]


def clean(case: str = CASE) -> list[RecordDraft]:
    """A hybrid leaver, approved, everything proven; one attempt failed on the way."""
    drafter = Drafter(case)
    drafter.opened()
    drafter.add(RecordType.HR_EVENT, {
        "event_id": "sha256-1f", "event_type": "leaver.changed.v1", "raw_sha256": "ba" * 32,
        "cutoff": _text(CUTOFF), "applied": True, "why": "",
    })  # fmt: skip
    for system in System:
        drafter.result(identify_step(system), Outcome.VERIFIED, after=0.2)
    drafter.planned(STEPS)
    for step in STEPS:
        if step == "exchange.set_auto_reply":
            _approve(drafter)
            _fail_once(drafter, "exchange.preserve")
        outcome = Outcome.ALREADY if step == "exchange.remove_distribution_groups" else Outcome.VERIFIED
        drafter.result(step, outcome, attempts=2 if step.startswith("exchange.") else 1)
    drafter.closed("completed")
    return drafter.drafts


def _approve(drafter: Drafter) -> None:
    drafter.add(RecordType.CHANGE, {"change": "approval_asked", "why": "the hand-over of mailbox and files"})
    for accepted, refusal in ((False, "this person may not decide here"), (True, "")):
        drafter.add(
            RecordType.APPROVAL,
            {
                "verb": "approve",
                "by_ref": "p-managermanagermanagermanag",
                "at": _text(drafter.now),
                "plan_digest": "sha256:" + "ef" * 32,
                "statement_sha256": "99" * 32,
                "key_id": "k-0123456789abcdef0123456789abcdef",
                "accepted": accepted,
                "refusal": refusal,
                "reason_given": False,
            },
            after=61,
        )


def _fail_once(drafter: Drafter, unit: str) -> None:
    for number, error in ((1, "throttled"), (2, None)):
        drafter.add(
            RecordType.ATTEMPT,
            {
                "unit": unit,
                "run": 1,
                "attempt": number,
                "started_at": _text(drafter.now),
                "ended_at": _text(drafter.now),
                "error": error,
                "lost": False,
                "detail": "the system asks to wait 2 s" if error else "",
            },
        )


def with_exceptions(case: str = CASE) -> list[RecordDraft]:
    """One step is late, one stays open, one was open and then done."""
    drafter = Drafter(case)
    drafter.opened()
    for system in System:
        drafter.result(identify_step(system), Outcome.VERIFIED, after=0.2)
    drafter.planned(STEPS)
    for step in STEPS:
        if step == "onedrive.grant_successor":
            for _ in range(2):
                drafter.result(
                    step, Outcome.OPEN, reason="access_denied", detail="needs Sites.FullControl.All"
                )
                _raise(drafter, step, "access_denied", "needs Sites.FullControl.All")
        elif step == "entra.remove_groups":
            drafter.result(step, Outcome.OPEN, reason="retries_exhausted", detail="it did not end in time")
            _raise(drafter, step, "retries_exhausted", "it did not end in time")
            drafter.result(step, Outcome.VERIFIED, run=2)
        else:
            drafter.result(step, Outcome.VERIFIED, late=step == "ad.disable_account")
    drafter.closed("completed_with_exceptions")
    return drafter.drafts


def _raise(drafter: Drafter, step: str, cause: str, detail: str) -> None:
    drafter.add(
        RecordType.EXCEPTION_RAISED,
        {"step": step, "cause": cause, "due": _text(CUTOFF + timedelta(hours=24)), "detail": detail},
    )


def planned_only(case: str = CASE) -> list[RecordDraft]:
    """Notification-only mode: nothing was written."""
    drafter = Drafter(case)
    drafter.opened(mode="notification_only")
    drafter.planned(STEPS)
    for step in STEPS:
        drafter.result(step, Outcome.PLANNED)
    drafter.closed("planned", contained=False)
    return drafter.drafts


def history(run_id: str = "019a9d3e-0000-7000-8000-000000000001", events: int = 300) -> HistoryFile:
    """A closed history in Temporal's own messages; long enough for two-byte numbers."""
    kinds = [EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED] + [
        EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED
    ] * (events - 2)
    kinds.append(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED)
    message = History(
        events=[HistoryEvent(event_id=number, event_type=kind) for number, kind in enumerate(kinds, 1)]
    )
    return HistoryFile(
        run_id=run_id,
        json=MessageToJson(message, sort_keys=True).encode(),
        proto=message.SerializeToString(deterministic=True),
        event_count=events,
    )


@dataclass(frozen=True)
class Samples:
    """What the tests use, so that they need not import this file."""

    case: str = CASE
    cutoff: datetime = CUTOFF
    drafter: type[Drafter] = Drafter

    clean = staticmethod(clean)
    with_exceptions = staticmethod(with_exceptions)
    planned_only = staticmethod(planned_only)
    history = staticmethod(history)


@pytest.fixture(scope="session")
def samples() -> Samples:
    return Samples()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.sqlite") as opened:
        yield opened


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> FileSigner:
    return FileSigner(tmp_path_factory.mktemp("key") / "evidence.pem")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    if not OPENSSL:
        pytest.skip("needs the system package openssl")
    return Authority(tmp_path_factory.mktemp("tsa") / "tsa", "stamps.example.net")


@pytest.fixture(scope="session")
def sealed_world(tmp_path_factory: pytest.TempPathFactory, authority: Authority, signer: FileSigner) -> World:
    """A case in the midst of a log, and everybody's keys. Tests copy its log before they change it."""
    keys = make_keys(tmp_path_factory.mktemp("keys"), authority)
    keys.signer = signer
    return sample_world(keys, clean(), history())


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory, sealed_world: World) -> Path:
    """An honest bundle. Tests copy it before they touch it."""
    store = BundleStore(tmp_path_factory.mktemp("sealed"), sealed_world.keys.signer)
    return store.seal(sealed_world.input).path
