"""What Temporal's native core tells about itself: logs through our redaction, metrics for Prometheus."""

from __future__ import annotations

import logging

from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)


def process_runtime(*, metrics_address: str = "") -> Runtime:
    """The runtime to pass to ``connect``; make one per process and keep it.

    The core's own log lines go to the logger ``temporalio.core`` instead of straight to standard output, so
    that they are redacted like all others. Metric labels hold task queues, workflow and activity types, never
    payloads.

    Args:
        metrics_address: ``host:port`` where Prometheus metrics are served (opens a listening socket); empty:
            nowhere.
    """
    forwarded = LogForwardingConfig(logger=logging.getLogger("temporalio.core"))
    metrics = (
        PrometheusConfig(bind_address=metrics_address, counters_total_suffix=True, unit_suffix=True)
        if metrics_address
        else None
    )
    levels = TelemetryFilter(core_level="WARN", other_level="ERROR")
    return Runtime(
        telemetry=TelemetryConfig(logging=LoggingConfig(filter=levels, forwarding=forwarded), metrics=metrics)
    )
