"""Creates and launches of which a batch has stored something, while there is no room for the rest.

Nothing is then refused as if it had not begun, and no claim is left with nobody to go on with it.
A registry of an earlier version leaves the rest of each to its own call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agentworkspace.core.refusal import Refusal
from agentworkspace.rpc import calls
from provision_service.storage import requests, tenants
from provision_service.storage.requests import RequestKey
from tests.storage.provision_crowd import crowd, until
from tests.storage.provision_doubles import new_id
from tests.storage.provision_world import ACME, GLOBEX, LAUNCHER, World, emptied, opened


@pytest.fixture
def world(provision_database: str, tmp_path: Path) -> Iterator[World]:
    with opened(emptied(provision_database), tmp_path) as world:
        yield world


@pytest.mark.parametrize("method", ["create", "launch"])
def test_what_was_stored_is_not_refused_for_lack_of_room(world: World, method: str) -> None:
    workspace = world.create()
    world.registry.older = True

    async def story() -> None:
        async with crowd(world) as crowded:
            crowded.then = crowded.fill
            _, task = crowded.create() if method == "create" else crowded.launch(workspace.id)
            await until(lambda: crowded.pool.held == 2)
            crowded.let.set()
            answer = await task
            assert answer.auth_token if method == "create" else answer.env

    asyncio.run(story())


@pytest.mark.parametrize("leaves", [False, True])
def test_a_claim_whose_caller_ran_out_of_time_is_released(world: World, leaves: bool) -> None:
    """Before the registry is asked; `leaves`: the call is cancelled, too."""
    workspace = world.create()
    world.registry.older = world.registry.down = True

    async def story() -> None:
        async with crowd(world) as crowded:
            call, task = crowded.launch(workspace.id)
            crowded.then = partial(crowded.out_of_time, call)
            await until(lambda: crowded.pool.held == 2)
            assert crowded.launches_of(workspace.id) == [("CLAIMED", False)]
            if leaves:
                task.cancel()
            crowded.let.set()
            with pytest.raises(asyncio.CancelledError if leaves else Refusal):
                await task
            await until(lambda: not crowded.pool.held)
            assert crowded.launches_of(workspace.id) == [("FAILED", False)]

    asyncio.run(story())


def test_a_claim_whose_caller_left_before_it_heard_of_it_is_released(world: World) -> None:
    left, stays = world.create(), world.create()
    world.registry.older = True

    async def story() -> None:
        async with crowd(world) as crowded:
            _, first = crowded.launch(left.id)
            _, other = crowded.launch(stays.id)
            crowded.then = first.cancel
            answer = await other
            assert answer.env["WORKSPACE_ID"] == stays.id
            with pytest.raises(asyncio.CancelledError):
                await first
            assert crowded.launches_of(left.id) == [("FAILED", False)]
            crowded.then = lambda: None
            _, again = crowded.launch(left.id)
            answer = await again
            assert not answer.joined
            assert answer.env["WORKSPACE_INCARNATION"] == "1"

    asyncio.run(story())


def test_a_call_without_time_stores_nothing(world: World) -> None:
    workspace = world.create()

    async def story() -> None:
        async with crowd(world) as crowded:
            started = (crowded.create(GLOBEX), crowded.launch(workspace.id))
            for call, _ in started:
                call.deadline = time.monotonic()
            for _, task in started:
                with pytest.raises(Refusal, match="nothing was changed"):
                    await task
            assert world.count("workspaces") == 1
            assert world.count("provisions") == 0

    asyncio.run(story())


@pytest.mark.parametrize("place", ["a secret", "the usage token"])
def test_a_key_that_is_not_here_yet_is_its_tenants_trouble_alone(world: World, place: str) -> None:
    """What another replica wrote under a newer key than this one has read."""
    world.set_global("GREETING", "hello", tenant=GLOBEX)
    theirs, ours = world.create(tenant=GLOBEX), world.create()
    if place == "a secret":
        world.sql("UPDATE provision.secrets SET key_id = 'k9' WHERE tenant_id = :id", id=GLOBEX)
    else:
        world.sql(
            "UPDATE provision.tenants SET usage_token_key_id = 'k9',"
            " usage_token_ciphertext = 'x', usage_token_nonce = 'y' WHERE tenant_id = :id",
            id=GLOBEX,
        )

    async def story() -> None:
        async with crowd(world, threads=2, room=100) as crowded:
            started: Sequence[tuple[calls.Call, asyncio.Task[Any]]] = [
                crowded.create(GLOBEX),
                crowded.create(),
                crowded.launch(theirs.id),
                crowded.launch(ours.id),
            ]
            answers = await asyncio.gather(*(task for _, task in started), return_exceptions=True)
            said = [getattr(answer, "message", "answered") for answer in answers]
            assert ["k9" in text or "key" in text for text in said] == [True, False, True, False]
            assert said[1] == said[3] == "answered"

    asyncio.run(story())


@pytest.mark.parametrize("held", ["the request", "the tenant"])
def test_one_that_waits_for_another_transaction_waits_alone(world: World, held: str) -> None:
    request_id, tenant = new_id(), "new-one"
    key = RequestKey(
        caller=LAUNCHER.caller.name,
        method="CreateWorkspace",
        scope=tenant,
        request_id=request_id,
    )

    async def story() -> None:
        async with crowd(world, threads=2, room=100) as crowded:
            with world.store.transaction() as tx:
                if held == "the request":
                    requests.claim(tx, key, params_digest=b"", result={})
                else:
                    tenants.ensure(tx, tenant)
                _, waits = crowded.create(tenant, request_id)
                _, other = crowded.create()
                answer = await other
                assert answer.workspace.tenant_id == ACME
                assert not waits.done()
                tx.rollback()
            assert (await waits).workspace.tenant_id == tenant

    asyncio.run(story())
