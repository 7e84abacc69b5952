"""What the edge counts, for Prometheus.

The numbers are plain integers, touched by the event loop only and read when scraped: the
client library's own counters take a lock for every call.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from typing_extensions import override

from agentworkspace.server.capacity import Capacity

_BOUNDS_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)


class MethodMetrics:
    """The numbers of one method."""

    __slots__ = ("buckets", "finished", "method", "seconds")

    def __init__(self, method: str) -> None:
        self.method = method
        self.finished: dict[tuple[str, str], int] = {}
        self.buckets = [0] * (len(_BOUNDS_SECONDS) + 1)
        self.seconds = 0.0

    def observe(self, code: str, reason: str, seconds: float) -> None:
        key = (code, reason)
        self.finished[key] = self.finished.get(key, 0) + 1
        self.buckets[bisect_left(_BOUNDS_SECONDS, seconds)] += 1
        self.seconds += seconds

    def cumulated(self) -> list[tuple[str, float]]:
        """Histogram buckets as Prometheus wants them: each counts all that are smaller, too."""
        bounds = [*map(str, _BOUNDS_SECONDS), "+Inf"]
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip(bounds, self.buckets, strict=True):
            total += count
            buckets.append((bound, total))
        return buckets


class EdgeMetrics(Collector):
    """One per process and registry: Prometheus refuses the same names twice.

    agentworkspace_rpc_calls_total {method, code, reason}, agentworkspace_rpc_seconds {method},
    agentworkspace_rpc_running {kind: unary or stream}.
    """

    def __init__(self, registry: CollectorRegistry | None = REGISTRY) -> None:
        self._methods: dict[str, MethodMetrics] = {}
        self._capacity: Capacity | None = None
        if registry is not None:
            registry.register(self)

    def for_method(self, method: str) -> MethodMetrics:
        """The same ones for each listener that answers the method."""
        return self._methods.setdefault(method, MethodMetrics(method))

    def watch(self, capacity: Capacity) -> None:
        self._capacity = capacity

    def describe(self) -> Iterator[Metric]:
        yield from self._families()

    @override
    def collect(self) -> Iterator[Metric]:
        finished, seconds, running = self._families()
        for each in self._methods.values():
            for (code, reason), count in tuple(each.finished.items()):
                finished.add_metric((each.method, code, reason), count)
            seconds.add_metric((each.method,), each.cumulated(), each.seconds)
        if self._capacity is not None:
            running.add_metric(("unary",), self._capacity.in_flight)
            running.add_metric(("stream",), self._capacity.streams)
        yield from (finished, seconds, running)

    @staticmethod
    def _families() -> tuple[CounterMetricFamily, HistogramMetricFamily, GaugeMetricFamily]:
        return (
            CounterMetricFamily(
                "agentworkspace_rpc_calls",
                "Finished calls by method, status code and reason.",
                labels=("method", "code", "reason"),
            ),
            HistogramMetricFamily(
                "agentworkspace_rpc_seconds",
                "Time from the request's arrival to its answer.",
                labels=("method",),
            ),
            GaugeMetricFamily(
                "agentworkspace_rpc_running", "Calls being served now.", labels=("kind",)
            ),
        )
