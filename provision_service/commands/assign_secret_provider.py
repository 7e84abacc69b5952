"""Say whose credential a stored secret of a workspace is, without storing its value again."""

from __future__ import annotations

from dataclasses import dataclass

from agentworkspace.core.refusal import Violation, refuse_shape
from provision_service.commands import access, writing
from provision_service.commands.call import Call, record
from provision_service.commands.deployment import Deployment
from provision_service.domain import guards
from provision_service.domain.records import SecretEntry
from provision_service.domain.step import Notice
from provision_service.launch import decide
from provision_service.storage import secrets, workspaces
from provision_service.storage.secrets import SecretPlace
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignSecretProvider:
    """An empty `provider` takes back what was said."""

    call: Call
    workspace_id: str
    key: str
    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignSecretProviderResult:
    """The secret without its value."""

    secret: SecretEntry
    warnings: tuple[Notice, ...]


def run(
    store: Store, command: AssignSecretProvider, deployment: Deployment
) -> AssignSecretProviderResult:
    """Store the provider beside the value. INVALID_REQUEST for an unknown provider or key."""
    files = decide.Files(deployment)
    guards.refuse_unknown_provider(files.catalogue, command.provider)
    with store.transaction() as tx:
        held = access.lock_living_workspace(tx, command.call, command.workspace_id)
        workspace = held.workspace
        _, before = decide.decide_stored(tx, deployment, files, held)
        place = SecretPlace(
            tenant_id=workspace.tenant_id, workspace_id=workspace.id, key=command.key
        )
        secret = secrets.assign(tx, place, command.provider, updated_by=command.call.caller.name)
        if secret is None:
            refuse_shape([Violation("key", "this workspace has no secret of its own by that name")])
            raise AssertionError("a violation is refused")
        workspaces.count_input(tx, workspace.id)
        record(
            tx,
            command.call,
            "secret.assign_provider",
            tenant_id=workspace.tenant_id,
            workspace_id=workspace.id,
            subject=command.key,
            details={"provider": command.provider},
        )
        _, after = decide.decide_stored(tx, deployment, files, held)
    warnings = (*writing.payer_changed(before, after), *decide.warnings_of(after))
    return AssignSecretProviderResult(secret=secret, warnings=warnings)
