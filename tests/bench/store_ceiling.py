"""What the database does by itself: pgbench with one statement, its own commit, no service."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

from agentworkspace.service import embedded_postgres
from tests.bench import cases, database
from tests.bench.database import Server

CLIENTS: Final = 8
# In one script, so that each asks for another row; pgbench counts the script.
STATEMENTS: Final = 200
_TPS: Final = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)

_SELECT: Final = """SELECT t.token_id, t.workspace_id, w.tenant_id, t.kind, t.scopes
FROM registry.tokens t JOIN registry.workspaces w USING (workspace_id)
WHERE t.token_sha256 = '\\x{digest}' AND t.revoke_time IS NULL;
"""
_INSERT: Final = """INSERT INTO registry.tokens
    (workspace_id, kind, token_sha256, label, create_time, created_by)
VALUES ('{workspace}', 'API', sha256(gen_random_uuid()::text::bytea), 'pgbench', now(), 'bench');
"""
# Drawn for every statement: clients that went through one list of rows would meet at its locks.
_UPDATE: Final = """\\set number random(0, {last})
UPDATE registry.registrations SET last_heartbeat_time = now()
WHERE workspace_id = bench.workspace(:number);
"""


def measure(server: Server, database_name: str, tokens: int, seconds: float) -> dict[str, float]:
    """Statements a second: `select` by hash, `insert` of a token, `update` of a heartbeat."""
    return {
        name: _pgbench(server, database_name, script, seconds)
        for name, script in {
            "select": _script(_SELECT, tokens),
            "insert": _script(_INSERT, tokens),
            "update": _script(_UPDATE, tokens),
        }.items()
    }


def _script(statement: str, tokens: int) -> str:
    return "".join(
        statement.format(
            digest=database.token_sha256(number).hex(),
            workspace=database.workspace_of(number),
            last=tokens // database.TOKENS_A_WORKSPACE - 1,
        )
        for number in cases.numbers(tokens, STATEMENTS, seed=7)
    )


def _pgbench(server: Server, database_name: str, script: str, seconds: float) -> float:
    path = server.directory / "pgbench.sql"
    path.write_text(script)
    return tps(_run(server, database_name, path, seconds)) * STATEMENTS


def _run(server: Server, database_name: str, script: Path, seconds: float) -> str:
    command = (
        str(database.program(server, "pgbench")),
        *("--no-vacuum", "--protocol", "prepared", "--file", str(script)),
        *("--client", str(CLIENTS), "--jobs", "1", "--time", str(max(1, round(seconds)))),
        *("--host", str(server.sockets), "--username", embedded_postgres.SUPERUSER),
        database_name,
    )
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def tps(output: str) -> float:
    found = _TPS.search(output)
    if found is None:
        raise ValueError(f"pgbench said no tps: {output}")
    return float(found[1])
