"""Dashboards and alert rules ask for series that there are; every alert has been seen to fire."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard
from prometheus_client import CollectorRegistry, generate_latest

from deploy import boards
from tests import debian
from tests.services import Pair

ROOT: Final = Path(__file__).resolve().parents[2]
RULES: Final = sorted((ROOT / "deploy" / "alerts").glob("*.yaml"))
RUNBOOK: Final = (ROOT / "deploy" / "alerts" / "README.md").read_text()
UNIT_TESTS: Final = Path(__file__).with_name("alerts.yaml")
METRIC: Final = re.compile(r"\b(?:agentworkspace|registry|provision)_[a-z_]+\b")
ALERTS: Final[list[dict[str, Any]]] = [
    rule
    for path in RULES
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]
QUERIES: Final = {
    f"{name}: {panel.title}": query
    for name, (_, panels) in boards.BOARDS.items()
    for panel in panels
    for _, query in panel.queries
}


def series(collectors: CollectorRegistry) -> list[str]:
    """Every series of a scrape, as `name{labels}`."""
    lines = generate_latest(collectors).decode().splitlines()
    return [line.rpartition(" ")[0] for line in lines if not line.startswith("#")]


@pytest.fixture(scope="module")
def scraped(pair: Pair) -> list[str]:
    return series(pair.registry.collectors) + series(pair.provision.collectors)


def names_in(expression: str) -> set[str]:
    return set(METRIC.findall(re.sub(r'"[^"]*"', "", expression)))


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_every_metric_of_a_panel_is_in_a_scrape(scraped: list[str], query: str) -> None:
    assert names_in(query) - {each.partition("{")[0] for each in scraped} == set()


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_every_series_that_an_alert_asks_for_is_in_a_scrape(
    scraped: list[str], alert: dict[str, Any]
) -> None:
    """With the labels that it is narrowed to, before anything has happened."""
    assert names_in(alert["expr"]) - {each.partition("{")[0] for each in scraped} == set()
    for name, matchers in re.findall(r"([a-z_]+)\{([^}]*)\}", alert["expr"]):
        for label, value in re.findall(r'(\w+)="([^"]*)"', matchers):
            assert any(each.startswith(name) and f'{label}="{value}"' in each for each in scraped)


def test_every_metric_of_ours_has_a_series_before_anything_has_happened(pair: Pair) -> None:
    """One without any would be a name that no query finds. Replicas that keep up, files and so on
    have their own first moment, which comes with the start.
    """
    for collectors in (pair.registry.collectors, pair.provision.collectors):
        families = list(collectors.collect())
        assert families
        assert [each.name for each in families if not each.samples] == []


@pytest.mark.parametrize("name", boards.BOARDS)
def test_a_dashboard_says_nothing_that_grafana_does_not_know(name: str) -> None:
    told = json.loads((boards.FOLDER / f"{name}.json").read_text())
    encoded = JSONEncoder(sort_keys=True).encode(dashboard.Dashboard.from_json(told))
    assert list(unknown(told, json.loads(encoded))) == []


def unknown(told: Any, taken: Any, path: str = "") -> Iterator[str]:
    """Where something was told that was not taken."""
    if isinstance(told, dict):
        yield from (f"{path}/{key}" for key in told.keys() - taken.keys())
        for key in told.keys() & taken.keys():
            yield from unknown(told[key], taken[key], f"{path}/{key}")
    elif isinstance(told, list):
        for place, each in enumerate(told):
            yield from unknown(each, taken[place], f"{path}/{place}")


def test_grafana_beside_compose_finds_the_dashboards_and_prometheus() -> None:
    """Its image is not started by any test: what it reads is compared with where that is."""
    directory = ROOT / "deploy" / "observability"
    (provider,) = yaml.safe_load((directory / "grafana-dashboards.yaml").read_text())["providers"]
    sources = yaml.safe_load((directory / "grafana-datasources.yaml").read_text())["datasources"]
    services = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]
    mounted = dict(each.rsplit(":", 2)[:2] for each in services["grafana"]["volumes"])

    provisioning = "/etc/grafana/provisioning"
    assert mounted == {
        "./observability/grafana-datasources.yaml": f"{provisioning}/datasources/ours.yaml",
        "./observability/grafana-dashboards.yaml": f"{provisioning}/dashboards/ours.yaml",
        "./grafana": "/var/lib/grafana/dashboards",
    }
    assert (provider["type"], provider["options"]) == ("file", {"path": mounted["./grafana"]})
    assert [(each["type"], each["url"]) for each in sources] == [
        ("prometheus", "http://prometheus:9090")
    ]
    assert set(services["grafana"]["networks"]) >= set(services["prometheus"]["networks"])


def test_the_dashboards_are_those_of_the_table() -> None:
    assert boards.main(["--check"]) == 0


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_every_alert_has_a_severity_and_a_section_of_the_runbook(alert: dict[str, Any]) -> None:
    name = alert["alert"]
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert f"\n## {name}\n" in RUNBOOK
    assert alert["annotations"]["runbook"] == f"deploy/alerts/README.md#{name.lower()}"


def test_the_runbook_has_no_section_of_an_alert_that_is_gone() -> None:
    assert sorted(re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE)) == sorted(
        alert["alert"] for alert in ALERTS
    )


def test_prometheus_beside_compose_names_its_jobs_as_the_rules_expect() -> None:
    """Otherwise nobody would hear that a service is down."""
    file = ROOT / "deploy" / "observability" / "prometheus.yaml"
    jobs = [each["job_name"] for each in yaml.safe_load(file.read_text())["scrape_configs"]]
    assert jobs == ["agentworkspace-registry", "agentworkspace-provision"]
    (down,) = (rule for rule in ALERTS if rule["alert"] == "AgentworkspaceServiceDown")
    assert down["expr"] == 'up{job=~"agentworkspace.*"} == 0'


def test_promtool_takes_the_rules_and_sees_every_alert_fire_and_none_in_calm() -> None:
    promtool = debian.program_or_skip("promtool", "prometheus")
    fired = {
        test["name"]
        for test in yaml.safe_load(UNIT_TESTS.read_text())["tests"]
        if test["name"] != "calm" and test["promql_expr_test"][0]["exp_samples"]
    }
    assert fired == {alert["alert"] for alert in ALERTS}
    for command in (("check", "rules", *RULES), ("test", "rules", UNIT_TESTS)):
        done = subprocess.run(
            (promtool, *map(str, command)), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
