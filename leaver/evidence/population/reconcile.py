"""The comparison, both ways: HR's leavers with cases, cases with HR's leavers, cases with what was sealed.

Pure. Hashing proves that nothing was changed; only counting shows that nothing was left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import datetime

from leaver.domain.words import Mode
from leaver.evidence.population.comparison import Comparison, of_mode
from leaver.evidence.population.gaps import findings
from leaver.evidence.population.model import Completeness, Period, Rules, Seen

_RULES = Rules()


def reconcile(  # noqa: PLR0913 - what is compared, and how
    period: Period,
    seen: Seen,
    *,
    now: datetime,
    bundles: Collection[str] | None = None,
    rules: Rules = _RULES,
    mode: Mode | None = None,
) -> Completeness:
    """Compare what HR lists with what was expected, excluded, opened, closed, sealed and bundled.

    A leaver belongs to the period in which the separation takes effect: by HR's list, else by the case.

    Args:
        period: which leavers are counted. Gaps are judged as of ``now``, also after the period.
        seen: what the ledger holds.
        now: the present (aware).
        bundles: ids of the cases that have a bundle; None when the store was not asked.
        rules: how patient to be.
        mode: count cases of this mode; default: the mode of the newest pull, else of the newest case.
    """
    chosen = mode or _mode(seen)
    work = Comparison(period, of_mode(seen, chosen), now, bundles, rules)
    lines = tuple(work.lines())
    standing = Counter(line.standing for line in lines)
    cases = [line for line in lines if line.opened_at is not None]
    closed = [line for line in cases if line.closed_at is not None]
    return Completeness(
        period=period,
        as_of=now,
        mode=chosen,
        pulls=sum(period.has(pull.pulled_at) for pull in work.pulls),
        last_pull=work.last_pull,
        covered=work.covers_period(),
        hr_leavers=sum(work.leaving(line.case) for line in lines),
        with_case=sum(work.leaving(line.case) for line in cases),
        excluded=standing["excluded"],
        missing=standing["missing"],
        withdrawn=sum(work.withdrawn(line.case) for line in cases),
        unlisted=standing["unlisted"],
        unconfirmed=standing["unconfirmed"],
        closed=len(closed),
        sealed=sum(line.sealed_at is not None for line in closed),
        bundles=None if bundles is None else sum(bool(line.bundled) for line in closed),
        exclusions=Counter(line.excluded for line in lines if line.excluded is not None),
        lines=lines,
        findings=tuple(sorted(findings(work, lines), key=lambda found: (found.since, found.key))),
        other_mode=sum(opened.mode is not chosen for opened in seen.opened.values()),
        told=sum(
            case not in work.seen.listed and work.exclusion(case) is not None for case in work.seen.exclusions
        ),
    )


def _mode(seen: Seen) -> Mode:
    newest = [(pull.seq, pull.mode) for pull in seen.snapshots]
    newest = newest or [(opened.seq, opened.mode) for opened in seen.opened.values()]
    return max(newest)[1] if newest else Mode.ENFORCE
