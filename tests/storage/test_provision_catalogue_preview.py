"""Another catalogue, held against every stored workspace."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentworkspace.core.refusal import SharedReason
from agentworkspace.core.secret import Secret
from provision_service.commands import preview_catalogue, remove_workspace
from provision_service.commands.preview_catalogue import Changed, Preview, PreviewCatalogue
from provision_service.commands.remove_workspace import RemoveWorkspace
from tests.domain.provision_launches import CATALOGUE_TEXT, HAIKU_AT_THE_PLATFORM, edited
from tests.storage.provision_world import (
    ACME,
    ADMIN,
    GLOBEX,
    LAUNCHER,
    OF_GLOBEX,
    OPUS,
    World,
    refused,
)

HAIKU = replace(OPUS, model="haiku")


def previewed(world: World, text: str) -> tuple[Preview, list[Changed]]:
    command = PreviewCatalogue(call=ADMIN, text=text)
    preview = preview_catalogue.begin(world.store, command, world.deployment)
    found = []
    while not preview.finished:
        found += preview.next_page(world.store)
    return preview, found


def test_the_catalogue_in_force_changes_nothing(world: World) -> None:
    world.create()
    preview, found = previewed(world, CATALOGUE_TEXT)
    assert found == []
    assert preview.begun.current_version == preview.begun.proposed_version
    assert (preview.examined_count, preview.changed_count) == (1, 0)
    assert preview.begun.refused_for == ()


def test_each_tenants_own_side_of_the_platform_counts(world: World) -> None:
    """One tenant has a usage token and would move to the platform; the other would be refused."""
    world.deploy(
        platform=replace(world.deployment.platform, usage_token=Secret("usage-token")),
        usage_token_shared=True,
    )
    shared = world.create(HAIKU, tenant=ACME)
    _, found = previewed(world, HAIKU_AT_THE_PLATFORM)
    assert [(each.workspace_id, each.change.after.payer) for each in found] == [
        (shared.id, "platform_managed")
    ]
    world.deploy(platform=replace(world.deployment.platform, usage_token=None))
    _, found = previewed(world, HAIKU_AT_THE_PLATFORM)
    assert [each.change.after.payer for each in found] == ["nobody"]


def test_a_tenants_secret_reaches_its_own_workspaces_alone(world: World) -> None:
    world.set_global("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat-of-acme", tenant=ACME)
    mine = world.create(HAIKU, secrets={}, tenant=ACME)
    world.create(OPUS, tenant=GLOBEX)
    _, found = previewed(world, HAIKU_AT_THE_PLATFORM)
    assert [(each.workspace_id, each.tenant_id) for each in found] == [(mine.id, ACME)]


def test_a_removed_workspace_is_not_looked_at(world: World) -> None:
    gone = world.create(HAIKU)
    command = RemoveWorkspace(call=LAUNCHER, workspace_id=gone.id)
    remove_workspace.run(world.store, command, world.deployment, world.registry)
    preview, found = previewed(world, HAIKU_AT_THE_PLATFORM)
    assert (preview.examined_count, found) == (0, [])


def test_what_stored_workspaces_use_and_it_lacks_is_said(world: World) -> None:
    world.create(HAIKU)
    without = edited(("          - haiku\n          - anthropic:sonnet\n", ""))
    preview, _ = previewed(world, without)
    assert preview.begun.refused_for == (
        "`haiku` left the menu of runtime `claude-code`; keep `haiku` and mark it withdrawn",
    )


def test_a_catalogue_with_mistakes_is_refused_with_every_line(world: World) -> None:
    broken = edited(("default_runtime: claude-code\n", "default_runtime: claude-cod\n"))
    command = PreviewCatalogue(call=ADMIN, text=broken)
    with refused(SharedReason.INVALID_REQUEST) as caught:
        preview_catalogue.begin(world.store, command, world.deployment)
    (violation,) = caught.value.violations
    assert violation.field == "text"
    assert violation.description == (
        "text:7: default_runtime `claude-cod` is no runtime; name one of the runtimes"
    )


@pytest.mark.parametrize("text", ["[" * 5_000, "{a: " * 5_000, "", "\x00", "- " * 3_000])
def test_no_text_is_too_odd_to_be_refused(world: World, text: str) -> None:
    command = PreviewCatalogue(call=ADMIN, text=text)
    with refused(SharedReason.INVALID_REQUEST):
        preview_catalogue.begin(world.store, command, world.deployment)


def test_an_admin_of_some_tenants_is_refused(world: World) -> None:
    command = PreviewCatalogue(call=OF_GLOBEX, text=CATALOGUE_TEXT)
    with refused(SharedReason.TENANT_FORBIDDEN):
        preview_catalogue.begin(world.store, command, world.deployment)


def test_neither_text_nor_value_is_in_a_repr(world: World) -> None:
    world.create(HAIKU)
    command = PreviewCatalogue(call=ADMIN, text=HAIKU_AT_THE_PLATFORM)
    assert "providers" not in repr(command)
    _, found = previewed(world, HAIKU_AT_THE_PLATFORM)
    assert "sk-ant" not in repr(found)
