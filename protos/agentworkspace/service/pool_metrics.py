"""Metrics of a process's connections and threads, which are read when Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from agentworkspace.service.database import Database
from agentworkspace.service.thread_pool import BlockingPool

_CONNECTIONS: Final = "agentworkspace_database_connections"
_LOSSES: Final = "agentworkspace_database_losses"
_WRITABLE: Final = "agentworkspace_database_takes_writes"
_CALLS: Final = "agentworkspace_thread_pool_calls"
_THREADS: Final = "agentworkspace_thread_pool_threads"


class PoolMetrics(Collector):
    """The collector; one for each process and registry, since Prometheus refuses a name twice."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        database: Database,
        takes_writes: Callable[[], bool],
        threads: Mapping[str, BlockingPool],
    ) -> None:
        self._database = database
        self._takes_writes = takes_writes
        self._threads = threads
        registry.register(self)

    def describe(self) -> Iterator[Metric]:
        yield from self.collect()

    @override
    def collect(self) -> Iterator[Metric]:
        connections = GaugeMetricFamily(
            _CONNECTIONS,
            "Database connections: open of all kinds, in use of the pool, and the pool's most.",
            labels=("state",),
        )
        connections.add_metric(("open",), self._database.open_connections)
        connections.add_metric(("in_use",), self._database.in_use)
        connections.add_metric(("most",), self._database.pool_size)
        yield connections
        yield CounterMetricFamily(
            _LOSSES, "Times that all connections were given up.", value=self._database.losses
        )
        yield GaugeMetricFamily(
            _WRITABLE, "1 while a write can be made.", value=int(self._takes_writes())
        )
        calls = GaugeMetricFamily(_CALLS, "Calls that hold or wait for a thread.", labels=("pool",))
        threads = GaugeMetricFamily(_THREADS, "Threads there are for them.", labels=("pool",))
        for name, pool in self._threads.items():
            calls.add_metric((name,), pool.held)
            threads.add_metric((name,), pool.threads)
        yield calls
        yield threads
