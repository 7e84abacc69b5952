"""Prometheus beside both services, with our rules: quiet in calm, and each alert fires.

A minute of the rules is a second here, so an alert that stays for five minutes has to stay for five
seconds; the limits that they compare with are as they are shipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
import yaml

from tests.faults.alert_faults import IN_TURN, TOGETHER
from tests.faults.watched import Watched, watching
from tests.observability.prometheus import RULES

ALERTS: Final = [
    rule["alert"]
    for path in RULES
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]
FAULT_OF: Final = {
    alert: fault.__name__ for fault, alerts in {**TOGETHER, **IN_TURN}.items() for alert in alerts
}
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watching(tmp_path_factory.mktemp("watched")) as running:
        yield running


@pytest.fixture(scope="module")
def fired(watched: Watched) -> set[str]:
    """The alerts that fired once everything had gone wrong."""
    prometheus = watched.prometheus
    for fault in TOGETHER:
        fault(watched)
    for expected in TOGETHER.values():
        prometheus.waits_for(expected)
    for fault, expected in IN_TURN.items():
        fault(watched)
        prometheus.waits_for(expected)
    return prometheus.fired()


def test_every_alert_has_a_fault() -> None:
    assert sorted(FAULT_OF) == sorted(ALERTS)


def test_in_calm_every_panel_has_a_series_and_no_alert_has(watched: Watched) -> None:
    prometheus = watched.prometheus
    watched.a_days_work()
    prometheus.until('provision_launches_total{outcome="delivered"} == 1')
    prometheus.until('registry_admissions_total{line="TICKET"} == 1')
    # A rate is of two scrapes at least, of each service.
    prometheus.until("min(count_over_time(agentworkspace_build_info[1m])) >= 3")
    prometheus.until("sum(rate(agentworkspace_rpc_calls_total[1m])) > 0")
    assert prometheus.empty_panels() == []
    assert prometheus.alerts() == set()


@pytest.mark.parametrize("alert", ALERTS)
def test_a_fault_fires_its_alert(alert: str, fired: set[str]) -> None:
    assert alert in fired, f"{FAULT_OF[alert]} did not fire it"
