"""Two replicas on one database: a key is written with when both hold it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from provision_service.storage.key_holders import Holder, key_to_write_with
from provision_service.storage.opening import WrongKey, still_needed
from provision_service.workers import rekey, report_keys
from provision_service.workers.rekey import Rekey
from tests.storage.provision_world import OAUTH, World, emptied, keys_document, opened

K1: Final = hashlib.sha256(b"k1").digest()
K2: Final = hashlib.sha256(b"k2").digest()
K3: Final = hashlib.sha256(b"k3").digest()
OLD: Final = datetime(2026, 1, 1, tzinfo=UTC)
NEW: Final = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def database(provision_database_of_module: str) -> str:
    return emptied(provision_database_of_module)


@pytest.fixture
def replicas(database: str, tmp_path: Path) -> Iterator[tuple[World, World]]:
    """Both with k1, each with a keys file of its own."""
    directories = (tmp_path / "here", tmp_path / "there")
    for directory in directories:
        directory.mkdir()
        (directory / "keys.json").touch(mode=0o600)
        (directory / "keys.json").write_text(keys_document("k1", k1=K1))
    with (
        opened(database, directories[0], name="here") as here,
        opened(database, directories[1], name="there") as there,
    ):
        yield here, there


def give(world: World, current: str, **keys: bytes) -> list[str]:
    """A new keys file, and what its replica then has to say about it."""
    world.keys_path.write_text(keys_document(current, **keys))
    return said(world)


def said(world: World) -> list[str]:
    return list(report_keys.unsettled(report_keys.run(world.store, world.keys)))


def key_id_of(world: World, key: str) -> str:
    [(key_id,)] = world.sql("SELECT key_id FROM provision.secrets WHERE key = :key", key=key)
    return str(key_id)


def test_a_new_key_is_written_with_once_every_replica_reports_it(
    replicas: tuple[World, World],
) -> None:
    here, there = replicas
    workspace = here.create()
    [complaint] = give(here, "k2", k1=K1, k2=K2)
    assert complaint == (
        "there does not hold encryption key `k2`, so nothing is written with it; put it into"
        " the keys file there"
    )
    here.set_own(workspace, "EARLY", "e")
    assert key_id_of(here, "EARLY") == "k1"
    assert there.environment(workspace)["EARLY"] == "e"
    assert give(there, "k2", k1=K1, k2=K2) == []
    there.set_own(workspace, "THERE", "t")
    assert key_id_of(here, "THERE") == "k2"
    assert here.environment(workspace)["THERE"] == "t"
    assert said(here) == []
    here.set_own(workspace, "LATE", "l")
    assert key_id_of(here, "LATE") == "k2"


def test_nothing_is_moved_to_a_key_that_another_replica_does_not_want(
    replicas: tuple[World, World],
) -> None:
    here, there = replicas
    assert give(there, "k1", k1=K1, k2=K2) == []
    assert give(here, "k2", k1=K1, k2=K2) == [
        "the keys file of there calls `k1` current, and this one `k2`; make them the same"
    ]
    assert not here.keys.agreement.settled
    assert give(there, "k2", k1=K1, k2=K2) == []
    assert said(here) == []
    assert here.keys.agreement.settled


def test_a_replica_that_left_or_whose_lease_is_over_holds_up_nobody(
    replicas: tuple[World, World],
) -> None:
    here, there = replicas
    assert len(give(here, "k2", k1=K1, k2=K2)) == 1
    there.sql(
        "UPDATE provision.key_holders SET lease_expire_time = now() - interval '1 second'"
        " WHERE name = 'there'"
    )
    assert said(here) == []
    said(there)
    assert said(here)[0].startswith("there does not hold encryption key `k2`")
    report_keys.leave(there.store, there.keys)
    assert said(here) == []


def test_a_replica_without_the_key_that_another_one_writes_with_does_not_start(
    replicas: tuple[World, World], database: str, tmp_path: Path
) -> None:
    here, there = replicas
    report_keys.leave(there.store, there.keys)
    assert give(here, "k2", k1=K1, k2=K2) == []
    assert here.count("secrets") == 0
    with (
        pytest.raises(WrongKey, match="`k2` is missing from the keys file, and here writes with"),
        opened(database, tmp_path / "there"),
    ):
        pass
    assert here.sql("SELECT name FROM provision.key_holders") == [("here",)]


def test_a_wrong_key_under_a_known_name_is_named_and_neither_reported_nor_used(
    replicas: tuple[World, World],
) -> None:
    here, there = replicas
    workspace = here.create()
    give(here, "k2", k1=K1, k2=K2)
    complaints = give(there, "k2", k1=K1, k2=K3)
    assert complaints[0] == (
        "encryption key `k2` is not the one that values were encrypted with under this name;"
        " restore the keys file, or give a new key a new id"
    )
    assert said(here)[0].startswith("there does not hold encryption key `k2`")
    for world in replicas:
        world.set_own(workspace, "WRITTEN", "w")
        assert key_id_of(here, "WRITTEN") == "k1"


def test_a_key_that_another_replica_writes_with_is_still_needed(
    replicas: tuple[World, World],
) -> None:
    here, there = replicas
    for world in replicas:
        give(world, "k2", k1=K1, k2=K2)
    said(here)
    rekey.run(here.store, Rekey())
    give(there, "k1", k1=K1, k2=K2)
    with here.store.reading() as tx:
        assert still_needed(tx, frozenset({"k1"}), here.keys.replica) == {"k1"}
    with there.store.reading() as tx:
        assert still_needed(tx, frozenset({"k1"}), there.keys.replica) == frozenset()


def test_everything_moves_to_a_key_that_all_want(replicas: tuple[World, World]) -> None:
    here, there = replicas
    workspace = here.create(secrets={**OAUTH, "OTHER": "o"})
    for world in replicas:
        give(world, "k2", k1=K1, k2=K2)
    said(here)
    assert rekey.run(here.store, Rekey()).remaining == 0
    assert there.environment(workspace)["OTHER"] == "o"
    assert key_id_of(here, "OTHER") == "k2"


@pytest.mark.parametrize(
    ("wants", "usable", "rest", "expected"),
    [
        ("k2", {"k1": OLD, "k2": NEW}, [], "k2"),
        ("k2", {"k1": OLD, "k2": NEW}, [{"k1", "k2"}, {"k2"}], "k2"),
        ("k2", {"k1": OLD, "k2": NEW}, [{"k1", "k2"}, {"k1"}], "k1"),
        ("k3", {"k1": OLD, "k2": NEW, "k3": NEW}, [{"k1", "k2"}], "k2"),
        ("k9", {"k1": OLD}, [], "k1"),
        ("k2", {"k2": NEW}, [{"k1"}], ""),
    ],
)
def test_until_then_the_youngest_key_that_all_hold_is_written_with(
    wants: str, usable: dict[str, datetime], rest: list[set[str]], expected: str
) -> None:
    others = [
        Holder(name="other", key_ids=frozenset(held), wants="", writes_with="") for held in rest
    ]
    assert key_to_write_with(wants, usable, others) == expected
