"""The refusals that several commands give, and the checks that give them."""

from __future__ import annotations

from typing import Final

from agentworkspace.core.caller import Caller
from agentworkspace.core.ids import RequestId, TokenId, WorkspaceId
from agentworkspace.core.refusal import Recovery, Refusal, SharedReason, Violation, wrong_shape
from registry_service.domain.refusals import Reason
from registry_service.domain.standing import Workspace
from registry_service.storage.workspaces import Known

LARGEST_LEAP: Final = 1_000_000


def known_to(caller: Caller, known: Known | None, workspace_id: WorkspaceId) -> Known:
    """The workspace, if there is one and the caller may act for its tenant."""
    require_owner(caller, known, workspace_id)
    if known is None:
        raise workspace_unknown(workspace_id)
    return known


def in_service(caller: Caller, known: Known | None, workspace_id: WorkspaceId) -> Known:
    """The same as `known_to`; a retired workspace is WORKSPACE_REMOVED."""
    known = known_to(caller, known, workspace_id)
    if known.workspace.retired:
        raise workspace_removed(workspace_id)
    return known


def require_owner(caller: Caller, known: Known | None, workspace_id: WorkspaceId) -> None:
    """TENANT_FORBIDDEN, the same for another tenant's workspace and for one that is unknown."""
    tenant_id = None if known is None else known.workspace.tenant_id
    caller.require_owner(tenant_id, "workspace", workspace_id)


def workspace_unknown(workspace_id: WorkspaceId) -> Refusal:
    """To a caller of the platform, who typed the id: waiting would not help."""
    return Refusal(
        SharedReason.WORKSPACE_UNKNOWN,
        "this registry knows no workspace of this id; check it, or admit the workspace first",
        metadata={"workspace_id": workspace_id},
        recovery=Recovery.FIX_REQUEST,
    )


def not_known_yet(workspace_id: WorkspaceId) -> Refusal:
    """To a box, which was launched with the id: word of the workspace may be on its way."""
    return Refusal(
        SharedReason.WORKSPACE_UNKNOWN,
        "no such workspace here, or not yet",
        metadata={"workspace_id": workspace_id},
        recovery=Recovery.RETRY,
    )


def workspace_removed(workspace_id: WorkspaceId) -> Refusal:
    return Refusal(
        SharedReason.WORKSPACE_REMOVED,
        "the workspace was retired",
        metadata={"workspace_id": workspace_id},
    )


def token_unknown(token_id: TokenId | None) -> Refusal:
    """`token_id` None: it was named by its own text, which nobody repeats."""
    return Refusal(
        Reason.TOKEN_UNKNOWN,
        "the workspace has no such token; ListTokens shows those it has"
        if token_id
        else "this is no token of a workspace that the caller may act for",
        metadata={"token_id": token_id} if token_id else {},
    )


def suspended(workspace_id: WorkspaceId) -> Refusal:
    """To a caller of the platform."""
    return Refusal(
        SharedReason.WORKSPACE_SUSPENDED,
        "the workspace is suspended; an admin lifts that by launching it for the reason RESUME",
        metadata={"workspace_id": workspace_id},
        recovery=Recovery.FIX_REQUEST,
    )


def incarnation_fenced(workspace: Workspace, message: str) -> Refusal:
    return Refusal(
        SharedReason.INCARNATION_FENCED,
        message,
        metadata={"incarnation": str(workspace.incarnation)}
        | ({"fence": workspace.fence.value} if workspace.fence else {}),
    )


def token_hash_in_use() -> Refusal:
    return Refusal(
        SharedReason.TOKEN_HASH_IN_USE,
        "the hash belongs to a token already; make a new secret",
        recovery=Recovery.FIX_REQUEST,
    )


def request_id_reused(request_id: RequestId) -> Refusal:
    return Refusal(
        SharedReason.REQUEST_ID_REUSED,
        "request_id was used for other parameters",
        metadata={"request_id": request_id},
        recovery=Recovery.FIX_REQUEST,
    )


def bearer_missing() -> Refusal:
    return Refusal(
        Reason.BEARER_MISSING, "the method needs a live bearer", recovery=Recovery.REGISTER
    )


def bearer_rejected(*, recognised: bool = False) -> Refusal:
    """`recognised`: it was issued here once, and is dead or somebody else's."""
    return Refusal(
        SharedReason.BEARER_REJECTED,
        "the presented bearer is not live",
        recovery=Recovery.REGISTER,
        recognised=recognised,
    )


def credential_rejected(*, recognised: bool = False) -> Refusal:
    """Of a workspace token that was shown in place of a caller's credential; `recognised` as in
    `bearer_rejected`.
    """
    return Refusal(
        SharedReason.CREDENTIAL_REJECTED,
        "the presented credential is not accepted",
        recognised=recognised,
    )


def only_for_itself() -> Refusal:
    return Refusal(
        SharedReason.ROLE_REQUIRED,
        "a token may do this to itself only",
        metadata={"roles": "admin"},
    )


def require_reach(workspace: Workspace, number: int, field: str) -> None:
    """A number far above the registry's own is a mistake, which would last for ever."""
    if number > workspace.incarnation + LARGEST_LEAP:
        raise invalid(
            field,
            f"must be at most {LARGEST_LEAP} above {workspace.incarnation}, the number of the "
            "newest launch here",
        )


def invalid(field: str, description: str) -> Refusal:
    return wrong_shape([Violation(field, description)])
