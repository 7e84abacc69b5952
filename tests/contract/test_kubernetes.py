"""deploy/k8s and its overlays: what Kubernetes takes, and what the services can start with."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Final

import kubernetes_validate
import pytest
import yaml
from prometheus_client.core import Metric

from agentworkspace.server.metrics import EdgeMetrics
from tests.contract.manifests import (
    K8S,
    OVERLAYS,
    Object,
    containers,
    environment_of,
    mounted,
    of_kind,
    rendered,
)
from tests.contract.test_deployments import SERVICES

COMBINATIONS: Final = [(), *((each,) for each in OVERLAYS), OVERLAYS]
# The oldest that the base promises, and what is in use.
VERSIONS: Final = ("1.30", "1.34")
# Of others, with schemas of their own.
FOREIGN: Final = {"Certificate", "PrometheusRule", "ServiceMonitor"}


@pytest.fixture(params=COMBINATIONS, ids=lambda overlays: "+".join(overlays) or "base")
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return rendered(*request.param)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_one_that_kubernetes_knows_every_field_of(version: str) -> None:
    both = [each for objects in (rendered(), rendered(*OVERLAYS)) for each in objects]
    for text in {json.dumps(each) for each in both if each["kind"] not in FOREIGN}:
        kubernetes_validate.validate(json.loads(text), version, strict=True)


@pytest.mark.parametrize("service", SERVICES)
def test_each_container_has_every_file_that_it_is_told_of_and_would_start(
    objects: list[Object], service: str, tmp_path: Path
) -> None:
    found = list(containers(objects, service))
    assert len(found) == 3
    for pod, container in found:
        told = environment_of(objects, container)
        files = {value for name, value in told.items() if name.endswith("_FILE")}
        assert files - mounted(pod, container) == set()
        assert set(told) - SERVICES[service].names() == set()
        here = {
            name: made(value, tmp_path) if value in files else value for name, value in told.items()
        }
        SERVICES[service].load(here).require_for_serving(embedded=False)


def made(path: str, directory: Path) -> str:
    """A file like the one of that name."""
    file = directory / Path(path).name
    file.write_text("postgresql://name@host/name\n" if file.name.endswith("-url") else "{}\n")
    return str(file)


def test_migrations_go_past_the_pooler_and_services_through_it() -> None:
    objects = rendered("pooler")

    for service in SERVICES:
        prefix = service.upper()
        for _, container in containers(objects, service):
            told = environment_of(objects, container)
            assert (told[f"{prefix}_DATABASE_URL_FILE"], told[f"{prefix}_DATABASE_POOLED"]) == (
                ("/etc/agentworkspace/direct-url", "0")
                if container["name"] == "migrate"
                else ("/etc/agentworkspace/database-url", "1")
            )


def test_with_tls_nothing_is_spoken_in_plain_text() -> None:
    objects = rendered("tls")

    for service in SERVICES:
        for _, container in containers(objects, service):
            told = environment_of(objects, container)
            assert "INSECURE" not in told
            assert told[f"{service.upper()}_TLS_CERTIFICATE_FILE"].endswith("/tls.crt")
            assert "grpc" not in container.get("readinessProbe", {})
    for _, container in containers(objects, "provision"):
        assert environment_of(objects, container)["PROVISION_REGISTRY_TLS"] == "1"


def test_every_image_has_a_tag_that_stays(objects: list[Object]) -> None:
    images = {
        container["image"]
        for name in (*SERVICES, "pgbouncer")
        for _, container in containers(objects, name)
    }

    version = tomllib.loads((K8S.parents[1] / "pyproject.toml").read_text())["project"]["version"]
    assert images - {f"agentworkspace-pooler:{version}"} == {f"agentworkspace:{version}"}


def test_services_and_policies_name_ports_and_pods_that_exist(objects: list[Object]) -> None:
    ports = {
        each["spec"]["selector"]["matchLabels"]["app"]: {
            port["name"]
            for container in each["spec"]["template"]["spec"]["containers"]
            for port in container["ports"]
        }
        for each in of_kind(objects, "Deployment").values()
    }
    for service in of_kind(objects, "Service").values():
        wanted = {port["targetPort"] for port in service["spec"]["ports"]}
        assert wanted - ports[service["spec"]["selector"]["app"]] == set()
    policies = of_kind(objects, "NetworkPolicy")
    assert policies.pop("nobody-else")["spec"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    for policy in policies.values():
        app = policy["spec"]["podSelector"]["matchLabels"]["app"]
        assert {
            port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]
        } == ports[app]


def test_no_box_reaches_what_is_of_the_control_plane() -> None:
    policies = of_kind(rendered(), "NetworkPolicy")

    for service in SERVICES:
        for rule in policies[service]["spec"]["ingress"]:
            open_to_all = "from" not in rule
            assert open_to_all == ([each["port"] for each in rule["ports"]] == ["grpc"])


def test_replicas_follow_a_metric_that_the_services_have() -> None:
    metrics: list[Metric] = list(EdgeMetrics(registry=None).collect())
    known = {each.name for each in metrics}
    adapter = yaml.safe_load((K8S / "overlays" / "monitoring" / "adapter-rule.yaml").read_text())

    for scaler in of_kind(rendered("monitoring"), "HorizontalPodAutoscaler").values():
        (name,) = (
            each["pods"]["metric"]["name"]
            for each in scaler["spec"]["metrics"]
            if each["type"] == "Pods"
        )
        assert name in known
        assert any(each["seriesQuery"].startswith(name) for each in adapter)


def test_jobs_are_called_as_the_alert_rules_ask_for_them() -> None:
    objects = rendered("monitoring")
    (monitor,) = of_kind(objects, "ServiceMonitor").values()
    labels = monitor["spec"]["selector"]["matchLabels"]
    scraped = {
        name
        for name, each in of_kind(objects, "Service").items()
        if labels.items() <= each["metadata"].get("labels", {}).items()
    }
    compose = yaml.safe_load((K8S.parent / "observability" / "prometheus.yaml").read_text())

    assert scraped == {"agentworkspace-registry", "agentworkspace-provision"}
    assert {each["job_name"] for each in compose["scrape_configs"]} == scraped
