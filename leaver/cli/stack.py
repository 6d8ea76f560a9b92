"""``leaver dev`` and ``leaver demo``: the embedded stack."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from leaver.cli.output import BAD_INPUT, NO, command, console, fail
from leaver.domain.case import CaseStatus
from leaver.domain.words import CaseOutcome, Mode, Outcome, Phase
from leaver.embedded.demo import Demo, DemoOptions, OutputFolderError, run_demo
from leaver.embedded.dev_server import DevServerMissingError
from leaver.embedded.processes import ChildError
from leaver.embedded.samples import sample
from leaver.embedded.stack import Stack, StackOptions, running_stack
from leaver.embedded.summary import CaseSummary, Summary

OUTPUT: Final = Path("demo-output")
_PHASES: Final = (
    Phase.INTAKE,
    Phase.CONTAIN,
    Phase.CREDENTIALS,
    Phase.PRESERVE,
    Phase.ENTITLEMENTS,
    Phase.LICENCES,
)


class Directory(StrEnum):
    """Which Active Directory the sample company has."""

    AUTO = "auto"
    SAMBA = "samba"
    STANDIN = "standin"


AdOption = Annotated[
    Directory,
    typer.Option("--ad", help="samba: a real domain controller (Debian's samba, as root); standin: ours."),
]


@command
def dev(
    folder: Annotated[Path, typer.Option("--dir", help="Where the stack keeps its state.")] = Path(".leaver"),
    policy: Annotated[Path | None, typer.Option("--policy", help="The policy to use.")] = None,
    mode: Annotated[Mode, typer.Option("--mode", help="Whether workers may write.")] = Mode.ENFORCE,
    ad: AdOption = Directory.AUTO,
) -> None:
    """Keep the embedded stack up: Temporal with its UI, the sample company, all workers. Ctrl-C ends it.

    State stays in the folder: the next start continues every case.
    """
    options = StackOptions(
        folder=folder,
        policy=policy or sample("policy.toml"),
        bundles=folder / "bundles",
        mode=mode,
        ad=ad.value,
    )
    try:
        asyncio.run(_stay(options))
    except (ChildError, DevServerMissingError) as err:
        fail(str(err), BAD_INPUT)


async def _stay(options: StackOptions) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with console.status("starting Temporal, the sample company and the workers"):
        context = running_stack(options)
        stack = await context.__aenter__()
    try:
        _print_addresses(stack)
        await stop.wait()
        console.print("stopping; the next start continues")
    finally:
        await context.__aexit__(None, None, None)


def _print_addresses(stack: Stack) -> None:
    table = Table.grid(padding=(0, 2))
    for label, value in (
        ("Temporal UI", stack.temporal.ui_url),
        ("Temporal", stack.temporal.address),
        ("configuration", str(stack.config_file)),
        ("Microsoft Graph (simulated)", stack.addresses["graph_url"]),
        ("Exchange (simulated)", stack.addresses["exchange_url"]),
        ("SharePoint (simulated)", stack.addresses["sharepoint_url"]),
        ("simulator control", stack.addresses["control_url"]),
        (f"Active Directory ({stack.addresses['ad_kind']})", stack.addresses["ad_url"]),
        ("logs", str(stack.options.folder / "logs")),
    ):
        table.add_row(f"[bold]{label}[/bold]", value)
    console.print(table)
    console.print(
        f"\nTry: leaver hr ingest {sample('hr/northwind-leavers.csv')} --source csv"
        f" --config {stack.config_file}\n     leaver case list --config {stack.config_file}\n"
    )


@command
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Emptied, then written.")] = Path(
        "demo-output"
    ),
    hr_file: Annotated[
        Path | None, typer.Option("--hr-file", help="Another CSV of the sample company.")
    ] = None,
    policy: Annotated[Path | None, typer.Option("--policy", help="Another policy.")] = None,
    ad: AdOption = Directory.AUTO,
) -> None:
    """Offboard several people of the sample company, from an HR file to verified evidence.

    Exit code 0 only if every expected step was read back and every bundle verifies.
    """
    options = DemoOptions(
        hr_file=hr_file or sample("hr/northwind-leavers.csv"),
        policy=policy or sample("policy.toml"),
        output=output,
        ad=ad.value,
    )
    running = Demo(options=options)
    began = datetime.now(UTC)
    try:
        asyncio.run(_show(running))
    except (ChildError, DevServerMissingError, OutputFolderError) as err:
        fail(str(err), BAD_INPUT)
    _print_result(running, (datetime.now(UTC) - began).total_seconds())
    if running.problems:
        raise typer.Exit(NO)


async def _show(running: Demo) -> None:
    with Live(_screen(running), console=console, refresh_per_second=4, transient=True) as live:
        work = asyncio.create_task(run_demo(running))
        while not work.done():
            live.update(_screen(running))
            await asyncio.wait([work], timeout=0.25)
        await work


def _screen(running: Demo) -> RenderableType:
    table = Table("person", *(phase.value for phase in _PHASES), "case", box=None)
    for case, person in running.people.items():
        status = running.statuses.get(case)
        if status is not None:
            table.add_row(person, *(_progress(status, phase) for phase in _PHASES), _standing(status))
    notes = [Text(f"  {note}", style="dim") for note in running.notes]
    return Group(Text(f"{running.stage} …", style="bold"), table, *notes)


def _progress(status: CaseStatus, phase: Phase) -> str:
    steps = [step for step in status.steps if step.phase is phase]
    if not steps:
        return "[dim]·[/dim]"
    done = sum(step.outcome.effective for step in steps)
    stuck = any(step.outcome.needs_person for step in steps)
    colour = "red" if stuck else "green" if done == len(steps) else "yellow"
    return f"[{colour}]{done}/{len(steps)}[/{colour}]"


def _standing(status: CaseStatus) -> str:
    if status.waiting_for:
        return f"waits for {status.waiting_for}"
    if status.phase is Phase.SCHEDULED:
        return f"scheduled for {status.cutoff:%Y-%m-%d %H:%M}Z"
    return status.outcome.value if status.outcome is not CaseOutcome.RUNNING else status.phase.value


def _print_result(running: Demo, seconds: float) -> None:
    if running.summary is not None:
        for case in running.summary.cases:
            _print_timeline(case)
        _print_others(running.summary)
    for problem in running.problems:
        console.print(f"[red]problem:[/red] {problem}", highlight=False)
    verdict = (
        "[red]not everything is as it must be[/red]"
        if running.problems
        else "[green]every step proven[/green]"
    )
    console.print(f"\n{verdict} in {seconds:.0f} s; evidence and pages are in {running.options.output}/")


def _print_timeline(case: CaseSummary) -> None:
    contained = (
        f"contained {case.lag_seconds:.1f} s after notice" if case.lag_seconds is not None else "not due yet"
    )
    console.print(f"\n[bold]{case.person}[/bold]  {case.outcome}  {contained}  [dim]{case.case}[/dim]")
    if case.contained_at is None:
        console.print(f"  scheduled for {case.cutoff:%Y-%m-%d %H:%M}Z")
        return
    start = max(case.cutoff, case.hr_time)
    table = Table("", "at", "system", "step", "outcome", "tries", box=None, padding=(0, 1))
    for step in sorted(case.steps, key=lambda each: each.finished_at or start):
        if step.finished_at is None:
            continue
        after = (step.finished_at - start).total_seconds()
        good = step.outcome in (Outcome.VERIFIED, Outcome.ALREADY, Outcome.ABSENT)
        colour = "green" if good else "red"
        table.add_row(
            " ",
            f"+{after:.1f} s",
            step.system,
            step.step.split(".", 1)[1].replace("_", " "),
            f"[{colour}]{step.outcome}[/{colour}]",
            str(step.attempts),
        )
    console.print(table)
    for system in dict.fromkeys(step.system for step in case.steps if step.phase == Phase.CONTAIN):
        last = max(
            step.finished_at
            for step in case.steps
            if step.system == system and step.phase == Phase.CONTAIN and step.finished_at
        )
        console.print(f"  lag in {system}: {(last - start).total_seconds():.1f} s")


def _print_others(summary: Summary) -> None:
    for held in summary.held:
        console.print(f"\n[bold]{held.person}[/bold]  [yellow]held[/yellow]: {held.reason}")
    for row in summary.rejected:
        console.print(f"[yellow]rejected[/yellow] {row.source}, line {row.line}, {row.field}: {row.reason}")
