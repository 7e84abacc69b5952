"""Metric series that begin at 0: to a query, a series that is absent is not 0."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from agentworkspace.core.installation import version_of


def begin_at_zero(metric: Counter | Gauge | Histogram, *values: Iterable[str]) -> None:
    """Make the series of every combination of these label values, given in the labels' order."""
    for combination in product(*values):
        metric.labels(*combination)


def say_build(registry: CollectorRegistry, service: str) -> None:
    """Register agentworkspace_build_info {service, version, python}, which is always 1."""
    name = f"{service}-service"
    version = version_of(name).removeprefix(f"{name} ")
    Gauge(
        "agentworkspace_build_info",
        "1, of the version that runs.",
        ("service", "version", "python"),
        registry=registry,
    ).labels(service, version, platform.python_version()).set(1)
