"""One operator key in three tenants' stores: found, refused, and shown by fingerprint only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from agentworkspace.core.refusal import SharedReason
from agentworkspace.core.secret import Secret
from provision_service.commands import (
    audit_shared_secrets,
    list_platform_credentials,
    register_platform_credential,
    remove_workspace,
    unregister_platform_credential,
)
from provision_service.commands.audit_shared_secrets import (
    AuditSharedSecrets,
    AuditSharedSecretsResult,
)
from provision_service.commands.list_platform_credentials import ListPlatformCredentials
from provision_service.commands.register_platform_credential import (
    RegisterPlatformCredential,
    RegisterPlatformCredentialResult,
)
from provision_service.commands.remove_workspace import RemoveWorkspace
from provision_service.commands.unregister_platform_credential import (
    UnregisterPlatformCredential,
)
from provision_service.domain.records import PlatformCredential
from provision_service.domain.refusals import Reason
from provision_service.storage import platform_credentials
from tests.storage.provision_world import (
    ADMIN,
    LAUNCHER,
    OF_GLOBEX,
    OPUS,
    World,
    refused,
)

KEY = "sk-minimax-of-the-operator"
TENANTS = ("acme", "globex", "initech")


def register(
    world: World, value: str = KEY, *, name: str = "minimax-prod", validate_only: bool = False
) -> RegisterPlatformCredentialResult:
    command = RegisterPlatformCredential(
        call=ADMIN, name=name, value=Secret(value), validate_only=validate_only
    )
    return register_platform_credential.run(world.store, command)


def audit(world: World) -> AuditSharedSecretsResult:
    return audit_shared_secrets.run(world.store, AuditSharedSecrets(call=ADMIN), world.deployment)


def copy_the_key(world: World) -> None:
    for tenant in TENANTS:
        world.set_global("MINIMAX_API_KEY", KEY, tenant=tenant)
        world.set_global("OPENAI_API_KEY", f"sk-a-key-of-its-own-for-{tenant}", tenant=tenant)


def test_the_audit_lists_the_shared_value_and_no_other(world: World) -> None:
    copy_the_key(world)
    workspace = world.create(replace(OPUS, model="MiniMax-M2.7"), secrets={}, tenant="acme")
    (group,) = audit(world).groups
    assert [(h.tenant_id, h.scope, h.key) for h in group.holders] == [
        (tenant, "global", "MINIMAX_API_KEY") for tenant in TENANTS
    ]
    assert group.holders[0].exposed_workspace_ids == (workspace.id,)
    assert group.platform_credential_names == ()
    register(world)
    (group,) = audit(world).groups
    assert group.platform_credential_names == ("minimax-prod",)
    assert KEY not in repr(group)


def test_a_registered_value_is_refused_at_every_write_and_at_every_launch(world: World) -> None:
    copy_the_key(world)
    spec = replace(OPUS, model="MiniMax-M2.7")
    workspaces = [world.create(spec, secrets={}, tenant=tenant) for tenant in TENANTS]
    register(world)
    for workspace in workspaces:
        with refused(Reason.PLATFORM_CREDENTIAL_COMINGLED):
            world.launch(workspace)
        resolution = world.resolve(workspace).resolution
        assert resolution.refusal is Reason.PLATFORM_CREDENTIAL_COMINGLED
        with refused(Reason.PLATFORM_CREDENTIAL_COMINGLED):
            world.set_own(workspace, "ANYTHING", KEY)
    with refused(Reason.PLATFORM_CREDENTIAL_COMINGLED):
        world.set_global("MINIMAX_API_KEY", KEY, tenant="umbrella")
    with refused(Reason.PLATFORM_CREDENTIAL_COMINGLED):
        world.create(spec, secrets={"MINIMAX_API_KEY": KEY}, tenant="umbrella")
    world.set_own(workspaces[0], "MINIMAX_API_KEY", "the-tenants-own")
    assert world.environment(workspaces[0])["MINIMAX_API_KEY"] == "the-tenants-own"


def test_validate_only_lists_the_matches_and_registers_nothing(world: World) -> None:
    copy_the_key(world)
    seen = register(world, validate_only=True)
    assert [match.tenant_id for match in seen.matches] == list(TENANTS)
    assert world.count("platform_credentials") == 0
    done = register(world)
    assert done.matches == seen.matches
    assert done.credential.fingerprint == seen.credential.fingerprint


def test_a_name_may_hold_the_values_of_a_rotation_and_forgets_them_together(
    world: World,
) -> None:
    register(world, "the old value of the platform")
    register(world, "the new value of the platform")
    register(world, "the new value of the platform")
    page = list_platform_credentials.run(
        world.store, ListPlatformCredentials(call=ADMIN, page_size=1)
    )
    rest = list_platform_credentials.run(
        world.store, ListPlatformCredentials(call=ADMIN, page_token=page.next_page_token)
    )
    assert [each.name for each in (*page.rows, *rest.rows)] == ["minimax-prod"] * 2
    command = UnregisterPlatformCredential(call=ADMIN, name="minimax-prod")
    assert unregister_platform_credential.run(world.store, command)
    assert not unregister_platform_credential.run(world.store, command)
    world.set_global("ANYTHING", "the old value of the platform")


def test_a_credential_is_not_forgotten_while_it_is_registered_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(world)
    find = platform_credentials.find

    def forgotten_meanwhile(tx: Connection, **named: Any) -> PlatformCredential | None:
        with pytest.raises(OperationalError, match="lock timeout"):
            world.sql(
                "SET LOCAL lock_timeout = '100ms';"
                " DELETE FROM provision.platform_credentials RETURNING 1"
            )
        return find(tx, **named)

    monkeypatch.setattr(platform_credentials, "find", forgotten_meanwhile)
    register(world)


def test_only_an_admin_of_all_tenants_may_look_across_them(world: World) -> None:
    with refused(SharedReason.TENANT_FORBIDDEN):
        audit_shared_secrets.run(world.store, AuditSharedSecrets(call=OF_GLOBEX), world.deployment)
    with refused(SharedReason.TENANT_FORBIDDEN):
        register_platform_credential.run(
            world.store,
            RegisterPlatformCredential(call=OF_GLOBEX, name="x", value=Secret("y")),
        )


def test_names_of_the_service_itself_and_blank_values_are_refused(world: World) -> None:
    with refused(SharedReason.INVALID_REQUEST):
        register(world, name="usage-token/deployment")
    with refused(SharedReason.INVALID_REQUEST):
        register(world, "  ")


def test_short_values_endpoints_and_one_tenants_own_copies_are_not_shared(world: World) -> None:
    for tenant in TENANTS:
        world.set_global("MINIMAX_API_KEY", "short", tenant=tenant)
        world.set_global("OPENAI_BASE_URL", "https://gateway.example.com/v1", tenant=tenant)
        world.set_global("NOT_A_CREDENTIAL", "the same long text for all", tenant=tenant)
    world.set_global("OPENAI_API_KEY", "sk-of-acme-used-in-two-places")
    world.create(secrets={"CLAUDE_CODE_OAUTH_TOKEN": "sk-of-acme-used-in-two-places"})
    assert audit(world).groups == ()


def test_a_workspace_is_exposed_where_it_would_start_with_the_value(world: World) -> None:
    copy_the_key(world)
    spec = replace(OPUS, model="MiniMax-M2.7")
    exposed = world.create(spec, secrets={})
    world.create(spec, secrets={"MINIMAX_API_KEY": "hides-the-global-one"})
    gone = world.create(spec, secrets={})
    command = RemoveWorkspace(call=LAUNCHER, workspace_id=gone.id)
    remove_workspace.run(world.store, command, world.deployment, world.registry)
    own = world.create(spec, secrets={"MINIMAX_API_KEY": KEY}, tenant="globex")
    by_place = {
        (holder.tenant_id, holder.workspace_id): holder.exposed_workspace_ids
        for holder in audit(world).groups[0].holders
    }
    assert by_place == {
        ("acme", ""): (exposed.id,),
        ("globex", ""): (),
        ("globex", own.id): (own.id,),
        ("initech", ""): (),
    }


def test_of_ten_thousand_secrets_the_shared_ones_are_found_and_no_other(
    world: World,
) -> None:
    names = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "MINIMAX_API_KEY", "MOONSHOT_API_KEY")
    seeded: set[str] = set()
    for number in range(50):
        tenant = f"tenant-{number:03}"
        for index in range(2):
            secrets = {f"FILLER_{n}": f"value-{tenant}-{index}-{n}-long-enough" for n in range(96)}
            secrets |= {name: f"{name}-of-{tenant}-{index}" for name in names}
            if number % 10 == 0:
                secrets["OPENAI_API_KEY"] = f"sk-shared-by-several-{index}"
                seeded.add(f"sk-shared-by-several-{index}")
            world.create(replace(OPUS, runtime="external"), secrets=secrets, tenant=tenant)
    assert world.count("secrets") == 10_000
    register(world, "OPENAI_API_KEY-of-tenant-001-0", name="openai-prod")
    result = audit(world)
    assert len(result.groups) == len(seeded) + 1
    assert sorted(len(group.holders) for group in result.groups) == [1, 5, 5]
    assert result.compared_count == 400
