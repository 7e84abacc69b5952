"""Provision's commands as its callers use them: a real database, and a registry that is told
what to do.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from threading import Barrier, Thread
from typing import Any, TypeVar

import pytest
from sqlalchemy import Engine, func, select, text

from agentworkspace.core.caller import Caller
from agentworkspace.core.refusal import AnyReason, Refusal
from agentworkspace.core.secret import Secret
from provision_service.catalogue.catalogue import Catalogue
from provision_service.commands import (
    create_workspace,
    get_workspace,
    resolve_billing_mode,
    set_global_secret,
    set_workspace_secret,
)
from provision_service.commands.call import Call
from provision_service.commands.create_workspace import CreateWorkspace, CreateWorkspaceResult
from provision_service.commands.deployment import Deployment
from provision_service.commands.get_workspace import GetWorkspace
from provision_service.commands.resolve_billing_mode import ResolveBillingMode
from provision_service.commands.set_global_secret import SetGlobalSecret
from provision_service.commands.set_workspace_secret import SetWorkspaceSecret
from provision_service.domain.lifecycle import ProvisionOutcome, ProvisionReason
from provision_service.domain.platform_proxy import PlatformProxy
from provision_service.domain.records import Billing, Provision, ProvisionError, Workspace
from provision_service.domain.spec import WorkspaceSpec
from provision_service.launch import complete_provision, provision_workspace
from provision_service.launch.complete_provision import CompleteProvision
from provision_service.launch.provision_workspace import (
    ProvisionWorkspace,
    ProvisionWorkspaceResult,
)
from provision_service.storage.key_agreement import AgreedKeys
from provision_service.storage.key_holders import Replica
from provision_service.storage.keyring import KeysFile
from provision_service.storage.opening import open_store
from provision_service.storage.schema import SCHEMA
from provision_service.storage.store import Store, database
from provision_service.workers.files import load_catalogue
from tests.storage.provision_doubles import ScriptedProber, ScriptedRegistry, new_id

T = TypeVar("T")
ACME = "acme"
GLOBEX = "globex"
LAUNCHER = Call(
    caller=Caller("control-plane", frozenset({"launcher"}), None),
    method="/test/Method",
    correlation_id="c-1",
)
RIVAL = Call(caller=Caller("watchdog", frozenset({"launcher"}), None))
ADMIN = Call(caller=Caller("operator", frozenset({"admin"}), None))
OF_GLOBEX = Call(caller=Caller("globex-plane", frozenset({"admin"}), frozenset({GLOBEX})))
UNSPECIFIED = WorkspaceSpec(
    runtime="", tier=0, max_concurrent_tasks=0, delivery_mode="", workspace_access=""
)
OPUS = replace(UNSPECIFIED, name="engineer", model="opus")
OAUTH = {"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat-of-the-tenant"}
PLATFORM_MODEL = "anthropic/claude-opus-4-7"
PROXY = PlatformProxy(
    base_url="https://proxy.test/v1",
    anthropic_base_url="https://proxy.test/anthropic",
    usage_url="https://proxy.test/usage",
)


@lru_cache(maxsize=1)
def shipped_catalogue() -> Catalogue:
    return load_catalogue(None)


def keys_document(current: str, **keys: bytes) -> str:
    encoded = {key_id: base64.b64encode(key).decode() for key_id, key in keys.items()}
    return json.dumps({"current": current, "keys": encoded})


@dataclass
class World:
    """One deployment. Methods call a use case the way most tests need it."""

    store: Store
    engine: Engine
    keys_path: Path
    keys: AgreedKeys
    deployment: Deployment
    registry: ScriptedRegistry = field(default_factory=ScriptedRegistry)
    prober: ScriptedProber = field(default_factory=ScriptedProber)

    def deploy(self, **changes: Any) -> None:
        """Change what the deployment decided."""
        self.deployment = replace(self.deployment, **changes)

    def try_create(
        self,
        spec: WorkspaceSpec = OPUS,
        secrets: Mapping[str, str] | None = None,
        *,
        said: Mapping[str, str] | None = None,
        tenant: str = ACME,
        call: Call = LAUNCHER,
        request_id: str | None = None,
        validate_only: bool = False,
        token_sha256: str | None = None,
        url_refusal: Refusal | None = None,
    ) -> CreateWorkspaceResult:
        given = OAUTH if secrets is None else secrets
        command = CreateWorkspace(
            call=call,
            workspace_id=new_id(),
            request_id=request_id or new_id(),
            tenant_id=tenant,
            spec=spec,
            secrets={key: Secret(value) for key, value in given.items()},
            secret_providers=said or {},
            validate_only=validate_only,
            auth_token_sha256=token_sha256,
            url_refusal=url_refusal,
        )
        return create_workspace.run(
            self.store, command, self.deployment, self.registry, self.prober
        )

    def create(self, spec: WorkspaceSpec = OPUS, **more: Any) -> Workspace:
        return self.try_create(spec, **more).workspace

    def launch(
        self,
        workspace: Workspace,
        *,
        reason: ProvisionReason = ProvisionReason.RESTART,
        request_id: str | None = None,
        call: Call | None = None,
        validate_only: bool = False,
    ) -> ProvisionWorkspaceResult:
        by_default = ADMIN if reason is ProvisionReason.RESUME else LAUNCHER
        command = ProvisionWorkspace(
            call=call or by_default,
            workspace_id=workspace.id,
            provision_id=new_id(),
            reason=reason,
            request_id=request_id or new_id(),
            validate_only=validate_only,
        )
        return provision_workspace.run(
            self.store, command, self.deployment, self.registry, self.prober
        )

    def environment(self, workspace: Workspace, **more: Any) -> dict[str, str]:
        """The environment of a launch, which is completed at once."""
        launched = self.launch(workspace, **more)
        assert launched.env is not None
        self.complete(launched.provision)
        return launched.env.reveal()

    def complete(
        self,
        provision: Provision,
        outcome: ProvisionOutcome = ProvisionOutcome.SUCCEEDED,
        error: ProvisionError | None = None,
    ) -> Provision:
        command = CompleteProvision(
            call=LAUNCHER, provision_id=provision.id, outcome=outcome, error=error
        )
        return complete_provision.run(self.store, command)

    def read(self, workspace: Workspace) -> Workspace:
        command = GetWorkspace(call=LAUNCHER, workspace_id=workspace.id)
        return get_workspace.run(self.store, command, self.deployment, self.registry)

    def resolve(self, workspace: Workspace) -> Billing:
        command = ResolveBillingMode(call=LAUNCHER, workspace_id=workspace.id)
        return resolve_billing_mode.run(self.store, command, self.deployment).billing

    def set_global(self, key: str, value: str, *, tenant: str = ACME) -> None:
        command = SetGlobalSecret(call=LAUNCHER, tenant_id=tenant, key=key, value=Secret(value))
        set_global_secret.run(self.store, command, self.deployment)

    def set_own(
        self, workspace: Workspace, key: str, value: str, *, provider: str = ""
    ) -> set_workspace_secret.SetWorkspaceSecretResult:
        command = SetWorkspaceSecret(
            call=LAUNCHER,
            workspace_id=workspace.id,
            key=key,
            value=Secret(value),
            provider=provider,
        )
        return set_workspace_secret.run(self.store, command, self.deployment)

    def sql(self, statement: str, **values: Any) -> list[Any]:
        """What an operator at the database would do, or see."""
        with self.engine.begin() as connection:
            done = connection.execute(text(statement), values)
            return list(done) if done.returns_rows else []

    def count(self, table: str) -> int:
        query = select(func.count()).select_from(SCHEMA.tables.tables[f"provision.{table}"])
        with self.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def let_leases_run_out(self) -> None:
        self.sql("UPDATE provision.provisions SET lease_expire_time = now() - interval '1 s'")


def emptied(url: str) -> str:
    """The same database without a row: faster than a new one for every test of a module."""
    emptying = database(Secret(url), pool_size=1)
    names = ", ".join(table.fullname for table in SCHEMA.tables.sorted_tables)
    with emptying.engine.begin() as connection:
        connection.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY")
    emptying.close()
    return url


@contextmanager
def opened(url: str, directory: Path, *, name: str = "a replica") -> Iterator[World]:
    """A world on a migrated database."""
    keys_path = directory / "keys.json"
    if not keys_path.exists():
        keys_path.touch(mode=0o600)
        keys_path.write_text(keys_document("k1", k1=os.urandom(32)))
    opened_database = database(Secret(url), pool_size=32)
    try:
        reported: list[str] = []
        file = KeysFile(keys_path, report=reported.append)
        keys = AgreedKeys(file.current, Replica(replica_id=new_id(), name=name))
        yield World(
            store=open_store(opened_database, keys, os.urandom),
            engine=opened_database.engine,
            keys_path=keys_path,
            keys=keys,
            deployment=Deployment(
                catalogue=shipped_catalogue, registry_address="registry.test:7101", platform=PROXY
            ),
        )
    finally:
        opened_database.close()


@contextmanager
def refused(reason: AnyReason) -> Iterator[pytest.ExceptionInfo[Refusal]]:
    """What is inside is refused for this reason."""
    with pytest.raises(Refusal) as caught:
        yield caught
    assert caught.value.reason is reason, repr(caught.value)


def at_once(work: Sequence[Callable[[], T]]) -> list[T | Exception]:
    """Run all of it in threads of its own, which start together; answers in order."""
    barrier = Barrier(len(work))
    answers: list[T | Exception] = [AssertionError("did not run")] * len(work)

    def one(index: int) -> None:
        barrier.wait()
        try:
            answers[index] = work[index]()
        except Exception as error:  # noqa: BLE001 - an answer like any other here
            answers[index] = error

    threads = [Thread(target=one, args=(index,)) for index in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
