"""A registry that is paused or away for a while costs no box its life, and causes no launch."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from agentworkspace.client.agent import BlockingAgentClient
from agentworkspace.core.ids import WorkspaceId
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.registry.v1 import audit_service_pb2
from agentworkspace.registry.v1 import workspace_registry_service_pb2 as registry_pb
from registry_service.domain.liveness import RegistrationState
from tests.lifecycle.launches import box_of, complete, create, held, launch, workspace_at
from tests.lifecycle.processes import Pair, insisting, pair
from tests.rpc.registry_requests import failed
from tests.rpc.registry_server import ADMIN, LAUNCHER
from tests.rpc.registry_story import SECONDS, Workspace
from tests.storage.registry_world import World, world_at

BOXES: Final = 4
# The contract's own number, and beyond the gap after which the registry counts as away.
PAUSE_SECONDS: Final = 10.0


@pytest.fixture(scope="module")
def services(
    registry_database_of_module: str,
    provision_database_of_module: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    """Boxes report every second, and are OFFLINE after three."""
    with pair(
        registry_database_of_module,
        provision_database_of_module,
        tmp_path_factory.mktemp("silence"),
        settings={"REGISTRY_HEARTBEAT_INTERVAL_SECONDS": "1"},
    ) as running:
        yield running


@pytest.fixture
def world(services: Pair, registry_database_of_module: str) -> Iterator[World]:
    with world_at(registry_database_of_module, pool_size=1) as world:
        yield world


class Fleet:
    """Boxes that run, and the tokens they live by."""

    def __init__(self, services: Pair, boxes: list[tuple[Workspace, BlockingAgentClient]]) -> None:
        self.services = services
        self.boxes = boxes
        self.tokens = [held(box) for _, box in boxes]

    def heard_since(self, times: list[Any]) -> bool:
        return all(now > before for now, before in zip(self.last_heard(), times, strict=True))

    def last_heard(self) -> list[Any]:
        return [
            insisting(workspace.registration).last_heartbeat_time.ToNanoseconds()
            for workspace, _ in self.boxes
        ]

    def until_all_are_heard(self) -> None:
        times = self.last_heard()
        while not self.heard_since(times):
            pass

    def lives_as_before(self) -> None:
        assert [held(box) for _, box in self.boxes] == self.tokens
        for (workspace, _), token in zip(self.boxes, self.tokens, strict=True):
            assert workspace.accepts(token)
            assert len(workspace.live_instance_tokens()) == 1

    def ids(self) -> set[str]:
        return {workspace.workspace_id for workspace, _ in self.boxes}

    def nobody_is_marked(self) -> None:
        registry, provision = self.services.registry, self.services.provision
        silent = registry_pb.ListRegistrationsRequest(needs_relaunch=True)
        listed = registry.workspaces.ListRegistrations(silent, metadata=LAUNCHER, timeout=SECONDS)
        assert self.ids().isdisjoint(each.workspace_id for each in listed.registrations)
        waiting = pb.ListWorkspacesRequest(needs_launch=True)
        found = provision.workspaces.ListWorkspaces(waiting, metadata=LAUNCHER, timeout=SECONDS)
        assert self.ids().isdisjoint(each.id for each in found.workspaces)
        died = audit_service_pb2.ListAuditEventsRequest(action="registration.offline")
        events = registry.audit.ListAuditEvents(died, metadata=ADMIN, timeout=SECONDS)
        assert self.ids().isdisjoint(each.workspace_id for each in events.events)


@pytest.fixture
def fleet(services: Pair, tmp_path: Path) -> Iterator[Fleet]:
    with ExitStack() as stack:
        boxes = []
        for _ in range(BOXES):
            workspace_id = create(services.provision).workspace.id
            answer = launch(services.provision, workspace_id)
            box = stack.enter_context(box_of(answer.env, tmp_path))
            box.admitted(SECONDS)
            complete(services.provision, answer.provision.id)
            boxes.append((workspace_at(services.registry, workspace_id), box))
        fleet = Fleet(services, boxes)
        fleet.until_all_are_heard()
        yield fleet


def test_a_registry_paused_for_ten_seconds_finds_every_box_as_it_was(fleet: Fleet) -> None:
    registry = fleet.services.registry
    registry.send(signal.SIGSTOP)
    try:
        # The pause itself is the case.
        threading.Event().wait(PAUSE_SECONDS)
    finally:
        registry.send(signal.SIGCONT)
    fleet.until_all_are_heard()
    fleet.lives_as_before()
    fleet.nobody_is_marked()


def test_a_registry_that_was_down_for_five_minutes_finds_every_box_as_it_was(
    fleet: Fleet, world: World
) -> None:
    registry = fleet.services.registry
    registry.kill()
    # As if that had been five minutes ago.
    for table, column in (
        ("registrations", "last_heartbeat_time"),
        ("registrations", "register_time"),
        ("workspaces", "launch_time"),
        ("pulse", "last_time"),
        ("pulse", "up_since"),
    ):
        world.sql(f"UPDATE registry.{table} SET {column} = {column} - interval '5 minutes'")  # noqa: S608
    registry.start()
    registry.until_serving()
    # Before the boxes are back, and after.
    fleet.nobody_is_marked()
    fleet.until_all_are_heard()
    fleet.lives_as_before()
    fleet.nobody_is_marked()
    states = {world.registration(WorkspaceId(workspace_id)).state for workspace_id in fleet.ids()}
    assert states == {RegistrationState.ONLINE}


def test_a_store_that_is_away_costs_no_box_its_life(fleet: Fleet, world: World) -> None:
    """Its tables are gone for as long as each box needs to ask in vain."""
    world.sql("ALTER SCHEMA registry RENAME TO elsewhere")
    asked = [held(box) for _, box in fleet.boxes]
    for (workspace, _), token in zip(fleet.boxes, asked, strict=True):
        refused = failed(partial(workspace.heartbeat, token))
        assert (refused.reason, refused.recovery) == ("STORE_UNAVAILABLE", "RETRY")
    world.sql("ALTER SCHEMA elsewhere RENAME TO registry")
    fleet.until_all_are_heard()
    fleet.lives_as_before()
    fleet.nobody_is_marked()
