"""What a caller is told who writes a secret that may not be written, word for word."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentworkspace.core.refusal import Refusal
from provision_service.domain.billing import BillingMode
from provision_service.domain.guards import (
    refuse_forbidden,
    refuse_global_bypass,
    refuse_too_much,
    refuse_workspace_bypass,
    secret_violations,
    secrets_violations,
)
from provision_service.domain.scope import Scope
from tests.domain.provision_launches import CATALOGUE

PLATFORM = BillingMode.PLATFORM_MANAGED

REFUSALS: dict[str, tuple[Callable[[], None], str, str, dict[str, str]]] = {
    "too much": (
        lambda: refuse_too_much(524_289),
        "SECRET_LIMIT_EXCEEDED",
        "all secrets together would be 524289 bytes; the limit is 524288",
        {"bytes": "524289", "limit_bytes": "524288"},
    ),
    "a source host token tenant-wide": (
        lambda: refuse_forbidden(CATALOGUE, "GITHUB_TOKEN", Scope.GLOBAL),
        "FORBIDDEN_ENV_KEY",
        (
            "GITHUB_TOKEN may not be set as a global secret;"
            " set it on the workspace that needs it, not for the whole tenant"
        ),
        {"keys": "GITHUB_TOKEN", "scope": "global"},
    ),
    "a name of the platform": (
        lambda: refuse_forbidden(CATALOGUE, "WORKSPACE_ID", Scope.WORKSPACE),
        "FORBIDDEN_ENV_KEY",
        (
            "WORKSPACE_ID may not be set as a workspace secret;"
            " this name belongs to the platform: choose another"
        ),
        {"keys": "WORKSPACE_ID", "scope": "workspace"},
    ),
    "a bypass name tenant-wide": (
        lambda: refuse_global_bypass(CATALOGUE, "ANTHROPIC_API_KEY", PLATFORM),
        "BYPASS_KEY_REFUSED",
        (
            "ANTHROPIC_API_KEY would route around the metered proxy, and this tenant's default"
            " billing is platform_managed; set it on one byok workspace, or change the default"
        ),
        {"key": "ANTHROPIC_API_KEY", "scope": "global"},
    ),
    "a bypass name on a workspace": (
        lambda: refuse_workspace_bypass(
            CATALOGUE, "ANTHROPIC_API_KEY", runtime="claude-code", resolved_mode=PLATFORM
        ),
        "BYPASS_KEY_REFUSED",
        (
            "ANTHROPIC_API_KEY would route around the metered proxy, and this workspace is"
            " platform_managed; choose a vendor's model or set the billing override to byok first"
        ),
        {"key": "ANTHROPIC_API_KEY", "scope": "workspace"},
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refused_secret_is_told_why_and_what_to_do(case: str) -> None:
    write, reason, message, metadata = REFUSALS[case]
    with pytest.raises(Refusal) as refused:
        write()
    assert refused.value.reason.value == reason
    assert refused.value.message == message
    assert dict(refused.value.metadata or {}) == metadata


def test_what_is_wrong_with_a_shape_is_said_at_its_place() -> None:
    assert [(v.field, v.description) for v in secret_violations("1 x", "", field="secret")] == [
        ("secret.key", "must be 1 to 128 of A-Z a-z 0-9 _ and not start with a digit"),
        ("secret.value", "must be 1 byte to 64 KiB, not 0 bytes"),
    ]
    assert [(v.field, v.description) for v in secret_violations("X", "a\0")] == [
        ("value", "must not contain a NUL character"),
    ]


def test_a_long_name_is_shown_cut() -> None:
    found = secrets_violations({"k" * 130: "x"})
    assert [violation.field for violation in found] == [f"secrets[{'k' * 128}].key"]


def test_half_a_surrogate_pair_has_a_size_too() -> None:
    assert secret_violations("X", "\ud800") == []
