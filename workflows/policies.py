"""Timeouts, retries and priorities per kind of work, in one place."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Protocol

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy

from leaver.domain.ids import EVIDENCE_QUEUE, system_queue
from leaver.domain.words import Phase, System

HEARTBEAT: Final = timedelta(seconds=12)
"""A worker that died is replaced after this, so that containment still lands within the minute."""
START_TO_CLOSE: Final = timedelta(minutes=5)
READ_LIMIT: Final = timedelta(seconds=45)

CONTAIN_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=30)
)
"""Containment is in a hurry: half a minute between attempts at the most."""

PATIENT_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(seconds=2), backoff_coefficient=2.0, maximum_interval=timedelta(minutes=5)
)

CONTAIN_WINDOW: Final = timedelta(minutes=2)
"""How long one execution of urgent work tries before its steps are shown as open."""

CONTAIN_PAUSES: Final = (
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(hours=24),
)
"""Containment is never given up: open steps are tried again after each of these, the last one for ever.

Every round ends one activity execution, so that the reason stands in the case's status and the history
stays short.
"""

WORK_WINDOW: Final = timedelta(hours=12)
"""How long other work tries by itself before it asks for a person."""

INTAKE_GRACE: Final = timedelta(seconds=30)
"""How long containment waits for a slow directory before it starts with those that answered."""

GATE_POLL: Final = (timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10))
"""The mailbox gate is read again after each of these before its step asks for a person."""

_PRIORITY: Final = {Phase.INTAKE: 2, Phase.CONTAIN: 2, Phase.CREDENTIALS: 3}


class ConfigMaker(Protocol):
    """``unit_config`` or ``read_config``."""

    def __call__(
        self, unit: str, phase: Phase, *, site: str, immediate: bool, window: timedelta
    ) -> workflow.ActivityConfig:
        """How to run it."""


def priority(phase: Phase, *, immediate: bool) -> Priority:
    """Containment of the next leaver overtakes the clean-up of the last; immediate leavers overtake all."""
    if immediate and phase in (Phase.INTAKE, Phase.CONTAIN):
        return Priority(priority_key=1)
    return Priority(priority_key=_PRIORITY.get(phase, 4))


def unit_config(
    unit: str, phase: Phase, *, site: str, immediate: bool, window: timedelta
) -> workflow.ActivityConfig:
    """How to run a unit of work of this phase on its system's queue."""
    system = System(unit.split(".", 1)[0])
    urgent = phase in (Phase.INTAKE, Phase.CONTAIN)
    return workflow.ActivityConfig(
        task_queue=system_queue(system, site if system is System.AD else ""),
        start_to_close_timeout=START_TO_CLOSE,
        schedule_to_close_timeout=window,
        heartbeat_timeout=HEARTBEAT,
        retry_policy=CONTAIN_RETRY if urgent else PATIENT_RETRY,
        priority=priority(phase, immediate=immediate),
    )


def read_config(
    unit: str, phase: Phase, *, site: str, immediate: bool, window: timedelta
) -> workflow.ActivityConfig:
    """How to run a single question: it may not take long."""
    config = unit_config(unit, phase, site=site, immediate=immediate, window=window)
    config["start_to_close_timeout"] = READ_LIMIT
    return config


def evidence_config(summary: str) -> workflow.ActivityConfig:
    """How to reach the sealer: without limit, because nothing may be lost."""
    return workflow.ActivityConfig(
        task_queue=EVIDENCE_QUEUE,
        start_to_close_timeout=timedelta(minutes=2),
        heartbeat_timeout=HEARTBEAT,
        retry_policy=PATIENT_RETRY,
        summary=summary,
    )
