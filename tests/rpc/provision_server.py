"""A provision service on loopback in this very process, on a real database, with its callers."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from agentworkspace.core.secret import Secret
from agentworkspace.provision.v1.audit_service_pb2_grpc import AuditServiceStub
from agentworkspace.provision.v1.billing_service_pb2_grpc import BillingServiceStub
from agentworkspace.provision.v1.catalogue_service_pb2_grpc import CatalogueServiceStub
from agentworkspace.provision.v1.secret_service_pb2_grpc import SecretServiceStub
from agentworkspace.provision.v1.workspace_service_pb2_grpc import WorkspaceServiceStub
from provision_service.config import Settings
from provision_service.server import Provisioning
from tests.rpc.registry_server import (
    CALLERS,
    RunningService,
    bearer,
    running,
    secret_of,
    write_credentials,
)

USAGE_TOKEN: Final = "usage-token-of-the-deployment"
PROXY: Final = "http://127.0.0.1:9/openai/v1"
ANTHROPIC_PROXY: Final = "http://127.0.0.1:9/anthropic"

# Callers and their secrets are those of the registry's tests: one control plane knows both.
ADMIN: Final = bearer(secret_of("operator"))
LAUNCHER: Final = bearer(secret_of("control-plane"))
VERIFIER: Final = bearer(secret_of("gateway"))

GLOBEX_ADMIN: Final = bearer(secret_of("globex-operator"))
assert set(CALLERS) >= {"operator", "control-plane", "gateway", "globex-control-plane"}


@dataclass
class Running(RunningService[Provisioning]):
    """A serving provision service and stubs to call it."""

    workspaces: Any = field(init=False)
    billing: Any = field(init=False)
    secrets: Any = field(init=False)
    catalogue: Any = field(init=False)
    audit: Any = field(init=False)

    def __post_init__(self) -> None:
        self.workspaces = WorkspaceServiceStub(self.channel)
        self.billing = BillingServiceStub(self.channel)
        self.secrets = SecretServiceStub(self.channel)
        self.catalogue = CatalogueServiceStub(self.channel)
        self.audit = AuditServiceStub(self.channel)


def write_keys(directory: Path, current: str = "k1", **keys: bytes) -> Path:
    """A keys file; without keys, one that differs by its name only."""
    material = keys or {current: hashlib.sha256(current.encode()).digest()}
    path = directory / "keys.json"
    path.touch(mode=0o600)
    encoded = {name: base64.b64encode(key).decode() for name, key in material.items()}
    path.write_text(json.dumps({"current": current, "keys": encoded}))
    return path


def environment_of(
    directory: Path, registry_address: str, more: Mapping[str, str]
) -> dict[str, str]:
    """What a deployment would set."""
    token = directory / "registry-token"
    token.write_text(secret_of("operator") + "\n")
    return {
        "PROVISION_LISTEN": "127.0.0.1:0",
        "PROVISION_CREDENTIALS_FILE": str(write_credentials(directory)),
        "PROVISION_SECRETS_KEYS_FILE": str(write_keys(directory)),
        "PROVISION_REGISTRY_ADDRESS": registry_address,
        "PROVISION_REGISTRY_TOKEN_FILE": str(token),
        "PROVISION_STOP_GRACE_SECONDS": "5",
        "PLATFORM_LLM_BASE_URL": PROXY,
        "PLATFORM_LLM_ANTHROPIC_BASE_URL": ANTHROPIC_PROXY,
        "PLATFORM_LLM_USAGE_TOKEN": USAGE_TOKEN,
        "PLATFORM_LLM_USAGE_TOKEN_SHARED": "1",
        **more,
    }


@contextmanager
def serving(
    database_url: str,
    directory: Path,
    registry_address: str = "127.0.0.1:1",
    *,
    wait: bool = True,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """Serve `database_url` until the block ends; with `wait`, health says SERVING first.

    Without a registry's address there is none, and whatever needs it is unavailable.
    """
    settings = Settings.load(environment_of(directory, registry_address, environment or {}))
    make = partial(Provisioning, settings, Secret(database_url))
    with running(Running, make, wait=wait) as serves:
        yield serves
