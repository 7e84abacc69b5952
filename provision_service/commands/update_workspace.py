"""Change fields of a workspace's spec; what a launch would refuse is a warning here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection

from agentworkspace.core.refusal import Refusal, refuse_shape
from provision_service.commands import access, idempotency, new_workspace
from provision_service.commands.call import Call, record
from provision_service.commands.deployment import Deployment
from provision_service.domain.records import Billing, Workspace
from provision_service.domain.refusals import Reason
from provision_service.domain.spec import WorkspaceSpec, spec_violations
from provision_service.domain.step import Notice
from provision_service.launch import decide
from provision_service.storage import tenants, workspace_records, workspaces
from provision_service.storage.store import Store
from provision_service.storage.workspace_records import Held


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateWorkspace:
    """`mask` holds names of WorkspaceSpec fields, at least one; an empty etag always fits.

    A masked field with an empty value goes back to its default. `url_refusal` is why
    `spec.url` is refused, as in CreateWorkspace.
    """

    call: Call
    workspace_id: str
    spec: WorkspaceSpec
    mask: frozenset[str]
    request_id: str
    etag: str = ""
    url_refusal: Refusal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateWorkspaceResult:
    """The workspace as it stands, and who would pay now."""

    workspace: Workspace
    billing: Billing
    warnings: tuple[Notice, ...]


METHOD: Final = "UpdateWorkspace"


def run(store: Store, command: UpdateWorkspace, deployment: Deployment) -> UpdateWorkspaceResult:
    """Change it; the values that are there already write nothing. Raises ETAG_MISMATCH,
    PARENT_INVALID, TEMPLATE_UNKNOWN, URL_FORBIDDEN, WORKSPACE_REMOVED, REQUEST_ID_REUSED.
    """
    files = decide.Files(deployment)
    key = idempotency.key_of(command.call, METHOD, command.workspace_id, command.request_id)
    digest = idempotency.params_digest(store, _params(command))
    with store.transaction() as tx:
        held = _lock(tx, command)
        earlier = idempotency.claim(tx, key, digest=digest, result={})
        if earlier is None:
            held = _change(tx, command, deployment, files, held)
        _, decision = decide.decide_stored(tx, deployment, files, held)
    return UpdateWorkspaceResult(
        workspace=held.workspace,
        billing=decide.billing_of(decision, held.workspace.spec),
        warnings=decide.warnings_of(decision),
    )


def _lock(tx: Connection, command: UpdateWorkspace) -> Held:
    """Lock the workspace; before it the tenant when the parent changes, so that two changes at once
    never close a cycle.
    """
    if "parent_id" in command.mask and command.spec.parent_id:
        workspace = access.read_workspace(tx, command.call, command.workspace_id).workspace
        tenants.find(tx, workspace.tenant_id, lock_it=True)
    return access.lock_workspace(tx, command.call, command.workspace_id)


def _change(
    tx: Connection,
    command: UpdateWorkspace,
    deployment: Deployment,
    files: decide.Files,
    held: Held,
) -> Held:
    workspace = held.workspace
    access.require_living(held)
    if command.etag and command.etag != workspace.etag:
        raise Refusal(
            Reason.ETAG_MISMATCH,
            "the workspace changed since it was read; read it again and repeat the change",
            metadata={"etag": workspace.etag},
        )
    spec = _changed(command, workspace.spec, deployment, files)
    _check(tx, command, workspace, spec, files)
    if command.url_refusal is not None:
        raise command.url_refusal
    before, after = (workspace_records.spec_values(each) for each in (workspace.spec, spec))
    changes = {name: value for name, value in after.items() if before[name] != value}
    if not changes:
        return held
    workspaces.change_spec(tx, workspace.id, changes)
    record(
        tx,
        command.call,
        "workspace.update",
        tenant_id=workspace.tenant_id,
        workspace_id=workspace.id,
        details={"fields": ",".join(sorted(changes))},
    )
    return access.read_workspace(tx, command.call, workspace.id)


def _changed(
    command: UpdateWorkspace,
    stored: WorkspaceSpec,
    deployment: Deployment,
    files: decide.Files,
) -> WorkspaceSpec:
    """The stored spec with the masked fields of the request, defaults for empty ones."""
    values = {name: getattr(command.spec, name) for name in command.mask}
    masked = replace(stored, **values)
    # What the request leaves as it is was not its mistake: say a garbled override, or a url that
    # was stored under an older rule.
    judged = replace(
        masked,
        billing_mode_override=values.get("billing_mode_override", ""),
        url=values.get("url", ""),
    )
    refuse_shape(spec_violations(judged))
    return new_workspace.completed(masked, deployment, files)


def _check(
    tx: Connection,
    command: UpdateWorkspace,
    workspace: Workspace,
    spec: WorkspaceSpec,
    files: decide.Files,
) -> None:
    if "template" in command.mask and spec.template and spec.template not in files.templates:
        raise new_workspace.template_unknown(spec.template)
    if "parent_id" in command.mask:
        access.check_parent(
            tx,
            workspace_id=workspace.id,
            tenant_id=workspace.tenant_id,
            parent_id=spec.parent_id,
        )


def _params(command: UpdateWorkspace) -> dict[str, object]:
    return {
        "spec": {name: getattr(command.spec, name) for name in command.mask},
        "etag": command.etag,
    }
