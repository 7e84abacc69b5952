"""Carrying out an admission: everything it writes, in the transaction that decided it."""

from __future__ import annotations

from sqlalchemy import Connection

from agentworkspace.core.audit import Change
from agentworkspace.core.secret import Secret
from registry_service.commands import evidence, first_use, recording
from registry_service.commands.issued import NewSecret
from registry_service.commands.origin import Origin
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.standing import Standing
from registry_service.domain.tokens import (
    RevokeReason,
    Token,
    TokenKind,
    display_prefix,
    token_sha256,
)
from registry_service.domain.verdicts import Admitted, Mint, SameToken
from registry_service.storage import registrations, revocation, token_uses, tokens, workspaces
from registry_service.storage.feed import Entry
from registry_service.storage.registrations import Arrival
from registry_service.storage.tokens import NewToken


class Admission:
    """One verdict to carry out; its workspace must be locked."""

    def __init__(
        self,
        tx: Connection,
        standing: Standing,
        admitted: Admitted,
        arrival: Arrival,
        origin: Origin,
        *,
        ticket: Secret | None,
    ) -> None:
        if standing.workspace is None:
            raise AssertionError("nobody is admitted to an unknown workspace")
        self.tx = tx
        self.standing = standing
        self.workspace = standing.workspace
        self.admitted = admitted
        self.arrival = arrival
        self.origin = origin
        self.ticket = ticket
        self.changes: list[Change] = []
        self.news: list[Entry] = []

    def carry_out(self, new_secret: NewSecret) -> tuple[Token, Secret | None] | None:
        """Write it. Returns the token that the box now has, and its secret if one was made here.

        None when the hash was taken meanwhile; then the transaction must not be committed.
        """
        act, secret = self.admitted.act, None
        self._use_bearer()
        if isinstance(act, Mint):
            secret = None if act.token_sha256 else new_secret(TokenKind.INSTANCE)
            token = self._mint(act, secret)
            if token is None:
                return None
        else:
            token = act.token
        # REPLAY only repeats an answer, so nothing is written.
        if not (isinstance(act, SameToken) and self.admitted.line is AdmissionLine.REPLAY):
            self._arrive()
        recording.record(self.tx, self.origin, self.changes)
        if self.news:
            recording.publish(self.tx, self.news)
        return token, secret

    def _use_bearer(self) -> None:
        if self.admitted.used is None:
            return
        use = first_use.Use(token=self.admitted.used, workspace=self.workspace, origin=self.origin)
        self.news += first_use.write(self.tx, [use], now=self.standing.now).news

    def _mint(self, act: Mint, secret: Secret | None) -> Token | None:
        now = self.standing.now
        if act.redeem_ticket:
            token_uses.redeem(self.tx, act.redeem_ticket, now)
        self._revoke_others(act)
        text = secret.reveal() if secret else ""
        new = NewToken(
            workspace_id=self.workspace.workspace_id,
            kind=TokenKind.INSTANCE,
            token_sha256=act.token_sha256 or token_sha256(text),
            prefix=display_prefix(text),
            incarnation=act.incarnation,
            create_time=now,
            expire_time=act.expire_time,
            outcome=act.outcome,
            replaces=act.replaces,
            minted_on=act.minted_on,
            client_made=secret is None,
            request_id=act.request_id,
            created_by=f"workspace:{self.workspace.workspace_id}",
            unproven=act.unproven,
        )
        token = tokens.insert(self.tx, new)
        if token:
            self._keep_proxy(act)
            facts = {"outcome": act.outcome, "line": self.admitted.line}
            self.changes.append(recording.minted(self.workspace, token, **facts))
        return token

    def _revoke_others(self, act: Mint) -> None:
        reason, now = RevokeReason.ROTATED, self.standing.now
        if act.replace_others:
            gone = revocation.replace_others(
                self.tx,
                self.workspace.workspace_id,
                up_to=act.incarnation,
                spared=[act.replaces] if act.replaces else [],
                now=now,
            )
        else:
            gone = revocation.revoke(self.tx, act.revoke, reason=reason, now=now)
        self.changes += recording.revoked(self.workspace, gone, reason)
        self.news += recording.entries(self.workspace, gone, reason)

    def _arrive(self) -> None:
        workspace_id, incarnation = self.workspace.workspace_id, self.admitted.incarnation
        registrations.lock(self.tx, workspace_id)
        registrations.arrive(self.tx, [self.arrival], alone=True)
        if incarnation > self.workspace.registered_incarnation or self.workspace.left:
            workspaces.note_admitted(self.tx, workspace_id, incarnation)

    def _keep_proxy(self, act: Mint) -> None:
        """Store the proxy token of this incarnation, which is derived from its ticket.

        Tried whenever that ticket mints: it may have been redeemed by a version that did not know
        proxy tokens. If its hash belongs to another token already, there is no proxy token.
        """
        shown = self.standing.presented_current()
        if self.ticket is None or shown is None or act.minted_on != shown.token_id:
            return
        proxy = evidence.proxy_of(self.ticket, self.workspace.workspace_id, shown.incarnation)
        if proxy is None:
            return
        new = NewToken(
            workspace_id=self.workspace.workspace_id,
            kind=TokenKind.PROXY,
            token_sha256=token_sha256(proxy.reveal()),
            prefix=display_prefix(proxy.reveal()),
            incarnation=shown.incarnation,
            create_time=self.standing.now,
            minted_on=shown.token_id,
            client_made=True,
            created_by=f"workspace:{self.workspace.workspace_id}",
        )
        known = tokens.insert(self.tx, new)
        if known:
            self.changes.append(recording.minted(self.workspace, known))
