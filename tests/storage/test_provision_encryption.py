"""Keys: the right ones at the start, and another one while serving."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.core.secret import Secret
from provision_service.commands import set_tenant_billing
from provision_service.commands.set_tenant_billing import SetTenantBilling
from provision_service.domain.refusals import Reason
from provision_service.storage import rekeying
from provision_service.storage.encryption import (
    Fingerprints,
    Place,
    Sealed,
    Vault,
    secret_place,
    shown,
)
from provision_service.storage.keyring import BadKeys, KeysFile, parse_keys
from provision_service.storage.opening import WrongKey, still_needed
from provision_service.workers import rekey, report_keys
from provision_service.workers.rekey import Rekey
from tests.storage.provision_world import (
    ACME,
    ADMIN,
    OAUTH,
    OPUS,
    PLATFORM_MODEL,
    World,
    at_once,
    emptied,
    keys_document,
    opened,
    refused,
)

K1, K2 = os.urandom(32), os.urandom(32)


@pytest.fixture
def database(provision_database_of_module: str) -> str:
    return emptied(provision_database_of_module)


@pytest.fixture
def world(database: str, tmp_path: Path) -> Iterator[World]:
    keys = tmp_path / "keys.json"
    keys.touch(mode=0o600)
    keys.write_text(keys_document("k1", k1=K1))
    with opened(database, tmp_path) as each:
        yield each


def rotate(world: World) -> None:
    world.keys_path.write_text(keys_document("k2", k1=K1, k2=K2))
    assert report_keys.run(world.store, world.keys).settled


def key_ids(world: World) -> dict[str, int]:
    rows = world.sql("SELECT key_id, count(*) FROM provision.secrets GROUP BY key_id")
    return {row[0]: row[1] for row in rows}


def test_a_value_opens_at_its_own_place_only() -> None:
    ring = parse_keys(keys_document("k1", k1=K1), file="keys")
    vault = Vault(lambda: ring, os.urandom)
    place = secret_place("acme", None, "KEY")
    sealed = vault.seal(place, b"value")
    assert vault.open(place, sealed) == b"value"
    others = [
        secret_place("acme", "", "KEY"),
        secret_place("globex", None, "KEY"),
        secret_place("acme", None, "KEY2"),
        Place(kind="usage-token", tenant_id="acme"),
        secret_place('acme","x', None, "KEY"),
    ]
    for other in others:
        assert vault.open(other, sealed) is None
    assert vault.open(place, Sealed(sealed.ciphertext[:-1], sealed.nonce, "k1")) is None
    assert vault.seal(place, b"value") != sealed


def test_a_key_that_is_not_here_yet_says_nothing_of_the_value() -> None:
    ring = parse_keys(keys_document("k1", k1=K1), file="keys")
    vault = Vault(lambda: ring, os.urandom)
    place = secret_place("acme", None, "KEY")
    sealed = vault.seal(place, b"value")
    with pytest.raises(Refusal, match="does not hold encryption key `k9` yet") as refused:
        vault.open(place, Sealed(sealed.ciphertext, sealed.nonce, "k9"))
    assert refused.value.reason is SharedReason.STORE_UNAVAILABLE
    assert refused.value.retry_after == timedelta(seconds=5)


def test_a_keys_file_that_others_can_read_is_refused_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.touch(mode=0o640)
    path.write_text(keys_document("k1", k1=K1))
    reported: list[str] = []
    keys = KeysFile(path, report=reported.append)
    path.write_text(keys_document("k2", k1=K1, k2=K2))
    path.chmod(0o644)
    assert keys.current().current == "k1"
    [said] = reported
    assert said.startswith(f"the keys file was not taken over: {path} is open to every user of")
    assert said.endswith(f"chmod o= {path}")
    with pytest.raises(BadKeys, match="is open to every user of this machine"):
        KeysFile(path, report=reported.append)
    path.chmod(0o640)
    assert keys.current().current == "k2"


def test_places_are_never_the_same_text_for_different_parts() -> None:
    one = Place(kind="a", tenant_id="b", key="c")
    for other in (Place(kind="a", workspace_id="b", key="c"), Place(kind='a","b', key="c")):
        assert one.encoded() != other.encoded()


def test_fingerprints_are_equal_for_equal_values_and_worthless_without_the_key() -> None:
    one, two = Fingerprints(K1), Fingerprints(K2)
    assert one.of(Secret("v")) == one.of(Secret("v"))
    assert one.of(Secret("v")) != two.of(Secret("v"))
    assert len(shown(one.of(Secret("v")))) == 32


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"keys": {}}', '{"current": "k1", "keys": {}}',
     '{"current": "k1", "keys": {"k1": "c2hvcnQ="}}', '{"current": "k1", "keys": {"k1": 7}}',
     '{"current": "k1", "keys": {"k 1": "c2hvcnQ="}}'],
)  # fmt: skip
def test_a_bad_keys_file_is_refused_by_name_and_without_a_key(text: str) -> None:
    with pytest.raises(BadKeys) as caught:
        parse_keys(text, file="/etc/keys.json")
    assert "/etc/keys.json" in str(caught.value)
    assert "c2hvcnQ" not in str(caught.value)


def test_a_keyring_never_shows_a_key() -> None:
    ring = parse_keys(keys_document("k1", k1=K1), file="keys")
    assert repr(K1)[2:-1] not in repr(ring)


def test_a_changed_file_is_taken_over_and_a_bad_one_is_reported_and_left(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.touch(mode=0o600)
    reported: list[str] = []
    path.write_text(keys_document("k1", k1=K1))
    observed: list[bool] = []

    def observe(*, refused: bool) -> None:
        observed.append(refused)

    keys = KeysFile(path, report=reported.append, observe=observe)
    path.write_text(keys_document("k2", k1=K1, k2=K2))
    assert keys.current().current == "k2"
    path.write_text("not json")
    assert keys.current().current == "k2"
    path.write_text(keys_document("k2", k1=K2, k2=K2))
    assert keys.current().current == "k2"
    path.unlink()
    assert keys.current().current == "k2"
    path.touch(mode=0o600)
    path.write_text(keys_document("k2", k1=K1, k2=K2))
    assert keys.current().current == "k2"
    assert len(reported) == 3
    assert "k1 changed" in reported[1]
    assert "cannot be read" in reported[2]
    assert observed == [False, True, True, True, False]


def test_a_file_that_a_needed_key_left_is_not_taken_over_until_no_row_needs_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "keys.json"
    path.touch(mode=0o600)
    path.write_text(keys_document("k2", k1=K1, k2=K2))
    reported: list[str] = []
    observed: list[bool] = []

    def observe(*, refused: bool) -> None:
        observed.append(refused)

    keys = KeysFile(path, report=reported.append, observe=observe)
    path.write_text(keys_document("k3", k2=K2, k3=os.urandom(32)))
    assert keys.current().current == "k2"
    for _ in range(2):
        keys.look_again(lambda left: left)
        assert keys.current().key_ids == {"k1", "k2"}
    assert observed == [True]
    assert len(reported) == 1
    assert "stored rows are under k1; put it back" in reported[0]
    keys.look_again(lambda left: left - {"k1"})
    assert keys.current().key_ids == {"k2", "k3"}
    assert observed == [True, False]


def test_a_key_that_is_put_back_in_time_never_was_away(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.touch(mode=0o600)
    path.write_text(keys_document("k1", k1=K1))
    keys = KeysFile(path, report=lambda _said: None)
    path.write_text(keys_document("k2", k2=K2))
    assert keys.current().key_ids == {"k1"}
    path.write_text(keys_document("k2", k1=K1, k2=K2))
    assert keys.current().current == "k2"
    keys.look_again(lambda _left: frozenset())
    assert keys.current().key_ids == {"k1", "k2"}


def test_a_key_is_needed_by_secrets_usage_tokens_and_the_fingerprint_key(world: World) -> None:
    every = frozenset({"k1", "k2", "k3"})

    def needed() -> frozenset[str]:
        with world.store.reading() as tx:
            return still_needed(tx, every)

    assert needed() == {"k1"}
    world.create()
    command = SetTenantBilling(
        call=ADMIN, tenant_id=ACME, platform_usage_token=Secret("usage-token-of-acme")
    )
    set_tenant_billing.run(world.store, command, world.deployment)
    world.sql("UPDATE provision.secrets SET key_id = 'k2'")
    world.sql("UPDATE provision.tenants SET usage_token_key_id = 'k3'")
    assert needed() == {"k1", "k2", "k3"}


def test_a_wrong_key_is_found_at_the_start_and_named(
    database: str, world: World, tmp_path: Path
) -> None:
    world.create()
    world.keys_path.write_text(keys_document("k1", k1=K2))
    with pytest.raises(WrongKey, match="`k1` is not the one"), opened(database, tmp_path):
        pass


def test_a_missing_key_is_found_at_the_start_and_named(
    database: str, world: World, tmp_path: Path
) -> None:
    world.create()
    world.keys_path.write_text(keys_document("k2", k2=K2))
    with pytest.raises(WrongKey, match="`k1` is missing"), opened(database, tmp_path):
        pass


def test_a_key_that_no_row_needs_any_more_may_leave_the_file(
    database: str, world: World, tmp_path: Path
) -> None:
    workspace = world.create()
    rotate(world)
    rekey.run(world.store, Rekey())
    world.keys_path.write_text(keys_document("k2", k2=K2))
    report_keys.leave(world.store, world.keys)
    with opened(database, tmp_path) as later:
        assert later.environment(workspace)["CLAUDE_CODE_OAUTH_TOKEN"]
        assert later.sql("SELECT key_id FROM provision.encryption_keys") == [("k2",)]


def test_keys_rotate_while_serving(world: World) -> None:
    workspace = world.create(secrets={**OAUTH, "OTHER": "o"})
    command = SetTenantBilling(
        call=ADMIN, tenant_id=ACME, platform_usage_token=Secret("usage-token-of-acme")
    )
    set_tenant_billing.run(world.store, command, world.deployment)
    rotate(world)
    assert world.environment(workspace)["OTHER"] == "o"
    world.set_own(workspace, "NEW", "n")
    assert key_ids(world) == {"k1": 2, "k2": 1}
    done = rekey.run(world.store, Rekey())
    assert (done.key_id, done.rewritten, done.remaining) == ("k2", 4, 0)
    assert key_ids(world) == {"k2": 3}
    env = world.environment(workspace)
    assert (env["OTHER"], env["NEW"]) == ("o", "n")
    assert rekey.run(world.store, Rekey()).rewritten == 0


def test_a_rotation_that_stops_anywhere_goes_on_where_it_stopped(world: World) -> None:
    workspace = world.create(secrets={**OAUTH, **{f"S{n}": f"v{n}" for n in range(9)}})
    rotate(world)
    first = rekey.run(world.store, Rekey(limit=4))
    assert first.remaining == 6
    with pytest.raises(RuntimeError):
        _rekey_and_die(world)
    assert key_ids(world) == {"k1": 6, "k2": 4}
    assert world.environment(workspace)["S8"] == "v8"
    steps = 0
    while rekey.run(world.store, Rekey(limit=4)).remaining:
        steps += 1
    assert steps == 1
    assert world.environment(workspace)["S8"] == "v8"


def _rekey_and_die(world: World) -> None:
    with world.store.transaction() as tx:
        assert rekeying.rekey_secrets(tx, tx.vault.keyring, 4).total() == 4
        raise RuntimeError


def test_a_row_that_does_not_open_is_counted_and_holds_nothing_up(world: World) -> None:
    world.create(secrets={**OAUTH, "OTHER": "o"})
    world.sql("UPDATE provision.secrets SET ciphertext = 'x'::bytea WHERE key = 'OTHER'")
    rotate(world)
    done = [rekey.run(world.store, Rekey(limit=1)) for _ in range(3)][-1]
    assert (done.remaining, done.undecryptable) == (1, 1)
    assert key_ids(world) == {"k1": 1, "k2": 1}


@pytest.mark.parametrize("of_tenant", [True, False])
def test_an_older_ciphertext_of_the_same_row_is_no_value(world: World, *, of_tenant: bool) -> None:
    workspace = world.create(secrets={**OAUTH, **({} if of_tenant else {"ROTATED": "leaked"})})
    if of_tenant:
        world.set_global("ROTATED", "leaked")
    read = "SELECT ciphertext, nonce, key_id FROM provision.secrets WHERE key = 'ROTATED'"
    [(ciphertext, nonce, key_id)] = world.sql(read)
    if of_tenant:
        world.set_global("ROTATED", "fresh")
    else:
        world.set_own(workspace, "ROTATED", "fresh")
    assert world.environment(workspace)["ROTATED"] == "fresh"
    world.sql(
        "UPDATE provision.secrets SET ciphertext = :ciphertext, nonce = :nonce, key_id = :key_id"
        " WHERE key = 'ROTATED'",
        ciphertext=bytes(ciphertext),
        nonce=bytes(nonce),
        key_id=key_id,
    )
    with refused(Reason.SECRET_UNDECRYPTABLE):
        world.launch(workspace)
    rotate(world)
    assert rekey.run(world.store, Rekey()).undecryptable == 1
    with refused(Reason.SECRET_UNDECRYPTABLE):
        world.launch(workspace)


def test_an_older_ciphertext_of_a_usage_token_is_no_value(world: World) -> None:
    def set_token(text: str) -> None:
        token = SetTenantBilling(
            call=ADMIN, tenant_id=ACME, platform_usage_token=Secret(text), create=True
        )
        set_tenant_billing.run(world.store, token, world.deployment)

    set_token("usage-token-that-leaked")
    workspace = world.create(replace(OPUS, model=PLATFORM_MODEL), secrets={})
    read = "SELECT usage_token_ciphertext, usage_token_nonce FROM provision.tenants"
    [(ciphertext, nonce)] = world.sql(read)
    set_token("usage-token-of-today")
    assert world.environment(workspace)["MOLECULE_LLM_USAGE_TOKEN"] == "usage-token-of-today"
    world.sql(
        "UPDATE provision.tenants SET usage_token_ciphertext = :ciphertext,"
        " usage_token_nonce = :nonce",
        ciphertext=bytes(ciphertext),
        nonce=bytes(nonce),
    )
    with refused(Reason.SECRET_UNDECRYPTABLE):
        world.launch(workspace)
    rotate(world)
    rekey.run(world.store, Rekey())
    assert world.sql("SELECT usage_token_key_id FROM provision.tenants") == [("k1",)]


def test_writes_during_a_rotation_are_not_overwritten(world: World) -> None:
    workspace = world.create(secrets={**OAUTH, **{f"S{n}": "old" for n in range(30)}})
    rotate(world)
    work: list[Callable[[], object]] = [lambda: rekey.run(world.store, Rekey(limit=5))] * 4
    work += [partial(world.set_own, workspace, f"S{n}", "new") for n in range(8)]
    answers = at_once(work)
    assert not [each for each in answers if isinstance(each, Exception)], answers
    while rekey.run(world.store, Rekey()).remaining:
        pass
    env = world.environment(workspace)
    assert [env[f"S{n}"] for n in range(10)] == ["new"] * 8 + ["old"] * 2


def test_fingerprints_outlive_a_rotation(database: str, world: World, tmp_path: Path) -> None:
    before = world.store.fingerprints.of(Secret("v"))
    rotate(world)
    rekey.run(world.store, Rekey())
    with opened(database, tmp_path) as later:
        assert later.store.fingerprints.of(Secret("v")) == before
