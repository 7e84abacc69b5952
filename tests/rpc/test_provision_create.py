"""CreateWorkspace over the wire, with a registry, and without one until it is back."""

from __future__ import annotations

import hashlib
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import TokenKind, is_well_formed, new_token, sha256_hex
from agentworkspace.provision.v1 import (
    audit_service_pb2,
    catalogue_service_pb2,
    error_reason_pb2,
    workspace_pb2,
)
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.registry.v1 import registration_service_pb2, token_service_pb2
from agentworkspace.rpc.errors import failure_from
from agentworkspace.service.name_resolution import THREADS
from tests.rpc import provision_server, registry_server
from tests.rpc.name_servers import name_server
from tests.rpc.provision_server import ADMIN, LAUNCHER
from tests.rpc.registry_server import bearer
from tests.rpc.vendor_server import until
from tests.services import Pair, free_address

# More than either the calls or the name servers have threads.
CREATES = 24
OAUTH = {"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat-create-0123456789"}


def create(running: provision_server.Running, **changes: Any) -> Any:
    spec = {"name": "agent", "model": "opus", **changes.pop("workspace", {})}
    request = {"tenant_id": "acme", "secrets": OAUTH, **changes}
    return running.workspaces.CreateWorkspace(
        pb.CreateWorkspaceRequest(workspace=workspace_pb2.Workspace(**spec), **request),
        metadata=LAUNCHER,
    )


def refusal(running: provision_server.Running, **changes: Any) -> Any:
    with pytest.raises(grpc.RpcError) as refused:
        create(running, **changes)
    return failure_from(refused.value)


def principal(registry: registry_server.Running, token: str, workspace_id: str) -> Any:
    return registry.tokens.ValidateToken(
        token_service_pb2.ValidateTokenRequest(token=token, workspace_id=workspace_id),
        metadata=registry_server.VERIFIER,
    ).principal


def count(running: provision_server.Running) -> int:
    page = running.workspaces.ListWorkspaces(
        pb.ListWorkspacesRequest(page_size=200, show_removed=True), metadata=LAUNCHER
    )
    return len(page.workspaces)


def test_the_answer_carries_the_first_token_and_the_registry_knows_it(pair: Pair) -> None:
    created = create(pair.provision)
    assert len(created.auth_token) >= 40
    assert is_well_formed(Secret(created.auth_token))
    assert created.auth_token.startswith("awa_")
    assert created.auth_token_error == ""
    assert created.workspace.admitted
    found = principal(pair.registry, created.auth_token, created.workspace.id)
    assert (found.workspace_id, found.tenant_id) == (created.workspace.id, "acme")


def test_the_spec_comes_back_with_its_defaults(pair: Pair) -> None:
    workspace = create(pair.provision, workspace={"compute": {"cpus": 2}}).workspace
    assert (workspace.runtime, workspace.tier, workspace.workspace_access) == (
        "claude-code",
        3,
        "none",
    )
    assert (workspace.delivery_mode, workspace.max_concurrent_tasks) == ("push", 1)
    assert workspace.compute["cpus"] == 2
    assert workspace.status == workspace_pb2.WORKSPACE_STATUS_PENDING
    assert workspace.etag
    assert workspace.HasField("create_time")
    assert not workspace.HasField("billing_mode_override")


def test_the_answer_says_who_pays_and_why(pair: Pair) -> None:
    billing = create(pair.provision).billing
    assert billing.resolved_mode == "byok"
    assert billing.source == "derived_provider"
    assert billing.provider_selection == "anthropic-oauth"
    assert billing.effective_model_source == "spec"
    assert billing.refusal == error_reason_pb2.ERROR_REASON_UNSPECIFIED
    assert [step for step in billing.steps if step.fired]
    assert OAUTH["CLAUDE_CODE_OAUTH_TOKEN"] not in str(billing)


def test_a_replay_is_the_same_workspace_with_a_token_that_works(pair: Pair) -> None:
    request_id = str(uuid.uuid4())
    first = create(pair.provision, request_id=request_id)
    second = create(pair.provision, request_id=request_id)
    assert second.workspace.id == first.workspace.id
    assert principal(pair.registry, second.auth_token, first.workspace.id).workspace_id
    third = create(pair.provision, request_id=request_id)
    assert third.auth_token == ""
    assert third.auth_token_error.startswith("ALREADY_DELIVERED")


def test_a_request_id_is_good_for_one_request(pair: Pair) -> None:
    request_id = str(uuid.uuid4())
    create(pair.provision, request_id=request_id)
    failure = refusal(pair.provision, request_id=request_id, workspace={"name": "other"})
    assert failure.reason == "ERROR_REASON_REQUEST_ID_REUSED"


def test_a_token_that_the_caller_made_is_not_sent_back_and_works(pair: Pair) -> None:
    token = new_token(TokenKind.API)
    created = create(pair.provision, auth_token_sha256=sha256_hex(token))
    assert created.auth_token == ""
    assert created.auth_token_error == ""
    assert principal(pair.registry, token.reveal(), created.workspace.id).workspace_id


def test_a_hash_that_was_used_before_creates_the_workspace_and_says_so(pair: Pair) -> None:
    digest = sha256_hex(new_token(TokenKind.API))
    create(pair.provision, auth_token_sha256=digest)
    second = create(pair.provision, auth_token_sha256=digest)
    assert second.workspace.id
    assert second.auth_token_error.startswith("TOKEN_HASH_IN_USE")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"secrets": {}}, "MISSING_BYOK_CREDENTIAL"),
        ({"workspace": {"model": ""}}, "MODEL_REQUIRED"),
        ({"workspace": {"model": "no-such-model"}}, "MODEL_UNREGISTERED"),
        ({"workspace": {"runtime": "no-such-runtime"}}, "RUNTIME_UNKNOWN"),
        ({"secrets": {**OAUTH, "ADMIN_TOKEN": "x"}}, "FORBIDDEN_ENV_KEY"),
        ({"workspace": {"required_env": ["GITEA_TOKEN"]}}, "MISSING_REQUIRED_ENV"),
        ({"workspace": {"template": "no-such-template"}}, "TEMPLATE_UNKNOWN"),
        ({"workspace": {"url": "http://169.254.169.254/"}}, "URL_FORBIDDEN"),
        ({"workspace": {"parent_id": str(uuid.uuid4())}}, "PARENT_INVALID"),
    ],
)
def test_a_refused_create_leaves_no_row(pair: Pair, changes: dict[str, Any], reason: str) -> None:
    before = count(pair.provision)
    failure = refusal(pair.provision, **changes)
    assert failure.reason == f"ERROR_REASON_{reason}"
    assert count(pair.provision) == before


def test_a_name_that_does_not_resolve_is_refused_for_now(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    with name_server(monkeypatch):
        failure = refusal(pair.provision, workspace={"url": "https://nobody.test/"})
    assert failure.reason == "ERROR_REASON_URL_FORBIDDEN"
    assert failure.recovery == "RETRY"
    assert failure.metadata["why"] == "unresolved"


def test_creates_whose_names_never_resolve_hold_nobody_up(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(number: int) -> Any:
        return refusal(pair.provision, workspace={"url": f"https://n{number}.never.test/"})

    with name_server(monkeypatch) as names, ThreadPoolExecutor(CREATES) as threads:
        hanging = [threads.submit(hang, number) for number in range(CREATES)]
        until(lambda: len(names.asked) >= THREADS)
        count(pair.provision)
        assert not any(each.done() for each in hanging)
        reasons = {each.result().reason for each in hanging}
    assert reasons == {"ERROR_REASON_URL_FORBIDDEN"}


def test_every_violation_of_the_shape_is_listed(pair: Pair) -> None:
    failure = refusal(
        pair.provision,
        request_id="1",
        tenant_id="a b",
        auth_token_sha256="ABC",
        secrets={"1BAD": "x", "GOOD": ""},
        workspace={
            "name": " ",
            "tier": 9,
            "url": "gopher://x",
            "delivery_mode": "pull",
            "workspace_access": "root",
            "max_concurrent_tasks": -1,
            "budget_limit_micros": -1,
            "required_env": ["A B"],
            "billing_mode_override": "free",
        },
    )
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert {violation.field for violation in failure.violations} == {
        "request_id",
        "tenant_id",
        "auth_token_sha256",
        "secrets[1BAD].key",
        "secrets[GOOD].value",
        "workspace.name",
        "workspace.tier",
        "workspace.url",
        "workspace.delivery_mode",
        "workspace.workspace_access",
        "workspace.max_concurrent_tasks",
        "workspace.budget_limit_micros",
        "workspace.required_env[0]",
        "workspace.billing_mode_override",
    }


def test_validate_only_decides_and_stores_nothing(pair: Pair) -> None:
    before = count(pair.provision)
    answer = create(pair.provision, validate_only=True)
    assert answer.billing.resolved_mode == "byok"
    assert answer.auth_token == ""
    assert count(pair.provision) == before


def test_the_create_is_in_the_audit_with_its_caller_and_without_its_secrets(pair: Pair) -> None:
    created = create(pair.provision)
    events = pair.provision.audit.ListAuditEvents(
        audit_service_pb2.ListAuditEventsRequest(workspace_id=created.workspace.id), metadata=ADMIN
    ).events
    (event,) = [event for event in events if event.action == "workspace.create"]
    assert event.actor == "control-plane"
    assert event.method == "/agentworkspace.provision.v1.WorkspaceService/CreateWorkspace"
    assert event.correlation_id
    assert OAUTH["CLAUDE_CODE_OAUTH_TOKEN"] not in str(events)


def test_with_the_registry_down_it_still_creates_and_catches_up_by_itself(
    registry_database: str, provision_database: str, tmp_path: Path
) -> None:
    address = free_address()
    caller_made = new_token(TokenKind.API)
    homes = (tmp_path / "registry", tmp_path / "provision")
    for home in homes:
        home.mkdir()
    with provision_server.serving(provision_database, homes[1], address) as provision:
        created = create(provision)
        assert created.workspace.id
        assert created.auth_token == ""
        assert created.auth_token_error.startswith("REGISTRY_UNAVAILABLE: ")
        assert not created.workspace.admitted
        hashed = create(provision, auth_token_sha256=sha256_hex(caller_made))
        assert hashed.auth_token_error.startswith("REGISTRY_UNAVAILABLE: ")

        with registry_server.serving(
            registry_database, homes[0], environment={"REGISTRY_LISTEN": address}
        ) as registry:
            until(lambda: _admitted(provision, created) and _admitted(provision, hashed), 20)
            with pytest.raises(grpc.RpcError) as refused:
                registry.boxes.Register(
                    registration_service_pb2.RegisterRequest(
                        workspace_id=created.workspace.id,
                        token_sha256=hashlib.sha256(b"made by the box").hexdigest(),
                        request_id=str(uuid.uuid4()),
                    )
                )
            # Known there, and closed to whoever knows the id, before it was ever launched.
            assert failure_from(refused.value).reason == "ERROR_REASON_TICKET_REQUIRED"
            found = principal(registry, caller_made.reveal(), hashed.workspace.id)
            assert found.workspace_id == hashed.workspace.id


def _admitted(provision: provision_server.Running, created: Any) -> bool:
    stored = provision.workspaces.GetWorkspace(
        pb.GetWorkspaceRequest(workspace_id=created.workspace.id), metadata=LAUNCHER
    )
    return bool(stored.workspace.admitted)


def test_a_bearer_of_the_first_token_reads_the_catalogue(pair: Pair) -> None:
    created = create(pair.provision)
    answer = pair.provision.catalogue.ListRuntimes(
        catalogue_service_pb2.ListRuntimesRequest(), metadata=bearer(created.auth_token)
    )
    assert "claude-code" in {runtime.name for runtime in answer.runtimes}
