"""Create a workspace: spec, secrets and the message to the registry in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import Final

from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.core.secret import Secret
from provision_service.commands import access, first_token, idempotency, new_workspace
from provision_service.commands.call import Call
from provision_service.commands.deployment import Deployment
from provision_service.commands.first_token import FirstTokenAnswer
from provision_service.commands.new_workspace import Decided, Draft
from provision_service.domain.decision import Decision
from provision_service.domain.lifecycle import WorkspaceStatus
from provision_service.domain.probing import Prober
from provision_service.domain.records import Billing, Workspace
from provision_service.domain.registry_port import Admission, Registry
from provision_service.domain.spec import WorkspaceSpec
from provision_service.domain.step import Notice
from provision_service.launch import decide
from provision_service.launch.decide import Files
from provision_service.storage import creating, workspaces
from provision_service.storage.creating import NewWorkspace
from provision_service.storage.requests import RequestKey
from provision_service.storage.store import Store, Transaction

METHOD: Final = "CreateWorkspace"
# The create admits the workspace itself; the outbox waits, in case that fails.
_OUTBOX_WAITS: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateWorkspace:
    """`workspace_id` is fresh, made by the edge; a replay answers with the first one.

    What was not given is empty (tier and max_concurrent_tasks 0): template and defaults fill it
    here. `url_refusal` is why `spec.url` is refused, None when it is not: its name was looked up
    before, because that may take longer than a command's thread should be held.
    """

    call: Call
    workspace_id: str
    request_id: str
    tenant_id: str
    spec: WorkspaceSpec
    secrets: Mapping[str, Secret]
    secret_providers: Mapping[str, str] = field(default_factory=dict)
    validate_only: bool = False
    auth_token_sha256: str | None = None
    url_refusal: Refusal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateWorkspaceResult:
    """`auth_token_error` is `REASON: sentence` when there is no token in this answer."""

    workspace: Workspace
    billing: Billing
    auth_token: Secret | None
    auth_token_error: str
    warnings: tuple[Notice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the transaction left: the new workspace, or the one of an earlier call."""

    workspace: Workspace
    decision: Decision
    warnings: tuple[Notice, ...] = ()


def run(
    store: Store,
    command: CreateWorkspace,
    deployment: Deployment,
    registry: Registry,
    prober: Prober,
) -> CreateWorkspaceResult:
    """Decide, store, then ask the registry for the first token.

    A refusal leaves no row. Once stored, the registry being away is no failure: the
    answer then says why it carries no token.
    """
    command.call.caller.require_tenant(command.tenant_id)
    files = Files(deployment)
    if command.validate_only:
        wanted = draft_of(command, deployment, files)
        return _validate(store, deployment, files, wanted, prober)
    key = key_of(command)
    digest = digest_of(store, command)
    stored: Stored | None = None
    probed: tuple[Notice, ...] = ()
    if new_workspace.has_probes(deployment, files, command.spec.template):
        # A replay probes no vendor: its answer was given before.
        with store.reading() as tx:
            earlier = idempotency.find(tx, key, digest=digest)
            if earlier is not None:
                stored = _replay(tx, command, deployment, files=files, earlier=earlier)
        if stored is None:
            wanted = draft_of(command, deployment, files)
            probed = new_workspace.probe_before(store, deployment, files, wanted, prober)
    if stored is None:
        with store.transaction() as tx:
            stored = _store(tx, command, deployment, files=files, key=key, digest=digest)
    return answer(store, command, deployment, registry, stored=stored, probed=probed)


def draft_of(command: CreateWorkspace, deployment: Deployment, files: Files) -> Draft:
    """The workspace as it would be stored. Raises TEMPLATE_UNKNOWN, INVALID_REQUEST and
    `url_refusal`.
    """
    if command.url_refusal is not None:
        raise command.url_refusal
    return new_workspace.draft(
        command.workspace_id,
        command.tenant_id,
        command.spec,
        command.secrets,
        command.secret_providers,
        deployment=deployment,
        files=files,
    )


def _store(
    tx: Transaction,
    command: CreateWorkspace,
    deployment: Deployment,
    *,
    files: Files,
    key: RequestKey,
    digest: bytes,
) -> Stored:
    """Write everything, or find what the same request wrote before."""
    earlier = idempotency.claim(
        tx, key, digest=digest, result={"workspace_id": command.workspace_id}
    )
    if earlier is not None:
        return _replay(tx, command, deployment, files=files, earlier=earlier)
    wanted = draft_of(command, deployment, files)
    decided = new_workspace.decide_new(tx, deployment, files, wanted)
    refusal = decide.take_usage_token(
        tx,
        deployment,
        files,
        tenant=decided.tenant,
        inputs=decided.inputs,
        decision=decided.decision,
    )
    if refusal is not None:
        raise refusal
    new = new_of(command, deployment, wanted=wanted, decided=decided)
    workspace = creating.add(tx, [new])[command.workspace_id]
    return stored_of(workspace, wanted, decided)


def new_of(
    command: CreateWorkspace,
    deployment: Deployment,
    *,
    wanted: Draft,
    decided: Decided,
    request: tuple[RequestKey, bytes] | None = None,
) -> NewWorkspace:
    """What is stored for the command. `request` is a request id that is still to be taken, with its
    digest; None when it was taken before.
    """
    return NewWorkspace(
        tenant=decided.tenant,
        spec=wanted.spec,
        secrets=wanted.secrets,
        providers=wanted.providers,
        admission=_admission(deployment, wanted.workspace_id, wanted.tenant_id, decided.decision),
        first_token_sha256=command.auth_token_sha256,
        not_before=deployment.admit_budget + _OUTBOX_WAITS,
        caller=command.call.caller.name,
        method=command.call.method,
        correlation_id=command.call.correlation_id,
        request=request,
    )


def stored_of(workspace: Workspace, wanted: Draft, decided: Decided) -> Stored:
    return Stored(
        workspace=workspace,
        decision=decided.decision,
        warnings=new_workspace.warnings_of(decided, wanted),
    )


def key_of(command: CreateWorkspace) -> RequestKey:
    return idempotency.key_of(command.call, METHOD, command.tenant_id, command.request_id)


def digest_of(store: Store, command: CreateWorkspace) -> bytes:
    return idempotency.params_digest(store, _params(command))


def _replay(
    tx: Transaction,
    command: CreateWorkspace,
    deployment: Deployment,
    *,
    files: Files,
    earlier: Mapping[str, object],
) -> Stored:
    held = access.read_workspace(tx, command.call, str(earlier["workspace_id"]))
    _, decision = decide.decide_stored(tx, deployment, files, held)
    return Stored(workspace=held.workspace, decision=decision)


def answer(
    store: Store,
    command: CreateWorkspace,
    deployment: Deployment,
    registry: Registry,
    *,
    stored: Stored,
    probed: tuple[Notice, ...] = (),
) -> CreateWorkspaceResult:
    """After the commit: the first token, or why there is none."""
    workspace = stored.workspace
    if workspace.remove_time is not None:
        token = FirstTokenAnswer(
            error=f"{SharedReason.WORKSPACE_REMOVED}: the workspace was removed since"
        )
    else:
        token = first_token.ask(
            store,
            deployment,
            registry,
            admission_of(deployment, stored),
            token_sha256=command.auth_token_sha256,
        )
    return result_of(stored, token, probed)


def result_of(
    stored: Stored, token: FirstTokenAnswer, probed: tuple[Notice, ...] = ()
) -> CreateWorkspaceResult:
    workspace = stored.workspace
    return CreateWorkspaceResult(
        workspace=replace(workspace, admitted=workspace.admitted or token.admitted),
        billing=decide.billing_of(stored.decision, workspace.spec),
        auth_token=token.token,
        auth_token_error=token.error,
        warnings=(*stored.warnings, *probed),
    )


def admission_of(deployment: Deployment, stored: Stored) -> Admission:
    """What the registry is told of a workspace that was stored."""
    return _admission(deployment, stored.workspace.id, stored.workspace.tenant_id, stored.decision)


def _admission(
    deployment: Deployment, workspace_id: str, tenant_id: str, decision: Decision
) -> Admission:
    return first_token.admission_of(
        deployment,
        workspace_id=workspace_id,
        tenant_id=tenant_id,
        external_like=decision.skipped,
    )


def _validate(
    store: Store, deployment: Deployment, files: Files, wanted: Draft, prober: Prober
) -> CreateWorkspaceResult:
    """Everything but writing: the workspace as it would be, without an id."""
    with store.reading() as tx:
        decided = new_workspace.decide_new(tx, deployment, files, wanted)
        now = workspaces.now(tx)
    probed = new_workspace.probe(deployment, files, decided.inputs, decided.decision, prober)
    return CreateWorkspaceResult(
        workspace=Workspace(
            id="",
            tenant_id=wanted.tenant_id,
            spec=wanted.spec,
            status=WorkspaceStatus.PENDING,
            incarnation=0,
            etag="",
            input_revision=0,
            admitted=False,
            create_time=now,
            update_time=now,
        ),
        billing=decide.billing_of(decided.decision, wanted.spec),
        auth_token=None,
        auth_token_error="",
        warnings=(*new_workspace.warnings_of(decided, wanted), *probed),
    )


def _params(command: CreateWorkspace) -> dict[str, object]:
    """What must be the same for the same request id."""
    said = {"secret_providers": command.secret_providers} if command.secret_providers else {}
    return {
        "spec": asdict(command.spec),
        "secrets": command.secrets,
        "auth_token_sha256": command.auth_token_sha256,
        **said,
    }
