"""The facts that one Register is judged by, as one transaction read them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique

from agentworkspace.core.ids import RequestId, TenantId, TokenId, WorkspaceId
from registry_service.domain.tokens import Token, TokenKind


@unique
class BootstrapPolicy(StrEnum):
    """`REGISTRY_BOOTSTRAP_POLICY`: who may bootstrap without a ticket."""

    ADAPTIVE = "adaptive"
    OPEN = "open"
    STRICT = "strict"


@unique
class Fence(StrEnum):
    """A mark that keeps a workspace's boxes out; a revocation with the same reason sets it.

    Every BeginIncarnation clears COMPROMISED; it clears SUSPENDED only when asked to.
    """

    COMPROMISED = "COMPROMISED"
    SUSPENDED = "SUSPENDED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    workspace_id: WorkspaceId
    tenant_id: TenantId
    # Number of the newest launch; 0 means that no ticket was ever issued.
    incarnation: int = 0
    # The newest incarnation that ever registered; 0 before any.
    registered_incarnation: int = 0
    # A new box is let in by a ticket only; neither an api token nor the id is enough.
    ticket_required: bool = False
    # The id alone lets nobody in. Without `ticket_required` it also means `external_like`.
    evidence_required: bool = False
    suspended: bool = False
    compromised: bool = False
    # The box of the newest incarnation left by Deregister, and none was admitted since.
    left: bool = False
    retired: bool = False

    @property
    def fences(self) -> tuple[Fence, ...]:
        """Every fence that stands; if both do, SUSPENDED comes first and decides the answer."""
        marks = ((Fence.SUSPENDED, self.suspended), (Fence.COMPROMISED, self.compromised))
        return tuple(fence for fence, stands in marks if stands)

    @property
    def fence(self) -> Fence | None:
        return next(iter(self.fences), None)

    @property
    def external_like(self) -> bool:
        """Whether its box is launched from elsewhere, so that no launch can be asked for here."""
        return self.evidence_required and not self.ticket_required


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One attempt to register, and everything that decides it.

    A token of another workspace, or of the wrong kind for its field, counts as absent. So what a
    lookup by hash found may be passed unchecked.
    """

    workspace: Workspace | None
    policy: BootstrapPolicy
    # The database's clock, read after the workspace was locked.
    now: datetime
    bearer_presented: bool = False
    # The token that has the presented bearer's hash.
    bearer: Token | None = None
    ticket_presented: bool = False
    # The token that has the presented bootstrap ticket's hash.
    ticket: Token | None = None
    # The instance token minted last with `minted_on` = the presented ticket, dead or alive.
    ticket_token: Token | None = None
    # The ticket issued last for the newest incarnation, presented or not, void or not.
    current_ticket: Token | None = None
    live_instance_tokens: tuple[Token, ...] = ()
    # The hash of the secret that the box wants as its token, and the token, of any workspace, that
    # has this hash already.
    token_sha256: bytes | None = None
    hash_owner: Token | None = None
    # The hash of the proxy token that is derived from the presented ticket.
    proxy_sha256: bytes | None = None
    request_id: RequestId | None = None

    # Evidence

    def own_instance(self) -> Token | None:
        """The bearer, if it is or was an instance token of this workspace."""
        return self._own(self.bearer, TokenKind.INSTANCE)

    def live_instance(self) -> Token | None:
        bearer = self.own_instance()
        return bearer if bearer and bearer.is_live(self.now) else None

    def live_api(self) -> Token | None:
        bearer = self._own(self.bearer, TokenKind.API)
        return bearer if bearer and bearer.is_live(self.now) else None

    def own_ticket(self) -> Token | None:
        """The presented ticket, if it was issued for this workspace, void or not."""
        return self._own(self.ticket, TokenKind.TICKET)

    def presented_current(self) -> Token | None:
        """The current ticket, if that is what was presented."""
        ticket, current = self.own_ticket(), self.current()
        return current if ticket and current and ticket.token_id == current.token_id else None

    def redeemed(self) -> Token | None:
        """The current ticket, if it is presented, was redeemed before and is not void."""
        ticket = self.presented_current()
        return ticket if ticket and ticket.is_redeemed() else None

    def token_of_ticket(self) -> Token | None:
        """The newest instance token minted on the presented ticket, dead or alive."""
        ticket, token = self.own_ticket(), self._own(self.ticket_token, TokenKind.INSTANCE)
        return token if ticket and token and token.minted_on == ticket.token_id else None

    def evidence(self) -> tuple[Token, ...]:
        """What was presented and had been issued for this workspace: an instance token or a
        ticket, dead or alive, or a live api token.
        """
        found = (self.own_instance(), self.live_api(), self.own_ticket())
        return tuple(token for token in found if token)

    def older_evidence(self) -> int | None:
        """The incarnation of the newest evidence presented, if all of it is of earlier launches;
        None when there is none, or some is of the newest launch.
        """
        pieces = (self.own_instance(), self.own_ticket())
        newest = max((piece.incarnation for piece in pieces if piece), default=None)
        if newest is None or self.workspace is None or newest >= self.workspace.incarnation:
            return None
        return newest

    def dead_api(self) -> Token | None:
        """An api token of this workspace that was revoked or has run out."""
        bearer = self._own(self.bearer, TokenKind.API)
        return bearer if bearer and not bearer.is_live(self.now) else None

    # State

    def fenced(self) -> bool:
        return self.workspace is not None and self.workspace.fence is not None

    def current(self) -> Token | None:
        """The ticket issued last for the newest incarnation, void or not: a void one opens
        nothing, but whoever shows it is the box that was launched last.
        """
        ticket = self._own(self.current_ticket, TokenKind.TICKET)
        if ticket is None or self.workspace is None:
            return None
        return ticket if ticket.incarnation == self.workspace.incarnation else None

    def outstanding(self) -> Token | None:
        current = self.current()
        return current if current and current.is_outstanding(self.now) else None

    def live(self) -> tuple[Token, ...]:
        """The live instance tokens of this workspace."""
        return tuple(
            token
            for token in self.live_instance_tokens
            if self._own(token, TokenKind.INSTANCE) and token.is_live(self.now)
        )

    def never_used(self, *minted_on: TokenId) -> tuple[Token, ...]:
        """The live instance tokens minted on this evidence that were never used."""
        return tuple(
            token for token in self.live() if not token.is_used() and token.minted_on in minted_on
        )

    def _own(self, token: Token | None, kind: TokenKind) -> Token | None:
        if token is None or self.workspace is None or token.kind is not kind:
            return None
        return token if token.workspace_id == self.workspace.workspace_id else None
