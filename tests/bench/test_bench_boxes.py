"""The boxes that a bench makes are ones that the registry lets in, and its counts are right."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import make_url

from agentworkspace.core.ids import WorkspaceId
from registry_service.commands import first_registers
from tests.bench import fleet, newcomers, restart_storm
from tests.bench.database import Server
from tests.storage.registry_world import new_secret, register_of, world_at

_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def test_newcomers_are_let_in_by_their_tickets_and_counted(
    registry_database: str, tmp_path: Path
) -> None:
    url = make_url(registry_database)
    host, name = url.query["host"], url.database
    assert isinstance(host, str)
    assert name is not None
    server = Server(directory=tmp_path, sockets=Path(host))
    server._load(name, 40)
    boxes = newcomers.admit(server, name, 3)
    assert len({box.workspace_id for box in boxes}) == 3
    counted = {"ids": [box.workspace_id for box in boxes]}
    with server.session(name) as cursor:
        cursor.execute(restart_storm._COUNTED, counted)
        assert cursor.fetchone() == (0, 0, 3)
        commands = [
            register_of(
                WorkspaceId(box.workspace_id),
                ticket=box.ticket,
                token_sha256=bytes.fromhex(box.request().token_sha256),
            )
            for box in boxes
        ]
        with world_at(registry_database) as world:
            answers = first_registers.run(world.store, commands, new_secret=new_secret)
        assert None not in answers
        cursor.execute(restart_storm._COUNTED, counted)
        assert cursor.fetchone() == (3, 0, 0)


def test_a_fleet_is_the_boxes_of_the_table_and_who_was_marked_offline_is_counted(
    registry_database: str, tmp_path: Path
) -> None:
    url = make_url(registry_database)
    host, name = url.query["host"], url.database
    assert isinstance(host, str)
    assert name is not None
    server = Server(directory=tmp_path, sockets=Path(host))
    server._load(name, 40)
    newcomers.admit(server, name, 3)
    with server.session(name) as cursor:
        cursor.execute(fleet._STATES, {"boxes": 10})
        assert cursor.fetchall() == [("ONLINE", 10)]
        asked = {"boxes": 10, "since": _LONG_AGO}
        cursor.execute(fleet._WRONGLY, asked)
        assert cursor.fetchone() == (0,)
        cursor.execute(
            "INSERT INTO registry.audit_events (actor, method, action, tenant_id,"
            " workspace_id, subject, details, correlation_id)"
            " SELECT 'system', '', 'registration.offline', tenant_id, workspace_id,"
            " workspace_id::text, '{}', '' FROM registry.workspaces"
        )
        # The newcomers are none of the fleet.
        cursor.execute(fleet._WRONGLY, asked)
        assert cursor.fetchone() == (10,)
    assert server.bytes_a_box(name) > 1000
