"""The workspace spec: defaults, and every violation of its shape."""

from __future__ import annotations

import pytest

from provision_service.domain.spec import WorkspaceSpec, complete, spec_violations
from tests.domain.provision_launches import CATALOGUE, WORKSPACE

NOT_GIVEN = WorkspaceSpec(
    runtime="", tier=0, max_concurrent_tasks=0, delivery_mode="", workspace_access=""
)


def test_what_is_not_given_gets_its_default() -> None:
    spec = complete(NOT_GIVEN, CATALOGUE)
    assert spec.runtime == "claude-code"
    assert spec.tier == 3
    assert spec.max_concurrent_tasks == 1
    assert spec.delivery_mode == "push"
    assert spec.workspace_access == "none"
    assert spec == WorkspaceSpec()


def test_a_deployment_may_force_the_tier() -> None:
    assert complete(WorkspaceSpec(tier=1), CATALOGUE, forced_tier=4).tier == 4
    assert complete(WorkspaceSpec(tier=1), CATALOGUE).tier == 1


@pytest.mark.parametrize(
    ("runtime", "mode"),
    [("external", "poll"), ("kimi", "poll"), ("kimi-cli", "poll"), ("mock", "push"),
     ("codex", "push"), ("nope", "push")],
)  # fmt: skip
def test_external_like_runtimes_poll_by_default(runtime: str, mode: str) -> None:
    assert (
        complete(WorkspaceSpec(runtime=runtime, delivery_mode=""), CATALOGUE).delivery_mode == mode
    )


def test_what_is_given_stays() -> None:
    spec = WorkspaceSpec(
        runtime="external",
        tier=2,
        max_concurrent_tasks=5,
        delivery_mode="push",
        workspace_access="read_only",
    )
    assert complete(spec, CATALOGUE) == spec


def test_the_model_is_trimmed_and_required_names_are_kept_once() -> None:
    spec = complete(WorkspaceSpec(model=" opus\n", required_env=("B", "A", "B")), CATALOGUE)
    assert spec.model == "opus"
    assert spec.required_env == ("B", "A")


GOOD: list[dict[str, object]] = [
    {},
    {"name": "n" * 200, "runtime": "r" * 64, "model": "m" * 256, "template": "t" * 128},
    {"role": "first line\n\tsecond " + "x" * 4000},
    {"tier": 1},
    {"tier": 4},
    {"tier": 0},
    {"max_concurrent_tasks": 1000},
    {"budget_limit_micros": 0},
    {"compute": {"cpu": 2, "gpu": [{"kind": "a"}]}},
    {"delivery_mode": "poll"},
    {"workspace_access": "read_write"},
    {"billing_mode_override": "byok"},
    {"parent_id": WORKSPACE},
    {"required_env": ("GITHUB_TOKEN", "A1")},
    {"url": "https://agent.tenant.test:8443/a2a"},
    {"url": "http://[2606:4700::1111]/"},
]


@pytest.mark.parametrize("fields", GOOD)
def test_a_spec_of_the_right_shape_has_no_violation(fields: dict[str, object]) -> None:
    spec = WorkspaceSpec(**fields)  # type: ignore[arg-type]  # one of many fields
    assert spec_violations(spec) == []


BAD: list[tuple[dict[str, object], str, str]] = [
    ({"name": "n" * 201}, "name", "must be at most 200 characters"),
    ({"runtime": "r" * 65}, "runtime", "must be at most 64 characters"),
    ({"model": "m" * 257}, "model", "must be at most 256 characters"),
    ({"template": "t" * 129}, "template", "must be at most 128 characters"),
    ({"role": "r" * 4097}, "role", "must be at most 4096 characters"),
    ({"name": "a\nb"}, "name", "must not contain control characters"),
    ({"model": "a\x7fb"}, "model", "must not contain control characters"),
    ({"role": "a\0b"}, "role", "must not contain control characters"),
    ({"tier": 5}, "tier", "must be 1 to 4"),
    ({"tier": -1}, "tier", "must be 1 to 4"),
    ({"max_concurrent_tasks": -1}, "max_concurrent_tasks", "must be 1 to 1000"),
    ({"max_concurrent_tasks": 1001}, "max_concurrent_tasks", "must be 1 to 1000"),
    ({"budget_limit_micros": -1}, "budget_limit_micros", "must not be negative"),
    ({"compute": {"a": "x" * 16384}}, "compute", "must be at most 16384 bytes as JSON"),
    ({"delivery_mode": "pull"}, "delivery_mode", "must be one of: push, poll"),
    ({"workspace_access": "all"}, "workspace_access",
     "must be one of: none, read_only, read_write"),
    ({"billing_mode_override": "BYOK"}, "billing_mode_override",
     "must be one of: platform_managed, byok, disabled"),
    ({"parent_id": WORKSPACE.upper()}, "parent_id", "must be a UUID in canonical lower-case form"),
    ({"parent_id": "x"}, "parent_id", "must be a UUID in canonical lower-case form"),
    ({"required_env": ("GOOD", "A-B")}, "required_env[1]",
     "must be 1 to 128 of A-Z a-z 0-9 _ and not start with a digit"),
    ({"required_env": ("A",) * 65}, "required_env", "must have at most 64 names"),
    ({"url": "ftp://a.test"}, "url", "must be an http or https URL"),
    ({"url": "http://agent.test:0/"}, "url", "must not name port 0; ports begin at 1"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "field", "said"), BAD)
def test_a_wrong_field_is_named_with_what_is_wrong(
    fields: dict[str, object], field: str, said: str
) -> None:
    spec = WorkspaceSpec(**fields)  # type: ignore[arg-type]  # one of many fields
    found = [(v.field, v.description) for v in spec_violations(spec)]
    assert found == [(f"workspace.{field}", said)]


def test_every_violation_is_listed() -> None:
    spec = WorkspaceSpec(name="a\0" + "x" * 200, tier=9, url="x", parent_id="y", delivery_mode="z")
    assert [v.field for v in spec_violations(spec, field="spec")] == [
        "spec.name", "spec.name", "spec.tier", "spec.delivery_mode", "spec.parent_id", "spec.url",
    ]  # fmt: skip
