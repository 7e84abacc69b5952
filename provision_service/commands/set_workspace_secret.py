"""Store a secret for one workspace; MODEL and MOLECULE_MODEL become the spec's model instead."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Connection

from agentworkspace.core.refusal import refuse_shape
from agentworkspace.core.secret import Secret
from provision_service.commands import access, writing
from provision_service.commands.call import Call, record
from provision_service.commands.deployment import Deployment
from provision_service.domain import guards
from provision_service.domain.records import SecretEntry
from provision_service.domain.scope import Scope
from provision_service.domain.secrets import MODEL_NAMES, StoredSecret
from provision_service.domain.spec import spec_violations
from provision_service.domain.step import Notice
from provision_service.launch import decide
from provision_service.storage import secret_sizes, secrets, workspaces
from provision_service.storage.secrets import SecretPlace
from provision_service.storage.store import Store, Transaction
from provision_service.storage.workspace_records import Held


@dataclass(frozen=True, slots=True, kw_only=True)
class SetWorkspaceSecret:
    """The shape of key and value was checked before; `provider` is whose credential it is."""

    call: Call
    workspace_id: str
    key: str
    value: Secret
    provider: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetWorkspaceSecretResult:
    """`secret` is None and `model` set when the value became the spec's model."""

    secret: SecretEntry | None
    model: str
    warnings: tuple[Notice, ...]


def run(
    store: Store, command: SetWorkspaceSecret, deployment: Deployment
) -> SetWorkspaceSecretResult:
    """Store it. Raises FORBIDDEN_ENV_KEY, PLATFORM_CREDENTIAL_COMINGLED,
    BYPASS_KEY_REFUSED, SECRET_LIMIT_EXCEEDED, and INVALID_REQUEST for a model's shape.
    """
    files = decide.Files(deployment)
    guards.refuse_unknown_provider(files.catalogue, command.provider)
    with store.transaction() as tx:
        held = access.lock_living_workspace(tx, command.call, command.workspace_id)
        if command.key in MODEL_NAMES:
            return _set_model(tx, command, deployment, files=files, held=held)
        guards.refuse_forbidden(files.catalogue, command.key, Scope.WORKSPACE)
        writing.refuse_comingled(tx, command.key, command.value)
        inputs, before = decide.decide_stored(tx, deployment, files, held)
        row = StoredSecret(command.key, Scope.WORKSPACE, command.value, provider=command.provider)
        guards.refuse_workspace_bypass(
            files.catalogue,
            command.key,
            runtime=held.workspace.spec.runtime,
            resolved_mode=before.resolution.resolved_mode,
        )
        guards.refuse_workspace_route(inputs, before, row)
        secret = _put(tx, command, held)
        _, after = decide.decide_stored(tx, deployment, files, held)
    replaced = inputs.secrets.by_key.get(command.key)
    warnings = (
        *_no_longer_said(replaced, row),
        *writing.payer_changed(before, after),
        *writing.about(command.key, after),
    )
    return SetWorkspaceSecretResult(secret=secret, model="", warnings=warnings)


def _no_longer_said(replaced: StoredSecret | None, row: StoredSecret) -> tuple[Notice, ...]:
    """A new value clears what was said of the old one; warn of that."""
    if replaced is None or not replaced.provider or row.provider:
        return ()
    return (
        Notice(
            "SECRET_PROVIDER_CLEARED",
            f"{row.key} was {replaced.provider}'s, and of the new value nothing is said; if it is"
            f" theirs too, say so with provider `{replaced.provider}`",
            {"name": row.key, "provider": replaced.provider},
        ),
    )


def _put(tx: Transaction, command: SetWorkspaceSecret, held: Held) -> SecretEntry:
    workspace = held.workspace
    place = SecretPlace(tenant_id=workspace.tenant_id, workspace_id=workspace.id, key=command.key)
    secret = secrets.put(
        tx,
        place,
        command.value,
        updated_by=command.call.caller.name,
        provider=command.provider,
    )
    sizes = secret_sizes.bytes_seen_by_workspace(
        tx, tenant_id=workspace.tenant_id, workspace_id=workspace.id
    )
    guards.refuse_too_much(sum(sizes.values()))
    workspaces.count_input(tx, workspace.id)
    said = {"provider": command.provider} if command.provider else {}
    _record(tx, command, held, {"scope": "workspace", **said})
    return secret


def _set_model(
    tx: Transaction,
    command: SetWorkspaceSecret,
    deployment: Deployment,
    *,
    files: decide.Files,
    held: Held,
) -> SetWorkspaceSecretResult:
    """The spec is the only stored copy of the model; a blank value leaves it as it is."""
    workspace = held.workspace
    model = command.value.reveal().strip()
    if not model:
        said = f"{command.key} is blank: the model stays as it is"
        blank = Notice("MODEL_BLANK", said, {"key": command.key})
        return SetWorkspaceSecretResult(secret=None, model=workspace.spec.model, warnings=(blank,))
    refuse_shape(spec_violations(replace(workspace.spec, model=model)))
    _, before = decide.decide_stored(tx, deployment, files, held)
    if model != workspace.spec.model:
        workspaces.change_spec(tx, workspace.id, {"model": model})
        _record(tx, command, held, {"became": "spec.model"})
    now = access.read_workspace(tx, command.call, workspace.id)
    _, after = decide.decide_stored(tx, deployment, files, now)
    warnings = (*writing.payer_changed(before, after), *decide.warnings_of(after))
    return SetWorkspaceSecretResult(secret=None, model=model, warnings=warnings)


def _record(
    tx: Connection, command: SetWorkspaceSecret, held: Held, details: dict[str, str]
) -> None:
    record(
        tx,
        command.call,
        "secret.set",
        tenant_id=held.workspace.tenant_id,
        workspace_id=held.workspace.id,
        subject=command.key,
        details=details,
    )
