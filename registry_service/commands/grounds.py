"""Refusals that several commands share, and the checks that raise them."""

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
    """The workspace. Refusals: TENANT_FORBIDDEN, WORKSPACE_UNKNOWN."""
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
    """Refusal TENANT_FORBIDDEN for another tenant's workspace, and the same for an unknown one, so
    that nobody can tell the two apart.
    """
    tenant_id = None if known is None else known.workspace.tenant_id
    caller.require_owner(tenant_id, "workspace", workspace_id)


def workspace_unknown(workspace_id: WorkspaceId) -> Refusal:
    """For a caller of the platform, who sent a wrong id: waiting would not help."""
    return Refusal(
        SharedReason.WORKSPACE_UNKNOWN,
        "this registry knows no workspace of this id; check it, or admit the workspace first",
        metadata={"workspace_id": workspace_id},
        recovery=Recovery.FIX_REQUEST,
    )


def not_known_yet(workspace_id: WorkspaceId) -> Refusal:
    """For a box, which was launched with this id: the workspace may be admitted in a moment."""
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
    """`token_id` is None if the caller named the token by its text, which must not be repeated."""
    return Refusal(
        Reason.TOKEN_UNKNOWN,
        "the workspace has no such token; ListTokens shows those it has"
        if token_id
        else "this is no token of a workspace that the caller may act for",
        metadata={"token_id": token_id} if token_id else {},
    )


def suspended(workspace_id: WorkspaceId) -> Refusal:
    """For a caller of the platform; a box is told to stop instead."""
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
    """`recognised`: the bearer was issued here, but is dead or another workspace's."""
    return Refusal(
        SharedReason.BEARER_REJECTED,
        "the presented bearer is not live",
        recovery=Recovery.REGISTER,
        recognised=recognised,
    )


def credential_rejected(*, recognised: bool = False) -> Refusal:
    """For a workspace's token that was shown in place of a caller's credential. `recognised` is
    the same as in `bearer_rejected`.
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
    """Refusal INVALID_REQUEST for a number far above the registry's own. It must be a mistake, and
    could never be taken back, because numbers only grow.
    """
    if number > workspace.incarnation + LARGEST_LEAP:
        raise invalid(
            field,
            f"must be at most {LARGEST_LEAP} above {workspace.incarnation}, the number of the "
            "newest launch here",
        )


def invalid(field: str, description: str) -> Refusal:
    return wrong_shape([Violation(field, description)])
