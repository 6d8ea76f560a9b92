"""The sealer's own look at HR, once a day, and the comparison after it; each new gap becomes a record."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from leaver.domain.population import Pull, PullFailedError
from leaver.domain.words import RecordType
from leaver.evidence.ledger.model import Note
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.population.bodies import FindingBody, FoundClosedBody, RunBody
from leaver.evidence.population.model import Completeness, Finding, GapKind, Period, Rules
from leaver.evidence.population.observed import Observed, OpenFinding
from leaver.evidence.population.reconcile import reconcile
from leaver.evidence.population.snapshot import record_pull
from leaver.evidence.population.source import PopulationSource
from leaver.evidence.records import LOG, Chain

Bundles = Callable[[], Collection[str]]
"""Asks the store of bundles which cases it has."""

PULL_RETRY: Final = timedelta(minutes=15)
"""After a failed pull."""


@dataclass(frozen=True, slots=True)
class Tick:
    """What one round did: the snapshot it made (if any), and how everything stands."""

    completeness: Completeness
    snapshot: str = ""
    pull: Pull | None = None
    problem: str = ""
    found: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


@dataclass(slots=True)
class PopulationKeeper:
    """Pulls, compares and records. One per sealer; ``tick`` may be called as often as wanted.

    Args:
        ledger: open for writing.
        source: HR's list; None where the installation has none, which is itself reported.
        bundles: tells which cases have a bundle; None when that is not to be compared.
        rules: how patient to be.
        zone: the time zone in which a day begins.
        since: leavers of an earlier time were not in this system's care and are not counted.
    """

    ledger: Ledger
    source: PopulationSource | None = None
    bundles: Bundles | None = None
    rules: Rules = field(default_factory=Rules)
    zone: tzinfo = UTC
    since: datetime | None = None
    _observed: Observed = field(default_factory=Observed, init=False)
    _tried: datetime | None = field(default=None, init=False)
    _doubt: bool = field(default=False, init=False)
    """An exclusion was told that HR's list, as pulled before, does not say: worth asking HR again soon."""
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def tick(self, now: datetime) -> Tick:
        """Pull HR's list unless that was done today, and compare; new gaps and closed ones become records.

        Called twice, it writes nothing twice. A pull that fails is a finding, tried again in a while.

        Args:
            now: the present (aware).

        Raises:
            LedgerError: the ledger cannot be read or written.
        """
        async with self._lock:
            await asyncio.to_thread(self._observed.take, self.ledger)
            return await self._round(now, pull=self._due(now))

    async def pull(self, now: datetime) -> Tick:
        """Pull now, whatever was pulled before, and compare.

        Raises:
            LedgerError: the ledger cannot be read or written.
        """
        async with self._lock:
            await asyncio.to_thread(self._observed.take, self.ledger)
            return await self._round(now, pull=True)

    async def _round(self, now: datetime, *, pull: bool) -> Tick:
        pulled, snapshot, problem = None, "", ""
        if pull:
            self._tried = now
            try:
                pulled = await self._ask().pull(now)
            except PullFailedError as err:
                problem = str(err)
        if pulled is not None:
            snapshot = await asyncio.to_thread(record_pull, self.ledger, self._observed, pulled, now)
        return await asyncio.to_thread(self._compare, now, pulled, snapshot, problem)

    def _ask(self) -> PopulationSource:
        if self.source is None:
            raise PullFailedError("no source of HR's list is configured ([evidence.population])")
        return self.source

    def _due(self, now: datetime) -> bool:
        """Whether the day's pull is missing, or in doubt, and it is time to try (again)."""
        if self.source is None or (self._tried is not None and now - self._tried < PULL_RETRY):
            return False
        if self._doubt:
            return True
        today = now.astimezone(self.zone).date()
        return not any(
            each.source == self.source.name and each.pulled_at.astimezone(self.zone).date() == today
            for each in self._observed.seen.snapshots
        )

    def _compare(self, now: datetime, pulled: Pull | None, snapshot: str, problem: str) -> Tick:
        seen = self._observed.seen
        self._note_trouble(now, pulled, problem)
        bundles = None if self.bundles is None else self.bundles()
        result = reconcile(Period(start=self.since), seen, now=now, bundles=bundles, rules=self.rules)
        doubts = (each for each in result.findings if each.kind is GapKind.EXCLUSION_NOT_CONFIRMED)
        self._doubt = any(not each.alarm for each in doubts)
        found = self._new(result)
        gone = self._gone(result)
        notes = [
            *(self._finding_note(each, now) for each in found),
            *(_closing_note(key, each, now) for key, each in gone),
            *self._run_note(result, snapshot, now),
        ]
        if notes:
            self.ledger.notes(notes)
            self._observed.take(self.ledger)
        return Tick(
            completeness=result,
            snapshot=snapshot,
            pull=pulled,
            problem=problem,
            found=tuple(each.key for each in found),
            gone=tuple(key for key, _ in gone),
        )

    def _note_trouble(self, now: datetime, pulled: Pull | None, problem: str) -> None:
        name, trouble = self.source.name if self.source else "none", self._observed.seen.pull_trouble
        if problem:
            trouble.setdefault(name, (now, problem))
        elif pulled is not None:
            trouble.pop(name, None)

    def _new(self, result: Completeness) -> list[Finding]:
        known, fresh = set(self._observed.open_findings), []
        for found in result.findings:
            if (found.alarm or found.note) and found.key not in known:
                known.add(found.key)
                fresh.append(found)
        return fresh

    def _gone(self, result: Completeness) -> list[tuple[str, OpenFinding]]:
        still = {found.key for found in result.findings}
        return [(key, each) for key, each in self._observed.open_findings.items() if key not in still]

    def _finding_note(self, found: Finding, now: datetime) -> Note:
        number = self._observed.times_found[found.key] + 1
        body = FindingBody(
            finding=found.key,
            number=number,
            kind=found.kind.value,
            about=found.case or found.subject,
            detail=found.detail,
            since=found.since,
        )
        return Note(
            chain=Chain.SEALER if found.case else Chain.LOG,
            case=found.case or LOG,
            type=RecordType.RECONCILIATION_FINDING,
            at=now,
            body=body.facts(),
            key=f"finding:{found.key}:{number}",
        )

    def _run_note(self, result: Completeness, snapshot: str, now: datetime) -> Iterator[Note]:
        """One after each pull, and one a day where nothing is pulled."""
        last, today = self._observed.last_run, now.astimezone(self.zone).date()
        if not snapshot and last is not None and last.astimezone(self.zone).date() == today:
            return
        yield Note(
            chain=Chain.LOG,
            case=LOG,
            type=RecordType.RECONCILIATION,
            at=now,
            body=run_body(result, snapshot).facts(),
            key=f"run:{snapshot or today.isoformat()}",
        )


def run_body(result: Completeness, snapshot: str = "") -> RunBody:
    """The counts of a comparison, as ``recon.run`` holds them."""
    return RunBody(
        as_of=result.as_of,
        since=result.period.start,
        mode=result.mode,
        snapshot=snapshot,
        hr_leavers=result.hr_leavers,
        with_case=result.with_case,
        excluded=result.excluded,
        missing=result.missing,
        withdrawn=result.withdrawn,
        unlisted=result.unlisted,
        unconfirmed=result.unconfirmed,
        cases=result.cases,
        difference=result.difference,
        closed=result.closed,
        sealed=result.sealed,
        bundles=result.bundles,
        exclusions={reason.value: count for reason, count in sorted(result.exclusions.items())},
        alarms=dict(sorted(Counter(found.kind.value for found in result.alarms).items())),
    )


def _closing_note(key: str, found: OpenFinding, now: datetime) -> Note:
    body = FoundClosedBody(
        finding=key,
        number=found.number,
        cause=f"recon.{found.kind}",
        why="the comparison finds this gap no more",
        since=found.since,
    )
    return Note(
        chain=Chain.SEALER if found.case != LOG else Chain.LOG,
        case=found.case,
        type=RecordType.EXCEPTION_CLOSED,
        at=now,
        body=body.facts(),
        key=f"closed:{key}:{found.number}",
    )
