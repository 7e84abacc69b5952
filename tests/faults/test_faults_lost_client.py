"""A replica is lost in the middle of a transaction, and with it the rows that it has locked."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest

from agentworkspace.provision.v1 import provision_pb2
from tests.faults.pairs import make_databases
from tests.faults.proxies import Proxy
from tests.faults.servers import Server, reachable_directory, started
from tests.lifecycle.launches import complete, create, launch
from tests.lifecycle.processes import (
    PASSING,
    ProvisionProcess,
    insisting,
    nursery_of,
    provision_process,
    registry_process,
)
from tests.rpc.registry_requests import failed


@dataclass(frozen=True)
class Stage:
    server: Server
    proxy: Proxy
    # It alone is behind the proxy.
    lost: ProvisionProcess
    other: ProvisionProcess


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        directory = stack.enter_context(reachable_directory())
        server = stack.enter_context(started(Server(directory / "postgres")))
        make_databases(server)
        proxy = stack.enter_context(closing(Proxy(server.sockets)))
        nursery = stack.enter_context(nursery_of(tmp_path))
        registry = registry_process(nursery, stack, server.url("registry"), {})
        lost, other = (
            provision_process(nursery, stack, url, registry.address, {})
            for url in (proxy.url("provision"), server.url("provision"))
        )
        yield Stage(server, proxy, lost, other)


def test_the_rows_of_a_lost_client_are_free_again(stage: Stage) -> None:
    workspace_id = create(stage.other).workspace.id
    launched = launch(stage.other, workspace_id)
    holder = psycopg2.connect(stage.server.url("provision"))
    with closing(holder), ThreadPoolExecutor() as callers:
        with holder.cursor() as cursor:
            cursor.execute("SELECT FROM provision.workspaces FOR UPDATE")
        gone = callers.submit(failed, lambda: complete(stage.lost, launched.provision.id))
        while not stage.server.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            assert not gone.done()
        # In the middle of its transaction nothing of it arrives any more. Then it gets the rows.
        stage.proxy.hold()
        holder.rollback()
        answer = insisting(lambda: complete(stage.other, launched.provision.id))
        assert answer.state == provision_pb2.PROVISION_STATE_LAUNCHED
        assert gone.result().code in PASSING
