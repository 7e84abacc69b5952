"""Words that are stored, sent or shown: changing one is changing what others rely on."""

from __future__ import annotations

from provision_service.domain.billing import BillingMode, Source
from provision_service.domain.launch import WorkspaceEvent
from provision_service.domain.lifecycle import (
    ProvisionReason,
    ProvisionState,
    WorkspaceStatus,
)
from provision_service.domain.secrets import named_only


def test_who_pays_is_said_in_the_words_of_the_contract() -> None:
    assert [mode.value for mode in BillingMode] == ["platform_managed", "byok", "disabled"]
    assert [source.value for source in Source] == [
        *("workspace_override", "derived_provider", "derived_default"),
    ]


def test_the_life_of_a_launch_is_said_in_the_words_of_the_contract() -> None:
    assert [state.value for state in ProvisionState] == [
        *("CLAIMED", "ENV_DELIVERED", "LAUNCHED", "REGISTERED"),
        *("PROVEN", "FAILED", "SUPERSEDED", "LAPSED"),
    ]
    assert [why.value for why in ProvisionReason] == [
        *("CREATE", "RESTART", "AUTO_RESTART", "RESUME", "RECREATE"),
    ]
    assert [status.value for status in WorkspaceStatus] == [
        *("PENDING", "PROVISIONING", "RUNNING", "DEGRADED", "OFFLINE", "FAILED", "REMOVED"),
        "SUSPENDED",
    ]
    assert [event.value for event in WorkspaceEvent] == [
        *("PROVISION_CLAIMED", "PROVISION_FAILED", "PROVISION_LAPSED", "BOX_REGISTERED"),
        *("BOX_HEALTHY", "BOX_DEGRADED", "BOX_SILENT", "BOX_LEFT", "REMOVED"),
        "SUSPENDED",
    ]


def test_a_preview_knows_names_and_no_values() -> None:
    seen = named_only(["B", "A"])
    assert seen.present_at_workspace == {"A", "B"}
    assert [(key, row.scope.value) for key, row in seen.by_key.items()] == [
        ("A", "workspace"),
        ("B", "workspace"),
    ]
    assert seen.text("A") == "known by name only"
