"""One comparison's view of what was seen: who is counted in the period, and what became of each."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from leaver.domain.delivery import Exclusion
from leaver.domain.words import Mode
from leaver.evidence.population.model import Excluded, Line, Period, Rules, Seen, Snapshot


def of_mode(seen: Seen, mode: Mode) -> Seen:
    """Rehearsals have case ids of their own and stand in no table of real cases, nor the other way round."""
    return Seen(
        snapshots=sorted((pull for pull in seen.snapshots if pull.mode is mode), key=lambda pull: pull.seq),
        listed={case: row for case, row in seen.listed.items() if row.mode is mode},
        expected={case: each for case, each in seen.expected.items() if each.mode is mode},
        exclusions={case: each for case, each in seen.exclusions.items() if each.mode is mode},
        opened={case: each for case, each in seen.opened.items() if each.mode is mode},
        closed=seen.closed,
        sealed=seen.sealed,
        unread=seen.unread,
        pull_trouble=seen.pull_trouble,
    )


@dataclass(slots=True)
class Comparison:
    """What was seen (of one mode), judged as of ``now``. ``bundles`` is None where nobody asked the store."""

    period: Period
    seen: Seen
    now: datetime
    bundles: Collection[str] | None
    rules: Rules
    newest: dict[str, Snapshot] = field(init=False)
    """Per source."""

    def __post_init__(self) -> None:
        self.newest = {pull.source: pull for pull in self.pulls}

    @property
    def pulls(self) -> list[Snapshot]:
        """Every pull, oldest first."""
        return self.seen.snapshots

    @property
    def last_pull(self) -> Snapshot | None:
        """The newest pull of any source."""
        return self.pulls[-1] if self.pulls else None

    def before(self, pull: Snapshot) -> Snapshot | None:
        """The pull of the same source before that one."""
        earlier = [one for one in self.pulls if one.source == pull.source and one.seq < pull.seq]
        return earlier[-1] if earlier else None

    def lines(self) -> Iterator[Line]:
        """Every leaver and every case of the period, in the order of the cut-offs."""
        seen = self.seen
        known = {case for case, row in seen.listed.items() if row.leaving} | set(seen.opened)
        dated = sorted((self.effective(case), case) for case in known)
        yield from (self._line(case) for effective, case in dated if self.period.has(effective))

    def effective(self, case: str) -> datetime:
        """When access ends: by HR's list, else by the case, else by what was expected."""
        seen = self.seen
        if case in seen.listed:
            return seen.listed[case].effective_at
        return seen.opened[case].cutoff if case in seen.opened else seen.expected[case].cutoff

    def leaving(self, case: str) -> bool:
        """Whether HR's list names it as leaving."""
        row = self.seen.listed.get(case)
        return row is not None and row.leaving

    def withdrawn(self, case: str) -> bool:
        """Whether HR's list showed the separation and then took it back."""
        row = self.seen.listed.get(case)
        return row is not None and not row.leaving

    def told(self, case: str) -> Excluded | None:
        """The exclusion that was told, by ingest or by a person; one who was expected since is none."""
        excluded, expected = self.seen.exclusions.get(case), self.seen.expected.get(case)
        return None if expected and excluded and expected.last_seq > excluded.seq else excluded

    def exclusion(self, case: str) -> Excluded | None:
        """The exclusion that explains why there is no case, unless HR's own list contradicts it.

        What ingest tells is no explanation by itself: whoever can leave out a leaver there can tell a reason
        too. A rule's word, and HR's word that somebody stays, counts until a pull made after it was first
        told lists the leaver without it. Only a signed decision stands against HR's list.
        """
        told = self.told(case)
        if told is None or (told.reason is Exclusion.DECIDED and not told.approver):
            return None
        return None if self._contradicted(told) else told

    def confirmed(self, told: Excluded) -> bool:
        """Whether HR's list, as the sealer itself read it, says the same as the rule that was told."""
        row = self.seen.listed.get(told.case)
        by_rule = told.reason.settled and told.reason is not Exclusion.DECIDED
        return not by_rule or row is None or not row.leaving or row.set_aside is told.reason

    def compared(self, told: Excluded) -> bool:
        """Whether HR's list was pulled, with this leaver on it, after the exclusion was told."""
        return any(pull.seq > told.seq for pull in self._naming(told.case))

    def _contradicted(self, told: Excluded) -> bool:
        row = self.seen.listed.get(told.case)
        if row is None or self.confirmed(told) or (row.set_aside is not None and row.set_aside.settled):
            return False
        later = [pull for pull in self._naming(told.case) if pull.seq > told.first_seq]
        if told.reason is Exclusion.RESCINDED:
            # HR may need some days to take somebody off the list whom it took back, but not beyond the end.
            newest = self.newest.get(row.source)
            later = [pull for pull in later if pull is newest or pull.pulled_at >= row.effective_at]
        return bool(later)

    def _naming(self, case: str) -> Iterator[Snapshot]:
        """The pulls that list the case as leaving, newest first."""
        return (pull for pull in reversed(self.pulls) if case in pull.cases)

    def listed_since(self, case: str, moment: datetime) -> bool:
        """Whether HR's list, as last pulled after that moment, names the case as leaving."""
        row = self.seen.listed.get(case)
        pull = self.newest.get(row.source) if row else None
        return pull is not None and pull.pulled_at > moment and case in pull.cases

    def compared_since(self, moment: datetime) -> bool:
        """Whether HR's list was pulled after that."""
        return self.last_pull is not None and self.last_pull.pulled_at >= moment

    def covers_period(self) -> bool:
        """Whether a pull was made in the period or after it."""
        start = self.period.start
        return any(start is None or pull.pulled_at >= start for pull in self.pulls)

    def _line(self, case: str) -> Line:
        seen, row, opened = self.seen, self.seen.listed.get(case), self.seen.opened.get(case)
        expected, ended = seen.expected.get(case), seen.closed.get(case)
        excluded = None if opened else self.exclusion(case)
        return Line(
            case=case,
            person_ref=row.person_ref if row else opened.person_ref if opened else "",
            effective_at=self.effective(case),
            entered_at=row.entered_at if row else None,
            listed_at=row.first_listed_at if row else None,
            expected_at=expected.at if expected else None,
            excluded=excluded.reason if excluded else None,
            why=excluded.why if excluded else "",
            approver=excluded.approver if excluded else "",
            opened_at=opened.at if opened else None,
            closed_at=ended.at if ended else None,
            outcome=ended.outcome if ended else None,
            sealed_at=seen.sealed.get(case),
            bundled=None if self.bundles is None else case in self.bundles,
            compared=opened is None or self.compared_since(opened.at),
        )
