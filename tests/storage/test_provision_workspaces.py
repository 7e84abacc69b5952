"""Reading, listing, changing and removing workspaces, and the trail of who did."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentworkspace.core.ids import uuids_beginning_with
from agentworkspace.core.public_urls import unresolved
from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.service import paging
from agentworkspace.service.audit import listing
from agentworkspace.service.audit.listing import ListAuditEvents
from provision_service.commands import (
    get_workspace,
    list_provisions,
    list_secrets,
    list_workspaces,
    remove_workspace,
    update_workspace,
)
from provision_service.commands.get_workspace import GetWorkspace
from provision_service.commands.list_provisions import ListProvisions
from provision_service.commands.list_secrets import ListSecrets
from provision_service.commands.list_workspaces import ListWorkspaces
from provision_service.commands.remove_workspace import RemoveWorkspace
from provision_service.commands.update_workspace import (
    UpdateWorkspace,
    UpdateWorkspaceResult,
)
from provision_service.domain.lifecycle import WorkspaceStatus
from provision_service.domain.records import Workspace
from provision_service.domain.refusals import Reason
from provision_service.domain.registry_port import RegistryRefused
from provision_service.domain.spec import WorkspaceSpec
from provision_service.storage.schema import AUDIT
from provision_service.workers import drain_outbox, sweep
from provision_service.workers.drain_outbox import DrainOutbox
from provision_service.workers.sweep import Sweep
from tests.storage.provision_doubles import new_id
from tests.storage.provision_world import (
    ACME,
    ADMIN,
    GLOBEX,
    LAUNCHER,
    OF_GLOBEX,
    OPUS,
    UNSPECIFIED,
    World,
    at_once,
    refused,
)


def update(
    world: World,
    workspace: Workspace,
    spec: WorkspaceSpec,
    *mask: str,
    etag: str = "",
    request_id: str | None = None,
    url_refusal: Refusal | None = None,
) -> UpdateWorkspaceResult:
    command = UpdateWorkspace(
        call=LAUNCHER,
        workspace_id=workspace.id,
        spec=spec,
        mask=frozenset(mask),
        request_id=request_id or new_id(),
        etag=etag,
        url_refusal=url_refusal,
    )
    return update_workspace.run(world.store, command, world.deployment)


def remove(world: World, workspace: Workspace) -> Workspace:
    command = RemoveWorkspace(call=LAUNCHER, workspace_id=workspace.id)
    return remove_workspace.run(world.store, command, world.deployment, world.registry)


def drain(world: World) -> drain_outbox.DrainOutboxResult:
    world.sql("UPDATE provision.outbox SET next_attempt_time = now()")
    return drain_outbox.run(
        world.store, DrainOutbox(jitter=lambda: 0.0), world.deployment, world.registry
    )


def test_only_the_fields_of_the_mask_change(world: World) -> None:
    workspace = world.create()
    changed = update(world, workspace, replace(OPUS, model="sonnet", name="ignored"), "model")
    assert changed.workspace.spec == replace(workspace.spec, model="sonnet")
    assert changed.workspace.etag != workspace.etag
    assert changed.workspace.input_revision == workspace.input_revision + 1
    assert world.read(workspace) == changed.workspace


def test_an_empty_value_goes_back_to_the_default(world: World) -> None:
    workspace = world.create(replace(OPUS, tier=1, role="r", workspace_access="read_only"))
    changed = update(world, workspace, UNSPECIFIED, "tier", "role", "workspace_access")
    spec = changed.workspace.spec
    assert (spec.tier, spec.role, spec.workspace_access) == (3, "", "none")


def test_an_etag_that_is_not_the_current_one_changes_nothing(world: World) -> None:
    workspace = world.create()
    changed = update(world, workspace, replace(OPUS, name="a"), "name", etag=workspace.etag)
    with refused(Reason.ETAG_MISMATCH) as caught:
        update(world, workspace, replace(OPUS, name="b"), "name", etag=workspace.etag)
    assert caught.value.metadata == {"etag": changed.workspace.etag}
    assert world.read(workspace).spec.name == "a"


def test_of_two_changes_on_one_etag_one_wins(world: World) -> None:
    workspace = world.create()
    answers = at_once(
        [
            lambda name=name: update(  # type: ignore[misc]
                world, workspace, replace(OPUS, name=name), "name", etag=workspace.etag
            )
            for name in ("a", "b", "c", "d")
        ]
    )
    assert sum(isinstance(each, UpdateWorkspaceResult) for each in answers) == 1
    lost = [each for each in answers if isinstance(each, Refusal)]
    assert {each.reason for each in lost} == {Reason.ETAG_MISMATCH}


def test_a_replayed_update_is_made_once(world: World) -> None:
    workspace, request_id = world.create(), new_id()
    first = update(
        world, workspace, replace(OPUS, name="a"), "name", request_id=request_id,
        etag=workspace.etag,
    )  # fmt: skip
    again = update(
        world, workspace, replace(OPUS, name="a"), "name", request_id=request_id,
        etag=workspace.etag,
    )  # fmt: skip
    assert again.workspace == first.workspace
    with refused(SharedReason.REQUEST_ID_REUSED):
        update(world, workspace, replace(OPUS, name="b"), "name", request_id=request_id)


def test_what_is_there_already_is_no_write(world: World) -> None:
    workspace = world.create()
    assert update(world, workspace, OPUS, "model", "name").workspace == workspace


def test_what_a_launch_would_refuse_is_a_warning(world: World) -> None:
    workspace = world.create()
    changed = update(world, workspace, replace(OPUS, model="no-such-model"), "model")
    assert changed.billing.resolution.refusal is Reason.MODEL_UNREGISTERED
    assert "MODEL_UNREGISTERED" in [warning.code for warning in changed.warnings]


def test_the_shape_of_a_masked_field_is_checked_and_a_garbled_override_elsewhere_is_not(
    world: World,
) -> None:
    workspace = world.create()
    with refused(SharedReason.INVALID_REQUEST):
        update(world, workspace, replace(OPUS, tier=9), "tier")
    world.sql("UPDATE provision.workspaces SET billing_mode_override = 'garbled'")
    assert update(world, workspace, replace(OPUS, name="a"), "name").workspace.spec.name == "a"
    with refused(SharedReason.INVALID_REQUEST):
        update(world, workspace, replace(OPUS, billing_mode_override="x"), "billing_mode_override")


def test_a_parent_never_closes_a_cycle(world: World) -> None:
    grandparent = world.create()
    parent = world.create(replace(OPUS, parent_id=grandparent.id))
    child = world.create(replace(OPUS, parent_id=parent.id))
    for ancestor in (child, parent, grandparent):
        with refused(Reason.PARENT_INVALID):
            update(world, grandparent, replace(OPUS, parent_id=ancestor.id), "parent_id")
    removed = world.create()
    remove(world, removed)
    with refused(Reason.PARENT_INVALID):
        update(world, child, replace(OPUS, parent_id=removed.id), "parent_id")
    assert update(world, child, OPUS, "parent_id").workspace.spec.parent_id == ""


def test_two_changes_at_once_never_close_a_cycle(world: World) -> None:
    for _ in range(5):
        one, two = world.create(), world.create()
        at_once(
            [
                lambda a=a, b=b: update(  # type: ignore[misc]
                    world, a, replace(OPUS, parent_id=b.id), "parent_id"
                )
                for a, b in ((one, two), (two, one))
            ]
        )
        parents = {each.id: world.read(each).spec.parent_id for each in (one, two)}
        assert sorted(filter(None, parents.values())) in ([one.id], [two.id])


def test_templates_and_urls_are_checked_when_they_change(world: World) -> None:
    workspace = world.create()
    with refused(Reason.TEMPLATE_UNKNOWN):
        update(world, workspace, replace(OPUS, template="nobody"), "template")
    with refused(SharedReason.URL_FORBIDDEN):
        update(
            world,
            workspace,
            replace(OPUS, url="https://x.example"),
            "url",
            url_refusal=unresolved("x.example", "url"),
        )


def test_a_url_that_was_stored_before_is_no_mistake_of_another_change(world: World) -> None:
    workspace = world.create(replace(OPUS, url="https://x.example"))
    world.sql("UPDATE provision.workspaces SET url = 'https://m\u00fcnchen.example' RETURNING 1")
    assert (
        update(world, workspace, replace(OPUS, name="renamed"), "name").workspace.spec.name
        == "renamed"
    )


def test_a_removed_workspace_stays_removed(world: World) -> None:
    workspace = world.create()
    removed = remove(world, workspace)
    assert removed.status is WorkspaceStatus.REMOVED
    assert removed.remove_time is not None
    assert workspace.id in world.registry.retired
    assert world.count("outbox") == 0
    assert remove(world, workspace) == removed
    assert world.read(workspace) == removed
    with refused(SharedReason.WORKSPACE_REMOVED):
        update(world, workspace, replace(OPUS, name="a"), "name")


def test_a_removal_reaches_the_registry_later_when_it_is_away(world: World) -> None:
    world.registry.down = True
    workspace = world.create()
    remove(world, workspace)
    assert world.count("outbox") == 2
    world.registry.down = False
    drain(world)
    assert world.registry.calls == ["admit"], "in order, one of a workspace at a time"
    drain(world)
    assert world.registry.calls == ["admit", "retire"]
    assert world.count("outbox") == 0


def test_an_admission_that_comes_after_the_retirement_is_dropped(world: World) -> None:
    world.registry.refusals["admit"] = RegistryRefused("WORKSPACE_REMOVED", "retired")
    world.create()
    drain(world)
    assert world.count("outbox") == 0


def test_lists_are_newest_first_page_by_page_and_filtered(world: World) -> None:
    created = [world.create().id for _ in range(5)]
    foreign = world.create(tenant=GLOBEX)
    seen: list[str] = []
    token = ""
    while True:
        command = ListWorkspaces(call=LAUNCHER, tenant_id=ACME, page_size=2, page_token=token)
        page = list_workspaces.run(world.store, command)
        assert len(page.rows) <= 2
        seen += [each.id for each in page.rows]
        token = page.next_page_token
        if not token:
            break
    assert seen == created[::-1]
    mine = list_workspaces.run(world.store, ListWorkspaces(call=OF_GLOBEX)).rows
    assert [each.id for each in mine] == [foreign.id]
    with refused(SharedReason.TENANT_FORBIDDEN):
        list_workspaces.run(world.store, ListWorkspaces(call=OF_GLOBEX, tenant_id=ACME))


def test_removed_workspaces_are_listed_when_asked_for(world: World) -> None:
    kept, gone = world.create(), world.create()
    remove(world, gone)

    def ids(**filters: object) -> set[str]:
        command = ListWorkspaces(call=LAUNCHER, **filters)  # type: ignore[arg-type]
        return {each.id for each in list_workspaces.run(world.store, command).rows}

    assert ids() == {kept.id}
    assert ids(show_removed=True) == {kept.id, gone.id}
    assert ids(status=WorkspaceStatus.REMOVED) == {gone.id}
    assert ids(status=WorkspaceStatus.PENDING) == {kept.id}


def test_a_workspace_is_found_by_its_name_or_the_beginning_of_its_id(world: World) -> None:
    scribe = world.create(spec=replace(OPUS, name="scribe"))
    other = world.create(spec=replace(OPUS, name=scribe.id[:8]))
    world.create(spec=replace(OPUS, name="scribe-2"))

    def ids(named: str) -> set[str]:
        command = ListWorkspaces(call=LAUNCHER, named=named)
        return {each.id for each in list_workspaces.run(world.store, command).rows}

    assert ids("scribe") == {scribe.id}
    assert ids(scribe.id[:9]) == ids(scribe.id) == {scribe.id}
    assert ids(scribe.id[:8]) == {scribe.id, other.id}
    assert ids("scrib") == ids("zzz") == ids("%") == set()


def test_a_launch_is_found_by_the_beginning_of_its_id(world: World) -> None:
    workspace = world.create()
    launch = world.launch(workspace).provision
    assert launch is not None

    def ids(prefix: str) -> list[str]:
        command = ListProvisions(call=LAUNCHER, id_range=uuids_beginning_with(prefix))
        return [each.id for each in list_provisions.run(world.store, command).rows]

    assert ids(launch.id[:4]) == ids(launch.id) == [launch.id]
    assert ids("0" * 8 + "-0") == []


@pytest.mark.parametrize("token", ["x", "é", "bm90IGpzb24", "W10", "WyJhIiwiYiIsImMiXQ", "!" * 50])
def test_a_page_token_of_nobodys_making_is_a_mistake_of_the_request(
    world: World, token: str
) -> None:
    with refused(SharedReason.INVALID_REQUEST):
        list_workspaces.run(world.store, ListWorkspaces(call=LAUNCHER, page_token=token))
    with refused(SharedReason.INVALID_REQUEST):
        listing.run(world.store, AUDIT, ListAuditEvents(caller=ADMIN.caller, page_token=token))


NOT_TO_BE_STORED = [
    ["2026-01-01T00:00:00+00:00", "a\0b"],
    ["2026-01-01T00:00:00+00:00", "\ud800"],
    ["0001-01-01T00:00:00+23:59", "KEY"],
    ["9999-12-31T23:59:59-01:00", "KEY"],
]


@pytest.mark.parametrize("place", NOT_TO_BE_STORED)
def test_a_forged_page_token_is_never_a_fault_of_the_database(
    world: World, place: list[str]
) -> None:
    workspace = world.create()
    command = ListSecrets(call=LAUNCHER, workspace_id=workspace.id)
    forged = replace(command, page_token=paging.token_of(command, place))
    with refused(SharedReason.INVALID_REQUEST):
        list_secrets.run(world.store, forged)


def test_a_page_token_is_good_for_its_own_filters_only(world: World) -> None:
    for _ in range(3):
        world.create()
    page = list_workspaces.run(world.store, ListWorkspaces(call=LAUNCHER, page_size=1))
    with refused(SharedReason.INVALID_REQUEST):
        list_workspaces.run(
            world.store,
            ListWorkspaces(call=LAUNCHER, show_removed=True, page_token=page.next_page_token),
        )


def test_launches_are_listed_newest_first(world: World) -> None:
    workspace = world.create()
    launched = []
    for _ in range(3):
        provision = world.launch(workspace).provision
        world.complete(provision)
        launched.append(provision.id)
    first = list_provisions.run(world.store, ListProvisions(call=LAUNCHER, page_size=2))
    rest = list_provisions.run(
        world.store,
        ListProvisions(call=LAUNCHER, page_size=2, page_token=first.next_page_token),
    )
    assert [each.id for each in (*first.rows, *rest.rows)] == launched[::-1]
    assert rest.next_page_token == ""


def test_an_unknown_or_foreign_workspace_is_said(world: World) -> None:
    workspace = world.create()
    unknown = GetWorkspace(call=LAUNCHER, workspace_id=new_id())
    with refused(SharedReason.WORKSPACE_UNKNOWN):
        get_workspace.run(world.store, unknown, world.deployment, world.registry)
    foreign = GetWorkspace(call=OF_GLOBEX, workspace_id=workspace.id)
    with refused(SharedReason.TENANT_FORBIDDEN):
        get_workspace.run(world.store, foreign, world.deployment, world.registry)


def test_every_change_leaves_a_trail_without_values(world: World) -> None:
    workspace = world.create()
    update(world, workspace, replace(OPUS, name="a"), "name")
    world.set_own(workspace, "GITEA_TOKEN", "a-value-nobody-may-see")
    world.complete(world.launch(workspace).provision)
    remove(world, workspace)
    command = ListAuditEvents(caller=ADMIN.caller, workspace_id=workspace.id, page_size=4)
    first = listing.run(world.store, AUDIT, command)
    rest = listing.run(world.store, AUDIT, replace(command, page_token=first.next_page_token))
    assert [event.action for event in (*first.rows, *rest.rows)] == [
        "workspace.remove",
        "workspace.launch_complete",
        "workspace.launch",
        "secret.set",
        "workspace.update",
        "workspace.create",
    ]
    assert "a-value-nobody-may-see" not in repr(world.sql("SELECT * FROM provision.audit_events"))
    only = listing.run(world.store, AUDIT, replace(command, action="secret.set")).rows
    assert [(event.subject, event.actor) for event in only] == [("GITEA_TOKEN", "control-plane")]
    theirs = ListAuditEvents(caller=OF_GLOBEX.caller)
    assert listing.run(world.store, AUDIT, theirs).rows == ()


def test_request_ids_are_forgotten_after_a_day(world: World) -> None:
    world.create()
    assert sweep.run(world.store, Sweep()).forgotten == 0
    world.sql("UPDATE provision.requests SET create_time = now() - interval '25 hours'")
    world.create()
    assert sweep.run(world.store, Sweep()).forgotten == 1
    assert world.count("requests") == 1
