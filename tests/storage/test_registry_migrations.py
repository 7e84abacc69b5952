"""Migrations of the registry: repeatable, taken in turns, and in step with the models."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sqlalchemy import create_engine

from agentworkspace.core.secret import Secret
from agentworkspace.service import migrate
from registry_service.storage.schema import SCHEMA
from tests.postgres import migration_of
from tests.storage.registry_world import world_at

REPOSITORY = Path(__file__).parents[2]
upgrade = migration_of("registry")


def differences(url: str) -> list[str]:
    return migrate.check(SCHEMA, Secret(url))


def test_a_second_upgrade_changes_nothing_and_the_models_agree(empty_database: str) -> None:
    upgrade(empty_database)
    upgrade(empty_database)
    assert differences(empty_database) == []


def test_replicas_that_start_together_take_turns(empty_database: str) -> None:
    upgrade = (
        "import sys; from tests.postgres import migration_of; migration_of('registry')(sys.argv[1])"
    )
    replicas = [
        subprocess.Popen([sys.executable, "-c", upgrade, empty_database], cwd=REPOSITORY)
        for _ in range(3)
    ]
    assert [replica.wait(timeout=60) for replica in replicas] == [0, 0, 0]
    assert differences(empty_database) == []


def test_everything_lives_in_the_schema_of_the_registry(registry_database: str) -> None:
    with world_at(registry_database) as world:
        rows = world.sql(
            "SELECT DISTINCT table_schema FROM information_schema.tables"
            " WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
        )
        assert rows == [("registry",)]
        assert world.sql("SELECT count(*) FROM registry.alembic_version") == [(1,)]


def test_a_table_that_left_the_models_behind_is_found(registry_database: str) -> None:
    with world_at(registry_database) as world:
        world.sql("ALTER TABLE registry.tokens ADD COLUMN stray integer")
    (difference,) = differences(registry_database)
    assert "stray" in difference


def test_the_schema_of_another_service_is_left_alone(registry_database: str) -> None:
    engine = create_engine(registry_database)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA other")
        connection.exec_driver_sql("CREATE TABLE other.things (id integer)")
    engine.dispose()
    assert differences(registry_database) == []
