"""What an operator relies on: health, faults of the store, limits, metrics, clean logs."""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from prometheus_client import generate_latest

from agentworkspace.registry.v1 import registration_service_pb2 as box
from agentworkspace.registry.v1 import token_service_pb2 as tokens
from agentworkspace.server import logs
from tests.postgres import PostgresServer, migration_of
from tests.rpc.registry_requests import failed
from tests.rpc.registry_server import ADMIN, SERVING, Running, secret_of, serving, until_serving
from tests.rpc.registry_story import SECONDS, Workspace, new_id

StatusCode = grpc.StatusCode
NOWHERE = "postgresql+psycopg2://registry:hunter2@127.0.0.1:1/registry"


def eventually(holds: Callable[[], bool], seconds: float = 15.0) -> None:
    give_up = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up, "it never came true"
        time.sleep(0.02)


def test_without_a_database_it_is_up_not_serving_and_says_unavailable(tmp_path: Path) -> None:
    with serving(NOWHERE, tmp_path, wait=False) as running:
        assert running.health() != SERVING
        workspace = Workspace(running)
        for refused in (
            failed(workspace.register),
            failed(lambda: workspace.register("awa_something")),
            failed(lambda: workspace.heartbeat("awa_something")),
            failed(workspace.admit),
            failed(workspace.mint),
            failed(lambda: workspace.validate("awa_something")),
        ):
            assert (refused.code, refused.reason) == (StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
            assert refused.recovery == "RETRY"
            assert refused.retry_seconds is not None
            assert "hunter2" not in refused.message


def test_it_begins_to_serve_when_the_database_comes(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    with postgres.fresh_database("registry") as url:
        # The right server, a database that will only exist in a moment.
        name = f"late_{new_id().replace('-', '')}"
        late_url = postgres.url(name)
        with serving(late_url, tmp_path, wait=False) as running:
            assert failed(Workspace(running).admit).reason == "STORE_UNAVAILABLE"
            template = url.split("?")[0].rpartition("/")[2]
            postgres._execute("CREATE DATABASE {} TEMPLATE {}", name, template)
            until_serving(running)
            Workspace(running).admit()
        postgres._execute("DROP DATABASE {} WITH (FORCE)", name)


def test_a_database_without_the_schema_is_named_and_waited_for(
    empty_database: str, tmp_path: Path, debug_log: io.StringIO
) -> None:
    with serving(empty_database, tmp_path, wait=False) as running:
        eventually(lambda: "run this service's `migrate`" in debug_log.getvalue())
        assert running.health() != SERVING
        migration_of("registry")(empty_database)
        until_serving(running)
        Workspace(running).admit()


def test_with_a_certificate_only_tls_is_spoken(registry_database: str, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    environment = {
        "REGISTRY_TLS_CERTIFICATE_FILE": str(certificate),
        "REGISTRY_TLS_KEY_FILE": str(key),
    }
    with serving(registry_database, tmp_path, wait=False, environment=environment) as running:
        plain = failed(Workspace(running).admit)
        assert plain.code is StatusCode.UNAVAILABLE
        trusted = grpc.ssl_channel_credentials(certificate.read_bytes())
        with grpc.secure_channel(f"localhost:{running.port}", trusted) as channel:
            until_serving(replace(running, channel=channel))
            Workspace(replace(running, channel=channel)).admit()


def self_signed(directory: Path) -> tuple[Path, Path]:
    """A certificate for localhost and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, private = directory / "cert.pem", directory / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, private


def test_refused_registers_without_evidence_are_limited_and_the_box_is_not(
    registry_database: str, tmp_path: Path
) -> None:
    limits = {
        "REGISTRY_REFUSED_REGISTERS_BURST": "5",
        "REGISTRY_REFUSED_REGISTERS_PER_SECOND": "1",
    }
    with serving(registry_database, tmp_path, environment=limits) as running:
        workspace = Workspace(running)
        workspace.admit()
        mine = workspace.register()
        reasons = [failed(workspace.register).reason for _ in range(6)]
        assert reasons == ["BEARER_MISSING"] * 5 + ["RATE_LIMITED"]
        limited = failed(workspace.register)
        assert limited.code is StatusCode.RESOURCE_EXHAUSTED
        assert limited.retry_seconds is not None
        assert limited.retry_seconds >= 1
        # The holder of evidence comes in, and even when refused it is told the truth.
        workspace.register(mine.auth_token)
        workspace.revoke(mine.token.token_id)
        workspace.register(mine.auth_token)
        assert [failed(lambda: workspace.register(mine.auth_token)).reason for _ in range(10)] == [
            "BEARER_REJECTED"
        ] * 10


def test_a_full_server_refuses_with_a_time_to_come_back(
    registry_database: str, tmp_path: Path
) -> None:
    limits = {"REGISTRY_MAX_WAITING": "1", "REGISTRY_THREADS": "1"}
    with serving(registry_database, tmp_path, environment=limits) as running:
        workspace = Workspace(running)
        workspace.admit()
        held = threading.Event()
        pool = running.service.cold

        async def fill() -> list[Any]:
            import asyncio  # noqa: PLC0415 - only this coroutine needs it

            return [asyncio.ensure_future(pool.run(held.wait)) for _ in range(2)]

        running.on_loop(fill())
        refused = failed(workspace.registration)
        assert (refused.code, refused.reason) == (StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert refused.retry_seconds is not None
        held.set()
        eventually(lambda: pool.held == 0)
        workspace.registration()


def test_metrics_tell_of_admissions_and_hold_no_id(registry_database: str, tmp_path: Path) -> None:
    with serving(registry_database, tmp_path) as running:
        workspace = Workspace(running)
        workspace.admit()
        token = workspace.register().auth_token
        workspace.register(token)
        failed(workspace.register)
        workspace.revoke_all()
        text = exposed(running)
        eventually(lambda: 'registry_revocations_total{reason="OPERATOR"}' in exposed(running))
        assert 'registry_admissions_total{line="OPEN_DOOR",outcome="BOOTSTRAPPED"} 1.0' in text
        assert 'registry_admissions_total{line="LIVE_TOKEN",outcome="AUTHENTICATED"} 1.0' in text
        assert 'registry_admissions_without_evidence_total{line="OPEN_DOOR"} 1.0' in text
        assert (
            'registry_register_refusals_total{line="ANOTHER_LIVES",reason="BEARER_MISSING"} 1.0'
            in text
        )
        assert 'agentworkspace_batch_size_count{queue="register"} 1.0' in text
        assert 'agentworkspace_batch_queue_depth{queue="heartbeat"} 0.0' in text
        assert workspace.workspace_id not in text
        assert token not in text


def exposed(running: Running) -> str:
    return generate_latest(running.collectors).decode()


@pytest.fixture
def debug_log() -> Iterator[io.StringIO]:
    """Everything that this process logs, at debug level."""
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    logs.configure(level="debug", stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


def test_no_secret_of_a_whole_run_is_in_the_log_at_debug_level(
    registry_database: str, tmp_path: Path, debug_log: io.StringIO
) -> None:
    with serving(registry_database, tmp_path) as running:
        workspace = Workspace(running)
        secrets = [workspace.admit(first_token=True).issued.plaintext, workspace.mint().plaintext]
        launch = workspace.launch()
        secrets.append(launch.bootstrap_ticket)
        answer = workspace.register(ticket=launch.bootstrap_ticket)
        secrets.append(answer.auth_token)
        workspace.heartbeat(answer.auth_token)
        workspace.validate(answer.auth_token)
        failed(lambda: workspace.validate(answer.auth_token, workspace_id="no id"))
        failed(lambda: workspace.register(secrets[1] + "x"))
        failed(lambda: workspace.mint(label=answer.auth_token, scopes=["NO"]))
        workspace.update_card(answer.auth_token, url="https://203.0.114.7/")
        for each in secrets[:2]:
            running.tokens.ListTokens(
                tokens.ListTokensRequest(workspace_id=workspace.workspace_id),
                metadata=(*ADMIN, ("agentworkspace-correlation-id", each)),
                timeout=SECONDS,
            )
        workspace.deregister(answer.auth_token)
    text = debug_log.getvalue()
    assert '"method": "/agentworkspace.registry.v1.RegistrationService/Heartbeat"' in text
    for secret in (*secrets, secret_of("operator"), secret_of("control-plane")):
        assert secret not in text
        assert secret[4:40] not in text


def test_a_stop_lets_running_calls_finish(registry_database: str, tmp_path: Path) -> None:
    with serving(registry_database, tmp_path) as running:
        workspace = Workspace(running)
        workspace.admit()
        held, entered = threading.Event(), threading.Event()
        hot = running.service.hot.heartbeats
        inner = hot._run

        def slow(items: Any) -> Any:
            entered.set()
            held.wait(SECONDS)
            return inner(items)

        token = workspace.register().auth_token
        hot._run = slow
        pending = running.boxes.Heartbeat.future(
            box.HeartbeatRequest(workspace_id=workspace.workspace_id),
            metadata=(("authorization", f"Bearer {token}"),),
            timeout=SECONDS,
        )
        assert entered.wait(SECONDS)
        stopping = threading.Thread(target=lambda: running.on_loop(running.service.stop()))
        stopping.start()
        eventually(lambda: running.health_or_none() != SERVING)
        held.set()
        assert pending.result(SECONDS).next_action == box.NEXT_ACTION_NONE
        stopping.join(SECONDS)


def test_what_is_remembered_is_written_at_the_stop(registry_database: str, tmp_path: Path) -> None:
    with serving(registry_database, tmp_path) as running:
        workspace = Workspace(running)
        workspace.admit()
        token = workspace.register()
        workspace.heartbeat(token.auth_token)
        workspace.heartbeat(token.auth_token)
        failed(workspace.register)
    with serving(registry_database, tmp_path) as running:
        workspace.running = running
        (listed,) = workspace.tokens()
        assert listed.HasField("last_use_time")
        assert workspace.registration().rejected_registers.count == 1
