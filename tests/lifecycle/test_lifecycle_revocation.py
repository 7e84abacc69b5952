"""A receipt of a revocation holds at every replica, and a verifier keeps to what it hears."""

from __future__ import annotations

import asyncio
import itertools
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from agentworkspace.client.channel import aio_channel
from agentworkspace.client.verifier import Rejected, Verifier
from agentworkspace.core.secret import Secret
from agentworkspace.registry.v1 import token_pb2
from agentworkspace.rpc.errors import RpcFailure
from tests.lifecycle.launches import workspace_at
from tests.lifecycle.processes import RegistryProcess, registries
from tests.rounds import TIMES
from tests.rpc.registry_server import secret_of
from tests.rpc.registry_story import new_id, sha256

ROUNDS = 20 * TIMES
ASKING = 6
Replicas = tuple[RegistryProcess, ...]


@pytest.fixture(scope="module")
def replicas(
    registry_database_of_module: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Replicas]:
    directory = tmp_path_factory.mktemp("replicas")
    with registries(registry_database_of_module, directory, count=2) as running:
        yield running


class Askers:
    """They ask both replicas about one token without a pause."""

    def __init__(self, replicas: Replicas, workspace_id: str, token: str) -> None:
        self.token = token
        self.doors = [workspace_at(each, workspace_id) for each in replicas]
        self.revoked = threading.Event()
        self.accepted_before = 0

    def ask(self, number: int) -> int:
        """How often the token was accepted by a check that began after the receipt."""
        door, since, accepted_since = self.doors[number % 2], 0, 0
        while since < 3:
            after = self.revoked.is_set()
            accepted = door.accepts(self.token)
            since += after
            accepted_since += after and accepted
            self.accepted_before += accepted and not after
        return accepted_since


def test_after_the_receipt_no_replica_accepts_the_token(replicas: Replicas) -> None:
    workspace = workspace_at(replicas[0])
    workspace.admit()
    with ThreadPoolExecutor(ASKING) as pool:
        for number in range(ROUNDS):
            issued = workspace.mint(request_id=new_id())
            askers = Askers(replicas, workspace.workspace_id, issued.plaintext)
            asking = [pool.submit(askers.ask, place) for place in range(ASKING)]
            while not askers.accepted_before:
                askers.doors[1].accepts(issued.plaintext)
            workspace_at(replicas[number % 2], workspace.workspace_id).revoke(issued.token.token_id)
            askers.revoked.set()
            assert [each.result() for each in asking] == [0] * ASKING


def steal(replicas: Replicas, workspace_id: str, token: str, done: threading.Event) -> list[str]:
    """Rotate until told that it is over; every token it ever had."""
    held, numbers = [token], itertools.count()
    while not done.is_set():
        number = next(numbers)
        fresh = f"stolen-{workspace_id}-{number}"
        door = workspace_at(replicas[number % 2], workspace_id)
        try:
            door.register(held[-1], token_sha256=sha256(fresh))
        except grpc.RpcError:
            continue
        held.append(fresh)
    return held


def test_nothing_of_a_rotating_thief_survives_the_compromise(replicas: Replicas) -> None:
    """A thief rotates as fast as it can while the operator revokes: nothing of it is left."""
    for number in range(ROUNDS):
        workspace = workspace_at(replicas[number % 2])
        workspace.admit()
        ticket = workspace.launch().bootstrap_ticket
        stolen = workspace.register(ticket=ticket)
        done = threading.Event()

        with ThreadPoolExecutor(1) as pool:
            thief = pool.submit(steal, replicas, workspace.workspace_id, stolen.auth_token, done)
            while True:
                live = workspace.live_instance_tokens()
                if not live:
                    break
                workspace.revoke(live[0].token_id, reason=token_pb2.REVOKE_REASON_COMPROMISED)
            done.set()
            held = thief.result()
        assert workspace.live_instance_tokens() == []
        assert not any(workspace.accepts(token) for token in held)


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 -- a verifier announces nothing
        await asyncio.sleep(0.005)


async def test_a_verifier_drops_what_was_revoked_and_trusts_nobody_in_silence(
    replicas: Replicas,
) -> None:
    first, second = replicas
    workspace = workspace_at(first)
    await asyncio.to_thread(workspace.admit)
    kept, lost = [await asyncio.to_thread(workspace.mint) for _ in range(2)]
    async with (
        aio_channel(second.address, bearer=Secret(secret_of("gateway"))) as channel,
        Verifier(channel) as verifier,
    ):
        await until(lambda: verifier.hears)
        for issued in (kept, lost):
            await verifier.check(Secret(issued.plaintext))
            assert verifier.known(Secret(issued.plaintext)) is not None
        receipt = await asyncio.to_thread(workspace.revoke, lost.token.token_id)
        # Revoked at one replica, heard of at the other.
        await until(lambda: verifier.revision >= receipt.revision)
        assert verifier.known(Secret(lost.plaintext)) is None
        with pytest.raises(Rejected):
            await verifier.check(Secret(lost.plaintext))
        assert verifier.known(Secret(kept.plaintext)) is not None

        second.send(signal.SIGSTOP)
        try:
            await until(lambda: not verifier.hears)
            with pytest.raises(RpcFailure) as silent:
                await verifier.check(Secret(kept.plaintext))
            assert silent.value.code is grpc.StatusCode.UNAVAILABLE
        finally:
            second.send(signal.SIGCONT)
        await until(lambda: verifier.hears)
        assert (await verifier.check(Secret(kept.plaintext))).token_id == kept.token.token_id
