"""What the comments of request fields say of their ranges, with values inside and outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message

from agentworkspace.core.caller import Caller
from agentworkspace.provision.v1 import audit_service_pb2 as provision_audit
from agentworkspace.provision.v1 import billing_service_pb2 as billings
from agentworkspace.provision.v1 import catalogue_service_pb2 as catalogues
from agentworkspace.provision.v1 import secret_service_pb2 as secrets
from agentworkspace.provision.v1 import workspace_service_pb2 as workspaces
from agentworkspace.registry.v1 import audit_service_pb2 as registry_audit
from agentworkspace.registry.v1 import registration_service_pb2 as boxes
from agentworkspace.registry.v1 import token_service_pb2 as tokens
from agentworkspace.registry.v1 import workspace_registry_service_pb2 as registrations
from agentworkspace.rpc import calls
from agentworkspace.service.audit import listing
from provision_service.api.parse import billing as parse_billing
from provision_service.api.parse import catalogue as parse_catalogue
from provision_service.api.parse import provisions as parse_provisions
from provision_service.api.parse import secrets as parse_secrets
from provision_service.api.parse import workspaces as parse_workspaces
from provision_service.api.parse.fields import Fields as ProvisionFields
from provision_service.commands.call import Call
from registry_service.api.parse import registration as parse_boxes
from registry_service.api.parse import tokens as parse_tokens
from registry_service.api.parse import workspaces as parse_registrations
from registry_service.api.parse.fields import Fields as RegistryFields
from registry_service.domain.standing import BootstrapPolicy

ID: Final = "0b6ae4a6-6c0b-4ee7-9d0a-1f6b8f2f5a11"
DIGEST: Final = "0" * 64
LAUNCHER: Final = Caller("control-plane", frozenset({"admin"}), None)
WIRE: Final = calls.Call("/test/Method", "test-1", caller=LAUNCHER)
CALL: Final = Call(caller=LAUNCHER, correlation_id="test-1")
KIB: Final = 1024
ADMISSION: Final = {"workspace_id": ID, "tenant_id": "acme"}
LAUNCH: Final = {"workspace_id": ID}


def text(least: int, most: int) -> tuple[list[Any], list[Any]]:
    """Texts of these lengths are good, one more or one less is not."""
    good = ["x" * most, *(["x" * least] if least else [])]
    return good, ["x" * (most + 1), *([""] if least else [])]


def numbers(least: int, most: int) -> tuple[list[Any], list[Any]]:
    return [least, most], [least - 1, most + 1]


def document(size: int) -> dict[str, str]:
    """One whose JSON has exactly this many bytes."""
    return {"a": "x" * (size - len('{"a": ""}'))}


@dataclass(frozen=True)
class Asked:
    """A request that is good as it is, and who reads it."""

    message: type[Message]
    good: dict[str, Any]
    read: Callable[[Any], object]


@dataclass(frozen=True)
class Range:
    """What the comment of `field` says, and values inside and outside of it."""

    request: str
    field: str
    said: str
    inside: list[Any]
    outside: list[Any]


REQUESTS: Final = {
    each.message.DESCRIPTOR.name + suffix: each
    for suffix, each in (
        ("", Asked(tokens.MintTokenRequest, {"workspace_id": ID, "kind": "TOKEN_KIND_API"},
                   lambda r: parse_tokens.mint_token(r, WIRE))),
        ("", Asked(tokens.RotateTokenRequest, {"workspace_id": ID, "token_id": ID},
                   lambda r: parse_tokens.rotate_token(r, WIRE))),
        ("", Asked(tokens.ListTokensRequest, {"workspace_id": ID},
                   lambda r: parse_tokens.list_tokens(r, WIRE))),
        ("", Asked(tokens.RevokeTokenRequest,
                   {"workspace_id": ID, "token_id": ID, "reason": "REVOKE_REASON_OPERATOR"},
                   lambda r: parse_tokens.revoke_token(r, WIRE))),
        ("", Asked(tokens.RevokeWorkspaceTokensRequest,
                   {"workspace_id": ID, "reason": "REVOKE_REASON_OPERATOR"},
                   lambda r: parse_tokens.revoke_workspace_tokens(r, WIRE))),
        ("", Asked(tokens.ValidateTokenRequest, {"any_workspace": True},
                   lambda r: parse_tokens.validate_token(r, WIRE))),
        ("", Asked(tokens.BatchValidateTokensRequest, {},
                   lambda r: parse_tokens.batch_validate_tokens(r, WIRE))),
        ("", Asked(boxes.RegisterRequest, {"workspace_id": ID},
                   lambda r: parse_boxes.register(r, WIRE, policy=BootstrapPolicy.ADAPTIVE))),
        ("", Asked(boxes.HeartbeatRequest, {"workspace_id": ID},
                   lambda r: parse_boxes.heartbeat(r, WIRE, policy=BootstrapPolicy.ADAPTIVE))),
        ("", Asked(boxes.UpdateCardRequest, {"workspace_id": ID},
                   lambda r: parse_boxes.update_card(r, WIRE))),
        ("", Asked(registrations.AdmitWorkspaceRequest, ADMISSION,
                   lambda r: parse_registrations.admit_workspace(
                       r, WIRE))),
        ("", Asked(registrations.BeginIncarnationRequest, LAUNCH,
                   lambda r: parse_registrations.begin_incarnation(
                       r, WIRE, new_id=lambda: ID))),
        ("", Asked(registrations.BatchAdmitWorkspacesRequest, {},
                   lambda r: parse_registrations.batch_admit_workspaces(r, WIRE))),
        ("", Asked(registrations.BatchBeginIncarnationsRequest, {},
                   lambda r: parse_registrations.batch_begin_incarnations(
                       r, WIRE, new_id=lambda: ID))),
        ("", Asked(registrations.ListRegistrationsRequest, {},
                   lambda r: parse_registrations.list_registrations(
                       r, WIRE))),
        ("@registry", Asked(registry_audit.ListAuditEventsRequest, {},
                            lambda r: listing.parse(r, RegistryFields(), LAUNCHER))),
        ("@provision", Asked(provision_audit.ListAuditEventsRequest, {},
                             lambda r: listing.parse(r, ProvisionFields(), LAUNCHER))),
        ("", Asked(billings.PreviewBillingModeRequest, {},
                   lambda r: parse_billing.preview_billing_mode(r, CALL))),
        ("", Asked(billings.SetTenantBillingRequest, {"tenant_id": "acme"},
                   lambda r: parse_billing.set_tenant_billing(r, CALL))),
        ("", Asked(catalogues.ListModelsRequest, {"runtime": "codex"},
                   parse_catalogue.list_models)),
        ("", Asked(catalogues.DeriveProviderRequest, {}, parse_catalogue.derive_provider)),
        ("", Asked(workspaces.CreateWorkspaceRequest,
                   {"tenant_id": "acme", "workspace": {"name": "agent"}},
                   lambda r: parse_workspaces.create_workspace(
                       r, CALL, new_id=ID, new_request_id=ID))),
        ("", Asked(workspaces.UpdateWorkspaceRequest,
                   {"workspace_id": ID, "update_mask": "tier"},
                   lambda r: parse_workspaces.update_workspace(r, CALL, new_request_id=ID))),
        ("", Asked(workspaces.CompleteProvisionRequest,
                   {"provision_id": ID, "outcome": "PROVISION_OUTCOME_FAILED"},
                   lambda r: parse_provisions.complete_provision(r, CALL))),
        ("", Asked(secrets.DeleteGlobalSecretRequest, {"tenant_id": "acme", "key": "A"},
                   lambda r: parse_secrets.delete_global_secret(r, CALL))),
        ("", Asked(secrets.SetGlobalSecretRequest,
                   {"tenant_id": "acme", "key": "A", "value": "v"},
                   lambda r: parse_secrets.set_global_secret(r, CALL))),
        ("", Asked(secrets.SetWorkspaceSecretRequest,
                   {"workspace_id": ID, "key": "A", "value": "v"},
                   lambda r: parse_secrets.set_workspace_secret(r, CALL))),
        ("", Asked(secrets.AssignSecretProviderRequest, {"workspace_id": ID, "key": "A"},
                   lambda r: parse_secrets.assign_secret_provider(r, CALL))),
        ("", Asked(secrets.RegisterPlatformCredentialRequest, {"name": "key", "value": "v"},
                   lambda r: parse_secrets.register_platform_credential(r, CALL))),
        ("", Asked(secrets.UnregisterPlatformCredentialRequest, {"name": "key"},
                   lambda r: parse_secrets.unregister_platform_credential(r, CALL))),
    )
}  # fmt: skip

NAMES_256: Final = ([[f"A{n}" for n in range(256)]], [[f"A{n}" for n in range(257)], ["a-b"]])
SCOPES: Final = (
    [[f"s{n}" for n in range(32)], ["s" * 64]],
    [[f"s{n}" for n in range(33)], ["s" * 65], [""]],
)
URL: Final = (
    ["https://agent.example/" + "x" * (2048 - 22)],
    ["https://agent.example/" + "x" * (2049 - 22), "ftp://agent.example/"],
)
VALUE: Final = (["v", "v" * (64 * KIB)], ["", "v" * (64 * KIB + 1), "a\0b"])
TENANT: Final = (["t" * 128, "A.b_c-9"], ["t" * 129, "", "-a"])
KEY: Final = (["A", "_" + "b" * 127], ["", "9A", "A-B", "_" + "b" * 128])
TTL: Final = (["1s", f"{3653 * 86400}s"], ["0.5s", f"{3653 * 86400 + 1}s"])
NAMED: Final = "[A-Za-z_][A-Za-z0-9_]{0,127}"

RANGES: Final = [
    Range("MintTokenRequest", "label", "at most 200 characters", *text(0, 200)),
    Range("MintTokenRequest", "scopes", "at most 32 scopes of 1 to 64 characters", *SCOPES),
    Range("MintTokenRequest", "ttl", "1 s to 3653 days", *TTL),
    Range("MintTokenRequest", "token_sha256", "64 lower-case hex digits",
          [DIGEST], ["0" * 63, "A" * 64]),
    Range("RotateTokenRequest", "token_sha256", "64 lower-case hex digits", [DIGEST], ["0"]),
    Range("RotateTokenRequest", "overlap", "0 s to 7 days",
          ["0s", "604800s"], ["-1s", "604801s"]),
    Range("RevokeTokenRequest", "note", "at most 500 characters", *text(0, 500)),
    Range("RevokeWorkspaceTokensRequest", "note", "at most 500 characters", *text(0, 500)),
    Range("ValidateTokenRequest", "required_scopes", "at most 32 scopes of 1 to 64 characters",
          *SCOPES),
    Range("BatchValidateTokensRequest", "requests", "1 to 1000",
          [[{"any_workspace": True}], [{"any_workspace": True}] * 1000],
          [[], [{"any_workspace": True}] * 1001]),
    Range("RegisterRequest", "token_sha256", "64 lower-case hex digits", [DIGEST], ["0"]),
    Range("RegisterRequest", "url", "http or https, at most 2048 characters", *URL),
    Range("RegisterRequest", "agent_card", "at most 64 KiB",
          [{"a": "x" * 65000}], [{"a": "x" * (64 * KIB)}]),
    Range("RegisterRequest", "runtime", "at most 100 characters", *text(0, 100)),
    Range("RegisterRequest", "runtime_version", "at most 100 characters", *text(0, 100)),
    Range("HeartbeatRequest", "active_tasks", "not negative", [0, 2**31 - 1], [-1]),
    Range("HeartbeatRequest", "sample_error", "at most 1000 characters", *text(0, 1000)),
    Range("UpdateCardRequest", "agent_card", "at most 64 KiB",
          [{"a": "x" * 65000}], [{"a": "x" * (64 * KIB)}]),
    Range("UpdateCardRequest", "url", "http or https, at most 2048 characters", *URL),
    Range("AdmitWorkspaceRequest", "tenant_id", "1 to 128 of A-Z a-z 0-9 . _ -", *TENANT),
    Range("AdmitWorkspaceRequest", "first_token.label", "at most 200 characters", *text(0, 200)),
    Range("AdmitWorkspaceRequest", "first_token.scopes", "at most 32 scopes", *SCOPES),
    Range("AdmitWorkspaceRequest", "first_token.ttl", "1 s to 3653 days", *TTL),
    Range("AdmitWorkspaceRequest", "first_token.token_sha256", "64 lower-case hex digits",
          [DIGEST], ["0"]),
    Range("BeginIncarnationRequest", "ticket_ttl", "1 s to 24 hours",
          ["1s", "86400s"], ["0.5s", "86401s"]),
    Range("BeginIncarnationRequest", "ticket_sha256", "64 lower-case hex digits", [DIGEST], ["0"]),
    Range("BatchAdmitWorkspacesRequest", "requests", "1 to 100",
          [[ADMISSION], [ADMISSION] * 100], [[], [ADMISSION] * 101]),
    Range("BatchBeginIncarnationsRequest", "requests", "1 to 100",
          [[LAUNCH], [LAUNCH] * 100], [[], [LAUNCH] * 101]),
    Range("ListRegistrationsRequest", "page_size", "Not negative", [0, 200, 2**31 - 1], [-1]),
    Range("ListRegistrationsRequest", "page_token", "at most 1024 characters", *text(0, 1024)),
    Range("ListRegistrationsRequest", "workspace_ids", "at most 200 of them",
          [[ID] * 200], [[ID] * 201]),
    Range("ListAuditEventsRequest@registry", "action", "at most 100 characters", *text(0, 100)),
    Range("ListAuditEventsRequest@provision", "action", "at most 100 characters", *text(0, 100)),
    Range("PreviewBillingModeRequest", "runtime", "at most 128 characters", *text(0, 128)),
    Range("PreviewBillingModeRequest", "model", "at most 256 characters", *text(0, 256)),
    Range("PreviewBillingModeRequest", "auth_env_names", f"at most 256, each {NAMED}", *NAMES_256),
    Range("SetTenantBillingRequest", "tenant_id", "1 to 128 of A-Z a-z 0-9 . _ -", *TENANT),
    Range("SetTenantBillingRequest", "platform_usage_token", "at most 4096 characters",
          *text(0, 4096)),
    Range("ListModelsRequest", "runtime", "1 to 128 characters", *text(1, 128)),
    Range("DeriveProviderRequest", "runtime", "at most 128 characters", *text(0, 128)),
    Range("DeriveProviderRequest", "model", "at most 256 characters", *text(0, 256)),
    Range("DeriveProviderRequest", "auth_env_names", f"at most 256, each {NAMED}", *NAMES_256),
    Range("CreateWorkspaceRequest", "tenant_id", "1 to 128 of A-Z a-z 0-9 . _ -", *TENANT),
    Range("CreateWorkspaceRequest", "auth_token_sha256", "64 lower-case hex digits",
          [DIGEST], ["0"]),
    Range("CreateWorkspaceRequest", "secrets", "1 byte to 64 KiB without NUL",
          [{"A": "v" * (64 * KIB)}], [{"A": ""}, {"A": "v" * (64 * KIB + 1)}, {"9": "v"}]),
    Range("CreateWorkspaceRequest", "workspace.name", "1 to 200 characters", *text(1, 200)),
    Range("CreateWorkspaceRequest", "workspace.runtime", "at most 64 characters", *text(0, 64)),
    Range("CreateWorkspaceRequest", "workspace.model", "at most 256 characters", *text(0, 256)),
    Range("CreateWorkspaceRequest", "workspace.template", "at most 128 characters", *text(0, 128)),
    Range("CreateWorkspaceRequest", "workspace.tier", "1 to 4; 0 is not given", *numbers(0, 4)),
    Range("CreateWorkspaceRequest", "workspace.role", "at most 4096 characters", *text(0, 4096)),
    Range("CreateWorkspaceRequest", "workspace.max_concurrent_tasks", "1 to 1000; 0 is not given",
          *numbers(0, 1000)),
    Range("CreateWorkspaceRequest", "workspace.budget_limit_micros", "not negative",
          [0, 2**63 - 1], [-1]),
    Range("CreateWorkspaceRequest", "workspace.compute", "at most 16 KiB as JSON",
          [document(16 * KIB)], [document(16 * KIB + 1)]),
    Range("CreateWorkspaceRequest", "workspace.url", "http or https, at most 2048 characters",
          *URL),
    Range("CreateWorkspaceRequest", "workspace.required_env", f"at most 64, each {NAMED}",
          [[f"A{n}" for n in range(64)]], [[f"A{n}" for n in range(65)], ["a-b"]]),
    Range("UpdateWorkspaceRequest", "etag", "at most 64 characters", *text(0, 64)),
    Range("CompleteProvisionRequest", "error.code", "at most 100 characters",
          ["", "A" * 100, "A_9"], ["A" * 101, "a", "9A"]),
    Range("CompleteProvisionRequest", "error.message", "at most 1000 characters", *text(0, 1000)),
    Range("DeleteGlobalSecretRequest", "tenant_id", "1 to 128 of A-Z a-z 0-9 . _ -", *TENANT),
    Range("DeleteGlobalSecretRequest", "key", NAMED, *KEY),
    Range("SetGlobalSecretRequest", "tenant_id", "1 to 128 of A-Z a-z 0-9 . _ -", *TENANT),
    Range("SetGlobalSecretRequest", "key", NAMED, *KEY),
    Range("SetGlobalSecretRequest", "value", "1 byte to 64 KiB without NUL", *VALUE),
    Range("SetWorkspaceSecretRequest", "key", NAMED, *KEY),
    Range("SetWorkspaceSecretRequest", "value", "1 byte to 64 KiB without NUL", *VALUE),
    Range("SetWorkspaceSecretRequest", "provider", "at most 128 characters", *text(0, 128)),
    Range("AssignSecretProviderRequest", "key", NAMED, *KEY),
    Range("AssignSecretProviderRequest", "provider", "at most 128 characters", *text(0, 128)),
    Range("RegisterPlatformCredentialRequest", "name", "1 to 128 characters", *text(1, 128)),
    Range("RegisterPlatformCredentialRequest", "value", "at most 64 KiB, not blank, without NUL",
          ["v", "v" * (64 * KIB)], ["", "  ", "v" * (64 * KIB + 1)]),
    Range("UnregisterPlatformCredentialRequest", "name", "1 to 128 characters", *text(1, 128)),
]  # fmt: skip
