"""AdmitWorkspace: the registry learns of a workspace, and issues its first api token."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection

from agentworkspace.core.audit import Change
from agentworkspace.core.caller import Caller
from agentworkspace.core.ids import RequestId, TenantId, WorkspaceId
from agentworkspace.core.refusal import Refusal
from registry_service.commands import fencing, grounds, issuing, recording, registration_view
from registry_service.commands.fencing import Ended
from registry_service.commands.issued import Issued, NewSecret
from registry_service.commands.issuing import Claim, Issuing, Replayed
from registry_service.commands.origin import Origin
from registry_service.commands.views import Registration
from registry_service.domain.refusals import Reason
from registry_service.domain.standing import Fence, Workspace
from registry_service.domain.tokens import RevokeReason, TokenKind
from registry_service.storage import registrations, restoring, revocation, workspaces
from registry_service.storage.store import Store
from registry_service.storage.workspaces import Known

# The audit note of tokens that end because the launcher knows of more launches than the registry.
RESTORED_NOTE: Final = "its launcher remembers more; the registry was restored from a backup"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstToken:
    label: str = ""
    scopes: tuple[str, ...] = ()
    ttl: timedelta | None = None
    token_sha256: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmitWorkspace:
    origin: Origin
    caller: Caller
    workspace_id: WorkspaceId
    tenant_id: TenantId
    request_id: RequestId | None = None
    first_token: FirstToken | None = None
    ticket_required: bool = False
    evidence_required: bool = False
    # The number of the newest launch that the launcher knows of, and whether it knows the workspace
    # as suspended: a registry that was restored from a backup may have forgotten both.
    remembered_incarnation: int = 0
    suspended: bool = False
    # Whether the answer says how the workspace stands, which costs a batch a statement.
    with_registration: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmittedWorkspace:
    # None only where a batch was not asked for it.
    registration: Registration | None
    # The first api token; None when none was asked for, or when the workspace was known before and
    # this is no repetition of the request that first asked for one.
    issued: Issued | None


def run(store: Store, command: AdmitWorkspace, *, new_secret: NewSecret) -> AdmittedWorkspace:
    """Refusals: TENANT_MISMATCH, WORKSPACE_REMOVED, TOKEN_HASH_IN_USE, REQUEST_ID_REUSED,
    INVALID_REQUEST (the remembered number is out of reach), TENANT_FORBIDDEN.
    """
    claim = claim_of(command, command.first_token) if command.first_token else None
    with store.transaction() as tx:
        known, new = _introduce(tx, command)
        changes = [_admitted(command, known.workspace)] if new else []
        ended = _remind(tx, command, known)
        changes += ended.changes
        issued = None
        if command.first_token and claim:
            request = Issuing(
                tx=tx, claim=claim, origin=command.origin, known=known, new_secret=new_secret
            )
            issued = _first_token(request, command.first_token, new=new)
        if new and issued:
            changes.append(recording.minted(known.workspace, issued.issued.token))
        recording.record(tx, command.origin, changes)
        registration = registration_view.read(tx, command.workspace_id)
        news = []
        if ended.gone:
            news.append(recording.entry_for_all(known.workspace, RevokeReason.COMPROMISED))
        if issued and issued.lost:
            news += recording.entries(known.workspace, [issued.lost], RevokeReason.ROTATED)
        if news:
            recording.publish(tx, news)
        return AdmittedWorkspace(
            registration=registration, issued=issued.issued if issued else None
        )


def _introduce(tx: Connection, command: AdmitWorkspace) -> tuple[Known, bool]:
    """Make the workspace known, and lock it. Returns it, and whether it is new."""
    command.caller.require_tenant(command.tenant_id)
    fresh = workspaces.insert(
        tx,
        command.workspace_id,
        command.tenant_id,
        ticket_required=command.ticket_required,
        evidence_required=command.evidence_required,
    )
    if fresh:
        return fresh, True
    known = workspaces.lock_present(tx, command.workspace_id)
    workspace = known.workspace
    # The tombstone of an id that was retired before it was known belongs to no tenant.
    if workspace.tenant_id not in (command.tenant_id, ""):
        raise Refusal(
            Reason.TENANT_MISMATCH,
            "the workspace id belongs to another tenant",
            metadata={"workspace_id": command.workspace_id},
        )
    if workspace.retired:
        raise grounds.workspace_removed(command.workspace_id)
    _require_more(tx, command, workspace)
    return known, False


def _admitted(command: AdmitWorkspace, workspace: Workspace) -> Change:
    facts = {
        "ticket_required": str(command.ticket_required).lower(),
        "evidence_required": str(command.evidence_required).lower(),
    }
    return recording.change(workspace, "workspace.admitted", details=facts)


def _require_more(tx: Connection, command: AdmitWorkspace, workspace: Workspace) -> None:
    """Add what this admission requires to what earlier ones did, which stays required."""
    more = []
    if command.ticket_required and not workspace.ticket_required:
        more.append("workspace.ticket_required")
    if command.evidence_required and not workspace.evidence_required:
        more.append("workspace.evidence_required")
    if more:
        workspaces.require(
            tx,
            command.workspace_id,
            ticket=command.ticket_required,
            evidence=command.evidence_required,
        )
        registrations.note_change(tx, command.workspace_id)
        changes = [recording.change(workspace, action) for action in more]
        recording.record(tx, command.origin, changes)


def _remind(tx: Connection, command: AdmitWorkspace, known: Known) -> Ended:
    """Take over what the launcher remembers, if a restored registry has forgotten it."""
    workspace, remembered = known.workspace, command.remembered_incarnation
    grounds.require_reach(workspace, remembered, "remembered_incarnation")
    ended = Ended()
    if remembered > workspace.incarnation:
        ended.add(_count_on(tx, known, remembered))
        known = workspaces.lock_present(tx, command.workspace_id)
        workspace = known.workspace
    # If the registry knows of a newer launch, that one has lifted the suspension.
    if command.suspended and not workspace.suspended and remembered == workspace.incarnation:
        ended.add(fencing.raise_fence(tx, known, Fence.SUSPENDED, RESTORED_NOTE))
    return ended


def _count_on(tx: Connection, known: Known, remembered: int) -> Ended:
    """Count up to the launches that were forgotten. They replaced all boxes that are known here."""
    workspace, reason = known.workspace, RevokeReason.COMPROMISED
    opening = restoring.opening(tx, [workspace.workspace_id], api_tokens=False)
    condemned = revocation.condemn(tx, opening, now=known.now, note=RESTORED_NOTE)
    workspaces.count_on(tx, workspace.workspace_id, remembered)
    restoring.mark(tx, [workspace.workspace_id])
    facts = {"incarnation": workspace.incarnation, "remembered": remembered}
    changes = recording.revoked(workspace, condemned.found, reason, RESTORED_NOTE)
    changes.append(recording.change(workspace, "workspace.restored", details=facts))
    return Ended(changes, condemned.ended)


def _first_token(request: Issuing, wanted: FirstToken, *, new: bool) -> Replayed | None:
    """The first token of a new workspace. For a known one only a lost answer is given again, so
    that nobody mints more tokens by admitting twice; None otherwise.
    """
    # A new workspace has no earlier requests; a hash that is known is refused by the insert.
    if not new:
        replayed = request.replayed()
        if replayed:
            request.note(replayed)
        return replayed
    draft = issuing.Draft(
        kind=TokenKind.API,
        label=wanted.label,
        scopes=wanted.scopes,
        expire_time=issuing.expiry(request.known.now, wanted.ttl),
    )
    issued = request.fresh(draft)
    return Replayed(issued=issued, lost=None)


def claim_of(command: AdmitWorkspace, wanted: FirstToken) -> Claim:
    return Claim(
        caller=command.caller.name,
        method="AdmitWorkspace",
        workspace_id=command.workspace_id,
        request_id=command.request_id,
        token_sha256=wanted.token_sha256,
        params={
            "tenant_id": command.tenant_id,
            "label": wanted.label,
            "scopes": issuing.scopes_as_param(wanted.scopes),
            "ttl": wanted.ttl,
        },
    )
