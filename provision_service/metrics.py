"""What provisioning counts beyond its calls. No label holds an id, a name or a secret."""

from __future__ import annotations

from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

_CALL_BUCKETS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)


class ProvisionMetrics:
    """One per process and registry: Prometheus refuses the same names twice."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._provisions = Counter(
            "provision_launches",
            "ProvisionWorkspace answers, by reason of the launch and by outcome.",
            ("reason", "outcome"),
            registry=registry,
        )
        self._refusals = Counter(
            "provision_refusals",
            "Calls refused by a rule of this service, by reason.",
            ("reason",),
            registry=registry,
        )
        self._resolved = Counter(
            "provision_resolved_modes",
            "Who pays, as decided for creates and launches, by mode and by what decided.",
            ("mode", "source"),
            registry=registry,
        )
        self._registry_calls = Histogram(
            "provision_registry_call_seconds",
            "Calls to the registry, by method and outcome.",
            ("method", "outcome"),
            buckets=_CALL_BUCKETS,
            registry=registry,
        )
        self._outbox_depth = Gauge(
            "provision_outbox_depth", "Messages the registry has not heard.", registry=registry
        )
        self._outbox_age = Gauge(
            "provision_outbox_age_seconds", "Age of the oldest of them.", registry=registry
        )
        self._rekey_remaining = Gauge(
            "provision_rekey_remaining",
            "Encrypted rows that are not under the current key.",
            registry=registry,
        )
        self._undecryptable = Gauge(
            "provision_undecryptable_rows", "Encrypted rows that no key opens.", registry=registry
        )
        self._keys_lacking = Gauge(
            "provision_key_lacking_replicas",
            "Live replicas that lack the key that the keys file of this one calls current.",
            registry=registry,
        )
        self._files = Gauge(
            "provision_file_refused",
            "1 while a changed file is refused and its last good version is in force.",
            ("file",),
            registry=registry,
        )
        self._paused = Gauge(
            "provision_reconciler_paused",
            "1 while more boxes fell silent than may be marked in a minute.",
            registry=registry,
        )
        self._marked = Counter(
            "provision_reconciler_marked", "Workspaces marked for a launch.", registry=registry
        )
        self._faults = Counter(
            "provision_background_faults",
            "Background work that failed and will be tried again.",
            ("task",),
            registry=registry,
        )

    def launched(self, reason: str, outcome: str) -> None:
        self._provisions.labels(reason, outcome).inc()

    def refused(self, reason: str) -> None:
        self._refusals.labels(reason).inc()

    def resolved(self, mode: str, source: str) -> None:
        self._resolved.labels(mode, source).inc()

    def registry_called(self, method: str, outcome: str, seconds: float) -> None:
        self._registry_calls.labels(method, outcome).observe(seconds)

    def outbox(self, depth: int, oldest_seconds: float) -> None:
        self._outbox_depth.set(depth)
        self._outbox_age.set(oldest_seconds)

    def rekey(self, remaining: int, undecryptable: int) -> None:
        self._rekey_remaining.set(remaining)
        self._undecryptable.set(undecryptable)

    def keys(self, *, lacking: int) -> None:
        self._keys_lacking.set(lacking)

    def file(self, name: str, *, refused: bool) -> None:
        self._files.labels(name).set(1 if refused else 0)

    def reconciled(self, marked: int, *, paused: bool) -> None:
        self._marked.inc(marked)
        self._paused.set(1 if paused else 0)

    def background_fault(self, task: str) -> None:
        self._faults.labels(task).inc()
