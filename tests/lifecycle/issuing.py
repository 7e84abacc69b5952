"""Each call that issues something, with `kill -9` of what serves it in the middle.

The caller repeats its call until there is an answer; then everything is as if it had been answered
at once: nothing was issued twice, what was issued works, and what was ended is refused.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

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
from tests.lifecycle.processes import Pair, insisting
from tests.rpc.registry_server import ADMIN, LAUNCHER
from tests.rpc.registry_story import SECONDS, Workspace, new_id

ABREAST: Final = 4
# A call takes a few milliseconds; a death comes before, in the middle or after.
LATEST_SECONDS: Final = 0.03
# Up to its only `yield` it prepares; the call and what must be true of it then come after.
Story = Callable[[Pair, Path], Iterator[None]]


class Victim(Protocol):
    """What is killed and started again."""

    def kill(self) -> None: ...
    def start(self) -> None: ...
    def until_serving(self) -> None: ...


def through_a_death(victim: Victim, stories: list[Iterator[None]], chance: random.Random) -> None:
    """Tell these stories at once, with the victim dying meanwhile."""
    for story in stories:
        next(story)
    with ThreadPoolExecutor(len(stories)) as callers, _dying(victim, chance):
        ends = [callers.submit(list, story) for story in stories]
        for end in ends:
            end.result(SECONDS * 3)


@contextmanager
def _dying(victim: Victim, chance: random.Random) -> Iterator[None]:
    """Kill it at some moment of the block, and start it again."""

    def die() -> None:
        # Not a wait for anything: the moment itself is what varies.
        threading.Event().wait(chance.uniform(0, LATEST_SECONDS))
        victim.kill()
        victim.start()

    thread = threading.Thread(target=die)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    victim.until_serving()


def _admit_workspace(services: Pair, _directory: Path) -> Iterator[None]:
    workspace = workspace_at(services.registry)
    request = registry_pb.AdmitWorkspaceRequest(
        workspace_id=workspace.workspace_id, tenant_id="acme", request_id=new_id()
    )
    request.first_token.label = "first"
    stub = services.registry.workspaces
    yield
    answer = insisting(lambda: stub.AdmitWorkspace(request, metadata=LAUNCHER, timeout=SECONDS))
    assert _accepted(workspace, answer.issued.plaintext)
    assert len(_live(workspace, token_pb2.TOKEN_KIND_API)) == 1


def _mint_token(services: Pair, _directory: Path) -> Iterator[None]:
    workspace, request_id = _admitted(services), new_id()
    yield
    issued = insisting(lambda: workspace.mint(request_id=request_id))
    assert _accepted(workspace, issued.plaintext)
    assert len(_live(workspace, token_pb2.TOKEN_KIND_API)) == 1


def _rotate_token(services: Pair, _directory: Path) -> Iterator[None]:
    workspace = _admitted(services)
    old = workspace.mint()
    request = tokens_pb.RotateTokenRequest(
        workspace_id=workspace.workspace_id, token_id=old.token.token_id, request_id=new_id()
    )
    stub = services.registry.tokens
    yield
    answer = insisting(lambda: stub.RotateToken(request, metadata=ADMIN, timeout=SECONDS))
    assert _accepted(workspace, answer.issued.plaintext)
    assert not _accepted(workspace, old.plaintext)
    assert len(_live(workspace, token_pb2.TOKEN_KIND_API)) == 1


def _revoke_token(services: Pair, _directory: Path) -> Iterator[None]:
    """It issues nothing, and nothing comes back of what it ended."""
    workspace = _admitted(services)
    issued = workspace.mint()
    yield
    insisting(lambda: workspace.revoke(issued.token.token_id))
    assert not _accepted(workspace, issued.plaintext)
    assert _live(workspace, token_pb2.TOKEN_KIND_API) == []


def _begin_incarnation(services: Pair, _directory: Path) -> Iterator[None]:
    workspace, request_id = _admitted(services), new_id()
    yield
    begun = insisting(lambda: workspace.launch(request_id=request_id))
    assert begun.incarnation == 1
    _gets_in(services, workspace, begun)


def _register(services: Pair, _directory: Path) -> Iterator[None]:
    workspace = _admitted(services)
    begun = workspace.launch()
    yield
    _gets_in(services, workspace, begun)


def _rotate_as_a_box(services: Pair, _directory: Path) -> Iterator[None]:
    workspace = _admitted(services)
    begun = workspace.launch()
    with box_with(services.registry, workspace, begun.bootstrap_ticket, begun.incarnation) as box:
        box.admitted(SECONDS)
        before = held(box)
        yield
        box.rotate(SECONDS)
        assert held(box) != before
        assert _accepted(workspace, held(box))
        assert len(_live(workspace, token_pb2.TOKEN_KIND_INSTANCE)) == 1


def _create_workspace(services: Pair, _directory: Path) -> Iterator[None]:
    request_id = new_id()
    yield
    answer = insisting(lambda: create(services.provision, request_id))
    while answer.auth_token_error:
        # The registry was away: the same request asks for the first token again.
        again = insisting(lambda: create(services.provision, request_id))
        assert again.workspace.id == answer.workspace.id
        answer = again
    workspace = workspace_at(services.registry, answer.workspace.id)
    assert _accepted(workspace, answer.auth_token)
    assert len(_live(workspace, token_pb2.TOKEN_KIND_API)) == 1


def _provision_workspace(services: Pair, directory: Path) -> Iterator[None]:
    workspace_id, request_id = create(services.provision).workspace.id, new_id()
    yield
    answer = insisting(lambda: launch(services.provision, workspace_id, request_id))
    assert answer.provision.incarnation == 1
    workspace = workspace_at(services.registry, workspace_id)
    with box_of(answer.env, directory) as box:
        box.admitted(SECONDS)
        insisting(lambda: complete(services.provision, answer.provision.id))
        assert _accepted(workspace, held(box))
        assert len(_live(workspace, token_pb2.TOKEN_KIND_INSTANCE)) == 1


STORIES: Final[Mapping[str, Story]] = {
    "AdmitWorkspace": _admit_workspace,
    "MintToken": _mint_token,
    "RotateToken": _rotate_token,
    "RevokeToken": _revoke_token,
    "BeginIncarnation": _begin_incarnation,
    "Register": _register,
    "Register-again": _rotate_as_a_box,
    "CreateWorkspace": _create_workspace,
    "ProvisionWorkspace": _provision_workspace,
}


def _gets_in(services: Pair, workspace: Workspace, begun: Any) -> None:
    with box_with(services.registry, workspace, begun.bootstrap_ticket, begun.incarnation) as box:
        box.admitted(SECONDS)
        assert _accepted(workspace, held(box))
        assert len(_live(workspace, token_pb2.TOKEN_KIND_INSTANCE)) == 1


def _admitted(pair: Pair) -> Workspace:
    workspace = workspace_at(pair.registry)
    workspace.admit()
    return workspace


def _live(workspace: Workspace, kind: int) -> list[Any]:
    return [each for each in insisting(workspace.tokens) if each.kind == kind]


def _accepted(workspace: Workspace, token: str) -> bool:
    return insisting(lambda: workspace.accepts(token))
