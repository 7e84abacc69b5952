"""`kill -9` of a service in the middle of each issuing call, and its restart.

The caller repeats its call until there is an answer; then everything is as if it had been
answered at once: nothing was issued twice, and what was issued works.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from agentworkspace.registry.v1 import token_pb2
from agentworkspace.registry.v1 import token_service_pb2 as tokens_pb
from agentworkspace.registry.v1 import workspace_registry_service_pb2 as registry_pb
from tests.lifecycle.launches import (
    box_of,
    box_with,
    complete,
    create,
    held,
    launch,
    workspace_at,
)
from tests.lifecycle.processes import Pair, Service, insisting, pair
from tests.rounds import TIMES
from tests.rpc.registry_server import ADMIN, LAUNCHER
from tests.rpc.registry_story import SECONDS, Workspace, new_id

SEED = random.SystemRandom().randrange(2**32)
DEATHS: Final = 3 * TIMES
ABREAST: Final = 4
# A call takes a few milliseconds; a death comes before, in the middle or after.
LATEST_SECONDS: Final = 0.03


@pytest.fixture(scope="module")
def services(
    registry_database_of_module: str,
    provision_database_of_module: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    print(f"seed {SEED}")
    directory = tmp_path_factory.mktemp("killed")
    with pair(registry_database_of_module, provision_database_of_module, directory) as running:
        yield running


@contextmanager
def dying(service: Service, chance: random.Random) -> Iterator[None]:
    """Kill it at some moment of the block, and start it again."""

    def die() -> None:
        # Not a wait for anything: the moment itself is what varies.
        threading.Event().wait(chance.uniform(0, LATEST_SECONDS))
        service.kill()
        service.start()

    thread = threading.Thread(target=die)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    service.until_serving()


def through_deaths(
    services: Sequence[Service], call: Callable[[int], object], deaths: int = DEATHS
) -> None:
    """`call` several times at once, with one of the services dying meanwhile."""
    chance = random.Random(SEED)  # noqa: S311 -- a moment, not a secret
    for death in range(deaths):
        service = services[death % len(services)]
        with ThreadPoolExecutor(ABREAST) as callers, dying(service, chance):
            done = [callers.submit(call, number) for number in range(ABREAST)]
            for each in done:
                each.result(SECONDS * 3)


def admitted(pair: Pair) -> Workspace:
    workspace = workspace_at(pair.registry)
    insisting(workspace.admit)
    return workspace


def live(workspace: Workspace, kind: int) -> list[Any]:
    return [each for each in insisting(workspace.tokens) if each.kind == kind]


def accepted(workspace: Workspace, token: str) -> bool:
    return insisting(lambda: workspace.accepts(token))


def test_admit_workspace_issues_one_first_token(services: Pair) -> None:
    def work(_: int) -> None:
        workspace = workspace_at(services.registry)
        request = registry_pb.AdmitWorkspaceRequest(
            workspace_id=workspace.workspace_id, tenant_id="acme", request_id=new_id()
        )
        request.first_token.label = "first"
        stub = services.registry.workspaces
        answer = insisting(lambda: stub.AdmitWorkspace(request, metadata=LAUNCHER, timeout=SECONDS))
        assert accepted(workspace, answer.issued.plaintext)
        assert len(live(workspace, token_pb2.TOKEN_KIND_API)) == 1

    through_deaths([services.registry], work)


def test_mint_token_issues_one(services: Pair) -> None:
    def work(_: int) -> None:
        workspace, request_id = admitted(services), new_id()
        issued = insisting(lambda: workspace.mint(request_id=request_id))
        assert accepted(workspace, issued.plaintext)
        assert len(live(workspace, token_pb2.TOKEN_KIND_API)) == 1

    through_deaths([services.registry], work)


def test_rotate_token_leaves_one_that_works(services: Pair) -> None:
    def work(_: int) -> None:
        workspace = admitted(services)
        request_id = new_id()
        old = insisting(lambda: workspace.mint(request_id=request_id))
        request = tokens_pb.RotateTokenRequest(
            workspace_id=workspace.workspace_id,
            token_id=old.token.token_id,
            request_id=new_id(),
        )
        stub = services.registry.tokens
        answer = insisting(lambda: stub.RotateToken(request, metadata=ADMIN, timeout=SECONDS))
        assert accepted(workspace, answer.issued.plaintext)
        assert len(live(workspace, token_pb2.TOKEN_KIND_API)) == 1

    through_deaths([services.registry], work)


def test_begin_incarnation_is_one_launch_with_a_ticket_that_opens(services: Pair) -> None:
    def work(_: int) -> None:
        workspace, request_id = admitted(services), new_id()
        begun = insisting(lambda: workspace.launch(request_id=request_id))
        assert begun.incarnation == 1
        ends_with_one_live_token(services, workspace, begun)

    through_deaths([services.registry], work)


def test_register_leaves_one_live_token(services: Pair) -> None:
    launched = []
    for _ in range(ABREAST * DEATHS):
        workspace = admitted(services)
        launched.append((workspace, workspace.launch()))
    left = iter(launched)

    def work(_: int) -> None:
        ends_with_one_live_token(services, *next(left))

    through_deaths([services.registry], work)


def test_a_rotating_box_ends_with_one_live_token(services: Pair) -> None:
    boxes = []
    for _ in range(ABREAST):
        workspace = admitted(services)
        begun = workspace.launch()
        boxes.append((workspace, begun))
    held_boxes = [
        box_with(services.registry, workspace, begun.bootstrap_ticket, begun.incarnation)
        for workspace, begun in boxes
    ]
    for box in held_boxes:
        box.__enter__()
    try:

        def work(number: int) -> None:
            box = held_boxes[number]
            box.rotate(SECONDS)
            workspace = boxes[number][0]
            assert accepted(workspace, held(box))
            assert len(live(workspace, token_pb2.TOKEN_KIND_INSTANCE)) == 1

        through_deaths([services.registry], work)
    finally:
        for box in held_boxes:
            box.__exit__(None, None, None)


def ends_with_one_live_token(services: Pair, workspace: Workspace, begun: Any) -> None:
    with box_with(services.registry, workspace, begun.bootstrap_ticket, begun.incarnation) as box:
        box.admitted(SECONDS)
        assert accepted(workspace, held(box))
        assert len(live(workspace, token_pb2.TOKEN_KIND_INSTANCE)) == 1


def test_create_workspace_creates_one_with_a_token_that_works(services: Pair) -> None:
    def work(_: int) -> None:
        request_id = new_id()
        answer = insisting(lambda: create(services.provision, request_id))
        while answer.auth_token_error:
            # The registry was away: the same request asks for the first token again.
            again = insisting(lambda: create(services.provision, request_id))
            assert again.workspace.id == answer.workspace.id
            answer = again
        workspace = workspace_at(services.registry, answer.workspace.id)
        assert accepted(workspace, answer.auth_token)
        assert len(live(workspace, token_pb2.TOKEN_KIND_API)) == 1

    through_deaths([services.provision, services.registry], work, DEATHS + 1)


def test_provision_workspace_is_one_launch_whose_box_gets_in(
    services: Pair, tmp_path: Path
) -> None:
    def work(_: int) -> None:
        created = insisting(lambda: create(services.provision))
        workspace_id, request_id = created.workspace.id, new_id()
        answer = insisting(lambda: launch(services.provision, workspace_id, request_id))
        assert answer.provision.incarnation == 1
        workspace = workspace_at(services.registry, workspace_id)
        with box_of(answer.env, tmp_path) as box:
            box.admitted(SECONDS)
            insisting(lambda: complete(services.provision, answer.provision.id))
            assert accepted(workspace, held(box))
            assert len(live(workspace, token_pb2.TOKEN_KIND_INSTANCE)) == 1

    through_deaths([services.provision, services.registry], work, DEATHS + 1)
