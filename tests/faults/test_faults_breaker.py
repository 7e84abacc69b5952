"""Strangers who call in crowds with hardly any time cut nobody off from the registry."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from agentworkspace.provision.v1 import secret_service_pb2
from agentworkspace.provision.v1.secret_service_pb2_grpc import SecretServiceStub
from tests.lifecycle.lives import Lives, Replicas, broken_promises
from tests.lifecycle.processes import Pair, ProvisionProcess, pair
from tests.rounds import TIMES
from tests.rpc.registry_server import bearer
from tests.rpc.registry_story import new_id

pytestmark = pytest.mark.timeout(120 * TIMES)

SEED = random.SystemRandom().randrange(2**32)
LIVES: Final = 6 * TIMES
ABREAST: Final = 4
# Enough to be let in and asked for at the registry, too little for its answer.
DEADLINE_SECONDS: Final = 0.004


@pytest.fixture
def services(registry_database: str, provision_database: str, tmp_path: Path) -> Iterator[Pair]:
    with pair(registry_database, provision_database, tmp_path) as running:
        yield running


@contextmanager
def strangers(provision: ProvisionProcess) -> Iterator[set[grpc.StatusCode]]:
    """They call all the while, each time with a bearer that nobody has seen; their answers."""
    over = threading.Event()
    told: set[grpc.StatusCode] = set()

    def call() -> None:
        request = secret_service_pb2.GetSecretValuesRequest(workspace_id=new_id())
        with grpc.insecure_channel(provision.address) as channel:
            stub: Any = SecretServiceStub(channel)
            while not over.wait(DEADLINE_SECONDS):
                with pytest.raises(grpc.RpcError) as refused:
                    stub.GetSecretValues(
                        request, metadata=bearer(f"nobody-{new_id()}"), timeout=DEADLINE_SECONDS
                    )
                told.add(refused.value.code())

    with ThreadPoolExecutor(ABREAST) as threads:
        calling = [threads.submit(call) for _ in range(ABREAST)]
        try:
            yield told
        finally:
            over.set()
        for each in calling:
            each.result()


def test_unknown_bearers_with_short_deadlines_stop_no_launch(services: Pair) -> None:
    print(f"seed {SEED}")
    lives = Lives(SEED)
    # Not patient: one launch, first token or secret that is refused fails the test.
    replicas = Replicas([services.registry], services.provisions)
    with strangers(services.provision) as told, lives.going_on(replicas):
        lives.until_more_have_lived(LIVES)
    assert grpc.StatusCode.OK not in told
    assert told, "nobody called"
    assert broken_promises(lives.ledger, replicas) == []
