"""A thousand requests that unpack to two megabytes each, from somebody without a credential."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from tests.lifecycle.processes import RegistryProcess, registries
from tests.rounds import TIMES
from tests.rpc.registry_story import Workspace

BOMBS: Final = 1000 * TIMES
MIB: Final = 1024 * 1024
REGISTER: Final = "/agentworkspace.registry.v1.RegistrationService/Register"
# Field 15 is unknown: what follows is only there to be unpacked.
UNPACKED: Final = b"\x7a\x80\x80\x80\x01" + bytes(2 * MIB)


@pytest.fixture
def registry(registry_database: str, tmp_path: Path) -> Iterator[RegistryProcess]:
    with registries(registry_database, tmp_path) as (replica,):
        yield replica


def throw(channel: grpc.Channel, request: bytes, count: int) -> set[grpc.StatusCode]:
    call: Any = channel.unary_unary(REGISTER)
    codes = set()
    for _ in range(count):
        with pytest.raises(grpc.RpcError) as refused:
            call(request, timeout=30)
        codes.add(refused.value.code())
    return codes


@pytest.mark.parametrize("packed", [True, False], ids=["gzip", "as it is"])
def test_bombs_cost_no_memory_and_keep_nobody_waiting(
    registry: RegistryProcess, *, packed: bool
) -> None:
    assert registry.child is not None
    compression = grpc.Compression.Gzip if packed else grpc.Compression.NoCompression
    request = UNPACKED if packed else UNPACKED[: 500 * 1024]
    known = Workspace(registry)  # type: ignore[arg-type]  # it has the stubs that are asked for
    known.admit()
    with (
        grpc.insecure_channel(registry.address, compression=compression) as channel,
        ThreadPoolExecutor(4) as threads,
    ):
        throw(channel, request, 10)
        before = registry.child.resident_bytes
        bombs = [threads.submit(throw, channel, request, BOMBS // 4) for _ in range(4)]
        while not all(each.done() for each in bombs):
            assert known.registration().state
        codes = set().union(*(each.result() for each in bombs))
        grown = registry.child.resident_bytes - before
    assert codes == {grpc.StatusCode.UNIMPLEMENTED if packed else grpc.StatusCode.INVALID_ARGUMENT}
    assert grown < 64 * MIB
    # gRPC's own words for it, one a request.
    assert "ompression" not in (registry.nursery.directory / "registry.log").read_text()
