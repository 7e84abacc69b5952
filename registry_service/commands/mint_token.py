"""MintToken: issues an api token, or in an emergency an instance token ("break-glass")."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from agentworkspace.core.caller import Caller
from agentworkspace.core.ids import RequestId, WorkspaceId
from agentworkspace.core.refusal import Refusal, SharedReason
from registry_service.commands import grounds, issuing, recording
from registry_service.commands.issued import Issued, NewSecret
from registry_service.commands.issuing import Claim, Issuing
from registry_service.commands.origin import Origin
from registry_service.domain.admission import break_glass_refusal
from registry_service.domain.standing import BootstrapPolicy, Standing, Workspace
from registry_service.domain.tokens import TokenKind
from registry_service.storage import standings, workspaces
from registry_service.storage.standings import Shown
from registry_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class MintToken:
    origin: Origin
    caller: Caller
    workspace_id: WorkspaceId
    kind: TokenKind
    label: str = ""
    scopes: tuple[str, ...] = ()
    ttl: timedelta | None = None
    request_id: RequestId | None = None
    token_sha256: bytes | None = None


def run(store: Store, command: MintToken, *, new_secret: NewSecret) -> Issued:
    """Refusals: WORKSPACE_UNKNOWN, WORKSPACE_REMOVED, INSTANCE_TOKEN_EXISTS, WORKSPACE_SUSPENDED,
    INCARNATION_FENCED, TOKEN_HASH_IN_USE, REQUEST_ID_REUSED, TENANT_FORBIDDEN.
    """
    with store.transaction() as tx:
        known = grounds.in_service(
            command.caller,
            workspaces.lock(tx, command.workspace_id),
            command.workspace_id,
        )
        workspace, now = known.workspace, known.now
        request = Issuing(
            tx=tx,
            claim=claim_of(command),
            origin=command.origin,
            known=known,
            new_secret=new_secret,
        )
        replayed = request.replayed()
        if replayed:
            return request.finish(replayed)
        if command.kind is TokenKind.INSTANCE:
            _require_break_glass(tx, workspace, now)
        draft = issuing.Draft(
            kind=command.kind,
            label=command.label,
            scopes=command.scopes,
            incarnation=workspace.incarnation if command.kind is TokenKind.INSTANCE else 0,
            expire_time=issuing.expiry(now, command.ttl),
        )
        issued = request.fresh(draft)
        recording.record(tx, command.origin, [recording.minted(workspace, issued.token)])
        return issued


def claim_of(command: MintToken) -> Claim:
    return Claim(
        caller=command.caller.name,
        method="MintToken",
        workspace_id=command.workspace_id,
        request_id=command.request_id,
        token_sha256=command.token_sha256,
        params={
            "kind": command.kind.value,
            "label": command.label,
            "scopes": issuing.scopes_as_param(command.scopes),
            "ttl": command.ttl,
        },
    )


def _require_break_glass(tx: Connection, workspace: Workspace, now: datetime) -> None:
    # A Register that mints cannot come in between, because it waits for the workspace's lock. First
    # uses may come in between, but make no difference here.
    (seen,) = standings.snapshots(tx, [Shown(workspace_id=workspace.workspace_id)])
    standing = Standing(
        workspace=workspace,
        policy=BootstrapPolicy.STRICT,
        now=now,
        current_ticket=seen.current_ticket,
        live_instance_tokens=seen.live_instance_tokens,
    )
    closed = break_glass_refusal(standing)
    if closed is SharedReason.WORKSPACE_SUSPENDED:
        raise grounds.suspended(workspace.workspace_id)
    if closed is SharedReason.INCARNATION_FENCED:
        raise grounds.incarnation_fenced(
            workspace, "a token of this launch was compromised; launch the workspace once more"
        )
    if closed is not None:
        raise Refusal(
            closed,
            "an instance token lives or a ticket is outstanding; revoke it first, or launch",
            metadata={"workspace_id": workspace.workspace_id},
        )
