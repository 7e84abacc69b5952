"""CreateWorkspace: everything in one transaction, then the first token, or why there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy.exc import OperationalError

from agentworkspace.core.public_urls import unresolved
from agentworkspace.core.refusal import AnyReason, SharedReason
from agentworkspace.core.secret import Secret
from provision_service.domain.billing import BillingMode, Source
from provision_service.domain.lifecycle import WorkspaceStatus
from provision_service.domain.probing import (
    ProbeResult,
    ProbesPolicy,
    Template,
    TemplateProbe,
    Verdict,
)
from provision_service.domain.refusals import Reason
from provision_service.domain.registry_port import RegistryRefused
from provision_service.storage import outbox
from provision_service.workers import drain_outbox
from provision_service.workers.drain_outbox import DrainOutbox
from tests.storage.provision_doubles import USED_HASH, new_id
from tests.storage.provision_world import (
    ACME,
    GLOBEX,
    OAUTH,
    OF_GLOBEX,
    OPUS,
    PLATFORM_MODEL,
    PROXY,
    UNSPECIFIED,
    World,
    at_once,
    refused,
)

ENGINEER = Template(
    name="engineer",
    runtime="claude-code",
    model="opus",
    required_env=("GITEA_TOKEN",),
    probes=(
        TemplateProbe(
            env="GITEA_TOKEN",
            url="https://git.test/issues",
            header="Authorization: token {value}",
            scope="read:issue",
        ),
        TemplateProbe(
            env="CLAUDE_CODE_OAUTH_TOKEN",
            url="https://vendor.test/models",
            header="Authorization: Bearer {value}",
        ),
    ),
)


def drain(world: World) -> drain_outbox.DrainOutboxResult:
    return drain_outbox.run(
        world.store, DrainOutbox(jitter=lambda: 0.0), world.deployment, world.registry
    )


def make_due(world: World) -> None:
    world.sql("UPDATE provision.outbox SET next_attempt_time = now()")


def test_a_workspace_is_created_with_defaults_and_its_first_token(world: World) -> None:
    created = world.try_create()
    spec = created.workspace.spec
    assert (spec.runtime, spec.tier, spec.workspace_access) == ("claude-code", 3, "none")
    assert (spec.delivery_mode, spec.max_concurrent_tasks) == ("push", 1)
    assert created.workspace.status is WorkspaceStatus.PENDING
    assert created.workspace.admitted
    assert created.auth_token is not None
    assert len(created.auth_token.reveal()) >= 40
    assert created.auth_token_error == ""
    assert created.billing.resolution.resolved_mode is BillingMode.BYOK
    assert created.billing.resolution.source is Source.DERIVED_PROVIDER
    assert world.count("outbox") == 0
    assert world.read(created.workspace) == created.workspace


def test_every_field_of_the_spec_is_stored(world: World) -> None:
    parent = world.create()
    spec = replace(
        OPUS,
        parent_id=parent.id,
        tier=2,
        role="You review.\nKindly.",
        max_concurrent_tasks=7,
        budget_limit_micros=5_000_000,
        compute={"cpu": 2, "gpus": ["a", None], "nested": {"x": 1.5}},
        delivery_mode="poll",
        url="https://agent.example.com/a2a",
        workspace_access="read_write",
        required_env=("CLAUDE_CODE_OAUTH_TOKEN",),
        billing_mode_override="byok",
    )
    created = world.create(spec)
    assert created.spec == replace(spec, runtime="claude-code")
    assert world.read(created).spec == created.spec


def test_a_deployment_may_force_the_tier(world: World) -> None:
    world.deploy(forced_tier=4)
    assert world.create(replace(OPUS, tier=1)).spec.tier == 4


def test_an_external_agent_polls_by_default_and_needs_nothing(world: World) -> None:
    created = world.try_create(replace(UNSPECIFIED, name="x", runtime="external"), {})
    assert created.workspace.spec.delivery_mode == "poll"
    assert created.billing.resolution.resolved_mode is BillingMode.DISABLED
    assert created.auth_token is not None


def test_a_model_among_the_secrets_becomes_the_specs_and_leaves_no_secret(world: World) -> None:
    secrets = {**OAUTH, "MODEL": "haiku", "MOLECULE_MODEL": " opus "}
    created = world.create(replace(OPUS, model=""), secrets=secrets)
    assert created.spec.model == "opus"
    assert world.sql("SELECT key FROM provision.secrets") == [("CLAUDE_CODE_OAUTH_TOKEN",)]


def test_the_specs_own_model_comes_before_one_among_the_secrets(world: World) -> None:
    created = world.create(secrets={**OAUTH, "MOLECULE_MODEL": "haiku"})
    assert created.spec.model == "opus"


@pytest.mark.parametrize(
    ("spec", "secrets", "reason"),
    [
        (OPUS, {"ADMIN_TOKEN": "x", **OAUTH}, Reason.FORBIDDEN_ENV_KEY),
        (OPUS, {"WORKSPACE_ID": "x", **OAUTH}, Reason.FORBIDDEN_ENV_KEY),
        (replace(OPUS, runtime="claude-cod"), OAUTH, Reason.RUNTIME_UNKNOWN),
        (replace(OPUS, model=""), OAUTH, Reason.MODEL_REQUIRED),
        (replace(OPUS, model="no-such-model"), OAUTH, Reason.MODEL_UNREGISTERED),
        (OPUS, {}, Reason.MISSING_BYOK_CREDENTIAL),
        (OPUS, {"CLAUDE_CODE_OAUTH_TOKEN": "  "}, Reason.MISSING_BYOK_CREDENTIAL),
        (replace(OPUS, model=PLATFORM_MODEL), {}, Reason.MISSING_PLATFORM_PROXY),
        (replace(OPUS, required_env=("GITEA_TOKEN",)), OAUTH, Reason.MISSING_REQUIRED_ENV),
        (replace(OPUS, parent_id=new_id()), OAUTH, Reason.PARENT_INVALID),
        (replace(OPUS, template="nobody"), OAUTH, Reason.TEMPLATE_UNKNOWN),
        (replace(OPUS, tier=9), OAUTH, SharedReason.INVALID_REQUEST),
        (OPUS, {f"K{n}": "x" * 65_000 for n in range(9)} | OAUTH, Reason.SECRET_LIMIT_EXCEEDED),
    ],
)  # fmt: skip
def test_a_refused_create_leaves_no_row(
    world: World, spec: object, secrets: dict[str, str], reason: AnyReason
) -> None:
    with refused(reason):
        world.try_create(spec, secrets)  # type: ignore[arg-type]  # parametrized
    for table in ("tenants", "workspaces", "secrets", "outbox", "requests", "audit_events"):
        assert world.count(table) == 0, table
    assert world.registry.calls == []


def test_validate_only_decides_everything_and_stores_nothing(world: World) -> None:
    created = world.try_create(validate_only=True)
    assert created.workspace.id == ""
    assert created.billing.resolution.provider_selection == "anthropic-oauth"
    with refused(Reason.MISSING_BYOK_CREDENTIAL):
        world.try_create(secrets={}, validate_only=True)
    for table in ("tenants", "workspaces", "secrets", "outbox", "requests"):
        assert world.count(table) == 0, table
    assert world.registry.calls == []


def test_a_parent_must_be_of_the_same_tenant_and_alive(world: World) -> None:
    foreign = world.create(tenant=GLOBEX)
    with refused(Reason.PARENT_INVALID):
        world.create(replace(OPUS, parent_id=foreign.id))


def test_a_foreign_tenants_caller_is_refused_before_anything_else(world: World) -> None:
    with refused(SharedReason.TENANT_FORBIDDEN):
        world.try_create(replace(OPUS, template="nobody"), call=OF_GLOBEX, tenant=ACME)


def test_a_bypass_name_of_a_platform_paid_workspace_is_warned_of(world: World) -> None:
    world.deploy(platform=replace(world.deployment.platform, usage_token=Secret("usage-token-1")))
    created = world.try_create(
        replace(OPUS, model=PLATFORM_MODEL), {"OPENAI_API_KEY": "sk-of-the-tenant"}
    )
    assert [notice.code for notice in created.warnings] == ["BYPASS_KEY_NOT_USED"]
    env = world.environment(created.workspace)
    assert "OPENAI_API_KEY" not in env


def test_without_the_registry_it_is_created_and_the_answer_says_why_there_is_no_token(
    world: World,
) -> None:
    world.registry.down = True
    created = world.try_create()
    assert created.auth_token is None
    assert created.auth_token_error.startswith("REGISTRY_UNAVAILABLE: ")
    assert not created.workspace.admitted
    world.registry.down = False
    make_due(world)
    assert drain(world).delivered == 1
    assert world.registry.admitted == {created.workspace.id: ACME}
    assert world.registry.first_tokens == {}
    assert world.read(created.workspace).admitted
    assert world.count("outbox") == 0


def test_the_callers_own_token_becomes_valid_when_the_registry_is_back(world: World) -> None:
    world.registry.down = True
    created = world.try_create(token_sha256="b" * 64)
    world.registry.down = False
    make_due(world)
    drain(world)
    assert world.registry.first_tokens[created.workspace.id].token_sha256 == "b" * 64


def test_a_used_token_hash_is_said_and_the_workspace_is_admitted_without_it(world: World) -> None:
    created = world.try_create(token_sha256=USED_HASH)
    assert created.auth_token_error.startswith("TOKEN_HASH_IN_USE: ")
    assert drain(world).delivered == 1
    assert created.workspace.id in world.registry.admitted
    assert world.registry.first_tokens == {}


def test_a_callers_own_token_needs_no_answer(world: World) -> None:
    created = world.try_create(token_sha256="b" * 64)
    assert (created.auth_token, created.auth_token_error) == (None, "")
    assert created.workspace.admitted


def test_a_replay_returns_the_same_workspace_and_a_usable_token(world: World) -> None:
    request_id = new_id()
    first = world.try_create(request_id=request_id)
    again = world.try_create(request_id=request_id)
    assert again.workspace.id == first.workspace.id
    assert again.auth_token is not None
    assert world.count("workspaces") == 1
    world.registry.used_first_tokens.add(first.workspace.id)
    late = world.try_create(request_id=request_id)
    assert late.auth_token is None
    assert late.auth_token_error.startswith("ALREADY_DELIVERED: ")


def test_a_replay_after_the_outbox_admitted_says_why_it_has_no_token(world: World) -> None:
    """Nobody mints by admitting twice: the registry knew it without a first token."""
    request_id = new_id()
    world.registry.down = True
    first = world.try_create(request_id=request_id)
    world.registry.down = False
    make_due(world)
    drain(world)
    world.registry.known_before.add(first.workspace.id)
    again = world.try_create(request_id=request_id)
    assert again.auth_token is None
    assert again.auth_token_error.startswith("FIRST_TOKEN_NOT_ISSUED: ")
    assert again.workspace.admitted


def test_a_request_id_with_other_parameters_is_refused(world: World) -> None:
    request_id = new_id()
    world.try_create(request_id=request_id)
    for changed in (replace(OPUS, name="other"), OPUS):
        secrets = OAUTH if changed.name == "other" else {"CLAUDE_CODE_OAUTH_TOKEN": "another"}
        with refused(SharedReason.REQUEST_ID_REUSED):
            world.try_create(changed, secrets, request_id=request_id)


def test_a_replay_is_answered_although_its_template_is_gone(world: World) -> None:
    world.deploy(templates=lambda: {"engineer": replace(ENGINEER, probes=(), required_env=())})
    spec, request_id = replace(OPUS, template="engineer"), new_id()
    first = world.try_create(spec, request_id=request_id)
    world.deploy(templates=dict)
    assert world.try_create(spec, request_id=request_id).workspace.id == first.workspace.id


def test_the_same_request_at_once_creates_one_workspace(world: World) -> None:
    request_id = new_id()
    answers = at_once([lambda: world.create(request_id=request_id).id for _ in range(8)])
    assert len(set(answers)) == 1, answers
    assert world.count("workspaces") == 1


def test_a_template_fills_in_what_was_not_given(world: World) -> None:
    world.deploy(templates=lambda: {"engineer": replace(ENGINEER, probes=())})
    spec = replace(UNSPECIFIED, name="e", template="engineer")
    created = world.create(spec, secrets={**OAUTH, "GITEA_TOKEN": "t"})
    assert (created.spec.runtime, created.spec.model) == ("claude-code", "opus")
    with refused(Reason.MISSING_REQUIRED_ENV):
        world.create(spec)


def test_a_missing_scope_is_a_warning_that_names_it(world: World) -> None:
    world.deploy(templates=lambda: {"engineer": ENGINEER})
    world.prober.verdicts["GITEA_TOKEN"] = ProbeResult(
        env="GITEA_TOKEN",
        verdict=Verdict.MISSING_SCOPE,
        message="lacks read:issue",
        metadata={"scope": "read:issue", "env": "GITEA_TOKEN"},
    )
    spec, secrets = replace(OPUS, template="engineer"), {**OAUTH, "GITEA_TOKEN": "t"}
    created = world.try_create(spec, secrets)
    assert [(w.code, w.text) for w in created.warnings] == [("MISSING_SCOPE", "lacks read:issue")]
    assert created.warnings[0].metadata == {"scope": "read:issue", "env": "GITEA_TOKEN"}
    launched = world.launch(created.workspace)
    assert [w.code for w in launched.warnings] == ["MISSING_SCOPE"]


@pytest.mark.parametrize("policy", list(ProbesPolicy))
def test_a_refused_model_credential_is_fatal_only_when_enforced(
    world: World, policy: ProbesPolicy
) -> None:
    world.deploy(templates=lambda: {"engineer": ENGINEER}, probes=policy)
    world.prober.verdicts["CLAUDE_CODE_OAUTH_TOKEN"] = ProbeResult(
        env="CLAUDE_CODE_OAUTH_TOKEN", verdict=Verdict.INVALID, message="401"
    )
    spec, secrets = replace(OPUS, template="engineer"), {**OAUTH, "GITEA_TOKEN": "t"}
    if policy is ProbesPolicy.ENFORCE:
        with refused(Reason.INVALID_BYOK_CREDENTIAL):
            world.try_create(spec, secrets)
        assert world.count("workspaces") == 0
        return
    codes = [warning.code for warning in world.try_create(spec, secrets).warnings]
    assert codes == ([] if policy is ProbesPolicy.OFF else ["INVALID_BYOK_CREDENTIAL"])


@pytest.mark.parametrize("policy", [ProbesPolicy.WARN, ProbesPolicy.ENFORCE])
def test_a_refused_credential_that_pays_for_nothing_is_never_fatal(
    world: World, policy: ProbesPolicy
) -> None:
    world.deploy(
        templates=lambda: {"engineer": ENGINEER},
        probes=policy,
        platform=replace(PROXY, usage_token=Secret("usage-token-of-deployment")),
    )
    for env in ("GITEA_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"):
        world.prober.verdicts[env] = ProbeResult(env=env, verdict=Verdict.INVALID, message="401")
    spec = replace(OPUS, template="engineer", model=PLATFORM_MODEL)
    created = world.try_create(spec, {**OAUTH, "GITEA_TOKEN": "t"})
    assert [warning.code for warning in created.warnings if "BYPASS" not in warning.code] == [
        "INVALID_CREDENTIAL",
        "INVALID_CREDENTIAL",
    ]


def test_a_database_that_fails_after_the_token_was_made_does_not_swallow_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise OperationalError("UPDATE", {}, Exception("connection lost"))

    with monkeypatch.context() as broken:
        broken.setattr(outbox, "confirm_admissions", lost)
        created = world.try_create()
    assert created.auth_token is not None
    make_due(world)
    assert drain(world).delivered == 1
    assert world.read(created.workspace).admitted


def test_a_forbidden_url_is_refused_before_any_transaction(world: World) -> None:
    with refused(SharedReason.URL_FORBIDDEN):
        world.try_create(
            replace(OPUS, url="https://x.example"), url_refusal=unresolved("x.example", "url")
        )
    assert world.count("workspaces") == 0


def test_a_registry_that_refuses_is_said_and_the_outbox_backs_off(world: World) -> None:
    world.registry.refusals["admit"] = RegistryRefused("ROLE_REQUIRED", "not a launcher")
    created = world.try_create()
    assert created.auth_token_error == "ROLE_REQUIRED: not a launcher"
    make_due(world)
    assert drain(world).postponed == 1
    assert drain(world).postponed == 0, "it is not due at once"
    assert world.sql("SELECT attempts, last_error FROM provision.outbox") == [(1, "ROLE_REQUIRED")]


def test_a_create_writes_who_did_it(world: World) -> None:
    created = world.create()
    rows = world.sql(
        "SELECT actor, method, action, correlation_id, workspace_id::text, details"
        " FROM provision.audit_events"
    )
    assert rows == [
        (
            "control-plane",
            "/test/Method",
            "workspace.create",
            "c-1",
            created.id,
            {"secrets": "CLAUDE_CODE_OAUTH_TOKEN"},
        )
    ]
