"""The audit of both services as they serve: under a role that may not change it, sealed, signed,
and verified by what is in their log.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError

from agentworkspace.provision.v1 import audit_service_pb2 as provision_audit
from agentworkspace.provision.v1 import secret_service_pb2
from agentworkspace.registry.v1 import audit_service_pb2 as registry_audit
from provision_service.__main__ import main as provision_main
from registry_service.__main__ import main as registry_main
from tests.postgres import PostgresServer
from tests.rpc import provision_server, registry_server
from tests.rpc.registry_server import ADMIN, LAUNCHER, bearer
from tests.rpc.registry_story import Workspace
from tests.storage.audit_world import LOGS, AuditWorld, audit_at, signing_keys, write_key

SECONDS = 30.0
Main = Callable[[list[str]], int]


@dataclass
class Deployment:
    """A migrated database, its owner's url, and that of the role which serves."""

    service: str
    directory: Path
    owner: str
    application: str
    main: Main
    key: Path

    def command(self, *arguments: str) -> int:
        return self.main(list(arguments))

    @contextmanager
    def serving(self) -> Iterator[Any]:
        server: Any = registry_server if self.service == "registry" else provision_server
        key = {f"{self.service.upper()}_AUDIT_KEY_FILE": str(self.key)}
        with server.serving(self.application, self.directory, environment=key) as running:
            yield running

    def changed_something(self, running: Any) -> None:
        """One call that is audited."""
        if self.service == "registry":
            Workspace(running).admit(first_token=True)
        else:
            request = secret_service_pb2.SetGlobalSecretRequest(
                tenant_id="acme", key="SOME_TOOL_KEY", value="a value"
            )
            running.secrets.SetGlobalSecret(request, metadata=LAUNCHER, timeout=SECONDS)

    def tries_a_password(self, running: Any) -> None:
        service: Any = registry_audit if self.service == "registry" else provision_audit
        with pytest.raises(grpc.RpcError) as refused:
            running.audit.ListAuditEvents(
                service.ListAuditEventsRequest(), metadata=bearer("hunter2"), timeout=SECONDS
            )
        code: Any = refused.value
        assert code.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.fixture(params=sorted(LOGS))
def deployed(
    request: pytest.FixtureRequest,
    postgres: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Deployment]:
    service: str = request.param
    role = f"app_{service}_{os.getpid()}"
    prefix = service.upper()
    with postgres.fresh_database() as owner:
        key = write_key(tmp_path / "audit-key.pem", signing_keys())
        monkeypatch.setenv(f"{prefix}_DATABASE_URL", owner)
        monkeypatch.setenv(f"{prefix}_AUDIT_KEY_FILE", str(key))
        main = registry_main if service == "registry" else provision_main
        assert main(["migrate", "--application-role", role]) == 0
        application = make_url(owner).set(username=role).render_as_string(hide_password=False)
        try:
            yield Deployment(service, tmp_path, owner, application, main, key)
        finally:
            with audit_at(owner, LOGS[service]) as world:
                world.sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


@contextmanager
def world_of(deployed: Deployment) -> Iterator[AuditWorld]:
    with audit_at(deployed.owner, LOGS[deployed.service]) as world:
        yield world


def until_sealed(running: Any, world: AuditWorld) -> None:
    """Other tests' transactions on this server are older for a while."""
    give_up = time.monotonic() + SECONDS
    while not world.sql("SELECT 1 FROM {seals} WHERE rows > 0") or world.age() is not None:
        assert time.monotonic() < give_up
        time.sleep(0.05)
    lag = "agentworkspace_audit_seal_lag_seconds"
    while running.collectors.get_sample_value(lag) != 0:
        assert time.monotonic() < give_up
        time.sleep(0.05)


def test_what_a_service_seals_its_log_proves(
    deployed: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with structlog.testing.capture_logs() as logged, world_of(deployed) as world:
        with deployed.serving() as running:
            deployed.changed_something(running)
            until_sealed(running, world)
        log = tmp_path / "service.log"
        log.write_text("\n".join(map(str, logged)))
        assert deployed.command("audit", "verify", "--log", str(log)) == 0
        said = capsys.readouterr().out
        assert "the audit holds: " in said
        assert "signed from seal 1 on" in said
        assert "the log has the same up to seal " in said
        checkpoint = said.rpartition("newest: ")[2].strip()
        assert deployed.command("audit", "verify", "--checkpoint", checkpoint) == 0

        capsys.readouterr()
        world.sql("UPDATE {events} SET actor = 'nobody' WHERE action <> 'credential.rejected'")
        assert deployed.command("audit", "verify") == 3
        assert f"{deployed.service}-service: CHANGED: row 1 (event " in capsys.readouterr().err
        world.sql("DELETE FROM {events}; DELETE FROM {seals}")
        assert deployed.command("audit", "verify") == 0
        assert deployed.command("audit", "verify", "--log", str(log)) == 3
        assert "CHANGED: rows 1 to " in capsys.readouterr().err


def test_the_role_that_serves_may_add_to_the_audit_and_not_change_it(
    deployed: Deployment,
) -> None:
    with world_of(deployed) as world:
        world.write("one", "two")
    engine = create_engine(deployed.application)
    try:
        for statement in (
            "UPDATE {events} SET actor = 'eve'",
            "DELETE FROM {events}",
            "TRUNCATE {events}",
            "INSERT INTO {events} ({time}) VALUES (now())",
            "INSERT INTO {events} (xact) VALUES (1)",
            "INSERT INTO {events} (event_id) VALUES (gen_random_uuid())",
            "UPDATE {seals} SET rows = 0",
            "DELETE FROM {seals}",
            "ALTER TABLE {events} DISABLE TRIGGER ALL",
        ):
            with (
                engine.begin() as tx,
                pytest.raises(ProgrammingError, match=r"permission denied|must be owner"),
            ):
                tx.exec_driver_sql(LOGS[deployed.service].sql(statement))
    finally:
        engine.dispose()


def test_tried_passwords_are_counted_by_address_and_method_and_not_kept(
    deployed: Deployment,
) -> None:
    with deployed.serving() as running:
        for _ in range(3):
            deployed.tries_a_password(running)
    package = f"agentworkspace.{deployed.service}.v1"
    with world_of(deployed) as world:
        rows = world.sql(
            "SELECT actor, tenant_id, workspace_id, subject, details FROM {events}"
            " WHERE action = 'credential.rejected'"
        )
        assert [tuple(row) for row in rows] == [
            (
                "stranger",
                "",
                None,
                "127.0.0.1",
                {"calls": "3", "method": f"/{package}.AuditService/ListAuditEvents"},
            )
        ]
        assert world.sql("SELECT 1 FROM {events} e WHERE e::text LIKE '%hunter2%'") == []


def test_what_concerns_no_workspace_is_listed_without_one(deployed: Deployment) -> None:
    with deployed.serving() as running:
        deployed.tries_a_password(running)
    service: Any = registry_audit if deployed.service == "registry" else provision_audit
    request = service.ListAuditEventsRequest(action="credential.rejected")
    with deployed.serving() as running:
        (event,) = running.audit.ListAuditEvents(request, metadata=ADMIN, timeout=SECONDS).events
        assert (event.workspace_id, event.actor) == ("", "stranger")


def test_prune_and_begin_are_the_owners(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deployed.command("audit", "prune") == 2
    assert "_AUDIT_KEEP_DAYS must be set" in capsys.readouterr().err
    prefix = deployed.service.upper()
    monkeypatch.setenv(f"{prefix}_AUDIT_KEEP_DAYS", "30")
    assert deployed.command("audit", "prune") == 0
    assert "0 rows older than 30 days were deleted" in capsys.readouterr().out
    assert deployed.command("audit", "begin", "--reason", "moved") == 0
    assert "keep this line with the log: audit/v1/" in capsys.readouterr().out
    monkeypatch.delenv(f"{prefix}_AUDIT_KEY_FILE")
    assert deployed.command("audit", "begin", "--reason", "without the key") == 2
    assert "this audit is signed" in capsys.readouterr().err
    monkeypatch.setenv(f"{prefix}_DATABASE_URL", deployed.application)
    assert deployed.command("audit", "prune") == 1
    assert "use the role of `migrate`" in capsys.readouterr().err


def test_moving_the_audit_to_another_server_wants_the_owner(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with world_of(deployed) as world:
        world.seal()
        # As if it came from a server that has counted that far.
        world.sql("UPDATE {seals} SET xact = 1000000000000000")
        monkeypatch.setenv(f"{deployed.service.upper()}_DATABASE_URL", deployed.application)
        assert deployed.command("audit", "begin", "--reason", "moved") == 2
        assert "_DATABASE_URL must name the role of `migrate`" in capsys.readouterr().err
        assert world.newest().number == 1


@pytest.mark.parametrize("role", ["postgres", "app; DROP ROLE app", "App"])
def test_a_role_that_could_do_anything_is_refused(
    deployed: Deployment, role: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deployed.command("migrate", "--application-role", role) == 1
    assert role in capsys.readouterr().err


@pytest.mark.parametrize(
    "right",
    [
        "GRANT pg_write_all_data TO {role}",
        "ALTER ROLE {role} NOINHERIT; GRANT pg_write_all_data TO {role}",
        "GRANT UPDATE (actor) ON {{events}} TO PUBLIC",
        "GRANT DELETE ON {{seals}} TO PUBLIC",
        "GRANT INSERT ON {{events}} TO PUBLIC",
        "ALTER SCHEMA {schema} OWNER TO {role}",
    ],
)
def test_a_role_that_has_a_right_on_the_audit_from_elsewhere_is_refused(
    deployed: Deployment, right: str, capsys: pytest.CaptureFixture[str]
) -> None:
    role = make_url(deployed.application).username
    with world_of(deployed) as world:
        world.sql(right.format(role=role, schema=deployed.service))
        assert deployed.command("migrate", "--application-role", str(role)) == 1
        assert "could change the audit all the same" in capsys.readouterr().err
        world.sql(f"ALTER SCHEMA {deployed.service} OWNER TO CURRENT_USER")


def test_a_key_file_that_is_refused_keeps_the_service_from_starting(
    deployed: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed.key.chmod(0o604)
    assert deployed.command("audit", "verify") == 2
    assert f"chmod o= {deployed.key}" in capsys.readouterr().err
    assert deployed.command("check-config") == 1
    assert f"chmod o= {deployed.key}" in capsys.readouterr().err


def test_a_log_without_a_checkpoint_is_said(
    deployed: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "other.log"
    log.write_text(f"audit/v1/another/{uuid.uuid4()}/1/1/{'0' * 64}")
    assert deployed.command("audit", "verify", "--log", str(log)) == 1
    assert "there is no checkpoint of this service" in capsys.readouterr().err
