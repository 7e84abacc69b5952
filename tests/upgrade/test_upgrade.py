"""A release takes the place of the one before while both serve, and nothing is lost.

The release before is the commit named in `earlier_release`; where that is missing, each of these
tests says so and is skipped.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg2
import pytest

from tests.lifecycle.launches import create, launch, workspace_at
from tests.lifecycle.lives import Lives, Replicas, broken_promises
from tests.lifecycle.processes import nursery_of, pair, provision_process, registry_process
from tests.postgres import PostgresServer
from tests.rounds import TIMES
from tests.upgrade.releases import (
    NotHere,
    Release,
    earlier_commit,
    this_release,
    unpack_earlier_release,
)

pytestmark = pytest.mark.timeout(120 * TIMES)

SEED = random.SystemRandom().randrange(2**32)
LIVES: Final = 3 * TIMES
AT_ONCE: Final = 12
SERVICES: Final = ("registry", "provision")


@dataclass(frozen=True)
class Databases:
    registry: str
    provision: str

    def migrated_by(self, release: Release) -> None:
        release.migrate("registry", self.registry)
        release.migrate("provision", self.provision)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Release:
    try:
        return unpack_earlier_release(tmp_path_factory.mktemp("earlier"))
    except NotHere as why:
        pytest.skip(str(why))


@pytest.fixture
def databases(postgres: PostgresServer) -> Iterator[Databases]:
    with postgres.fresh_database() as registry, postgres.fresh_database() as provision:
        yield Databases(registry, provision)


@contextmanager
def serving(release: Release, directory: Path, databases: Databases) -> Iterator[Replicas]:
    """One replica of each service, the provision service calling this registry."""
    with pair(databases.registry, databases.provision, directory, root=release.root) as running:
        yield Replicas.of(running)


def test_the_file_names_a_commit_by_its_whole_hash() -> None:
    commit = earlier_commit()
    assert len(commit) == 40
    assert set(commit) <= set("0123456789abcdef")


def test_each_release_runs_its_own_code(earlier: Release) -> None:
    modules = ("registry_service.server", "provision_service.server", "agentworkspace.rpc.calls")
    for release in (earlier, this_release()):
        files = release.files_of(*modules)
        assert len(files) == len(modules)
        assert all(file.is_relative_to(release.root) for file in files)


def test_the_earlier_release_serves_on_the_new_schema(
    earlier: Release, databases: Databases, tmp_path: Path
) -> None:
    databases.migrated_by(this_release())
    lives = Lives(SEED)
    with serving(earlier, tmp_path / "old", databases) as replicas:
        with lives.going_on(replicas):
            lives.until_more_have_lived(LIVES)
        assert broken_promises(lives.ledger, replicas) == []


def test_provision_of_this_release_creates_and_launches_at_the_earlier_registry(
    earlier: Release, databases: Databases, tmp_path: Path
) -> None:
    """Which lacks the calls for many: each is made by itself then, and none is refused."""
    databases.migrated_by(this_release())
    homes = (tmp_path / "old", tmp_path / "new")
    for home in homes:
        home.mkdir()
    with (
        nursery_of(homes[0], earlier.root) as old,
        nursery_of(homes[1]) as new,
        ExitStack() as stack,
        ThreadPoolExecutor(AT_ONCE) as callers,
    ):
        registry = registry_process(old, stack, databases.registry, {})
        provision = provision_process(new, stack, databases.provision, registry.address, {})
        made = list(callers.map(lambda _: create(provision), range(AT_ONCE)))
        assert [answer.auth_token_error for answer in made] == [""] * AT_ONCE
        ids = [answer.workspace.id for answer in made]
        begun = list(callers.map(lambda each: launch(provision, each), ids))
        assert [answer.env["WORKSPACE_ID"] for answer in begun] == ids
        for answer in begun:
            box = workspace_at(registry, answer.env["WORKSPACE_ID"])
            assert box.register(ticket=answer.env["WORKSPACE_BOOTSTRAP_TICKET"]).auth_token


def test_a_release_takes_over_under_load_and_nothing_is_lost(
    earlier: Release, databases: Databases, tmp_path: Path
) -> None:
    print(f"seed {SEED}")
    databases.migrated_by(earlier)
    lives = Lives(SEED)
    with serving(earlier, tmp_path / "old", databases) as old, lives.going_on(old):
        lives.until_more_have_lived(LIVES)
        databases.migrated_by(this_release())
        lives.until_more_have_lived(LIVES)
        with serving(this_release(), tmp_path / "new", databases) as new:
            both = Replicas([*old.registries, *new.registries], [*old.provisions, *new.provisions])
            lives.call_only(both)
            lives.until_more_have_lived(2 * LIVES)
            # Those that still wait for an answer ask the replicas that stay.
            lives.call_only(Replicas(new.registries, new.provisions, patient=True))
            for replica in (*old.provisions, *old.registries):
                replica.stop()
            lives.call_only(new)
            lives.until_more_have_lived(LIVES)
            lives.finish()
            assert broken_promises(lives.ledger, new) == []


def test_migrations_since_the_earlier_release_only_expand(
    earlier: Release, databases: Databases
) -> None:
    """What the earlier release reads and writes is there, with its type and no narrower."""
    databases.migrated_by(earlier)
    before = {service: columns(getattr(databases, service), service) for service in SERVICES}
    databases.migrated_by(this_release())
    after = {service: columns(getattr(databases, service), service) for service in SERVICES}
    for service in SERVICES:
        gone = before[service].keys() - after[service].keys()
        assert gone == set(), "contract only what no release that may still serve uses"
        shared = before[service].keys()
        changed = {at for at in shared if not after[service][at].takes(before[service][at])}
        assert changed == set(), "a column in use changes neither its type nor what it takes"
        new = after[service].keys() - before[service].keys()
        tables = {table for table, _ in before[service]}
        unknown = {at for at in new if at[0] in tables and not after[service][at].may_be_left_out}
        assert unknown == set(), "the earlier release writes rows without them"


@dataclass(frozen=True)
class Column:
    type: str
    nullable: bool
    default: bool

    @property
    def may_be_left_out(self) -> bool:
        return self.nullable or self.default

    def takes(self, earlier: Column) -> bool:
        """Whatever was written to the earlier one can be written to this one."""
        return (
            self.type == earlier.type
            and (self.nullable or not earlier.nullable)
            and (self.may_be_left_out or not earlier.may_be_left_out)
        )


def columns(database_url: str, schema: str) -> dict[tuple[str, str], Column]:
    """By table and name."""
    connection = psycopg2.connect(database_url.replace("+psycopg2", ""))
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT table_name, column_name, udt_name, is_nullable = 'YES',"
                " column_default IS NOT NULL OR is_identity = 'YES'"
                " FROM information_schema.columns WHERE table_schema = %s",
                (schema,),
            )
            return {(table, name): Column(*rest) for table, name, *rest in cursor}
    finally:
        connection.close()
