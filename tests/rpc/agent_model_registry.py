"""A registry of one workspace, in memory: the real admission table over a dict of tokens."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

import grpc

from agentworkspace.client.agent.steps import Admission, NextAction
from agentworkspace.core.ids import RequestId, TenantId, TokenId, WorkspaceId
from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import TokenKind as Prefix
from agentworkspace.core.token_format import new_token
from agentworkspace.rpc.errors import RpcFailure
from registry_service.domain import admission
from registry_service.domain.standing import BootstrapPolicy, Standing, Workspace
from registry_service.domain.tokens import REOPENING, RevokeReason, Token, TokenKind, token_sha256
from registry_service.domain.verdicts import Admitted, Denied, Mint

WORKSPACE: Final = "3f0c6a52-6c39-4c3f-9a1d-6a7d4b9f5a10"
START: Final = datetime(2030, 1, 1, tzinfo=UTC)
INTERVAL: Final = timedelta(seconds=30)


class ModelRegistry:
    def __init__(self, policy: BootstrapPolicy = BootstrapPolicy.ADAPTIVE) -> None:
        self.workspace = Workspace(workspace_id=WorkspaceId(WORKSPACE), tenant_id=TenantId("acme"))
        self.tokens: dict[TokenId, Token] = {}
        self.now = START
        self._policy = policy
        self._ids = count(1)

    # The control plane and the operator

    def launch(self, ttl: timedelta = timedelta(minutes=45)) -> Secret:
        """BeginIncarnation: a new ticket, every instance token revoked."""
        for token in tuple(self.tokens.values()):
            if not token.is_revoked() and token.kind is not TokenKind.API:
                self._revoke(token.token_id, RevokeReason.RELAUNCHED)
        self.workspace = replace(
            self.workspace,
            incarnation=self.workspace.incarnation + 1,
            compromised=False,
            suspended=False,
            left=False,
        )
        ticket = new_token(Prefix.TICKET)
        self._add(
            TokenKind.TICKET,
            token_sha256(ticket.reveal()),
            incarnation=self.workspace.incarnation,
            expire_time=self.now + ttl,
        )
        return ticket

    def mint_api(self, token: Secret) -> None:
        """MintToken, of an api token that its holder made."""
        self._add(TokenKind.API, token_sha256(token.reveal()), incarnation=0)

    def revoke(self, reason: RevokeReason) -> None:
        for token in self.live():
            self._revoke(token.token_id, reason)

    def retire(self) -> None:
        self.revoke(RevokeReason.REMOVED)
        self.workspace = replace(self.workspace, retired=True)

    def live(self) -> list[Token]:
        return [
            each
            for each in self.tokens.values()
            if each.kind is TokenKind.INSTANCE and each.is_live(self.now)
        ]

    # The box

    def register(
        self, bearer: Secret | None, ticket: Secret | None, sha256: str, request_id: str
    ) -> Admission | RpcFailure:
        verdict = admission.decide(self._standing(bearer, ticket, sha256, request_id))
        if isinstance(verdict, Denied):
            return _failure(verdict)
        if isinstance(verdict.act, Mint):
            self._mint(verdict.act)
        if verdict.used is not None:
            self._use(verdict.used.token_id)
        self._note_registered(verdict)
        return Admission(
            outcome=verdict.outcome, incarnation=verdict.incarnation, heartbeat_interval=INTERVAL
        )

    def heartbeat(self, bearer: Secret) -> NextAction | RpcFailure:
        standing = self._standing(bearer, None, "", "")
        action = admission.next_action(standing)
        if isinstance(action, Denied):
            return _failure(action)
        live = standing.live_instance()
        if live is not None:
            self._use(live.token_id)
        return NextAction[action.name]

    def _standing(
        self, bearer: Secret | None, ticket: Secret | None, sha256: str, request_id: str
    ) -> Standing:
        presented = self._by_hash(ticket)
        tickets = [each for each in self.tokens.values() if each.kind is TokenKind.TICKET]
        of_ticket = [
            each
            for each in self.tokens.values()
            if presented is not None and each.minted_on == presented.token_id
        ]
        wanted = bytes.fromhex(sha256) if sha256 else None
        return Standing(
            workspace=self.workspace,
            policy=self._policy,
            now=self.now,
            bearer_presented=bearer is not None,
            bearer=self._by_hash(bearer),
            ticket_presented=ticket is not None,
            ticket=presented,
            ticket_token=of_ticket[-1] if of_ticket else None,
            current_ticket=tickets[-1] if tickets else None,
            live_instance_tokens=tuple(self.live()),
            token_sha256=wanted,
            hash_owner=self._owner(wanted),
            request_id=RequestId(request_id) if request_id else None,
        )

    def _mint(self, act: Mint) -> None:
        assert act.token_sha256 is not None, "the agent always makes its own secret"
        assert self._owner(act.token_sha256) is None
        for token in tuple(self.tokens.values()):
            replaced = act.replace_others and token.token_id != act.replaces and _opens(token)
            if replaced or token.token_id in act.revoke:
                self._revoke(token.token_id, RevokeReason.ROTATED)
        if act.redeem_ticket is not None:
            self._use(act.redeem_ticket)
        token_id = self._add(
            TokenKind.INSTANCE,
            act.token_sha256,
            incarnation=act.incarnation,
            expire_time=act.expire_time,
        )
        self.tokens[token_id] = replace(
            self.tokens[token_id],
            outcome=act.outcome,
            request_id=act.request_id,
            minted_on=act.minted_on,
            replaces=act.replaces,
            client_made=True,
            unproven=act.unproven,
        )

    def _note_registered(self, verdict: Admitted) -> None:
        newest = max(self.workspace.registered_incarnation, verdict.incarnation)
        self.workspace = replace(self.workspace, registered_incarnation=newest, left=False)

    def _use(self, token_id: TokenId) -> None:
        token = self.tokens[token_id]
        dies = token.dies_at_first_use()
        if not token.is_used():
            self.tokens[token_id] = replace(token, first_use_time=self.now)
        if dies is not None and _opens(self.tokens[dies]):
            self._revoke(dies, RevokeReason.ROTATED)

    def _revoke(self, token_id: TokenId, reason: RevokeReason) -> None:
        self.tokens[token_id] = replace(
            self.tokens[token_id], revoke_time=self.now, revoke_reason=reason
        )

    def _add(
        self,
        kind: TokenKind,
        digest: bytes,
        *,
        incarnation: int,
        expire_time: datetime | None = None,
    ) -> TokenId:
        token_id = TokenId(f"token-{next(self._ids)}")
        self.tokens[token_id] = Token(
            token_id=token_id,
            workspace_id=self.workspace.workspace_id,
            kind=kind,
            token_sha256=digest,
            create_time=self.now,
            incarnation=incarnation,
            expire_time=expire_time,
        )
        return token_id

    def _by_hash(self, secret: Secret | None) -> Token | None:
        return self._owner(token_sha256(secret.reveal())) if secret else None

    def _owner(self, digest: bytes | None) -> Token | None:
        found = (each for each in self.tokens.values() if each.token_sha256 == digest)
        return next(found, None)


def _opens(token: Token) -> bool:
    """An instance token that is accepted, or would let its holder in again."""
    taken = not token.is_revoked() or token.revoke_reason in REOPENING
    return token.kind is TokenKind.INSTANCE and taken


def _failure(denied: Denied) -> RpcFailure:
    return RpcFailure(
        grpc.StatusCode.FAILED_PRECONDITION,
        "agentworkspace.registry",
        f"ERROR_REASON_{denied.reason}",
        denied.line.value,
        retry_after=denied.retry_after,
        recovery=denied.recovery,
    )
