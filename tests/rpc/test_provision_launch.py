"""ProvisionWorkspace over the wire, the box that follows from it, and what boxes may ask."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Any

import grpc
import pytest

from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import derive_instance_token, sha256_hex
from agentworkspace.provision.v1 import (
    audit_service_pb2,
    catalogue_service_pb2,
    provision_pb2,
    secret_service_pb2,
    workspace_pb2,
)
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.registry.v1 import registration_service_pb2 as boxes_pb
from agentworkspace.registry.v1 import token_pb2, token_service_pb2
from agentworkspace.rpc.errors import RpcFailure, failure_from
from tests.rpc.provision_server import ADMIN, LAUNCHER, USAGE_TOKEN
from tests.rpc.registry_server import ADMIN as REGISTRY_ADMIN
from tests.rpc.registry_server import bearer
from tests.rpc.vendor_server import until
from tests.services import Pair

OAUTH = {"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat-launch-0123456789"}
REASONS = ("CREATE", "RESTART", "RESUME", "RECREATE")


def created(pair: Pair, secrets: dict[str, str] | None = None, **spec: Any) -> str:
    spec = {"name": "agent", "model": "opus", **spec}
    answer = pair.provision.workspaces.CreateWorkspace(
        pb.CreateWorkspaceRequest(
            tenant_id="acme",
            workspace=workspace_pb2.Workspace(**spec),
            secrets=OAUTH if secrets is None else secrets,
        ),
        metadata=LAUNCHER,
    )
    return str(answer.workspace.id)


def provision(pair: Pair, workspace_id: str, reason: str = "CREATE", **more: Any) -> Any:
    return pair.provision.workspaces.ProvisionWorkspace(
        pb.ProvisionWorkspaceRequest(
            workspace_id=workspace_id,
            reason=provision_pb2.ProvisionReason.Value(f"PROVISION_REASON_{reason}"),
            **more,
        ),
        metadata=ADMIN if reason == "RESUME" else LAUNCHER,
    )


def completed(pair: Pair, provision_id: str) -> Any:
    return pair.provision.workspaces.CompleteProvision(
        pb.CompleteProvisionRequest(
            provision_id=provision_id, outcome=provision_pb2.PROVISION_OUTCOME_SUCCEEDED
        ),
        metadata=LAUNCHER,
    )


def token_of(env: dict[str, str]) -> Secret:
    """What the box makes of its environment; it asks nobody."""
    return derive_instance_token(
        Secret(env["WORKSPACE_BOOTSTRAP_TICKET"]),
        env["WORKSPACE_ID"],
        int(env["WORKSPACE_INCARNATION"]),
    )


def registered(pair: Pair, env: dict[str, str]) -> str:
    """The box of this environment registers; returns its token."""
    token = token_of(env)
    answer = pair.registry.boxes.Register(
        boxes_pb.RegisterRequest(
            workspace_id=env["WORKSPACE_ID"],
            bootstrap_ticket=env["WORKSPACE_BOOTSTRAP_TICKET"],
            token_sha256=sha256_hex(token),
            request_id=str(uuid.uuid4()),
        )
    )
    assert answer.outcome == boxes_pb.REGISTER_OUTCOME_BOOTSTRAPPED
    return token.reveal()


def failure_of(work: Any, *args: Any, **kwargs: Any) -> RpcFailure:
    with pytest.raises(grpc.RpcError) as refused:
        work(*args, **kwargs)
    return failure_from(refused.value)


def status(pair: Pair, workspace_id: str) -> str:
    answer = pair.provision.workspaces.GetWorkspace(
        pb.GetWorkspaceRequest(workspace_id=workspace_id), metadata=LAUNCHER
    )
    name = workspace_pb2.WorkspaceStatus.Name(answer.workspace.status)
    return name.removeprefix("WORKSPACE_STATUS_")


def state(pair: Pair, provision_id: str) -> str:
    answer = pair.provision.workspaces.GetProvision(
        pb.GetProvisionRequest(provision_id=provision_id), metadata=LAUNCHER
    )
    name = provision_pb2.ProvisionState.Name(answer.provision.state)
    return name.removeprefix("PROVISION_STATE_")


def test_whatever_the_reason_the_environment_carries_the_ticket_of_a_new_incarnation(
    pair: Pair,
) -> None:
    workspace_id = created(pair)
    for number, reason in enumerate(REASONS, start=1):
        answer = provision(pair, workspace_id, reason)
        env = dict(answer.env)
        assert answer.provision.incarnation == number
        assert env["WORKSPACE_ID"] == workspace_id
        assert env["WORKSPACE_INCARNATION"] == str(number)
        assert env["WORKSPACE_REGISTRY_ADDRESS"] == pair.registry.address
        assert env["WORKSPACE_BOOTSTRAP_TICKET"].startswith("awt_")
        registered(pair, env)
        completed(pair, answer.provision.id)


def test_a_suspension_is_lifted_by_an_admins_resume_and_by_nothing_else(pair: Pair) -> None:
    workspace_id = created(pair)
    launched = provision(pair, workspace_id, "CREATE")
    env = dict(launched.env)
    completed(pair, launched.provision.id)
    pair.registry.tokens.RevokeWorkspaceTokens(
        token_service_pb2.RevokeWorkspaceTokensRequest(
            workspace_id=workspace_id, reason=token_pb2.REVOKE_REASON_SUSPENDED
        ),
        metadata=REGISTRY_ADMIN,
    )
    assert failure_of(registered, pair, env).reason == "ERROR_REASON_WORKSPACE_SUSPENDED"
    until(lambda: status(pair, workspace_id) == "SUSPENDED", 20)
    for reason in ("RESTART", "AUTO_RESTART", "RECREATE"):
        refused = failure_of(provision, pair, workspace_id, reason)
        assert refused.reason == "ERROR_REASON_WORKSPACE_SUSPENDED"
    resumed = provision(pair, workspace_id, "RESUME")
    assert not resumed.joined
    registered(pair, dict(resumed.env))
    until(lambda: status(pair, workspace_id) == "RUNNING", 20)


def test_an_auto_restart_of_a_healthy_box_evicts_nobody(pair: Pair) -> None:
    workspace_id = created(pair)
    launched = provision(pair, workspace_id, "CREATE")
    token = registered(pair, dict(launched.env))
    completed(pair, launched.provision.id)
    answer = provision(pair, workspace_id, "AUTO_RESTART")
    assert (answer.skipped, dict(answer.env)) == (True, {})
    beat = pair.registry.boxes.Heartbeat(
        boxes_pb.HeartbeatRequest(workspace_id=workspace_id), metadata=bearer(token)
    )
    assert beat.next_action == boxes_pb.NEXT_ACTION_NONE
    assert beat.incarnation == 1


def test_a_delivered_environment_is_no_running_box(pair: Pair) -> None:
    workspace_id = created(pair)
    answer = provision(pair, workspace_id)
    assert state(pair, answer.provision.id) == "ENV_DELIVERED"
    assert status(pair, workspace_id) == "PROVISIONING"
    completed(pair, answer.provision.id)
    assert state(pair, answer.provision.id) == "LAUNCHED"
    assert status(pair, workspace_id) == "PROVISIONING"

    token = registered(pair, dict(answer.env))
    assert state(pair, answer.provision.id) == "REGISTERED"
    assert status(pair, workspace_id) == "RUNNING"
    pair.registry.boxes.Heartbeat(
        boxes_pb.HeartbeatRequest(workspace_id=workspace_id), metadata=bearer(token)
    )
    assert state(pair, answer.provision.id) == "PROVEN"


def test_a_second_caller_joins_and_is_given_nothing(pair: Pair) -> None:
    workspace_id = created(pair)
    first = provision(pair, workspace_id)
    second = provision(pair, workspace_id, "AUTO_RESTART")
    assert second.joined
    assert dict(second.env) == {}
    assert second.provision.id == first.provision.id


def test_the_same_request_goes_on_with_a_fresh_ticket(pair: Pair) -> None:
    workspace_id, request_id = created(pair), str(uuid.uuid4())
    first = provision(pair, workspace_id, request_id=request_id)
    again = provision(pair, workspace_id, request_id=request_id)
    assert not again.joined
    assert again.provision.id == first.provision.id
    assert again.env["WORKSPACE_INCARNATION"] == first.env["WORKSPACE_INCARNATION"]
    registered(pair, dict(again.env))


def test_validate_only_claims_nothing_and_hands_out_nothing(pair: Pair) -> None:
    workspace_id = created(pair)
    answer = provision(pair, workspace_id, validate_only=True)
    assert dict(answer.env) == {}
    assert answer.provision.billing.resolved_mode == "byok"
    assert not provision(pair, workspace_id).joined


def test_a_runtime_that_is_not_launched_here_is_skipped(pair: Pair) -> None:
    workspace_id = created(pair, {}, runtime="external", model="")
    answer = provision(pair, workspace_id)
    assert answer.skipped
    assert dict(answer.env) == {}


def test_what_was_handed_out_is_in_the_history_by_name_and_fingerprint_only(pair: Pair) -> None:
    workspace_id = created(pair)
    answer = provision(pair, workspace_id)
    history = pair.provision.workspaces.ListProvisions(
        pb.ListProvisionsRequest(workspace_id=workspace_id), metadata=LAUNCHER
    )
    (launch,) = history.provisions
    manifest = {entry.name: entry for entry in launch.manifest}
    assert set(manifest) == set(answer.env)
    assert manifest["CLAUDE_CODE_OAUTH_TOKEN"].origin == "workspace_secret"
    assert all(entry.fingerprint for entry in launch.manifest)
    shown = str(history)
    for name in ("CLAUDE_CODE_OAUTH_TOKEN", "WORKSPACE_BOOTSTRAP_TICKET"):
        assert answer.env[name] not in shown


def test_a_write_between_delivery_and_completion_asks_for_a_rerun(pair: Pair) -> None:
    workspace_id = created(pair)
    answer = provision(pair, workspace_id)
    pair.provision.secrets.SetWorkspaceSecret(
        secret_service_pb2.SetWorkspaceSecretRequest(
            workspace_id=workspace_id, key="EXTRA", value="extra-value"
        ),
        metadata=LAUNCHER,
    )
    assert completed(pair, answer.provision.id).rerun_required


def test_a_removed_workspace_wins_over_its_launch(pair: Pair) -> None:
    workspace_id = created(pair)
    answer = provision(pair, workspace_id)
    pair.provision.workspaces.RemoveWorkspace(
        pb.RemoveWorkspaceRequest(workspace_id=workspace_id), metadata=LAUNCHER
    )
    failure = failure_of(completed, pair, answer.provision.id)
    assert failure.reason == "ERROR_REASON_PROVISION_SUPERSEDED"
    failure = failure_of(provision, pair, workspace_id, "RESTART")
    assert (failure.reason, failure.recovery) == ("ERROR_REASON_WORKSPACE_REMOVED", "STOP")
    failure = failure_of(registered, pair, dict(answer.env))
    assert (failure.reason, failure.recovery) == ("ERROR_REASON_WORKSPACE_REMOVED", "STOP")


def values_for(pair: Pair, workspace_id: str, token: str) -> dict[str, str]:
    answer = pair.provision.secrets.GetSecretValues(
        secret_service_pb2.GetSecretValuesRequest(workspace_id=workspace_id),
        metadata=bearer(token),
    )
    return dict(answer.values)


def test_a_box_reads_the_values_of_its_own_workspace(pair: Pair) -> None:
    workspace_id = created(pair)
    token = registered(pair, dict(provision(pair, workspace_id).env))
    values = values_for(pair, workspace_id, token)
    assert values["CLAUDE_CODE_OAUTH_TOKEN"] == OAUTH["CLAUDE_CODE_OAUTH_TOKEN"]
    assert "WORKSPACE_BOOTSTRAP_TICKET" not in values
    assert USAGE_TOKEN not in values.values()


def test_a_box_that_reads_values_is_in_the_audit_log_without_them(pair: Pair) -> None:
    workspace_id = created(pair)
    token = registered(pair, dict(provision(pair, workspace_id).env))
    values_for(pair, workspace_id, token)
    with suppress(grpc.RpcError):
        values_for(pair, workspace_id, "awi_junk")
    events = pair.provision.audit.ListAuditEvents(
        audit_service_pb2.ListAuditEventsRequest(workspace_id=workspace_id, action="secret.read"),
        metadata=ADMIN,
    ).events
    assert [(event.actor, event.method) for event in events] == [
        (
            f"workspace:{workspace_id}",
            "/agentworkspace.provision.v1.SecretService/GetSecretValues",
        )
    ]
    assert dict(events[0].details) == {"incarnation": "1", "names": "CLAUDE_CODE_OAUTH_TOKEN"}
    assert OAUTH["CLAUDE_CODE_OAUTH_TOKEN"] not in str(events)


def test_nobody_else_reads_them(pair: Pair) -> None:
    workspace_id, other_id = created(pair), created(pair)
    launch = provision(pair, workspace_id)
    token = registered(pair, dict(launch.env))
    stranger = registered(pair, dict(provision(pair, other_id).env))
    for presented in (stranger, "awi_junk", launch.env["WORKSPACE_BOOTSTRAP_TICKET"]):
        failure = failure_of(values_for, pair, workspace_id, presented)
        assert failure.code is grpc.StatusCode.UNAUTHENTICATED
        assert failure.reason == "ERROR_REASON_BEARER_REJECTED"

    completed(pair, launch.provision.id)
    newer = provision(pair, workspace_id, "RESTART")
    failure = failure_of(values_for, pair, workspace_id, token)
    assert failure.reason == "ERROR_REASON_BEARER_REJECTED"
    assert values_for(pair, workspace_id, registered(pair, dict(newer.env)))


def test_a_box_reads_the_catalogue(pair: Pair) -> None:
    token = registered(pair, dict(provision(pair, created(pair)).env))
    derived = pair.provision.catalogue.DeriveProvider(
        catalogue_service_pb2.DeriveProviderRequest(runtime="claude-code", model="opus"),
        metadata=bearer(token),
    )
    assert derived.provider == "anthropic-oauth"
    models = pair.provision.catalogue.ListModels(
        catalogue_service_pb2.ListModelsRequest(runtime="claude-code", page_size=2),
        metadata=bearer(token),
    )
    assert len(models.models) == 2
    following = pair.provision.catalogue.ListModels(
        catalogue_service_pb2.ListModelsRequest(
            runtime="claude-code", page_size=2, page_token=models.next_page_token
        ),
        metadata=bearer(token),
    )
    assert not {each.id for each in models.models} & {each.id for each in following.models}


def test_launches_and_payers_are_counted_without_naming_anybody(pair: Pair) -> None:
    metric = pair.provision.metric
    before = metric("provision_launches_total", reason="RECREATE", outcome="delivered")
    workspace_id = created(pair)
    provision(pair, workspace_id, "RECREATE")
    provision(pair, workspace_id, "RECREATE")
    delivered = metric("provision_launches_total", reason="RECREATE", outcome="delivered")
    assert delivered == before + 1
    assert metric("provision_launches_total", reason="RECREATE", outcome="joined") >= 1
    assert metric("provision_resolved_modes_total", mode="byok", source="derived_provider") >= 2
    failure_of(provision, pair, str(uuid.uuid4()))
    assert metric("provision_refusals_total", reason="WORKSPACE_UNKNOWN") >= 1
    label_names = {
        name
        for family in pair.provision.collectors.collect()
        for sample in family.samples
        for name in sample.labels
    }
    allowed = {
        "method",
        # A class of callers, never a name.
        "caller",
        "service",
        "version",
        "python",
        "code",
        "reason",
        "outcome",
        "mode",
        "source",
        "task",
        "file",
        "pool",
        "queue",
        "state",
        "kind",
        "le",
    }
    assert label_names <= allowed
