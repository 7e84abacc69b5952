"""What the edge counts, for Prometheus: rate, errors and duration of each method and caller class.

The numbers are plain integers that only the event loop changes, and that are read when scraped,
because the counters of prometheus_client take a lock for every call.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
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

from agentworkspace.rpc.calls import Call
from agentworkspace.rpc.policy import Rule
from agentworkspace.server.capacity import Capacity

_BOUNDS_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
# The widest role first: an admin has the others, too.
_ROLES: Final = ("admin", "launcher", "verifier")
TOKEN: Final = "token"
NOBODY: Final = "nobody"


def caller_class(call: Call, *, bearer_allowed: bool) -> str:
    """The metric label of whoever calls: the widest role of a caller of the credentials file.

    Otherwise `token` when the call presents a secret and the method takes workspace tokens, and
    `nobody` in all other cases.
    """
    if call.caller is not None:
        return _widest(call.caller.roles)
    return TOKEN if bearer_allowed and call.bearer is not None else NOBODY


@lru_cache
def _widest(roles: frozenset[str]) -> str:
    return next((role for role in _ROLES if role in roles), NOBODY)


def expected_classes(rule: Rule) -> list[str]:
    """The caller classes that a rule lets in."""
    classes = [role for role in _ROLES if rule.any_caller or role in rule.roles]
    if rule.roles and "admin" not in classes:
        classes.append("admin")
    if rule.bearer_allowed:
        classes.append(TOKEN)
    if rule.public or rule.anonymous_allowed:
        classes.append(NOBODY)
    return classes


class Numbers:
    """The numbers of one method for one class of callers."""

    __slots__ = ("buckets", "finished", "seconds")

    def __init__(self) -> None:
        # A fault is rare, and `rate()` does not see a series that begins with it: begin at 0.
        self.finished = dict.fromkeys((("OK", ""), ("INTERNAL", "ERROR_REASON_INTERNAL")), 0)
        self.buckets = [0] * (len(_BOUNDS_SECONDS) + 1)
        self.seconds = 0.0

    def cumulated(self) -> list[tuple[str, float]]:
        """(upper bound, count) for each bucket, where each counts all smaller ones too."""
        bounds = [*map(str, _BOUNDS_SECONDS), "+Inf"]
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip(bounds, self.buckets, strict=True):
            total += count
            buckets.append((bound, total))
        return buckets


class MethodMetrics:
    """The numbers of one method, by the class of its callers."""

    __slots__ = ("_bearer_allowed", "by_class", "method")

    def __init__(self, method: str) -> None:
        self.method = method
        self._bearer_allowed = False
        self.by_class: dict[str, Numbers] = {}

    def expect(self, rule: Rule) -> None:
        """Begin the series of every class that the rule lets in, all at 0."""
        # A method may be answered by two listeners, one of which takes no tokens.
        self._bearer_allowed = self._bearer_allowed or rule.bearer_allowed
        for each in expected_classes(rule):
            self.by_class.setdefault(each, Numbers())

    def observe(self, call: Call, code: str, reason: str, seconds: float) -> None:
        name = caller_class(call, bearer_allowed=self._bearer_allowed)
        numbers = self.by_class.get(name)
        if numbers is None:
            numbers = self.by_class[name] = Numbers()
        key = (code, reason)
        numbers.finished[key] = numbers.finished.get(key, 0) + 1
        numbers.buckets[bisect_left(_BOUNDS_SECONDS, seconds)] += 1
        numbers.seconds += seconds


class EdgeMetrics(Collector):
    """The collector; one for each process and registry, since Prometheus refuses a name twice.

    agentworkspace_rpc_calls_total {method, caller, code, reason}, agentworkspace_rpc_seconds
    {method, caller}, agentworkspace_rpc_running {kind: unary or stream}.
    """

    def __init__(self, registry: CollectorRegistry | None = REGISTRY) -> None:
        self._methods: dict[str, MethodMetrics] = {}
        self._capacity: Capacity | None = None
        if registry is not None:
            registry.register(self)

    def for_method(self, method: str, rule: Rule) -> MethodMetrics:
        """The metrics of a method, the same object for every listener that answers it."""
        metrics = self._methods.setdefault(method, MethodMetrics(method))
        metrics.expect(rule)
        return metrics

    def watch(self, capacity: Capacity) -> None:
        self._capacity = capacity

    def describe(self) -> Iterator[Metric]:
        yield from self._families()

    @override
    def collect(self) -> Iterator[Metric]:
        finished, seconds, running = self._families()
        for each in self._methods.values():
            for caller, numbers in tuple(each.by_class.items()):
                for (code, reason), count in tuple(numbers.finished.items()):
                    finished.add_metric((each.method, caller, code, reason), count)
                seconds.add_metric((each.method, caller), numbers.cumulated(), numbers.seconds)
        if self._capacity is not None:
            running.add_metric(("unary",), self._capacity.in_flight)
            running.add_metric(("stream",), self._capacity.streams)
        yield from (finished, seconds, running)

    @staticmethod
    def _families() -> tuple[CounterMetricFamily, HistogramMetricFamily, GaugeMetricFamily]:
        return (
            CounterMetricFamily(
                "agentworkspace_rpc_calls",
                "Finished calls by method, class of the caller, status code and reason.",
                labels=("method", "caller", "code", "reason"),
            ),
            HistogramMetricFamily(
                "agentworkspace_rpc_seconds",
                "Time from the request's arrival to its answer.",
                labels=("method", "caller"),
            ),
            GaugeMetricFamily(
                "agentworkspace_rpc_running", "Calls being served now.", labels=("kind",)
            ),
        )
