"""Random creates and launches, once in batches and once one by one, leave the same and answer the
same: every row of every table but times and ciphertexts, and every word that a caller is told.
"""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from agentworkspace.core.refusal import Refusal
from agentworkspace.core.secret import Secret
from provision_service.commands import (
    create_workspace,
    create_workspaces,
    register_platform_credential,
    set_tenant_billing,
)
from provision_service.commands.create_workspace import (
    CreateWorkspace,
    CreateWorkspaceResult,
    Stored,
)
from provision_service.commands.register_platform_credential import RegisterPlatformCredential
from provision_service.commands.set_tenant_billing import SetTenantBilling
from provision_service.domain.lifecycle import ProvisionReason
from provision_service.domain.plan import EnvironmentPlan
from provision_service.domain.probing import Template
from provision_service.launch import launches, provision_workspace
from provision_service.launch.claim import Claimed
from provision_service.launch.deliver import Ready
from provision_service.launch.provision_workspace import (
    ProvisionWorkspace,
    ProvisionWorkspaceResult,
)
from provision_service.storage.schema import SCHEMA
from provision_service.storage.store import database
from tests.postgres import PostgresServer
from tests.rounds import TIMES
from tests.storage import provision_doubles
from tests.storage.provision_doubles import USED_HASH
from tests.storage.provision_world import (
    ADMIN,
    LAUNCHER,
    OF_GLOBEX,
    PLATFORM_MODEL,
    PROXY,
    RIVAL,
    UNSPECIFIED,
    World,
    opened,
)

# One of the platform's own, which tenants hold, too; and one that two tenants hold.
OPERATORS: Final = "sk-ant-oat-of-the-operator"
SHARED: Final = "sk-ant-oat-of-two-tenants"
TENANTS: Final = ("acme", "globex", "initech", "new-one", "new-other")
_NOT_OF_A_CALL: Final = frozenset(
    {"encryption_keys", "key_holders", "fingerprint_key", "reconciler", "audit_seals"}
)
_DIFFERS: Final = ("ciphertext", "nonce", "seq", "xact", "event_id", "secret_id")
_STEPS: Final = 24
# What happens to a workspace meanwhile.
_CHANGES: Final = (
    ("workspaces", "remove_time = now()"),
    ("workspaces", "incarnation = incarnation + 3"),
    ("workspaces", "admitted = NOT admitted"),
    ("workspaces", "needs_launch_reason = 'SILENT', needs_launch_since = now()"),
    ("workspaces", "billing_mode_override = 'platform_managed'"),
    ("tenants", "input_revision = input_revision + 1"),
    ("provisions", "complete_time = now(), state = 'LAUNCHED'"),
    ("provisions", "lease_expire_time = now() - interval '1 s'"),
    ("secrets", "provider = 'minimax'"),
    ("secrets", "key_id = 'k1', fingerprint = 'another'"),
)

Command = CreateWorkspace | ProvisionWorkspace


@pytest.fixture
def worlds(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[World, World]]:
    """Two deployments that differ in nothing, not even in what they compare secrets with."""
    monkeypatch.setattr(provision_doubles, "new_id", lambda: "made-by-the-registry")
    with (
        postgres.fresh_database("provision") as one,
        postgres.fresh_database("provision") as two,
        opened(one, tmp_path) as alone,
    ):
        (key,) = alone.sql("SELECT ciphertext, nonce, key_id FROM provision.fingerprint_key")
        copying = database(Secret(two), pool_size=1)
        with copying.engine.begin() as tx:
            tx.exec_driver_sql(
                "INSERT INTO provision.fingerprint_key (ciphertext, nonce, key_id)"
                " VALUES (%s, %s, %s)",
                tuple(key),
            )
        copying.close()
        with opened(two, tmp_path, name="another") as together:
            yield alone, together


def begin(world: World) -> None:
    """Tenants that differ in who pays, and whose credentials they hold."""
    templates = {"reviewer": Template(name="reviewer", model="opus", required_env=("A_NAME",))}
    world.deploy(
        platform=replace(PROXY, usage_token=Secret("usage-token-of-the-deployment")),
        usage_token_shared=True,
        templates=lambda: templates,
    )
    world.set_global("CLAUDE_CODE_OAUTH_TOKEN", SHARED, tenant="acme")
    world.set_global("A_NAME", "of the tenant", tenant="acme")
    world.set_global("CLAUDE_CODE_OAUTH_TOKEN", OPERATORS, tenant="globex")
    billing = SetTenantBilling(
        call=ADMIN,
        tenant_id="initech",
        platform_usage_token=Secret("usage-token-of-initech"),
        create=True,
    )
    set_tenant_billing.run(world.store, billing, world.deployment)
    register_platform_credential.run(
        world.store,
        RegisterPlatformCredential(call=ADMIN, name="operator", value=Secret(OPERATORS)),
    )


class Random:
    """Commands and what happens between them, the same of the same seed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311 - the same again
        self.known: list[str] = []
        self.requests = [self.uuid() for _ in range(6)]

    def uuid(self) -> str:
        return str(uuid.UUID(int=self.dice.getrandbits(128), version=4))

    def _request_id(self) -> str:
        return self.dice.choice(self.requests) if self.dice.random() < 0.1 else self.uuid()

    def _caller(self) -> Any:
        return self.dice.choices((LAUNCHER, RIVAL, OF_GLOBEX, ADMIN), (30, 4, 1, 2))[0]

    def create(self) -> CreateWorkspace:
        one, some = self.dice.choice, self.dice.choices
        given = some(
            (
                {"CLAUDE_CODE_OAUTH_TOKEN": SHARED},
                {"CLAUDE_CODE_OAUTH_TOKEN": OPERATORS},
                {"ANTHROPIC_API_KEY": "sk-ant-api-of-its-own", "A_NAME": "a value"},
                {"MODEL": "opus", "CLAUDE_CODE_OAUTH_TOKEN": SHARED},
                {"MINIMAX_API_KEY": "a-key-of-minimax-0123"},
                {"ANTHROPIC_AUTH_TOKEN": "a-key-of-minimax-0123"},
                {f"LONG_{n}": "x" * 60_000 for n in range(9)},
                {},
            ),
            (12, 4, 6, 4, 2, 2, 1, 3),
        )[0]
        spec = replace(
            UNSPECIFIED,
            name=f"'one' \"of\" {self.dice.random()} \\ {{}} é 😀",
            model=some(
                ("opus", PLATFORM_MODEL, "", "minimax/MiniMax-M2.7", "none"), (12, 6, 1, 3, 1)
            )[0],
            runtime=some(("", "claude-code", "external", "hermes", "none"), (10, 4, 4, 2, 1))[0],
            billing_mode_override=some(
                ("", "byok", "platform_managed", "disabled", "free"), (12, 2, 2, 1, 1)
            )[0],
            template=some(("", "reviewer", "none"), (12, 3, 1))[0],
            parent_id=one(self.known) if self.known and self.dice.random() < 0.15 else "",
            compute=one(({}, {"cpu": 2.5, "of": [None, True, "\n"]})),
            required_env=one(((), (), ("A_NAME",))),
            budget_limit_micros=one((None, 2**53)),
        )
        return CreateWorkspace(
            call=self._caller(),
            workspace_id=self.uuid(),
            request_id=self._request_id(),
            tenant_id=one(TENANTS),
            spec=spec,
            secrets={key: Secret(value) for key, value in given.items()},
            secret_providers=(
                {"ANTHROPIC_AUTH_TOKEN": "minimax"}
                if "ANTHROPIC_AUTH_TOKEN" in given and self.dice.random() < 0.5
                else {}
            ),
            validate_only=self.dice.random() < 0.05,
            auth_token_sha256=some((None, "b" * 64, USED_HASH), (8, 1, 1))[0],
        )

    def launch(self) -> ProvisionWorkspace:
        unknown = not self.known or self.dice.random() < 0.05
        return ProvisionWorkspace(
            call=self._caller(),
            workspace_id=self.uuid() if unknown else self.dice.choice(self.known),
            provision_id=self.uuid(),
            reason=self.dice.choices(list(ProvisionReason), (5, 5, 5, 1, 2))[0],
            request_id=self._request_id(),
            validate_only=self.dice.random() < 0.05,
        )

    def event(self) -> Callable[[World], object]:
        """Something that happens to a workspace meanwhile."""
        which = self.dice.choice(self.known) if self.known else self.uuid()
        table, change = self.dice.choice(_CHANGES)
        is_of = "tenant_id = (SELECT tenant_id FROM provision.workspaces WHERE workspace_id = :id)"
        where = is_of if table == "tenants" else "workspace_id = :id"
        statement = f"UPDATE provision.{table} SET {change} WHERE {where}"  # noqa: S608
        told = (
            lambda world: world.registry.suspended.add(which),
            lambda world: world.registry.healthy.add(which),
            lambda world: world.registry.retired.add(which),
            lambda world: world.registry.admitted.pop(which, None),
            lambda world: setattr(world.registry, "down", True),
            lambda world: setattr(world.registry, "older", True),
        )
        if self.dice.random() < 0.3:
            return self.dice.choice(told)
        return lambda world: world.sql(statement, id=which)


def shown(thing: Any) -> Any:
    """Everything in it but times."""
    if isinstance(thing, Refusal):
        thing = ["refused", thing.reason, thing.message, thing.metadata]
    if isinstance(thing, EnvironmentPlan | Secret):
        thing = thing.reveal()
    if is_dataclass(thing):
        thing = {each.name: getattr(thing, each.name) for each in fields(thing)}
    if isinstance(thing, Mapping):
        return {str(key): shown(value) for key, value in thing.items()}
    if isinstance(thing, Sequence) and not isinstance(thing, str):
        return [shown(each) for each in thing]
    return "a time" if isinstance(thing, datetime | timedelta) else str(thing)


def rows(world: World) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for table in SCHEMA.tables.sorted_tables:
        if table.name not in _NOT_OF_A_CALL:
            found[table.name] = sorted(
                str(_row(row[0]))
                for row in world.sql(f"SELECT to_jsonb(t) FROM {table.fullname} t")  # noqa: S608
            )
    return found


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in row.items() if not name.endswith(_DIFFERS)}
    for name, value in plain.items():
        if name.endswith(("_time", "_since")):
            plain[name] = value is not None
    if plain.get("last_error"):
        plain["last_error"]["time"] = "a time"
    return dict(sorted(plain.items()))


def answer(work: Callable[[], Any]) -> Any:
    try:
        return shown(work())
    except Refusal as refusal:
        return shown(refusal)


def alone(world: World, command: Command) -> Any:
    store, deployment, registry = world.store, world.deployment, world.registry
    run: Callable[..., Any] = (
        create_workspace.run if isinstance(command, CreateWorkspace) else provision_workspace.run
    )
    return answer(lambda: run(store, command, deployment, registry, world.prober))


def created(
    world: World, commands: Sequence[CreateWorkspace], whole: Counter[str]
) -> dict[int, Any]:
    """As the servicer does it: the answers of those whom the batch stored. `whole` counts those
    with which nobody had to go on alone.
    """
    store, deployment, registry = world.store, world.deployment, world.registry
    stored = create_workspaces.run(store, commands, deployment)
    made = create_workspaces.finish(store, commands, stored, deployment, registry)

    def go_on(command: CreateWorkspace, stored: Stored) -> CreateWorkspaceResult:
        return create_workspace.answer(store, command, deployment, registry, stored=stored)

    whole["creates"] += sum(isinstance(each, CreateWorkspaceResult) for each in made)
    return {
        place: answer(partial(go_on, command, each)) if isinstance(each, Stored) else shown(each)
        for place, (command, each) in enumerate(zip(commands, made, strict=True))
        if each is not None
    }


def launched(
    world: World, commands: Sequence[ProvisionWorkspace], whole: Counter[str]
) -> dict[int, Any]:
    """As the servicer does it: the answers of those whom the batch claimed."""
    store, deployment, registry = world.store, world.deployment, world.registry
    taken = launches.claim(store, commands, deployment)
    made = launches.go_on(store, commands, taken, deployment, registry)

    def go_on(command: ProvisionWorkspace, begun: Claimed | Ready) -> ProvisionWorkspaceResult:
        return provision_workspace.go_on(store, command, deployment, registry, begun=begun)

    whole["launches"] += sum(isinstance(each, ProvisionWorkspaceResult) for each in made)
    return {
        place: answer(partial(go_on, command, each))
        if isinstance(each, Claimed | Ready)
        else shown(each)
        for place, (command, each) in enumerate(zip(commands, made, strict=True))
        if each is not None
    }


@pytest.mark.parametrize("seed", range(2 * TIMES))
def test_alone_or_together_nothing_differs(worlds: tuple[World, World], seed: int) -> None:
    one_by_one, together = worlds
    for world in worlds:
        begin(world)
    dice, shared, whole = Random(seed), [0, 0], Counter[str]()
    for step in range(_STEPS):
        count = dice.dice.randrange(1, 13)
        commands: Sequence[Any]
        if step % 2:
            commands = [dice.launch() for _ in range(count)]
            answers = launched(together, commands, whole)
        else:
            commands = [dice.create() for _ in range(count)]
            answers = created(together, commands, whole)
            dice.known += [each.workspace_id for each in commands]
        shared[step % 2] += len(answers)
        # Those that a batch left to be run alone come after it.
        rest = [place for place in range(count) if place not in answers]
        expected = {place: alone(one_by_one, commands[place]) for place in (*answers, *rest)}
        answers |= {place: alone(together, commands[place]) for place in rest}
        assert answers == expected
        assert rows(together) == rows(one_by_one)
        dice.known = [
            row[0]
            for row in together.sql(
                "SELECT workspace_id::text FROM provision.workspaces ORDER BY 1"
            )
        ]
        for world in worlds:
            world.registry.down = world.registry.older = False
        for event in [dice.event() for _ in range(dice.dice.randrange(4))]:
            for world in worlds:
                event(world)
    assert min(shared) > 0
    assert sum(shared) > _STEPS // 2
    assert min(whole["creates"], whole["launches"]) > 0
