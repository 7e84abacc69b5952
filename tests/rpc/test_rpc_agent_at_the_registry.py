"""The agent client and the verifier at a real registry, on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentworkspace.client.agent import AgentClient, Launch, ProcessMemory, Stopped
from agentworkspace.client.channel import aio_channel
from agentworkspace.client.verifier import Rejected, Verifier
from agentworkspace.core.secret import Secret
from agentworkspace.registry.v1 import token_pb2
from tests.rpc.registry_server import Running, secret_of, serving
from tests.rpc.registry_story import Workspace

PATIENCE = 20.0


@pytest.fixture(scope="module")
def registry(
    registry_database_of_module: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    directory: Path = tmp_path_factory.mktemp("registry")
    often = {"REGISTRY_HEARTBEAT_INTERVAL_SECONDS": "1"}
    with serving(registry_database_of_module, directory, environment=often) as running:
        yield running


@pytest.fixture
def workspace(registry: Running) -> Workspace:
    made = Workspace(registry)
    made.admit()
    return made


def launch_of(workspace: Workspace) -> Launch:
    begun = workspace.launch()
    return Launch(
        workspace_id=workspace.workspace_id,
        address=workspace.running.address,
        ticket=Secret(begun.bootstrap_ticket),
        incarnation=begun.incarnation,
    )


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(reached):  # noqa: ASYNC110 - asks the registry each time
            await asyncio.sleep(0.05)


def live_token_ids(workspace: Workspace) -> list[str]:
    return [each.token_id for each in workspace.live_instance_tokens()]


async def test_a_box_gets_in_rotates_and_comes_back_after_a_revocation(
    workspace: Workspace,
) -> None:
    memory = ProcessMemory()
    async with AgentClient(await asyncio.to_thread(launch_of, workspace), memory=memory) as agent:
        admission = await asyncio.wait_for(agent.admitted(), PATIENCE)
        assert (admission.outcome, admission.incarnation) == ("BOOTSTRAPPED", 1)
        (first,) = live_token_ids(workspace)
        await asyncio.wait_for(agent.rotate(), PATIENCE)
        await until(lambda: len(live_token_ids(workspace)) == 1)
        (second,) = live_token_ids(workspace)
        assert second != first
        workspace.revoke(second)
        await until(lambda: len(live_token_ids(workspace)) == 1)
        (third,) = live_token_ids(workspace)
        assert third != second
        held = agent.bearer()
        assert held is not None
        assert workspace.validate(held.reveal()).principal.token_id == third


async def test_the_replaced_box_is_told_to_stop_and_the_new_one_stays(
    workspace: Workspace,
) -> None:
    async with AgentClient(await asyncio.to_thread(launch_of, workspace)) as old:
        await asyncio.wait_for(old.admitted(), PATIENCE)
        async with AgentClient(await asyncio.to_thread(launch_of, workspace)) as new:
            assert (await asyncio.wait_for(new.admitted(), PATIENCE)).incarnation == 2
            with pytest.raises(Stopped):
                await asyncio.wait_for(old.finished(), PATIENCE)
            assert len(live_token_ids(workspace)) == 1


async def test_a_verifier_drops_a_revoked_token_soon_after_the_receipt(
    workspace: Workspace,
) -> None:
    begun = workspace.launch()
    made = workspace.register(ticket=begun.bootstrap_ticket)
    token = Secret(made.auth_token)
    own = Secret(secret_of("gateway"))
    async with (
        aio_channel(workspace.running.address, bearer=own) as channel,
        Verifier(channel) as verifier,
    ):
        await until(lambda: verifier.hears)
        principal = await verifier.check(token, workspace_id=workspace.workspace_id)
        assert principal.token_id == made.token.token_id
        assert verifier.known(token) is not None
        receipt = await asyncio.to_thread(
            workspace.revoke, made.token.token_id, reason=token_pb2.REVOKE_REASON_OPERATOR
        )
        with pytest.raises(Rejected):
            await verifier.check(token, min_revision=receipt.revision)
        while verifier.known(token) is not None:  # noqa: ASYNC110 - inside the verifier
            await asyncio.sleep(0.001)
        with pytest.raises(Rejected):
            await verifier.check(token)
