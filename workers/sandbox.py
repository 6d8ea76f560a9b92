"""The workflow sandbox: deterministic code runs guarded, our pure packages are imported once."""

from __future__ import annotations

from typing import Final

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

PASSED_THROUGH: Final = (
    "leaver.domain",  # pure and banned from clock, random and I/O by lint
    "leaver",
    "activities.contracts",  # types and wire names only
    "activities",
    "pydantic",  # importing it anew for every workflow run costs a tenth of a second
    "pydantic_core",
    "annotated_types",
    "typing_extensions",
    "rfc8785",  # pure
)


def sandboxed() -> SandboxedWorkflowRunner:
    """The runner that every workflow worker uses; the unsandboxed one is not used anywhere."""
    return SandboxedWorkflowRunner(
        restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    )
