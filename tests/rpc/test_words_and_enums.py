"""A word of a closed set is taken as text, as an enum, or as both alike, and answered as both."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from agentworkspace.core.caller import Caller
from agentworkspace.core.refusal import Refusal
from agentworkspace.provision.v1 import billing_service_pb2, resolution_pb2, workspace_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.registry.v1 import registration_service_pb2
from agentworkspace.rpc import calls, wire_enums
from provision_service.api.parse import billing
from provision_service.commands.call import Call
from registry_service.api.parse import registration
from registry_service.domain.standing import BootstrapPolicy
from tests.rpc.provision_server import ADMIN, LAUNCHER
from tests.services import Pair, both

WORKSPACE = "0b6ae4a6-6c0b-4ee7-9d0a-1f6b8f2f5a11"
WIRE = calls.Call("/agentworkspace.registry.v1.RegistrationService/Register", "test-1")
CALL = Call(caller=Caller("control-plane", frozenset({"admin"}), None), correlation_id="test-1")
PUSH, POLL = workspace_pb2.DELIVERY_MODE_PUSH, workspace_pb2.DELIVERY_MODE_POLL


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@pytest.mark.parametrize(("text", "number"), [("red", 7), ("blue", 8), ("", 0), ("RED", 0)])
def test_a_stored_text_has_the_number_of_its_word(text: str, number: int) -> None:
    assert wire_enums.number_of_text({Colour.RED: 7, Colour.BLUE: 8}, text, 0) == number


def registered_mode(**fields: Any) -> str:
    request = registration_service_pb2.RegisterRequest(workspace_id=WORKSPACE, **fields)
    return registration.register(request, WIRE, policy=BootstrapPolicy.ADAPTIVE).delivery_mode


@pytest.mark.parametrize(
    "given",
    [
        {"delivery_mode": "poll"},
        {"delivered_by": 2},
        {"delivery_mode": "poll", "delivered_by": 2},
    ],
)
def test_either_way_says_the_same(given: dict[str, Any]) -> None:
    assert registered_mode(**given) == "poll"


def test_neither_is_nothing() -> None:
    assert registered_mode() == ""


def test_two_that_differ_are_refused_with_both_names() -> None:
    with pytest.raises(Refusal) as refused:
        registered_mode(delivery_mode="push", delivered_by=2)
    assert [(each.field, each.description) for each in refused.value.violations] == [
        (
            "delivered_by",
            (
                "says something else than `delivery_mode`, which says `push`: give one of the two,"
                " or the same in both"
            ),
        )
    ]


def test_a_number_without_a_word_is_refused() -> None:
    with pytest.raises(Refusal) as refused:
        registered_mode(delivered_by=9)
    assert [(each.field, each.description) for each in refused.value.violations] == [
        ("delivered_by", "must be one of: push, poll")
    ]


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"default_billing": "byok"}, "byok"),
        ({"global_vendor_keys": "GLOBAL_VENDOR_KEYS_ALLOWED"}, "byok"),
        ({"global_vendor_keys": "GLOBAL_VENDOR_KEYS_REFUSED"}, "platform_managed"),
        ({}, None),
    ],
)
def test_the_true_name_of_a_tenants_billing(given: dict[str, Any], stored: str | None) -> None:
    request = billing_service_pb2.SetTenantBillingRequest(tenant_id="acme", **given)
    assert billing.set_tenant_billing(request, CALL).default_billing == stored


def test_the_two_names_of_a_tenants_billing_must_agree() -> None:
    request = billing_service_pb2.SetTenantBillingRequest(
        tenant_id="acme",
        default_billing="platform_managed",
        global_vendor_keys=billing_service_pb2.GLOBAL_VENDOR_KEYS_ALLOWED,
    )
    with pytest.raises(Refusal) as refused:
        billing.set_tenant_billing(request, CALL)
    assert [each.field for each in refused.value.violations] == ["global_vendor_keys"]


@pytest.fixture(scope="module")
def pair(
    registry_database_of_module: str,
    provision_database_of_module: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    directory: Path = tmp_path_factory.mktemp("pair")
    with both(registry_database_of_module, provision_database_of_module, directory) as running:
        yield running


def test_a_workspace_keeps_what_an_older_client_sends_back(pair: Pair) -> None:
    """Stubs without the enums keep them as unknown fields: the mask says which one is meant."""
    provision = pair.provision
    created = provision.workspaces.CreateWorkspace(
        pb.CreateWorkspaceRequest(
            tenant_id="acme",
            workspace=workspace_pb2.Workspace(
                name="agent",
                model="opus",
                delivered_by=POLL,
                access=workspace_pb2.WORKSPACE_ACCESS_READ_ONLY,
                override_mode=resolution_pb2.BILLING_MODE_BYOK,
            ),
            secrets={"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat-words-0123456789"},
        ),
        metadata=LAUNCHER,
    )
    read = created.workspace
    assert (read.delivery_mode, read.workspace_access, read.billing_mode_override) == (
        "poll",
        "read_only",
        "byok",
    )
    assert (read.delivered_by, read.access, read.override_mode) == (2, 2, 2)
    assert (created.billing.mode, created.billing.resolved_mode) == (2, "byok")
    assert created.billing.decided_by == resolution_pb2.BILLING_SOURCE_WORKSPACE_OVERRIDE
    assert created.billing.model_source == resolution_pb2.MODEL_SOURCE_SPEC

    def update(changed: workspace_pb2.Workspace, *paths: str) -> workspace_pb2.Workspace:
        request = pb.UpdateWorkspaceRequest(workspace_id=read.id, workspace=changed)
        request.update_mask.paths.extend(paths)
        answer = provision.workspaces.UpdateWorkspace(request, metadata=LAUNCHER)
        found: workspace_pb2.Workspace = answer.workspace
        return found

    read.delivery_mode = "push"
    read.ClearField("billing_mode_override")
    after = update(read, "delivery_mode", "billing_mode_override")
    assert (after.delivered_by, after.override_mode) == (PUSH, 0)
    after.delivered_by = POLL
    assert update(after, "delivered_by").delivery_mode == "poll"


def test_a_tenant_is_answered_by_both_names(pair: Pair) -> None:
    answer = pair.provision.billing.SetTenantBilling(
        billing_service_pb2.SetTenantBillingRequest(
            tenant_id="words",
            create=True,
            global_vendor_keys=billing_service_pb2.GLOBAL_VENDOR_KEYS_REFUSED,
        ),
        metadata=ADMIN,
    )
    assert answer.default_billing == "platform_managed"
    assert answer.global_vendor_keys == billing_service_pb2.GLOBAL_VENDOR_KEYS_REFUSED
