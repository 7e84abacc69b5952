"""Whatever comes over the wire, to whatever method: never INTERNAL, never UNKNOWN, no growth.

`AGENTWORKSPACE_TEST_ROUNDS=250 ./deploy/test fuzz` makes a million inputs; a failure names the seed
of its world, and the line of the call.
"""

from __future__ import annotations

import asyncio
import os
import random
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor import MethodDescriptor

from agentworkspace.provision.v1 import provision_pb2, workspace_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as launches
from agentworkspace.rpc.errors import failure_from
from provision_service.api.policy import SERVICES as PROVISION
from registry_service.api.policy import SERVICES as REGISTRY
from tests.contract.fuzz_inputs import Input, Inputs, World
from tests.lifecycle.processes import Pair, Service, pair
from tests.rounds import TIMES
from tests.rpc.provision_server import LAUNCHER
from tests.rpc.registry_story import Workspace

# Of each service, in one round.
INPUTS: Final = 2000
# Then what exists is made anew: much was retired or revoked by luck.
A_WORLD: Final = 500
AT_ONCE: Final = 16
MIB: Final = 1024 * 1024
# What no input may lead to; and what gRPC itself says of a call that ended before.
FAULTS: Final = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}
WITHOUT_REASON: Final = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
SEED: Final = int(os.environ.get("AGENTWORKSPACE_TEST_SEED", "20250101"))


def methods_of(services: Any) -> Mapping[str, MethodDescriptor]:
    return {
        f"/{service.full_name}/{method.name}": method
        for service in services
        for method in service.methods
    }


@pytest.fixture(scope="module")
def both(
    registry_database_of_module: str,
    provision_database_of_module: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    directory = tmp_path_factory.mktemp("fuzz")
    settings = {"PROVISION_PROBES": "off"}
    with pair(
        registry_database_of_module, provision_database_of_module, directory, settings=settings
    ) as running:
        yield running


def furnish(both: Pair, chance: random.Random) -> World:
    """A workspace of each kind at both services, with whatever opens something."""
    world = World([str(uuid.UUID(int=chance.getrandbits(128), version=4))])
    # Of its own: earlier inputs may have left anything with the others.
    tenant = f"fuzz-{chance.getrandbits(64):x}"
    for each in (tenant, "acme", "globex"):
        world.add("tenant_id", each)
    created = both.provision.workspaces.CreateWorkspace(
        launches.CreateWorkspaceRequest(
            tenant_id=tenant,
            workspace=workspace_pb2.Workspace(name="fuzz", model="opus"),
            secrets={"CLAUDE_CODE_OAUTH_TOKEN": f"sk-ant-oat-{tenant}"},
        ),
        metadata=LAUNCHER,
        timeout=30,
    )
    launched = both.provision.workspaces.ProvisionWorkspace(
        launches.ProvisionWorkspaceRequest(
            workspace_id=created.workspace.id, reason=provision_pb2.PROVISION_REASON_CREATE
        ),
        metadata=LAUNCHER,
        timeout=30,
    )
    world.add("workspace_id", created.workspace.id)
    world.add("parent_id", created.workspace.id)
    world.add("etag", created.workspace.etag)
    world.add("provision_id", launched.provision.id)
    world.tokens += [created.auth_token, launched.env["WORKSPACE_BOOTSTRAP_TICKET"]]
    registry: Any = both.registry
    for _ in range(2):
        own = Workspace(registry)
        first = own.admit(first_token=True).issued
        ticket = own.launch().bootstrap_ticket
        box = own.register(ticket=ticket)
        world.add("workspace_id", own.workspace_id)
        world.add("token_id", first.token.token_id)
        world.add("token_id", box.token.token_id)
        for secret in (first.plaintext, ticket, box.auth_token):
            world.tokens.append(secret)
            world.named.setdefault("token", []).append(secret)
        world.named.setdefault("bootstrap_ticket", []).append(ticket)
    return world


async def answer(channel: grpc.aio.Channel, each: Input) -> grpc.aio.AioRpcError | None:
    """How the call failed; None when it was answered."""
    untyped: Any = channel
    options = {"timeout": each.deadline, "metadata": each.metadata}
    try:
        if not each.streams:
            await untyped.unary_unary(each.method)(each.request, **options)
            return None
        stream = untyped.unary_stream(each.method)(each.request, **options)
        async for _ in stream:
            stream.cancel()
            return None
    except grpc.aio.AioRpcError as error:
        return error
    except asyncio.CancelledError:
        if not each.streams:
            raise
    return None


def wrong(each: Input, error: grpc.aio.AioRpcError | None) -> str | None:
    """What is wrong with such an end of a call, or None."""
    if error is None:
        return None
    failure = failure_from(error)
    if failure.code in FAULTS:
        return f"{failure.code.name} {failure.reason}: {failure.message}\n    {each}"
    if not failure.reason and failure.code not in WITHOUT_REASON:
        return f"{failure.code.name} without a reason: {failure.message}\n    {each}"
    return None


async def throw(address: str, inputs: list[Input]) -> tuple[Counter[str], list[str]]:
    """Make these calls, some at once; how they ended, and what was wrong."""
    ends: Counter[str] = Counter()
    found: list[str] = []
    todo = iter(inputs)

    async def work(channel: grpc.aio.Channel) -> None:
        for each in todo:
            error = await answer(channel, each)
            ends[error.code().name if error else "OK"] += 1
            said = wrong(each, error)
            if said is not None:
                found.append(said)

    async with grpc.aio.insecure_channel(address) as channel:
        await asyncio.gather(*(work(channel) for _ in range(AT_ONCE)))
    return ends, found


@pytest.mark.timeout(300 * TIMES)
@pytest.mark.parametrize("name", ["registry", "provision"])
def test_no_input_is_a_fault_and_none_leaves_anything_behind(both: Pair, name: str) -> None:
    service: Service = both.registry if name == "registry" else both.provision
    methods = methods_of(REGISTRY if name == "registry" else PROVISION)
    chance = random.Random(SEED)  # noqa: S311 -- to be made again, not to be secret
    ends: Counter[str] = Counter()
    sizes: list[int] = []
    for number in range(TIMES * INPUTS // A_WORLD):
        made = Inputs(methods, SEED + number, furnish(both, chance))
        thrown, found = asyncio.run(throw(service.address, [made.make() for _ in range(A_WORLD)]))
        assert not found, f"seed {SEED + number}:\n" + "\n".join(found[:20])
        ends += thrown
        assert service.child is not None
        sizes.append(service.child.resident_bytes)
    print(f"{name}: {dict(ends)}, MiB: {[size // MIB for size in sizes]}")
    log = (service.nursery.directory / f"{name}.log").read_text()
    faults = [line for line in log.splitlines() if '"level": "error"' in line]
    assert not faults, faults[:5]
    # Both sides of the door were seen, or the inputs are no good.
    assert ends["OK"] > TIMES * INPUTS // 10, ends
    assert ends["INVALID_ARGUMENT"] > TIMES * INPUTS // 10, ends
    # After the first half everything that is kept on purpose is there.
    assert sizes[-1] - sizes[len(sizes) // 2] < 48 * MIB, [size // MIB for size in sizes]
