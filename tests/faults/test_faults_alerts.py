"""Prometheus beside both services: quiet in calm, every panel drawn, and each fault seen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy.boards import BOARDS
from tests.faults.pairs import make_databases
from tests.faults.servers import Server, reachable_directory, started
from tests.lifecycle.launches import create, launch, workspace_at
from tests.lifecycle.processes import Pair, pair
from tests.observability.prometheus import Prometheus, scraping
from tests.rpc.registry_requests import failed
from tests.services import free_address

RULES: Final = Path(__file__).resolve().parents[2] / "deploy" / "alerts"
ALERTS: Final[dict[str, str]] = {
    rule["alert"]: rule["expr"]
    for path in RULES.glob("*.yaml")
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
}


@dataclass(frozen=True)
class Watched:
    """Both services on a server that can be killed, and who scrapes them."""

    server: Server
    pair: Pair
    prometheus: Prometheus


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    metrics = {name: free_address() for name in ("registry", "provision")}
    jobs = {f"agentworkspace-{name}": address for name, address in metrics.items()}
    settings = {f"{name.upper()}_METRICS_LISTEN": address for name, address in metrics.items()}
    with ExitStack() as stack:
        prometheus = stack.enter_context(scraping(tmp_path, jobs))
        directory = stack.enter_context(reachable_directory())
        server = stack.enter_context(started(Server(directory / "pg")))
        make_databases(server)
        registry, provision = (server.url(name) for name in metrics)
        both = stack.enter_context(pair(registry, provision, tmp_path / "pair", settings=settings))
        prometheus.until("min(agentworkspace_database_takes_writes) == 1 and count(up) == 2")
        yield Watched(server, both, prometheus)


def a_days_work(pair: Pair) -> None:
    """A workspace is made and launched, its box comes, and its token is checked."""
    workspace_id = create(pair.provision).workspace.id
    launched = launch(pair.provision, workspace_id)
    box = workspace_at(pair.registry, workspace_id)
    token = box.register(ticket=launched.env["WORKSPACE_BOOTSTRAP_TICKET"]).auth_token
    box.heartbeat(token)
    assert box.accepts(token)


def firing(prometheus: Prometheus) -> list[str]:
    """Alerts whose series are there, however long they would have to last."""
    return [name for name, expression in ALERTS.items() if prometheus.ask(expression)]


def empty_panels(prometheus: Prometheus) -> list[str]:
    return [
        panel.title
        for _, panels in BOARDS.values()
        for panel in panels
        for _, query in panel.queries
        if not prometheus.ask(
            query.replace("$__rate_interval", "1m").replace('job=~"$job"', 'job=~".*"')
        )
    ]


def test_in_calm_every_panel_has_a_series_and_no_alert_has(watched: Watched) -> None:
    a_days_work(watched.pair)
    watched.prometheus.until('provision_launches_total{outcome="delivered"} == 1')
    watched.prometheus.until('registry_admissions_total{line="TICKET"} == 1')
    # A rate is of two scrapes at least, of each service.
    watched.prometheus.until("min(count_over_time(agentworkspace_build_info[1m])) >= 3")
    watched.prometheus.until("sum(rate(agentworkspace_rpc_calls_total[1m])) > 0")
    assert empty_panels(watched.prometheus) == []
    assert firing(watched.prometheus) == []


def test_a_fault_shows_the_series_that_fire_its_alert(watched: Watched) -> None:
    ask: Any = watched.prometheus.until
    watched.pair.registry.stop()
    ask(ALERTS["AgentworkspaceServiceDown"])
    workspace_id = create(watched.pair.provision).workspace.id
    for _ in range(4):
        failed(lambda: launch(watched.pair.provision, workspace_id))
    ask(ALERTS["ProvisionRegistryUnreachable"])
    ask(ALERTS["AgentworkspaceUnavailable"])
    watched.server.kill()
    ask(ALERTS["AgentworkspaceDatabaseTakesNoWrites"])
    ask(ALERTS["AgentworkspaceBackgroundFaults"])
