"""The leaver one-pager: made from the case's records and its checkpoint, and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final

import leaver
from leaver.domain.words import CaseOutcome, Mode, Outcome, System
from leaver.evidence.reports.model import CheckpointLine
from leaver.evidence.reports.page import (
    Align,
    Banner,
    Cell,
    Column,
    Fact,
    Facts,
    Group,
    Line,
    Page,
    Row,
    Section,
    Span,
    Style,
    Table,
    Tone,
    cell,
)
from leaver.evidence.reports.show import NOTHING, count, iso, lag, state_lines, utc, words
from leaver.evidence.reports.trust import anchor_rows, trust_section
from leaver.evidence.views import ApprovalView, CaseView, ExceptionView, StepView

OUTCOME_MEANING: Final = {
    Outcome.PENDING: "not run yet",
    Outcome.VERIFIED: "changed, and read back from the system",
    Outcome.ALREADY: "was so before; read from the system, nothing written",
    Outcome.ABSENT: "no such account or object; read from the system",
    Outcome.ACKNOWLEDGED: "accepted by the system; there is no way to read it back",
    Outcome.ATTESTED: "a person vouches for it",
    Outcome.WAIVED: "a person decided not to",
    Outcome.PLANNED: "would be done; nothing was written",
    Outcome.OPEN: "not done; needs a person",
    Outcome.FAILED: "not done",
}

_HEADLINES: Final = {
    CaseOutcome.RUNNING: (Tone.OPEN, "Case still open"),
    CaseOutcome.HELD: (Tone.OPEN, "Held: waits for a person"),
    CaseOutcome.COMPLETED: (Tone.GOOD, "Access removed, every step proven"),
    CaseOutcome.COMPLETED_WITH_EXCEPTIONS: (Tone.BAD, "Closed with exceptions"),
    CaseOutcome.PLANNED: (Tone.OPEN, "Plan only: nothing was changed"),
    CaseOutcome.RESCINDED: (Tone.OPEN, "Rescinded before the cut-off: nothing was done"),
    CaseOutcome.RESCINDED_AFTER_CUTOFF: (Tone.BAD, "Rescinded after the cut-off: some steps had run"),
}
_NO_EXCEPTIONS: Final = {True: "no exceptions", False: "no exceptions so far"}


@dataclass(frozen=True, slots=True)
class SystemGroup:
    """The steps of one system."""

    name: str
    account: str | None
    steps: tuple[StepView, ...]


@dataclass(frozen=True, slots=True)
class Control:
    """One control reference: how many steps serve it, how many are proven in time, and in which records."""

    name: str
    steps: int
    proven: int
    records: tuple[int, ...]


def leaver_page(view: CaseView, anchors: Sequence[CheckpointLine] = (), label: str | None = None) -> Page:
    """The page of one case. The same arguments give the same page; there is no clock inside.

    Args:
        view: the case.
        anchors: published checkpoints that cover the case's records, oldest first. Without any that somebody
            outside vouches for, the page says so in red.
        label: something people know the person by, e.g. the employee number, for a page that stays on this
            machine. Bundles are made without it.
    """
    last = anchors[-1] if anchors else None
    sections = (
        _person(view, label),
        _decided(view),
        trust_section(anchors),
        _exceptions(view),
        _steps(view),
        _approvals(view),
        _omitted(view),
        _controls(view),
        _course(view),
        _anchors(anchors),
        _entity(view, last),
    )
    return Page(
        title=f"Leaver {view.case}",
        name="Leaver evidence, one page",
        reference=f"Case {view.case}",
        banner=banner(view),
        claim="",
        sections=tuple(section for section in sections if section.blocks),
        date=iso(_as_of(view, last)),
        label=label or "",
    )


def _as_of(view: CaseView, last: CheckpointLine | None) -> datetime:
    return (last.at if last else None) or view.closed_at or view.received_at


def banner(view: CaseView) -> Banner:
    """What the case comes to. A case with an exception never gets a good banner."""
    tone, headline = _HEADLINES[view.outcome]
    standing = len(view.open_exceptions)
    if tone is Tone.GOOD and standing:
        tone, headline = _HEADLINES[CaseOutcome.COMPLETED_WITH_EXCEPTIONS]
    figures = [
        _containment(view),
        _progress(view),
        count(standing, "exception") if standing else _NO_EXCEPTIONS[view.closed],
    ]
    return Banner(tone, headline, tuple(figure for figure in figures if figure))


def _progress(view: CaseView) -> str:
    if view.mode is Mode.NOTIFICATION_ONLY:
        planned = sum(step.outcome is Outcome.PLANNED for step in view.steps)
        return f"{count(planned, 'step')} planned"
    proven = sum(step.outcome.proven for step in view.steps)
    return f"{proven} of {count(len(view.steps), 'step')} proven"


def _containment(view: CaseView) -> str:
    if view.lag_effective_seconds is None or view.lag_notice_seconds is None:
        return "" if view.outcome in (CaseOutcome.PLANNED, CaseOutcome.RESCINDED) else "not contained"
    if view.clock_starts == view.cutoff:
        return f"contained in {lag(view.lag_notice_seconds)}"
    told, effective = lag(view.lag_notice_seconds), lag(view.lag_effective_seconds)
    return f"contained {told} after HR's message, {effective} after the cut-off"


def _person(view: CaseView, label: str | None) -> Section:
    note = "from the later of cut-off and receipt" + ("; immediate: from receipt" if view.immediate else "")
    facts = [
        Fact("Person", cell(view.person_ref, Style.MONO, sub=_label(label))),
        Fact("HR's event", cell(utc(view.hr_time))),
        Fact("Received", cell(utc(view.received_at))),
        Fact("Cut-off", _cutoff(view)),
        Fact("Contained", cell(utc(view.contained_at), Style.STRONG)),
        Fact("Lag after cut-off", cell(lag(view.lag_effective_seconds), Style.STRONG)),
        Fact("Lag after notice", cell(lag(view.lag_notice_seconds), sub=note)),
        Fact("Closed", cell(utc(view.closed_at))),
    ]
    return Section("Person and times", (Facts(tuple(facts)),), half=True, hint="UTC")


def _label(label: str | None) -> str:
    return f"{label}; on this page only, not in the evidence" if label else ""


def _cutoff(view: CaseView) -> Cell:
    spans: Line = (Span(utc(view.cutoff)),)
    return ((*spans, Span("immediate", Style.OPEN)) if view.immediate else spans,)


def _decided(view: CaseView) -> Section:
    facts = (
        Fact("Source", cell(view.source, Style.MONO, sub=view.event_type)),
        Fact("HR's message", cell(f"sha256:{view.raw_sha256}", Style.MONO)),
        Fact(
            "Policy",
            (
                (Span(f"{view.policy_name}, version {view.policy_version}"),),
                (Span(view.policy_digest, Style.MONO),),
            ),
        ),
        Fact("Plan", cell(view.plan_digest or "none", Style.MONO)),
        Fact("Mode", cell(words(view.mode.value))),
        Fact("Legal hold", cell(view.legal_hold)),
    )
    return Section("What it was decided by", (Facts(facts),), half=True)


_EXCEPTIONS: Final = (
    Column("Step", width=3),
    Column("Cause", width=2),
    Column("Detail", width=4),
    Column("Limit", Align.NOWRAP),
    Column("Standing", width=2),
    Column("Record", Align.NUMBER),
)


def _exceptions(view: CaseView) -> Section:
    good = banner(view).tone is Tone.GOOD
    empty = "None: every step was proven within its time." if good else "None."
    rows = tuple(_exception(view, item) for item in view.exceptions)
    table = Table(_EXCEPTIONS, rows, empty=empty if view.closed else "None so far.")
    return Section("Exceptions", (table,))


def _exception(view: CaseView, item: ExceptionView) -> Row:
    step = cell(item.step, Style.MONO) if item.step else cell("the whole case")
    times = f"{item.times} times" if item.times > 1 else ""
    if item.resolved is None:
        standing = cell("stands", Style.BAD)
    else:
        standing = cell("resolved", Style.GOOD, sub=f"record {place(view, item.resolved)}")
    record = cell(place(view, item.record), sub="" if item.recorded else "result only")
    return Row(
        (step, cell(words(item.cause), sub=times), cell(item.detail), moment(item.due), standing, record)
    )


_STEPS: Final = (
    Column("Step", width=7),
    Column("Before", width=6),
    Column("After", width=6),
    Column("Finished, lag", Align.NOWRAP),
    Column("Outcome", width=3),
    Column("Record", Align.NUMBER),
)


def _steps(view: CaseView) -> Section:
    rows: list[Row | Group] = []
    for group in system_groups(view):
        rows.append(Group(group.name, group.account or ""))
        rows += [_step(view, step) for step in group.steps]
    present = {step.outcome for step in view.steps}
    note = "; ".join(
        f"{outcome.value}: {OUTCOME_MEANING[outcome]}" for outcome in Outcome if outcome in present
    )
    table = Table(_STEPS, tuple(rows), empty="No step was planned.", note=f"{note}." if note else "")
    return Section("Steps", (table,))


def _step(view: CaseView, step: StepView) -> Row:
    before = ", ".join(place(view, number) for number in step.earlier)
    earlier = f"before: {before}" if before else ""
    tries = f"{step.attempts} tries" if step.attempts > 1 else ""
    return Row(
        (
            ((Span(step.title, Style.STRONG),), (Span(step.step, Style.MONO),)),
            state_lines(step.before, step.after),
            state_lines(step.after, step.before),
            (*moment(step.finished_at), *_lag(step)),
            cell(
                step.outcome.value + (", late" if step.late else ""),
                _badge(step),
                sub=step.detail or (words(step.reason.value) if step.reason else ""),
            ),
            cell(place(view, step.record), sub=", ".join(part for part in (tries, earlier) if part)),
        )
    )


def _lag(step: StepView) -> Cell:
    if step.lag_seconds is None:
        return ()
    return ((Span(f"lag {lag(step.lag_seconds)}", Style.SMALL),),)


def _badge(step: StepView) -> Style:
    if step.outcome.proven and not step.late:
        return Style.GOOD
    return Style.BAD if step.outcome.needs_person or step.late else Style.OPEN


def system_groups(view: CaseView) -> tuple[SystemGroup, ...]:
    """The steps by system, systems in the order of ``System``, steps in the order of the case."""
    order = list(System)
    steps = sorted(view.steps, key=lambda step: order.index(step.system))
    groups = []
    for system, members in groupby(steps, key=lambda step: step.system):
        own = tuple(members)
        account = next((step.account for step in reversed(own) if step.account), None)
        groups.append(SystemGroup(system.label, account, own))
    return tuple(groups)


_APPROVALS: Final = (
    Column("What", width=1),
    Column("By", width=4),
    Column("When", Align.NOWRAP),
    Column("Counted", width=3),
    Column("Duties kept apart", width=2),
    Column("Record", Align.NUMBER),
)


def _approvals(view: CaseView) -> Section:
    rows = tuple(_approval(view, item) for item in view.approvals)
    note = "Duties are apart when the signature proves who spoke and it was not the leaver." if rows else ""
    return Section("Approvals and other statements", (Table(_APPROVALS, rows, note=note),))


def _approval(view: CaseView, item: ApprovalView) -> Row:
    said = item.statement
    by = cell(said.by_ref, Style.MONO) if said.by_ref else cell("not proven", Style.SOFT)
    key = ((Span(f"key {said.key_id}", Style.SMALL),),) if said.key_id else ()
    counted = cell("yes", Style.GOOD) if said.accepted else cell("no", Style.BAD, sub=said.refusal)
    apart = bool(said.by_ref) and said.by_ref != view.person_ref
    duties = cell("yes") if apart else cell("no", Style.BAD if said.accepted else Style.PLAIN)
    return Row(
        (cell(said.verb.value), (*by, *key), moment(said.at), counted, duties, cell(place(view, item.record)))
    )


def _omitted(view: CaseView) -> Section:
    rows = tuple(
        Row((cell(item.step, Style.MONO), cell(item.detail or words(item.reason.value))))
        for item in view.omitted
    )
    columns = (Column("Step", width=2), Column("Why", width=5))
    return Section("Left out of the plan", (Table(columns, rows, empty="Nothing."),))


def controls(view: CaseView) -> tuple[Control, ...]:
    """The control references of the steps, in the order of their names."""
    rows = []
    for name in sorted({control for step in view.steps for control in step.controls}):
        steps = [step for step in view.steps if name in step.controls]
        proven = sum(step.outcome.proven and not step.late for step in steps)
        records = tuple(sorted(step.record for step in steps if step.record is not None))
        rows.append(Control(name, len(steps), proven, records))
    return tuple(rows)


def _controls(view: CaseView) -> Section:
    rows = tuple(
        Row(
            (
                cell(item.name),
                cell(str(item.steps)),
                cell(str(item.proven), Style.STRONG if item.proven < item.steps else Style.PLAIN),
                cell(", ".join(place(view, number) for number in item.records) or "none"),
            ),
            Tone.BAD if item.proven < item.steps else Tone.PLAIN,
        )
        for item in controls(view)
    )
    columns = (
        Column("Control", width=2),
        Column("Steps", Align.NUMBER),
        Column("Proven in time", Align.NUMBER),
        Column("Records", width=6),
    )
    return Section("Controls that the steps serve", (Table(columns, rows),) if rows else ())


def _course(view: CaseView) -> Section:
    rows = [
        (
            item.at,
            item.record,
            f"HR: {item.event.event_type}" + ("" if item.event.applied else ", not applied"),
            item.event.why or f"cut-off {utc(item.event.cutoff)}",
        )
        for item in view.hr_events
    ]
    for change in view.changes:
        said = change.change
        parts = (
            f"from {said.source}" if said.source else "",
            f"to {said.target}" if said.target else "",
            said.why or "",
            f"by {said.by_ref}" if said.by_ref else "",
        )
        rows.append((change.at, change.record, words(said.change), " ".join(part for part in parts if part)))
    for failed in view.failed_attempts:
        tried = failed.attempt
        lost = "the worker ended; what it had done was read from the system"
        why = tried.detail or (words(tried.error.value) if tried.error else lost)
        what = f"attempt {tried.number} of {tried.unit} {'was lost' if tried.lost else 'failed'}"
        rows.append((tried.ended_at or failed.at, failed.record, what, why))
    table = Table(
        (
            Column("When", Align.NOWRAP),
            Column("What", width=3),
            Column("Detail", width=5),
            Column("Record", Align.NUMBER),
        ),
        tuple(
            Row((moment(at), cell(what[:1].upper() + what[1:]), cell(why), cell(place(view, record))))
            for at, record, what, why in sorted(rows, key=lambda row: row[1])
        ),
    )
    return Section("Course of the case", (table,) if rows else ())


def _anchors(anchors: Sequence[CheckpointLine]) -> Section:
    return Section("Checkpoints", (anchor_rows(anchors),) if anchors else ())


def _entity(view: CaseView, last: CheckpointLine | None) -> Section:
    numbers = f"numbers 0 to {view.records - 1}, ledger places {view.first_seq} to {view.last_seq}"
    as_of = (
        f"the closing record, {utc(view.closed_at)} UTC"
        if view.closed
        else f"record {view.last_seq}; still open"
    )
    facts = [
        ("Report", f"Leaver one-pager, version 2, made by leaver {leaver.__version__}"),
        ("Made from", f"the {view.records} records of this case ({numbers}) and nothing else"),
        ("As of", as_of),
        ("Filters", "none"),
        (
            "Rows",
            f"{count(len(view.steps), 'step')}; “Record” is the place in the ledger: records/{example(view)}",
        ),
        ("Control hash", f"{view.head} of the last record, which links to all before it"),
        ("Checkpoint", f"size {last.size}, root {last.root}" if last else "none published yet"),
        ("Workflow", f"{view.workflow_id}, run {view.run_id}"),
        ("To check again", "python3 -I verify.py . in the bundle, or the commands in VERIFY.md"),
    ]
    shown = tuple(Fact(name, cell(text)) for name, text in facts)
    return Section("Information produced by the entity", (Facts(shown),))


def example(view: CaseView) -> str:
    """The name of the first record's file in a bundle, as the pattern for all."""
    return f"{view.first_seq:08d}.json"


def place(view: CaseView, record: int | None) -> str:
    """A record's place in the ledger, which is the name of its file in the bundle."""
    return NOTHING if record is None else str(view.places[record])


def moment(at: datetime | None) -> Cell:
    """Day and time in a cell that is not broken inside."""
    if at is None:
        return ()
    return ((Span(f"{at:%Y-%m-%d}", Style.SOFT), Span(f"{at:%H:%M:%S}")),)
