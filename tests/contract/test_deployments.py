"""What compose and Kubernetes tell the services: settings, and all that are required."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from agentworkspace.service.settings import ServiceSettings
from provision_service.config import Settings as ProvisionSettings
from registry_service.config import Settings as RegistrySettings
from tests.contract.manifests import environments

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
    return [set(environment) for environment in environments(base(), service)]


def base() -> list[dict[str, Any]]:
    return [
        document
        for file in sorted((DEPLOY / "k8s" / "base").glob("*.yaml"))
        for document in yaml.safe_load_all(file.read_text())
    ]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("deployment", [in_compose, in_kubernetes])
def test_every_variable_is_a_setting_and_every_required_one_is_told(
    service: str, deployment: Any
) -> None:
    told = deployment(service)
    assert told
    for variables in told:
        assert variables - SERVICES[service].names() == set()
        without_files = {each.removesuffix("_FILE") for each in variables} | variables
        required = {f"{service.upper()}_{name}" for name in REQUIRED[service]}
        assert required - without_files == set()
