"""PLATFORM_LLM_TOKENS=box over the wire: what the box shows at the proxy, the registry knows."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import derive_instance_token, sha256_hex
from agentworkspace.provision.v1 import provision_pb2, workspace_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.registry.v1 import (
    registration_service_pb2,
    token_pb2,
    token_service_pb2,
    workspace_registry_service_pb2,
)
from tests.rpc.provision_server import LAUNCHER, USAGE_TOKEN
from tests.rpc.registry_server import bearer, secret_of
from tests.services import Pair, both

PROXY = bearer(secret_of("gateway"))
OPERATOR = bearer(secret_of("operator"))
REFUSED = token_service_pb2.REJECTION_REASON_TOKEN_INVALID


@pytest.fixture(scope="module")
def pair(
    registry_database_of_module: str,
    provision_database_of_module: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    with both(
        registry_database_of_module,
        provision_database_of_module,
        tmp_path_factory.mktemp("pair"),
        environment={"PLATFORM_LLM_TOKENS": "box"},
    ) as running:
        yield running


def create(pair: Pair) -> str:
    answer = pair.provision.workspaces.CreateWorkspace(
        pb.CreateWorkspaceRequest(
            tenant_id="acme",
            workspace=workspace_pb2.Workspace(name="agent", model="anthropic/claude-opus-4-7"),
        ),
        metadata=LAUNCHER,
    )
    return str(answer.workspace.id)


def launch(pair: Pair, workspace_id: str) -> dict[str, str]:
    """The environment of a launch that the launcher reports as started."""
    answer = pair.provision.workspaces.ProvisionWorkspace(
        pb.ProvisionWorkspaceRequest(
            workspace_id=workspace_id,
            reason=provision_pb2.PROVISION_REASON_RESTART,
            request_id=str(uuid.uuid4()),
        ),
        metadata=LAUNCHER,
    )
    pair.provision.workspaces.CompleteProvision(
        pb.CompleteProvisionRequest(
            provision_id=answer.provision.id, outcome=provision_pb2.PROVISION_OUTCOME_SUCCEEDED
        ),
        metadata=LAUNCHER,
    )
    return dict(answer.env)


def register(pair: Pair, env: dict[str, str]) -> None:
    ticket = env["WORKSPACE_BOOTSTRAP_TICKET"]
    incarnation = int(env["WORKSPACE_INCARNATION"])
    token = derive_instance_token(Secret(ticket), env["WORKSPACE_ID"], incarnation)
    pair.registry.boxes.Register(
        registration_service_pb2.RegisterRequest(
            workspace_id=env["WORKSPACE_ID"],
            bootstrap_ticket=ticket,
            token_sha256=sha256_hex(token),
            request_id=str(uuid.uuid4()),
        )
    )


def at_the_proxy(pair: Pair, key: str) -> Any:
    """What the registry tells a proxy of a key that it was shown."""
    return pair.registry.tokens.ValidateToken(
        token_service_pb2.ValidateTokenRequest(
            token=key, any_workspace=True, required_kind=token_pb2.TOKEN_KIND_PROXY
        ),
        metadata=PROXY,
    )


def test_the_registry_knows_the_key_that_provision_handed_out(pair: Pair) -> None:
    workspace = create(pair)
    env = launch(pair, workspace)
    key = env["ANTHROPIC_API_KEY"]
    assert key.startswith("awp_")
    assert env["MOLECULE_LLM_USAGE_TOKEN"] == key
    assert USAGE_TOKEN not in env.values()
    assert at_the_proxy(pair, key).rejection.reason == REFUSED
    register(pair, env)
    principal = at_the_proxy(pair, key).principal
    assert (principal.workspace_id, principal.tenant_id) == (workspace, "acme")
    assert principal.incarnation == int(env["WORKSPACE_INCARNATION"])


def test_a_copied_key_does_not_outlive_its_launch(pair: Pair) -> None:
    workspace = create(pair)
    first = launch(pair, workspace)
    register(pair, first)
    assert at_the_proxy(pair, first["ANTHROPIC_API_KEY"]).HasField("principal")
    second = launch(pair, workspace)
    assert at_the_proxy(pair, first["ANTHROPIC_API_KEY"]).rejection.reason == REFUSED
    register(pair, second)
    assert at_the_proxy(pair, second["ANTHROPIC_API_KEY"]).HasField("principal")
    pair.registry.workspaces.RetireWorkspace(
        workspace_registry_service_pb2.RetireWorkspaceRequest(workspace_id=workspace),
        metadata=OPERATOR,
    )
    assert at_the_proxy(pair, second["ANTHROPIC_API_KEY"]).rejection.reason == REFUSED
