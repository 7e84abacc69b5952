"""The settings of a service's listeners, as they take effect at a running registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from agentworkspace.registry.v1 import token_pb2
from agentworkspace.registry.v1 import token_service_pb2 as tokens
from agentworkspace.registry.v1 import workspace_registry_service_pb2 as workspaces
from agentworkspace.registry.v1.token_service_pb2_grpc import TokenServiceStub
from agentworkspace.registry.v1.workspace_registry_service_pb2_grpc import (
    WorkspaceRegistryServiceStub,
)
from agentworkspace.service.declared_settings import BadSettings
from provision_service.config import Settings as ProvisionSettings
from registry_service.config import Settings as RegistrySettings
from tests.rpc.registry_requests import failed
from tests.rpc.registry_server import ADMIN, LAUNCHER, VERIFIER, Running, bearer, serving
from tests.rpc.registry_story import Workspace, new_id
from tests.rpc.test_rpc_tls import Authority

StatusCode = grpc.StatusCode
SECONDS = 20


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def environment(authority: Authority) -> dict[str, str]:
    """Boxes in the plain, for the sake of the test; the control plane with certificates."""
    certificate, key = authority.issue("localhost")
    return {
        "REGISTRY_CONTROL_LISTEN": "127.0.0.1:0",
        "REGISTRY_CONTROL_TLS_CERTIFICATE_FILE": str(certificate),
        "REGISTRY_CONTROL_TLS_KEY_FILE": str(key),
        "REGISTRY_CONTROL_TLS_CLIENT_CA_FILE": str(authority.file),
    }


@pytest.fixture
def running(
    registry_database: str, tmp_path: Path, environment: dict[str, str]
) -> Iterator[Running]:
    with serving(registry_database, tmp_path, environment=environment) as started:
        yield started


def control_channel(running: Running, authority: Authority, *, shows: bool) -> grpc.Channel:
    certificate, key = authority.issue("launcher") if shows else (None, None)
    credentials = grpc.ssl_channel_credentials(
        authority.file.read_bytes(),
        key.read_bytes() if key else None,
        certificate.read_bytes() if certificate else None,
    )
    return grpc.secure_channel(f"localhost:{running.service.control_port}", credentials)


def test_boxes_need_no_certificate_and_the_control_plane_does(
    running: Running, authority: Authority
) -> None:
    workspace = new_id()
    request = workspaces.AdmitWorkspaceRequest(
        workspace_id=workspace, tenant_id="acme", request_id=new_id()
    )
    with control_channel(running, authority, shows=True) as channel:
        stub: Any = WorkspaceRegistryServiceStub(channel)
        stub.AdmitWorkspace(request, metadata=LAUNCHER, timeout=SECONDS)
        begun = stub.BeginIncarnation(
            workspaces.BeginIncarnationRequest(workspace_id=workspace, request_id=new_id()),
            metadata=LAUNCHER,
            timeout=SECONDS,
        )
    box = Workspace(running, workspace_id=workspace).register(ticket=begun.bootstrap_ticket)
    assert box.auth_token
    with control_channel(running, authority, shows=False) as channel:
        stub = WorkspaceRegistryServiceStub(channel)
        refused = failed(lambda: stub.AdmitWorkspace(request, metadata=LAUNCHER, timeout=SECONDS))
    assert refused.code is StatusCode.UNAVAILABLE


def test_the_boxes_listener_knows_no_callers(running: Running, authority: Authority) -> None:
    with control_channel(running, authority, shows=True) as channel:
        admit: Any = WorkspaceRegistryServiceStub(channel)
        workspace = new_id()
        admitted = admit.AdmitWorkspace(
            workspaces.AdmitWorkspaceRequest(
                workspace_id=workspace,
                tenant_id="acme",
                request_id=new_id(),
                first_token=workspaces.FirstToken(label="first"),
            ),
            metadata=LAUNCHER,
            timeout=SECONDS,
        )
        token = admitted.issued.plaintext
        check = tokens.ValidateTokenRequest(token=token, workspace_id=workspace)
        control: Any = TokenServiceStub(channel)
        assert control.ValidateToken(check, metadata=VERIFIER, timeout=SECONDS).HasField(
            "principal"
        )
    mint = tokens.MintTokenRequest(workspace_id=workspace, kind=token_pb2.TOKEN_KIND_API)
    boxes = running.tokens
    unanswered = failed(lambda: boxes.MintToken(mint, metadata=ADMIN, timeout=SECONDS))
    assert unanswered.code is StatusCode.UNIMPLEMENTED
    unanswered = failed(lambda: boxes.ValidateToken(check, metadata=VERIFIER, timeout=SECONDS))
    assert unanswered.code is StatusCode.UNIMPLEMENTED
    rotate = tokens.RotateTokenRequest(
        workspace_id=workspace, token_id=admitted.issued.token.token_id, request_id=new_id()
    )
    refused = failed(lambda: boxes.RotateToken(rotate, metadata=ADMIN, timeout=SECONDS))
    assert (refused.code, refused.reason) == (StatusCode.UNAUTHENTICATED, "CREDENTIAL_REJECTED")
    rotated = boxes.RotateToken(rotate, metadata=bearer(token), timeout=SECONDS)
    assert rotated.issued.plaintext


@pytest.mark.parametrize(
    ("settings", "limit"), [(RegistrySettings, 262_144), (ProvisionSettings, 2_097_152)]
)
def test_each_service_reads_messages_of_its_size(settings: Any, limit: int) -> None:
    assert settings.load({}).max_request_bytes == limit


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (
            {"REGISTRY_CONTROL_LISTEN": "127.0.0.1:1", "REGISTRY_CONTROL_TLS_KEY_FILE": __file__},
            "REGISTRY_CONTROL_TLS_CERTIFICATE_FILE and REGISTRY_CONTROL_TLS_KEY_FILE go together",
        ),
        (
            {
                "REGISTRY_CONTROL_LISTEN": "127.0.0.1:1",
                "REGISTRY_CONTROL_TLS_CLIENT_CA_FILE": __file__,
            },
            "REGISTRY_CONTROL_TLS_CLIENT_CA_FILE needs REGISTRY_CONTROL_TLS_CERTIFICATE_FILE",
        ),
        (
            {
                "REGISTRY_CONTROL_TLS_CERTIFICATE_FILE": __file__,
                "REGISTRY_CONTROL_TLS_KEY_FILE": __file__,
            },
            (
                "REGISTRY_CONTROL_TLS_CERTIFICATE_FILE, REGISTRY_CONTROL_TLS_KEY_FILE and"
                " REGISTRY_CONTROL_TLS_CLIENT_CA_FILE have no effect without"
                " REGISTRY_CONTROL_LISTEN: set that, or remove them"
            ),
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(told: dict[str, str], said: str) -> None:
    with pytest.raises(BadSettings) as refused:
        RegistrySettings.load(told)
    assert refused.value.problems == (said,)


def test_a_share_and_an_allowance_are_settings(registry_database: str, tmp_path: Path) -> None:
    environment = {
        "REGISTRY_MAX_STREAMS_PER_CALLER": "1",
        "REGISTRY_UNKNOWN_CREDENTIALS_BURST": "2",
        "REGISTRY_UNKNOWN_CREDENTIALS_PER_SECOND": "1",
    }
    with serving(registry_database, tmp_path, environment=environment) as running:
        watch = tokens.WatchRevocationsRequest()
        held = running.tokens.WatchRevocations(watch, metadata=VERIFIER, timeout=SECONDS)
        next(held)
        refused = failed(
            lambda: next(running.tokens.WatchRevocations(watch, metadata=VERIFIER, timeout=SECONDS))
        )
        assert refused.reason == "RATE_LIMITED"
        assert refused.info["of"] == "caller"
        held.cancel()
        workspace = Workspace(running)
        reasons = {failed(lambda: workspace.update_card("awi_nobodys")).reason for _ in range(20)}
        assert "RATE_LIMITED" in reasons


def test_a_box_whose_token_died_is_no_stranger_and_a_ticket_opens_among_strangers(
    registry_database: str, tmp_path: Path
) -> None:
    environment = {
        "REGISTRY_UNKNOWN_CREDENTIALS_BURST": "1",
        "REGISTRY_UNKNOWN_CREDENTIALS_PER_SECOND": "1",
    }
    with serving(registry_database, tmp_path, environment=environment) as running:
        workspace = Workspace(running)
        workspace.admit()
        first = workspace.launch().bootstrap_ticket
        token = workspace.register(ticket=first).auth_token
        second = workspace.launch().bootstrap_ticket
        stranger = {failed(lambda: workspace.update_card("awi_nobodys")).reason for _ in range(9)}
        assert "RATE_LIMITED" in stranger
        for _ in range(9):
            assert failed(lambda: workspace.update_card(token)).reason == "BEARER_REJECTED"
        # After a restore a box may hold a bearer that nobody knows, and a ticket that is known.
        assert workspace.register("awi_nobodys", ticket=second).auth_token
