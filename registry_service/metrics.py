"""What the registry counts beyond its calls. No label holds an id, a name or a secret."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge

from agentworkspace.service.metric_series import begin_at_zero, say_build
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.tokens import Outcome, RevokeReason
from registry_service.domain.verdicts import MESSAGES


class RegistryMetrics:
    """Make one per process and collector registry: Prometheus refuses the same names twice."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._admissions = Counter(
            "registry_admissions",
            "Registers let in, by outcome and by the line of the admission table.",
            ("outcome", "line"),
            registry=registry,
        )
        self._without_evidence = Counter(
            "registry_admissions_without_evidence",
            "Registers let in on nothing but a workspace id.",
            ("line",),
            registry=registry,
        )
        self._refusals = Counter(
            "registry_register_refusals",
            "Registers refused, by reason and by the line of the admission table.",
            ("reason", "line"),
            registry=registry,
        )
        self._revocations = Counter(
            "registry_revocations",
            "Revocations seen in the feed, by reason.",
            ("reason",),
            registry=registry,
        )
        self._lines = Gauge(
            "registry_direct_connections",
            "Direct database connections for quick checks: open now, and wanted.",
            ("state",),
            registry=registry,
        )
        self.faults = Counter(
            "registry_background_faults",
            "Background work that failed and will be tried again.",
            ("task",),
            registry=registry,
        )
        begin_at_zero(self._admissions, Outcome, AdmissionLine)
        begin_at_zero(self._without_evidence, AdmissionLine)
        begin_at_zero(self._refusals, MESSAGES, AdmissionLine)
        begin_at_zero(self._revocations, RevokeReason)
        begin_at_zero(self.faults, ("feed",))
        say_build(registry, "registry")

    def admitted(self, outcome: str, line: str, *, with_evidence: bool) -> None:
        self._admissions.labels(outcome, line).inc()
        if not with_evidence:
            self._without_evidence.labels(line).inc()

    def refused(self, reason: str, line: str) -> None:
        self._refusals.labels(reason, line).inc()

    def revoked(self, reason: str) -> None:
        self._revocations.labels(reason).inc()

    def background_fault(self, task: str) -> None:
        self.faults.labels(task).inc()

    def watch_lines(self, open_now: Callable[[], int], wanted: int) -> None:
        """Show the direct connections; `open_now` is called at every scrape."""
        self._lines.labels("open").set_function(open_now)
        self._lines.labels("wanted").set(wanted)
