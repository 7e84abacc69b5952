"""The stream of revocations over real RPC, also between two replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import psycopg2

from agentworkspace.client.channel import aio_channel
from agentworkspace.client.verifier import Verifier
from agentworkspace.core.secret import Secret
from agentworkspace.registry.v1 import token_pb2
from agentworkspace.registry.v1 import token_service_pb2 as tokens
from tests.rpc.registry_requests import Failed
from tests.rpc.registry_server import VERIFIER, Running, secret_of, serving
from tests.rpc.registry_story import Workspace, sha256


@contextmanager
def watching(running: Running, *, after: int = 0, timeout: float = 30.0) -> Iterator[Any]:
    stream = running.tokens.WatchRevocations(
        tokens.WatchRevocationsRequest(after_revision=after), metadata=VERIFIER, timeout=timeout
    )
    try:
        yield stream
    finally:
        stream.cancel()


async def test_a_connection_that_grew_old_costs_a_verifier_nothing_that_it_knows(
    registry_database: str, tmp_path: Path
) -> None:
    """The service ends the stream after a second or two, again and again."""
    age = {"REGISTRY_MAX_CONNECTION_AGE_SECONDS": "1", "REGISTRY_CONNECTION_GRACE_SECONDS": "1"}
    with serving(registry_database, tmp_path, environment=age) as running:
        workspace = Workspace(running)
        workspace.admit()
        kept = Secret(workspace.mint().plaintext)
        revoked = workspace.mint()
        # A feed that never told anything has no revision to resume after.
        workspace.revoke(workspace.mint().token.token_id)
        own = Secret(secret_of("gateway"))
        async with (
            aio_channel(running.address, bearer=own) as channel,
            # To this clock no pause is long, however busy the machine is.
            Verifier(channel, monotonic=lambda: 0.0) as verifier,
        ):
            await until(lambda: verifier.hears)
            await verifier.check(kept)
            await verifier.check(Secret(revoked.plaintext))
            await until(lambda: ended_streams(running) >= 3)
            assert verifier.known(kept)
            workspace.revoke(revoked.token.token_id)
            await until(lambda: not verifier.known(Secret(revoked.plaintext)))
            assert verifier.known(kept)


async def until(reached: Callable[[], bool]) -> None:
    while not reached():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.01)


def ended_streams(running: Running) -> float:
    watch = "/agentworkspace.registry.v1.TokenService/WatchRevocations"
    return sum(
        sample.value
        for metric in running.collectors.collect()
        for sample in metric.samples
        if sample.name == "agentworkspace_rpc_calls_total" and sample.labels["method"] == watch
    )


def next_revocation(stream: Any) -> Any:
    for each in stream:
        if each.WhichOneof("subject"):
            return each
    raise AssertionError("the stream ended")


def test_a_keep_alive_comes_at_once_and_then_again_and_again(
    registry_database: str, tmp_path: Path
) -> None:
    with serving(registry_database, tmp_path) as running, watching(running) as stream:
        assert [next(stream).WhichOneof("subject") for _ in range(4)] == [None] * 4


def test_revocations_come_in_order_with_hash_and_reason(
    registry_database: str, tmp_path: Path
) -> None:
    with serving(registry_database, tmp_path) as running, watching(running) as stream:
        start = next(stream).revision
        workspace = Workspace(running)
        workspace.admit()
        issued = [workspace.mint() for _ in range(5)]
        for each in issued:
            workspace.revoke(each.token.token_id)
        heard = [next_revocation(stream) for _ in issued]
        assert [each.token_sha256 for each in heard] == [sha256(each.plaintext) for each in issued]
        assert {each.reason for each in heard} == {token_pb2.REVOKE_REASON_OPERATOR}
        revisions = [each.revision for each in heard]
        assert revisions == sorted(set(revisions))
        assert revisions[0] > start


def test_each_revocation_is_heard_while_the_next_has_not_been_made(
    registry_database: str, tmp_path: Path
) -> None:
    with serving(registry_database, tmp_path) as running, watching(running) as stream:
        next(stream)
        workspace = Workspace(running)
        workspace.admit()
        for _ in range(10):
            issued = workspace.mint()
            workspace.revoke(issued.token.token_id)
            assert next_revocation(stream).token_sha256 == sha256(issued.plaintext)


def test_a_revocation_at_one_replica_is_heard_at_the_other(
    registry_database: str, tmp_path: Path
) -> None:
    with (
        serving(registry_database, tmp_path) as one,
        serving(registry_database, tmp_path) as two,
        watching(two) as stream,
    ):
        next(stream)
        workspace = Workspace(one)
        workspace.admit()
        issued = workspace.mint()
        workspace.revoke(issued.token.token_id)
        assert next_revocation(stream).token_sha256 == sha256(issued.plaintext)


def test_a_watcher_that_comes_back_hears_what_it_missed(
    registry_database: str, tmp_path: Path
) -> None:
    with serving(registry_database, tmp_path) as running:
        workspace = Workspace(running)
        workspace.admit()
        issued = [workspace.mint() for _ in range(3)]
        receipts = [workspace.revoke(each.token.token_id) for each in issued]
        with watching(running, after=receipts[0].revision) as stream:
            heard = [next_revocation(stream).token_sha256 for _ in range(2)]
        assert heard == [sha256(each.plaintext) for each in issued[1:]]


def test_a_revision_of_another_feed_resets(registry_database: str, tmp_path: Path) -> None:
    with (
        serving(registry_database, tmp_path) as running,
        watching(running, after=1_000_000) as stream,
    ):
        assert next(stream).reset


def test_the_stream_goes_on_when_the_listening_connection_was_cut(
    registry_database: str, tmp_path: Path
) -> None:
    with serving(registry_database, tmp_path) as running, watching(running) as stream:
        next(stream)
        cut_listeners(registry_database)
        workspace = Workspace(running)
        workspace.admit()
        issued = workspace.mint()
        workspace.revoke(issued.token.token_id)
        assert next_revocation(stream).token_sha256 == sha256(issued.plaintext)


def test_behind_a_pooler_polling_alone_brings_the_news(
    registry_database: str, tmp_path: Path
) -> None:
    pooled = {"REGISTRY_DATABASE_POOLED": "1"}
    with (
        serving(registry_database, tmp_path, environment=pooled) as running,
        watching(running) as stream,
    ):
        next(stream)
        workspace = Workspace(running)
        workspace.admit()
        issued = workspace.mint()
        workspace.revoke(issued.token.token_id)
        assert next_revocation(stream).token_sha256 == sha256(issued.plaintext)


def test_a_stop_ends_the_stream_with_unavailable(registry_database: str, tmp_path: Path) -> None:
    with serving(registry_database, tmp_path) as running:
        stream = running.tokens.WatchRevocations(
            tokens.WatchRevocationsRequest(), metadata=VERIFIER, timeout=30
        )
        next(stream)
        running.on_loop(running.service.stop())
        try:
            for _ in stream:
                pass
        except grpc.RpcError as error:
            ended = Failed(error)
        assert ended.code is grpc.StatusCode.UNAVAILABLE
        assert ended.reason == "SHUTTING_DOWN"


def cut_listeners(url: str) -> None:
    dsn = url.replace("postgresql+psycopg2://", "postgresql://", 1)
    connection = psycopg2.connect(dsn)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE application_name = 'registry-service listener'"
                " AND datname = current_database()"
            )
            row = cursor.fetchone()
            assert row is not None
            assert row[0] == 1
    finally:
        connection.close()
