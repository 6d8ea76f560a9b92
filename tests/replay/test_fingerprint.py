"""A changed order of workflow commands is noticed before a running case trips over it."""

from __future__ import annotations

import difflib
import json

import pytest

from leaver.domain.catalogue import CATALOGUE
from tests.replay.fingerprint import SAVED, of_project, of_source, text_of

ADVICE = """
The workflows ask Temporal for other things, or in another order, than when fingerprint.json was written.

Cases run for weeks. A case that began with the old code is replayed with the new one, and where the commands
differ its workflow task fails until somebody repairs it. So:
  - a change that a running case can meet goes behind workflow.patched("what-changed"), old branch kept;
  - then, or where no running case can meet it, write both down anew and commit them with the change:
        python -m tests.replay.fingerprint
        python -m tests.replay.generate      (only what the change is about; old histories must still replay)

"""


def test_the_commands_are_those_that_running_cases_know() -> None:
    saved, now = SAVED.read_text("utf-8"), text_of(of_project())
    if saved != now:
        lines = difflib.unified_diff(saved.splitlines(), now.splitlines(), "committed", "now", lineterm="")
        pytest.fail(ADVICE + "\n".join(lines), pytrace=False)


BEFORE = """
class W:
    async def run(self):
        await self._first()
        await self._second()
        await workflow.sleep(5)
        await workflow.execute_activity_method(C.contain, arg)
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "await self._first()\n        await self._second()",
            "await self._second()\n        await self._first()",
        ),
        ("C.contain", "C.revoke"),
        ("await workflow.sleep(5)", "pass"),
        ("await workflow.sleep(5)", "await workflow.wait_condition(lambda: x)"),
        ("await workflow.sleep(5)", "if workflow.patched('a'):\n            await workflow.sleep(5)"),
        ("await self._first()", "await asyncio.gather(self._first())"),
    ],
    ids=["swapped", "other-activity", "removed", "other-command", "patched", "side-by-side"],
)
def test_the_fingerprint_sees(old: str, new: str) -> None:
    assert of_source(BEFORE) != of_source(BEFORE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [("class W:", "class W:\n    # a remark"), ("sleep(5)", "sleep(7)")],
    ids=["comment", "another-duration"],
)
def test_the_fingerprint_does_not_mind_what_replay_does_not(old: str, new: str) -> None:
    assert of_source(BEFORE) == of_source(BEFORE.replace(old, new))


def test_a_timeout_makes_another_command() -> None:
    assert of_source("workflow.wait_condition(f)") != of_source("workflow.wait_condition(f, timeout=t)")


def test_every_workflow_and_every_step_is_in_it() -> None:
    known = json.loads(SAVED.read_text("utf-8"))
    assert {"workflows/leaver.py", "workflows/engine.py", "workflows/watch.py"} <= set(known)
    steps = [line.split(" ")[0] for lines in known["catalogue"].values() for line in lines]
    assert sorted(steps) == sorted(CATALOGUE)
    assert "await self._contain()" in known["workflows/leaver.py"]["LeaverWorkflow._act"]
