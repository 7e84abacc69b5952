"""Series that exist before anything has happened: to a query, one that is absent is not zero."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from agentworkspace.core.installation import version_of


def begin_at_zero(metric: Counter | Gauge | Histogram, *values: Iterable[str]) -> None:
    """Of every combination of the values of its labels, in their order."""
    for combination in product(*values):
        metric.labels(*combination)


def say_build(registry: CollectorRegistry, service: str) -> None:
    """agentworkspace_build_info {service, version, python}, which is always 1."""
    name = f"{service}-service"
    version = version_of(name).removeprefix(f"{name} ")
    Gauge(
        "agentworkspace_build_info",
        "1, of the version that runs.",
        ("service", "version", "python"),
        registry=registry,
    ).labels(service, version, platform.python_version()).set(1)
