"""What provisioning counts beyond its calls. No label holds an id, a name or a secret."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from agentworkspace.service.metric_series import begin_at_zero, say_build
from provision_service.domain.billing import BillingMode, Source
from provision_service.domain.lifecycle import NeedsLaunchReason, ProvisionReason
from provision_service.domain.refusals import REASONS
from provision_service.storage.launch_counts import LaunchCounts
from provision_service.storage.provisions import ON_THEIR_WAY

OUTCOMES: Final = ("delivered", "joined", "skipped", "validated", "refused")
REGISTRY_CALLS: Final = (
    "AdmitWorkspace",
    "BatchAdmitWorkspaces",
    "BatchBeginIncarnations",
    "BeginIncarnation",
    "GetRegistration",
    "ListRegistrations",
    "RetireWorkspace",
    "ValidateToken",
)
FILES: Final = (
    "catalogue-or-templates",
    "credentials",
    "keys",
    "registry-ca",
    "registry-tls",
    "registry-token",
)
CALL_OUTCOMES: Final = ("ok", "refused", "unavailable")
_CALL_BUCKETS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)


class ProvisionMetrics:
    """One per process and registry: Prometheus refuses the same names twice."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        histogram = partial(Histogram, registry=registry)
        self._provisions = counter(
            "provision_launches",
            "ProvisionWorkspace answers, by reason of the launch and by outcome.",
            ("reason", "outcome"),
        )
        self._launch_refusals = counter(
            "provision_launch_refusals", "Launches refused, by reason of the refusal.", ("reason",)
        )
        self._on_their_way = gauge(
            "provision_launches_on_their_way",
            "Launches whose box has not proven itself yet, by state and by reason of the launch.",
            ("state", "reason"),
        )
        self._oldest = gauge(
            "provision_launch_oldest_seconds", "Age of the oldest launch in this state.", ("state",)
        )
        self._lapsed = counter(
            "provision_launches_lapsed", "Launches whose lease ran out before they had begun."
        )
        self._needing = gauge(
            "provision_needs_launch", "Workspaces that ask to be launched, by reason.", ("reason",)
        )
        self._refusals = counter(
            "provision_refusals", "Calls refused by a rule of this service, by reason.", ("reason",)
        )
        self._resolved = counter(
            "provision_resolved_modes",
            "Who pays, as decided for creates and launches, by mode and by what decided.",
            ("mode", "source"),
        )
        self._registry_calls = histogram(
            "provision_registry_call_seconds",
            "Calls to the registry, by method and outcome.",
            ("method", "outcome"),
            buckets=_CALL_BUCKETS,
        )
        self._paused = gauge(
            "provision_reconciler_paused",
            "1 while more boxes fell silent than may be marked in a minute.",
        )
        self._marked = counter(
            "provision_reconciler_marked", "Workspaces marked for a launch, by reason.", ("reason",)
        )
        self.faults = counter(
            "provision_background_faults",
            "Background work that failed and will be tried again.",
            ("task",),
        )
        self._of_the_store(gauge)
        self._begin()
        say_build(registry, "provision")

    def _of_the_store(self, gauge: Callable[..., Gauge]) -> None:
        self._outbox_depth = gauge("provision_outbox_depth", "Messages the registry has not heard.")
        self._outbox_age = gauge("provision_outbox_age_seconds", "Age of the oldest of them.")
        self._rekey_remaining = gauge(
            "provision_rekey_remaining", "Encrypted rows that are not under the current key."
        )
        self._undecryptable = gauge(
            "provision_undecryptable_rows", "Encrypted rows that no key opens."
        )
        self._keys_lacking = gauge(
            "provision_key_lacking_replicas",
            "Live replicas that lack the key that the keys file of this one calls current.",
        )
        self._files = gauge(
            "provision_file_refused",
            "1 while a changed file is refused and its last good version is in force.",
            ("file",),
        )

    def _begin(self) -> None:
        """Begin every series at zero. OUTCOMES are all that ProvisionWorkspace has, and
        CALL_OUTCOMES all that a call to the registry can end in.
        """
        begin_at_zero(self._provisions, ProvisionReason, OUTCOMES)
        begin_at_zero(self._launch_refusals, REASONS)
        begin_at_zero(self._files, FILES)
        begin_at_zero(self._refusals, REASONS)
        begin_at_zero(self._resolved, BillingMode, Source)
        begin_at_zero(self._registry_calls, REGISTRY_CALLS, CALL_OUTCOMES)
        begin_at_zero(self._on_their_way, ON_THEIR_WAY, ProvisionReason)
        begin_at_zero(self._oldest, ON_THEIR_WAY)
        begin_at_zero(self._needing, NeedsLaunchReason)
        begin_at_zero(self._marked, NeedsLaunchReason)

    def launched(self, reason: str, outcome: str) -> None:
        self._provisions.labels(reason, outcome).inc()

    def launch_refused(self, reason: str, refusal: str) -> None:
        self._provisions.labels(reason, "refused").inc()
        self._launch_refusals.labels(refusal).inc()

    def lapsed(self, count: int) -> None:
        self._lapsed.inc(count)

    def launches(self, counts: LaunchCounts) -> None:
        """What the database holds now; a state or reason that it lacks is at zero."""
        for state, reason in product(ON_THEIR_WAY, ProvisionReason):
            self._on_their_way.labels(state, reason).set(
                counts.on_their_way.get((state, reason), 0)
            )
        for state in ON_THEIR_WAY:
            self._oldest.labels(state).set(counts.oldest_seconds.get(state, 0.0))
        for needs in NeedsLaunchReason:
            self._needing.labels(needs).set(counts.needing.get(needs, 0))

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

    def reconciled(self, marked: Iterable[str], *, paused: bool) -> None:
        """`marked` are the reasons, one for each workspace that was marked."""
        for reason in marked:
            self._marked.labels(reason).inc()
        self._paused.set(1 if paused else 0)
