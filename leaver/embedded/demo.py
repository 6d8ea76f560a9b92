"""The demonstration: several people leave, one after the other's rules, and everything is proven."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from leaver.client.cases import CaseError
from leaver.client.errands import Errands
from leaver.domain.case import CaseStatus
from leaver.domain.report import ReportInput
from leaver.domain.words import CaseOutcome
from leaver.embedded.drive import Progress, drive, not_due
from leaver.embedded.stack import AdKind, Stack, StackOptions, running_stack
from leaver.embedded.summary import Summary, summarise, summarise_case
from leaver.evidence.case_view import case_view
from leaver.evidence.records import Chain, parse_record
from leaver.evidence.reports.onepager import leaver_html
from leaver.evidence.verify import verify_bundle
from leaver.temporal.connect import connect


class OutputFolderError(Exception):
    """The output folder is somebody else's; nothing was removed."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What to read and where to write. ``output`` is emptied first. ``limit`` is in seconds."""

    hr_file: Path
    policy: Path
    output: Path
    ad: AdKind = "auto"
    limit: float = 110.0


@dataclass(kw_only=True, slots=True)
class Demo(Progress):
    """The state that the screen shows."""

    options: DemoOptions
    stage: str = "starting"
    problems: list[str] = field(default_factory=list)
    summary: Summary | None = None


@asynccontextmanager
async def demo_stack(options: DemoOptions) -> AsyncIterator[Stack]:
    """A fresh stack for one demonstration.

    Raises:
        OutputFolderError: the output folder holds something else than an earlier demonstration.
    """
    await asyncio.to_thread(_empty, options.output)
    bundles = options.output / "bundles"
    state = options.output / "state"
    async with running_stack(
        StackOptions(
            folder=state,
            policy=options.policy,
            bundles=bundles,
            ad=options.ad,
            hr_list=options.hr_file,
        )
    ) as stack:
        yield stack


def _empty(output: Path) -> None:
    """Remove an earlier demonstration, and nothing else."""
    if not output.exists():
        return
    ours = output.is_dir() and (not any(output.iterdir()) or (output / "state" / "ports.json").is_file())
    if not ours:
        raise OutputFolderError(f"{output}: is not an earlier demonstration; name an empty or a new folder")
    shutil.rmtree(output)


async def run_demo(demo: Demo) -> None:
    """Run it to its end; ``demo.problems`` is empty when everything is as it must be."""
    demo.stage = "starting Temporal, the sample company and the workers"
    async with demo_stack(demo.options) as stack:
        await play(demo, stack)


async def play(demo: Demo, stack: Stack) -> None:
    """Deliver the HR file to a running stack, follow the cases, verify what they leave behind."""
    driver = await drive(stack, demo, identity="leaver-demo")
    demo.note(f"Temporal UI {stack.temporal.ui_url}   Active Directory: {stack.addresses['ad_kind']}")
    demo.stage = "taking in the HR file"
    await driver.deliver(demo.options.hr_file)
    demo.stage = "offboarding"
    try:
        async with asyncio.timeout(demo.options.limit):
            await driver.follow()
    except TimeoutError:
        demo.problems.append(f"not everything ended within {demo.options.limit:.0f} seconds")
    demo.stage = "verifying the evidence"
    await _prove(demo, stack)
    demo.stage = "the report of the period"
    await _report(demo, stack)
    demo.stage = "done"


async def _prove(demo: Demo, stack: Stack) -> None:
    """Verify every bundle twice, write the pages and the summary, and judge the whole."""
    output = demo.options.output
    store = stack.config.path(stack.config.settings.evidence.bundles)
    summaries = []
    for case, person in demo.people.items():
        status = demo.statuses.get(case)
        if status is None:
            demo.problems.append(f"{person}: the case never answered")
            continue
        bundle = store / demo.bundles[case] if case in demo.bundles else None
        if bundle is not None:
            await _verify(demo, person, bundle)
            await asyncio.to_thread(_write_page, bundle, output / f"{person}.html", person)
        where = str(bundle.relative_to(output.resolve())) if bundle else None
        summaries.append(summarise_case(person, status, where))
        _judge(demo, person, status)
    if demo.intake is None:
        return
    demo.summary = summarise(demo.intake, summaries)
    text = demo.summary.model_dump_json(indent=2)
    await asyncio.to_thread((output / "summary.json").write_text, text + "\n", "utf-8")


async def _report(demo: Demo, stack: Stack) -> None:
    """Have the sealer make and seal the report of everybody who was due, and verify it."""
    due = [status.cutoff.date() for status in demo.statuses.values() if not not_due(status)]
    if not due:
        return
    config = stack.config
    client = await connect(config.temporal(identity="leaver-demo"), config.keyring())
    wanted = ReportInput(first=min(due), last=max(*due, datetime.now(UTC).date()))
    try:
        told = await Errands(client).report(wanted)
    except CaseError as err:
        demo.problems.append(f"period report: {err}")
        return
    if told.problem:
        demo.problems.append(f"period report: {told.problem}")
        return
    bundle = config.path(config.settings.evidence.bundles) / told.bundle
    await _verify(demo, "period report", bundle)
    demo.note(f"period report: {bundle.relative_to(demo.options.output.resolve())}/report.html")


def _write_page(bundle: Path, file: Path, person: str) -> None:
    """The page is made from the bundle's records alone; only the demonstration names the person on it."""
    records = [parse_record(each.read_bytes()) for each in sorted((bundle / "records").glob("*.json"))]
    own = [record for record in records if record.chain is Chain.CASE]
    file.write_text(leaver_html(case_view(own), label=person), encoding="utf-8")


async def _verify(demo: Demo, person: str, bundle: Path) -> None:
    report = await asyncio.to_thread(verify_bundle, bundle)
    demo.problems.extend(f"{person}: {found.file}: {found.reason}" for found in report.findings)
    if shutil.which("openssl") is None:
        demo.note(f"{person}: verify.py was not run as well: it needs the program openssl")
        return
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        str(bundle / "verify.py"),
        str(bundle),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await child.communicate()
    if child.returncode != 0:
        demo.problems.append(f"{person}: verify.py says: {said.decode(errors='replace').strip()}")


def _judge(demo: Demo, person: str, status: CaseStatus) -> None:
    """A due case must be completed, with every step read back; a future one must wait untouched."""
    if not_due(status):
        return
    if status.outcome is not CaseOutcome.COMPLETED:
        demo.problems.append(f"{person}: the case ended {status.outcome.value}, not completed")
    demo.problems.extend(
        f"{person}: {step.step} is {step.outcome.value} {step.detail}"
        for step in status.steps
        if not step.outcome.proven
    )
