"""What compose and Kubernetes tell the services: settings, and all that are required."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from agentworkspace.service.settings import ServiceSettings
from provision_service.config import Settings as ProvisionSettings
from registry_service.config import Settings as RegistrySettings

DEPLOY: Final = Path(__file__).resolve().parents[2] / "deploy"
SERVICES: Final[dict[str, type[ServiceSettings]]] = {
    "registry": RegistrySettings,
    "provision": ProvisionSettings,
}
REQUIRED: Final = {
    "registry": ["DATABASE_URL", "CREDENTIALS_FILE"],
    "provision": [
        "DATABASE_URL",
        "CREDENTIALS_FILE",
        "SECRETS_KEYS_FILE",
        "REGISTRY_TOKEN_FILE",
        "REGISTRY_ADDRESS",
        "BOX_REGISTRY_ADDRESS",
    ],
}


def in_compose(service: str) -> list[set[str]]:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return [set(services[name]["environment"]) for name in (service, f"{service}-migrate")]


def in_kubernetes(service: str) -> list[set[str]]:
    documents: list[dict[str, Any]] = [
        document
        for file in sorted((DEPLOY / "k8s").glob("*.yaml"))
        for document in yaml.safe_load_all(file.read_text())
    ]
    (shared,) = (
        set(each["data"])
        for each in documents
        if each["kind"] == "ConfigMap" and each["metadata"]["name"] == f"agentworkspace-{service}"
    )
    return [
        shared | {variable["name"] for variable in container.get("env", ())}
        for each in documents
        if each["kind"] in ("Deployment", "Job") and each["metadata"]["name"].startswith(service)
        for container in each["spec"]["template"]["spec"]["containers"]
    ]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("deployment", [in_compose, in_kubernetes])
def test_every_variable_is_a_setting_and_every_required_one_is_told(
    service: str, deployment: Any
) -> None:
    told = deployment(service)
    assert len(told) == 2
    for variables in told:
        assert variables - SERVICES[service].names() == set()
        without_files = {each.removesuffix("_FILE") for each in variables} | variables
        required = {f"{service.upper()}_{name}" for name in REQUIRED[service]}
        assert required - without_files == set()


@pytest.mark.parametrize("name", ["registry.yaml", "provision.yaml", "migrate.yaml"])
def test_every_file_that_a_pod_is_told_of_is_in_its_secret(name: str) -> None:
    shared = {
        each["metadata"]["name"]: each["data"]
        for each in yaml.safe_load_all((DEPLOY / "k8s" / "settings.yaml").read_text())
    }
    for document in yaml.safe_load_all((DEPLOY / "k8s" / name).read_text()):
        if document["kind"] not in ("Deployment", "Job"):
            continue
        spec = document["spec"]["template"]["spec"]
        mounted = {f"/etc/agentworkspace/{each['path']}" for each in _items(spec)}
        for container in [*spec.get("initContainers", ()), *spec["containers"]]:
            (source,) = container["envFrom"]
            told = shared[source["configMapRef"]["name"]]
            assert {told[each] for each in told if each.endswith("_FILE")} == mounted


def _items(spec: dict[str, Any]) -> list[dict[str, str]]:
    (volume,) = spec["volumes"]
    items: list[dict[str, str]] = volume["secret"]["items"]
    return items
