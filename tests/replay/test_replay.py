"""Saved histories of every path replay with today's code; a changed order of steps is noticed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from leaver.temporal.converter import data_converter
from tests.replay.generate import HISTORIES, PATHS, TEST_KEYRING, WATCHED
from tests.replay.reordered import ReorderedWorkflow
from workers.sandbox import sandboxed
from workflows.leaver import LeaverWorkflow
from workflows.watch import WatchWorkflow

FILES = sorted(HISTORIES.glob("*.json"))


def saved(file: Path) -> WorkflowHistory:
    told = json.loads(file.read_text("utf-8"))
    return WorkflowHistory.from_json(told.pop("workflow_id"), told)


def replayer(*workflows: type) -> Replayer:
    return Replayer(
        workflows=workflows, workflow_runner=sandboxed(), data_converter=data_converter(TEST_KEYRING)
    )


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
async def test_saved_history_replays(file: Path) -> None:
    await replayer(LeaverWorkflow, WatchWorkflow).replay_workflow(saved(file))


def test_every_path_has_a_history() -> None:
    """Else: python -m tests.replay.generate."""
    assert {file.stem for file in FILES} == set(PATHS) | {f"{name}.watch" for name in WATCHED}


@pytest.mark.parametrize("path", ["ordinary", "hybrid", "notification-only"])
async def test_swapping_two_phases_is_noticed(path: str) -> None:
    """The control: were this to pass, the replay tests above would prove nothing."""
    with pytest.raises(NondeterminismError):
        await replayer(ReorderedWorkflow).replay_workflow(saved(HISTORIES / f"{path}.json"))


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_a_history_is_small_and_encrypted(file: Path) -> None:
    text = file.read_text("utf-8")
    assert len(text) < 200_000
    assert "indqvist" not in text
    assert len(json.loads(text)["events"]) < 1000
