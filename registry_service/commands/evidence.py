"""Looks up what is known about the tokens and tickets that somebody presents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from agentworkspace.core.ids import RequestId, WorkspaceId
from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import derive_proxy_token
from registry_service.commands import first_use, grounds
from registry_service.commands.origin import Origin
from registry_service.domain.standing import BootstrapPolicy, Standing
from registry_service.domain.tokens import Token, TokenKind, is_junk, token_sha256
from registry_service.storage import standings, workspaces
from registry_service.storage.standings import Bearer, Shown, Snapshot


def hash_of(secret: Secret | None) -> bytes | None:
    """The hash to look up; None if nothing was presented, or a text that cannot be a token."""
    if secret is None:
        return None
    text = secret.reveal()
    return None if is_junk(text) else token_sha256(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """What a box shows and asks for."""

    workspace_id: WorkspaceId
    policy: BootstrapPolicy
    bearer: Secret | None
    ticket: Secret | None = None
    token_sha256: bytes | None = None
    request_id: RequestId | None = None


def standing(tx: Connection, presented: Presented) -> Standing:
    """Everything that decides about what one box presents, read in one statement."""
    (found,) = standings_of(tx, [presented])
    return found


def standings_of(tx: Connection, presented: Sequence[Presented]) -> list[Standing]:
    """The same as `standing` for many, in order; it is still one statement."""
    shown = [
        Shown(
            workspace_id=item.workspace_id,
            bearer=hash_of(item.bearer),
            ticket=hash_of(item.ticket),
            wanted=item.token_sha256,
        )
        for item in presented
    ]
    return list(map(_standing, presented, shown, standings.snapshots(tx, shown)))


def _standing(presented: Presented, shown: Shown, seen: Snapshot) -> Standing:
    ticket = seen.presented.get(shown.ticket) if shown.ticket else None
    return Standing(
        workspace=seen.workspace,
        policy=presented.policy,
        now=seen.now,
        bearer_presented=presented.bearer is not None,
        bearer=seen.presented.get(shown.bearer) if shown.bearer else None,
        ticket_presented=presented.ticket is not None,
        ticket=ticket,
        ticket_token=seen.ticket_token,
        current_ticket=seen.current_ticket,
        live_instance_tokens=seen.live_instance_tokens,
        token_sha256=shown.wanted,
        proxy_sha256=_proxy_sha256(presented, ticket),
        hash_owner=seen.presented.get(shown.wanted) if shown.wanted else None,
        request_id=presented.request_id,
    )


def _proxy_sha256(presented: Presented, ticket: Token | None) -> bytes | None:
    """The hash of the proxy token that is derived from this ticket; None if there is none."""
    if presented.token_sha256 is None or presented.ticket is None or ticket is None:
        return None
    proxy = proxy_of(presented.ticket, presented.workspace_id, ticket.incarnation)
    return token_sha256(proxy.reveal()) if proxy else None


def proxy_of(ticket: Secret, workspace_id: WorkspaceId, incarnation: int) -> Secret | None:
    """The proxy token that is derived from a ticket; None when the ticket is not of our format."""
    try:
        return derive_proxy_token(ticket, workspace_id, incarnation)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A box with a live token. Its workspace is locked, and a first use of the token is written."""

    bearer: Bearer
    use: first_use.Written
    now: datetime


def locked_box(
    tx: Connection, workspace_id: WorkspaceId, secret: Secret | None, origin: Origin
) -> Box:
    """The box that holds this live instance token. Anybody else is refused before a lock is taken.

    Refusals: WORKSPACE_UNKNOWN, BEARER_MISSING, BEARER_REJECTED.
    """
    presented_hash = hash_of(secret)
    if workspaces.read(tx, workspace_id) is None:
        raise grounds.not_known_yet(workspace_id)
    if secret is None:
        raise grounds.bearer_missing()
    if presented_hash is None:
        raise grounds.bearer_rejected()
    _live_instance(tx, workspace_id, presented_hash)
    workspaces.lock(tx, workspace_id)
    bearer, now = _live_instance(tx, workspace_id, presented_hash)
    use = first_use.Use(token=bearer.token, workspace=bearer.workspace, origin=origin)
    written = first_use.write(tx, [use], now=now)
    return Box(bearer=bearer, use=written, now=now)


def _live_instance(
    tx: Connection, workspace_id: WorkspaceId, presented_hash: bytes
) -> tuple[Bearer, datetime]:
    found = standings.bearers(tx, [presented_hash])
    bearer = found.by_hash.get(presented_hash)
    if bearer is None or not bearer.is_live(found.now):
        raise grounds.bearer_rejected(recognised=bearer is not None)
    token = bearer.token
    if token.kind is not TokenKind.INSTANCE or token.workspace_id != workspace_id:
        raise grounds.bearer_rejected(recognised=True)
    return bearer, found.now
