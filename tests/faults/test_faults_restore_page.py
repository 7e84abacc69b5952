"""The commands of deploy/restore.md do what the page says, in its order."""

from __future__ import annotations

import os
import re
import shutil
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from agentworkspace.service import embedded_postgres
from tests.faults.drills import ControlPlane
from tests.faults.pairs import DATABASES, make_databases
from tests.faults.servers import Server, reachable_directory, started
from tests.lifecycle import processes
from tests.lifecycle.launches import create
from tests.lifecycle.processes import Pair, Service
from tests.pages import blocks, run
from tests.rpc.registry_server import secret_of

BASH: Final = shutil.which("bash")

pytestmark = [
    pytest.mark.timeout(480),
    pytest.mark.skipif(BASH is None, reason="no bash on this machine"),
]


@pytest.fixture
def server() -> Iterator[Server]:
    with reachable_directory() as directory, started(Server(directory / "postgres")) as server:
        make_databases(server)
        yield server


@pytest.fixture
def pair(server: Server, tmp_path: Path) -> Iterator[Pair]:
    registry, provision = (server.url(name) for name in DATABASES)
    with processes.pair(registry, provision, tmp_path / "services") as both:
        yield both


@contextmanager
def supervisor(pair: Pair, programs: Path) -> Iterator[None]:
    """A `systemctl` that stops and starts the two."""
    services: dict[str, Service] = {
        "registry-service": pair.registry,
        "provision-service": pair.provision,
    }

    class Order(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            verb, name = self.rfile.readline().decode().split()
            getattr(services[name], verb)()
            self.wfile.write(b"done\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Order) as control:
        thread = threading.Thread(target=control.serve_forever)
        thread.start()
        file = programs / "systemctl"
        line = f'exec 3<>/dev/tcp/127.0.0.1/{control.server_address[1]}; echo "$@" >&3; read -r <&3'
        file.write_text(f"#!{BASH}\n{line}\n")
        file.chmod(0o700)
        try:
            yield
        finally:
            control.shutdown()
            thread.join()


def environment(server: Server, pair: Pair, directory: Path) -> dict[str, str]:
    token = directory / "admin-token"
    token.write_text(secret_of("operator"))
    own = Path(sys.executable).parent
    postgres = embedded_postgres._installed_package() / "pginstall18" / "bin"
    return {
        **pair.registry.environment,
        **pair.provision.environment,
        "PATH": f"{directory / 'programs'}:{own}:{postgres}:{os.environ['PATH']}",
        "PGHOST": str(server.sockets),
        "PGUSER": embedded_postgres.SUPERUSER,
        "BACKUP": str(directory / "backup"),
        "KEYS_BACKUP": str(directory / "keys"),
        "WORKSPACECTL_TOKEN_FILE": str(token),
        "REGISTRY_ADDRESS": pair.registry.address,
        "PROVISION_ADDRESS": pair.provision.address,
    }


def test_the_pages_commands_back_up_and_restore_both(
    server: Server, pair: Pair, tmp_path: Path
) -> None:
    (tmp_path / "programs").mkdir()
    plane = ControlPlane(pair)
    workspace_id = create(pair.provision).workspace.id
    plane.launch(workspace_id)
    plane.mint(workspace_id, "ci")
    words = environment(server, pair, tmp_path)
    definitions, *backup = blocks("restore.md", "What to keep")
    assert len(backup) == 1
    run(tmp_path, words, definitions, *backup)
    plane.launch(workspace_id)
    steps = blocks("restore.md", "The restore")
    assert len(steps) == 8
    with supervisor(pair, tmp_path / "programs"):
        told = run(tmp_path, words, definitions, *steps)
    assert "end 1 instance tokens and 1 tickets as COMPROMISED" in told
    assert "provision-service restored compared 1 workspaces with the registry" in told
    assert workspace_id[:13] in told.rpartition("NEEDS")[2]
    assert (tmp_path / "keys" / "secrets-keys.json").stat().st_mode & 0o777 == 0o600
    assert plane.accepted() == []
    plane.launch(workspace_id)
    assert len(set(plane.numbers)) == 3
    for service in ("registry", "provision"):
        proven = run(tmp_path, words, f"{service}-service audit verify")
        assert "the audit holds: " in proven
        begun = r"^chain \S+ begins behind row .*: restored from a backup$"
        assert re.search(begun, proven, re.MULTILINE)


def test_a_backup_of_the_next_day_overwrites_neither_dumps_nor_keys(tmp_path: Path) -> None:
    definitions, *_ = blocks("restore.md", "What to keep")
    programs = tmp_path / "programs"
    programs.mkdir()
    places = set()
    for day in ("2026-11-30", "2026-12-01"):
        date = programs / "date"
        date.write_text(f"#!/bin/bash\necho {day}\n")
        date.chmod(0o700)
        words = {"PATH": f"{programs}:{os.environ['PATH']}"}
        told = run(tmp_path, words, definitions, 'echo "$BACKUP" "$KEYS_BACKUP"')
        places |= set(told.split())
    assert len(places) == 4
