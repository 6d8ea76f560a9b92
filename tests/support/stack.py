"""The whole embedded stack for tests: real server, real worker processes, simulators over the wire."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from leaver.domain.case import CaseStatus, StepStatus
from leaver.embedded.drive import Driver, Progress, drive
from leaver.embedded.samples import sample
from leaver.embedded.stack import Pace, Stack, StackOptions, running_stack
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.records import Record
from leaver.simulators.company import TENANT_ID, SamplePerson, person

SYSTEMS = ("entra", "exchange", "onedrive", "ad")
FAST = Pace(slow_down=0.1, sync_interval=0.5, read_back_interval=0.1)
UNSYNCED = replace(FAST, sync_interval=600)
"""Without the directory synchronisation, which may disable a hybrid leaver in the cloud before we do."""
GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SUCCESSORS = {"E1001": "E2001", "E1002": "E2001", "E1003": "E2002"}
"""Who leaves now, and the manager who takes over."""
HR_FILE = sample("hr/northwind-leavers.csv")
POLICY = sample("policy.toml")


@dataclass(frozen=True)
class Request:
    """One line of a simulator's request log."""

    system: str
    time: str
    method: str
    path: str
    status: int
    mutating: bool
    object: tuple[str, ...]
    related: tuple[str, ...]
    operation: str
    summary: Mapping[str, Any]
    fault: str | None

    @property
    def done(self) -> bool:
        """Whether the system carried it out (LDAP's success is 0, like a request that never arrived)."""
        return self.status == 0 if self.system == "ad" else 200 <= self.status < 300

    def about(self, *people: SamplePerson) -> bool:
        return bool(set(self.object) & {each for who in people for each in ids_of(who)})


def ids_of(who: SamplePerson) -> set[str]:
    """Under which ids the systems know a sample person."""
    return {who.object_id, who.ad_object_guid}


def requests(folder: Path, *systems: str) -> list[Request]:
    """What the simulators were asked, in the order of their clocks (they share the machine's)."""
    found = []
    for system in systems or SYSTEMS:
        file = folder / f"requests-{system}.jsonl"
        for line in file.read_text("utf-8").splitlines() if file.exists() else ():
            fields = json.loads(line)
            chosen = {name: fields[name] for name in Request.__dataclass_fields__ if name in fields}
            chosen |= {"object": tuple(fields["object"]), "related": tuple(fields["related"])}
            found.append(Request(**chosen))
    return sorted(found, key=lambda each: each.time)


def mutations(folder: Path, *systems: str) -> list[Request]:
    return [each for each in requests(folder, *systems) if each.mutating]


def records(folder: Path) -> dict[str, list[Record]]:
    """Every case's records of the ledger, in the order of its chain."""
    with Ledger.open(folder / "ledger.db", read_only=True) as ledger:
        return {entry.case: list(ledger.records(entry.case)) for entry in ledger.cases()}


def journal(folder: Path) -> list[dict[str, Any]]:
    """The Microsoft 365 simulator's own journal: a line per version of every object it holds."""
    lines = (folder / "m365-state.jsonl").read_text("utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def check_that_only_leavers_changed(folder: Path, leavers: Iterable[str]) -> None:
    """Whatever was written: the state of everybody else is what it was in the beginning."""
    who = {person(number).object_id for number in leavers}
    versions: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in journal(folder):
        versions.setdefault((line["table"], line["id"]), []).append(line["value"])
    for table in ("user", "mailbox"):
        changed = {key for (name, key), each in versions.items() if name == table and len(each) > 1}
        assert changed == who
    drives = [each for (name, _), each in versions.items() if name == "drive" and len(each) > 1]
    assert {each[-1]["owner"] for each in drives} == who
    groups = [each for (name, _), each in versions.items() if name == "group"]
    assert any(len(each) > 1 for each in groups)
    for each in groups:
        assert set(each[0]["members"]) ^ set(each[-1]["members"]) <= who
        assert {json.dumps({**value, "members": []}) for value in each} == {
            json.dumps({**each[0], "members": []})
        }


def check_that_changes_name_only(folder: Path, successors: Mapping[str, str]) -> None:
    """Every mutating request is of one leaver, and names nobody else but that leaver's successor."""
    seen = mutations(folder)
    assert seen
    for each in seen:
        (leaver,) = [number for number in successors if each.about(person(number))]
        allowed = ids_of(person(leaver)) | ids_of(person(successors[leaver]))
        assert set(each.object) <= allowed, each
        written = f"{each.path} {json.dumps(each.summary)}".lower()
        skus = set(each.summary.get("removeLicenses", ()))
        assert set(GUID.findall(written)) <= allowed | set(each.related) | {TENANT_ID} | skus, each


@dataclass
class Control:
    """The simulators' control port."""

    url: str

    async def faults(self, *orders: Mapping[str, Any]) -> None:
        await self._call("POST", "/faults", list(orders))

    async def open_faults(self) -> list[dict[str, Any]]:
        answer = await self._call("GET", "/faults")
        assert isinstance(answer, list)
        return answer

    async def state(self, number: str) -> dict[str, Any]:
        answer = await self._call("GET", f"/state?user={number}")
        assert isinstance(answer, dict)
        return answer

    async def _call(self, method: str, path: str, body: object = None) -> object:
        async with httpx.AsyncClient() as client:
            answer = await client.request(method, self.url + path, json=body)
            assert answer.status_code == 200, answer.text
            return answer.json()


@dataclass
class Running:
    """A running stack with a hand on everything around it."""

    stack: Stack
    driver: Driver
    progress: Progress = field(default_factory=Progress)

    @property
    def folder(self) -> Path:
        return self.stack.options.folder

    @property
    def control(self) -> Control:
        return Control(self.stack.addresses["control_url"])

    def case(self, number: str) -> str:
        return next(case for case, who in self.progress.people.items() if who == number)

    def status(self, number: str) -> CaseStatus:
        return self.progress.statuses[self.case(number)]

    def step(self, number: str, step: str) -> StepStatus:
        return next(each for each in self.status(number).steps if each.step == step)

    def bundle(self, number: str) -> Path:
        return self.stack.options.bundles / self.progress.bundles[self.case(number)]

    async def deliver(self, *numbers: str, **changes: str) -> None:
        """Take in these people's rows of the sample file; they left some days ago, whenever that is."""
        gone = {"last_working_day": str(datetime.now(UTC).date() - timedelta(days=3))}
        file = await asyncio.to_thread(hr_file, self.folder, *numbers, **(gone | changes))
        await self.driver.deliver(file)

    async def offboard(self, *numbers: str, limit: float = 60.0, **changes: str) -> None:
        """Deliver these people and follow them until they are sealed."""
        await self.deliver(*numbers, **changes)
        async with asyncio.timeout(limit):
            await self.driver.follow()


def hr_file(folder: Path, *numbers: str, **changes: str) -> Path:
    """The shipped HR file with these people's rows only, bent by ``changes``."""
    header, *rows = HR_FILE.read_text("utf-8").splitlines()
    names = header.split(",")
    chosen = [row.split(",") for row in rows if row.split(",")[0] in numbers]
    lines = [
        ",".join(changes.get(name, value) for name, value in zip(names, row, strict=True)) for row in chosen
    ]
    file = folder / f"hr-{'-'.join(numbers)}.csv"
    file.write_text("\n".join([header, *lines]) + "\n", "utf-8")
    return file


def policy_file(folder: Path, **replaced: str) -> Path:
    """The shipped policy with some top-level words replaced."""
    lines = POLICY.read_text("utf-8").splitlines()
    for name, value in replaced.items():
        lines = [f'{name} = "{value}"' if line.startswith(f"{name} =") else line for line in lines]
    file = folder / "policy.toml"
    file.write_text("\n".join(lines) + "\n", "utf-8")
    return file


def options(folder: Path, **more: Any) -> StackOptions:
    usual = StackOptions(
        folder=folder / "state", policy=POLICY, bundles=folder / "bundles", ad="standin", ui=False, pace=FAST
    )
    return replace(usual, **more)


@asynccontextmanager
async def stack(folder: Path, **more: Any) -> AsyncIterator[Running]:
    """A fresh stack, much faster than a real tenant; ``more`` are fields of its options."""
    async with running_stack(options(folder, **more)) as running:
        progress = Progress()
        yield Running(running, await drive(running, progress, identity="leaver-test", poll=0.1), progress)
