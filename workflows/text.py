"""What operators read in the Temporal UI. Without names: the case's static details carry those, encrypted."""

from __future__ import annotations

from datetime import datetime

from leaver.domain.case import CaseStatus, StepStatus


def instant(value: datetime | None) -> str | None:
    """An instant as evidence and screens write it: UTC, ending in Z."""
    return value.isoformat().replace("+00:00", "Z") if value else None


def details(status: CaseStatus) -> str:
    """The case's standing as Markdown."""
    head = [f"**{status.phase.value}** · {status.outcome.value} · {status.mode}"]
    if status.held_because:
        head.append(f"Held: {status.held_because}")
    if status.waiting_for:
        head.append(f"Waits for {status.waiting_for}")
    head.append(f"Cut-off {instant(status.cutoff)}, contained {instant(status.contained_at) or 'not yet'}")
    rows = [_row(step) for step in status.steps]
    table = ["| step | outcome | why |", "| --- | --- | --- |", *rows] if rows else []
    return "\n\n".join(head) + ("\n\n" + "\n".join(table) if table else "")


def _row(step: StepStatus) -> str:
    late = " (late)" if step.late else ""
    why = f"{step.reason.value}: {step.detail}" if step.reason else ""
    return f"| {step.step} | {step.outcome.value}{late} | {why.replace('|', '/')} |"
