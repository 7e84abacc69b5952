"""PgBouncer in transaction mode, on loopback, between the registry and its database."""

from __future__ import annotations

import os
import pwd
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import grpc

from agentworkspace.registry.v1 import token_pb2, token_service_pb2
from agentworkspace.registry.v1.token_service_pb2_grpc import TokenServiceStub
from agentworkspace.service import embedded_postgres
from deploy.pair import free_addresses
from tests import debian
from tests.bench import database, processes
from tests.bench.bench import say
from tests.bench.database import Server
from tests.bench.pair import Served

PACKAGE: Final = "pgbouncer"
POOL_SIZE: Final = 6
START_SECONDS: Final = 20.0
_CONFIGURATION: Final = """
[databases]
* = host={sockets} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 500
"""


@contextmanager
def running(server: Server, home: Path) -> Iterator[str]:
    """Its address, until the block ends. debian.Missing when it cannot be installed."""
    program = debian.program("pgbouncer", PACKAGE)
    home.mkdir(parents=True, exist_ok=True)
    (address,) = free_addresses(1)
    configuration = home / "pgbouncer.ini"
    configuration.write_text(
        _CONFIGURATION.format(
            sockets=server.sockets,
            user=embedded_postgres.SUPERUSER,
            port=address.rpartition(":")[2],
            size=POOL_SIZE,
        )
    )
    command = [program, str(configuration)]
    if os.geteuid() == 0:
        # Like PostgreSQL, it does not run as root; and must get at the socket of `nobody`.
        account = pwd.getpwnam("nobody")
        os.chown(configuration, account.pw_uid, account.pw_gid)
        command = [program, "--user", "nobody", str(configuration)]
    with processes.started(command, log=home / "pgbouncer.log"):
        _wait(address, home / "pgbouncer.log")
        yield address


def settings(server: Server, database_name: str, address: str) -> dict[str, str]:
    """What a deployment sets: the pooler for everything but LISTEN."""
    user = embedded_postgres.SUPERUSER
    return {
        "REGISTRY_DATABASE_URL": f"postgresql+psycopg2://{user}@{address}/{database_name}",
        "REGISTRY_DATABASE_POOLED": "1",
        "REGISTRY_DATABASE_LISTEN_URL": server.url(database_name),
    }


def show(server: Server, served: Served) -> None:
    """Connections in use, and a revocation that arrives by LISTEN, past the pooler."""
    with server.session("postgres") as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND pid <> pg_backend_pid()"
        )
        (connections,) = cursor.fetchone() or (0,)
    say(f"   connections to PostgreSQL: {connections} (pool of {POOL_SIZE}, and one to LISTEN)")
    metadata = (("authorization", f"Bearer {served.bearer}"),)
    with grpc.insecure_channel(served.address) as channel:
        stub = TokenServiceStub(channel)
        watch = stub.WatchRevocations(
            token_service_pb2.WatchRevocationsRequest(), metadata=metadata, timeout=30
        )
        next(iter(watch))
        issued = stub.MintToken(
            token_service_pb2.MintTokenRequest(
                workspace_id=database.workspace_of(0), kind=token_pb2.TOKEN_KIND_API
            ),
            metadata=metadata,
        ).issued
        began = time.perf_counter()
        stub.RevokeToken(
            token_service_pb2.RevokeTokenRequest(
                workspace_id=database.workspace_of(0), token_id=issued.token.token_id
            ),
            metadata=metadata,
        )
        told = next(each for each in watch if each.token_sha256)
        took = (time.perf_counter() - began) * 1000
        watch.cancel()
        answer = stub.ValidateToken(
            token_service_pb2.ValidateTokenRequest(token=issued.plaintext, any_workspace=True),
            metadata=metadata,
        )
    refused = answer.WhichOneof("result") == "rejection"
    say(f"   revoked and heard of in {took:.0f} ms (revision {told.revision}); refused: {refused}")


def _wait(address: str, log: Path) -> None:
    host, _, port = address.rpartition(":")
    give_up = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            if time.monotonic() > give_up:
                raise processes.NotStarted(log.read_text(errors="replace")[-2000:]) from None
            time.sleep(0.05)
        else:
            return
