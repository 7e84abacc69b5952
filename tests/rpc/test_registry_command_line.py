"""`registry-service serve` as a process: it starts, shares its port, and ends when told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from agentworkspace.registry.v1 import workspace_registry_service_pb2 as workspaces
from agentworkspace.registry.v1.workspace_registry_service_pb2_grpc import (
    WorkspaceRegistryServiceStub,
)
from tests.rpc.registry_server import LAUNCHER, SERVING, write_credentials
from tests.rpc.registry_story import new_id

ROOT: Final = Path(__file__).resolve().parents[2]
SECONDS: Final = 40.0


class Served:
    def __init__(self, process: subprocess.Popen[bytes], address: str, log: Path) -> None:
        self.process = process
        self.address = address
        self._log = log

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def children(self) -> list[int]:
        """The processes that the supervisor forked; PostgreSQL is none of them."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(each) for each in path.read_text().split()]

    def serves(self) -> bool:
        with grpc.insecure_channel(
            self.address, options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            try:
                answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=2)
            except grpc.RpcError:
                return False
            return bool(answer.status == SERVING)

    def until(self, holds: Callable[[], bool]) -> None:
        give_up = time.monotonic() + SECONDS
        while not holds():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < give_up, self.log()
            time.sleep(0.05)


@contextmanager
def served(directory: Path, *arguments: str, **environ: str) -> Iterator[Served]:
    """Serve as a process of its own; it is ended with the block."""
    address = f"127.0.0.1:{free_port()}"
    log = directory / "registry.log"
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "registry_service", "serve", *arguments],
            cwd=ROOT,
            env={
                **kept,
                "PYTHONPATH": "protos:.",
                "REGISTRY_LISTEN": address,
                "REGISTRY_CREDENTIALS_FILE": str(write_credentials(directory)),
                **environ,
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Served(process, address, log)
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    import socket  # noqa: PLC0415 - for this one function

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def admit(address: str) -> None:
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub: Any = WorkspaceRegistryServiceStub(channel)
        stub.AdmitWorkspace(
            workspaces.AdmitWorkspaceRequest(workspace_id=new_id(), tenant_id="acme"),
            metadata=LAUNCHER,
            timeout=10,
        )


def test_one_process_serves_and_ends_with_status_0_on_sigterm(
    registry_database: str, tmp_path: Path
) -> None:
    with served(tmp_path, REGISTRY_DATABASE_URL=registry_database) as service:
        service.until(service.serves)
        admit(service.address)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(SECONDS) == 0
        assert "Traceback" not in service.log()
        assert not service.serves()


def test_two_processes_share_the_port_and_a_killed_one_is_replaced(
    registry_database: str, tmp_path: Path
) -> None:
    with served(tmp_path, "--processes", "2", REGISTRY_DATABASE_URL=registry_database) as service:
        service.until(service.serves)
        service.until(lambda: len(service.children()) == 2)
        first = service.children()
        for _ in range(8):
            admit(service.address)
        os.kill(first[0], signal.SIGKILL)
        service.until(lambda: len(set(service.children()) - {first[0]}) == 2)
        service.until(lambda: service.log().count('"event": "serving"') == 3)
        for _ in range(8):
            admit(service.address)
        children = service.children()
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(SECONDS) == 0
        assert not any(Path(f"/proc/{child}").exists() for child in children)
        assert "Traceback" not in service.log()


@pytest.fixture
def home() -> Iterator[Path]:
    """PostgreSQL never runs as root: the user that runs it for root must get through here."""
    with tempfile.TemporaryDirectory(prefix="agentworkspace-home-") as made:
        Path(made).chmod(0o711)
        yield Path(made)


def test_embedded_needs_nothing_else_and_leaves_nothing_running(tmp_path: Path, home: Path) -> None:
    with served(tmp_path, "--embedded", WORKSPACE_SERVICES_HOME=str(home)) as service:
        service.until(service.serves)
        admit(service.address)
    assert service.process.returncode == 0, service.log()
    assert (home / "postgres" / "data").exists()
    assert not (home / "postgres" / "data" / "postmaster.pid").exists()


def test_a_port_in_use_is_said_in_a_sentence(registry_database: str, tmp_path: Path) -> None:
    with served(tmp_path, REGISTRY_DATABASE_URL=registry_database) as one:
        one.until(one.serves)
        for more in ((), ("--processes", "2")):
            directory = tmp_path / f"other{len(more)}"
            directory.mkdir()
            with served(
                directory,
                *more,
                REGISTRY_DATABASE_URL=registry_database,
                REGISTRY_LISTEN=one.address,
            ) as two:
                assert two.process.wait(SECONDS) in (1, 2)
                assert "Traceback" not in two.log()
                assert two.log().strip()


def test_off_loopback_without_tls_refuses_to_start(registry_database: str, tmp_path: Path) -> None:
    with served(
        tmp_path, REGISTRY_DATABASE_URL=registry_database, REGISTRY_LISTEN="0.0.0.0:0"
    ) as service:
        assert service.process.wait(SECONDS) == 2
        assert "INSECURE" in service.log()
        assert "Traceback" not in service.log()


@pytest.mark.parametrize("text", ["{}", "nonsense", '{"callers": [{"name": "x"}]}'])
def test_a_bad_credentials_file_refuses_to_start(
    registry_database: str, tmp_path: Path, text: str
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(text)
    with served(
        tmp_path, REGISTRY_DATABASE_URL=registry_database, REGISTRY_CREDENTIALS_FILE=str(bad)
    ) as service:
        assert service.process.wait(SECONDS) == 2
        assert "Traceback" not in service.log()
