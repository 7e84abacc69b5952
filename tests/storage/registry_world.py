"""The registry's commands as its callers use them, on a real database."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest

from agentworkspace.core.caller import Caller
from agentworkspace.core.ids import RequestId, TenantId, TokenId, WorkspaceId
from agentworkspace.core.refusal import AnyReason, Refusal
from agentworkspace.core.secret import Secret
from registry_service.commands import (
    admit_workspace,
    begin_incarnation,
    deregister,
    get_registration,
    heartbeats,
    list_tokens,
    mint_token,
    register,
    revoke_token,
    revoke_workspace_tokens,
    rotate_token,
    validate_tokens,
)
from registry_service.commands.admit_workspace import AdmittedWorkspace, AdmitWorkspace
from registry_service.commands.begin_incarnation import (
    BeginIncarnation,
    BegunIncarnation,
    NotNeeded,
)
from registry_service.commands.deregister import Deregister
from registry_service.commands.get_registration import GetRegistration
from registry_service.commands.heartbeats import Heartbeat, Heartbeaten
from registry_service.commands.issued import Issued
from registry_service.commands.list_tokens import ListTokens
from registry_service.commands.mint_token import MintToken
from registry_service.commands.origin import Origin
from registry_service.commands.register import Register, Registered, RegisterRefused
from registry_service.commands.revoke_token import RevokedToken, RevokeToken
from registry_service.commands.revoke_workspace_tokens import (
    RevokedWorkspaceTokens,
    RevokeWorkspaceTokens,
)
from registry_service.commands.rotate_token import RotateToken
from registry_service.commands.validate_tokens import Rejection, ValidateToken
from registry_service.commands.views import ListedToken, Registration
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.liveness import HEARTBEAT_INTERVAL, half_patience
from registry_service.domain.principal import Principal
from registry_service.domain.standing import BootstrapPolicy
from registry_service.domain.tokens import RevokeReason, TokenKind, assemble
from registry_service.storage import steady
from registry_service.storage.registrations import Heard
from registry_service.storage.steady import Box
from registry_service.storage.store import Store, open_store
from registry_service.workers import flush_heartbeats, flush_rejected_registers, mark_offline
from registry_service.workers.mark_offline import MarkOffline, WentOffline
from registry_service.workers.write_behind import LastHeard, RefusedLedger

ACME = TenantId("acme")
OPERATOR = Caller(name="operator", roles=frozenset({"admin"}), tenants=None)
CONFINED = Caller(name="confined", roles=frozenset({"admin"}), tenants=frozenset({"globex"}))
ORIGIN = Origin(actor="operator", method="/test/Method", correlation_id="c-1")


def new_secret(kind: TokenKind) -> Secret:
    return assemble(kind, os.urandom(32))


def new_workspace_id() -> WorkspaceId:
    return WorkspaceId(str(uuid.uuid4()))


def new_request_id() -> RequestId:
    return RequestId(str(uuid.uuid4()))


def new_token_id() -> TokenId:
    return TokenId(str(uuid.uuid4()))


def sha256(secret: Secret) -> bytes:
    return hashlib.sha256(secret.reveal().encode()).digest()


class World:
    """Short names for the commands; each test works on workspaces of its own."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.heard = LastHeard()

    def workspace(
        self, *, ticket_required: bool = False, evidence_required: bool = False
    ) -> WorkspaceId:
        workspace_id = new_workspace_id()
        self.admit(
            workspace_id, ticket_required=ticket_required, evidence_required=evidence_required
        )
        return workspace_id

    def admit(self, workspace_id: WorkspaceId, **fields: Any) -> AdmittedWorkspace:
        command = admission_of(workspace_id, **fields)
        return admit_workspace.run(self.store, command, new_secret=new_secret)

    def first_token(self, workspace_id: WorkspaceId, **fields: Any) -> Secret:
        """An api token of a workspace that is known."""
        plaintext = self.mint(workspace_id, **fields).plaintext
        assert plaintext is not None
        return plaintext

    def begin(self, workspace_id: WorkspaceId, **fields: Any) -> BegunIncarnation:
        begun = self._begin(workspace_id, **fields)
        assert isinstance(begun, BegunIncarnation), begun
        return begun

    def begin_if_needed(
        self, workspace_id: WorkspaceId, **fields: Any
    ) -> BegunIncarnation | NotNeeded:
        return self._begin(workspace_id, only_if_needed=True, **fields)

    def _begin(self, workspace_id: WorkspaceId, **fields: Any) -> BegunIncarnation | NotNeeded:
        command = launch_of(workspace_id, **fields)
        return begin_incarnation.run(self.store, command, new_secret=new_secret)

    def ticket(self, workspace_id: WorkspaceId, **fields: Any) -> Secret:
        ticket = self.begin(workspace_id, **fields).bootstrap_ticket
        assert ticket is not None
        return ticket

    def register(self, workspace_id: WorkspaceId, **fields: Any) -> Registered:
        return register.run(self.store, register_of(workspace_id, **fields), new_secret=new_secret)

    def launched(self, workspace_id: WorkspaceId, **fields: Any) -> Secret:
        """The token of a box that came with its ticket."""
        return self.box(workspace_id, ticket=self.ticket(workspace_id, **fields))

    def refused(self, workspace_id: WorkspaceId, **fields: Any) -> tuple[AdmissionLine, AnyReason]:
        """Line of the table and reason of a Register that must be refused."""
        with pytest.raises(RegisterRefused) as caught:
            self.register(workspace_id, **fields)
        return caught.value.line, caught.value.reason

    def box(self, workspace_id: WorkspaceId, **fields: Any) -> Secret:
        """Let a box in that has the server make its token."""
        token = self.register(workspace_id, **fields).auth_token
        assert token is not None
        return token

    def heartbeat(
        self, workspace_id: WorkspaceId, bearer: Secret | None, **fields: Any
    ) -> Heartbeaten | Refusal:
        beat = Heartbeat(workspace_id=workspace_id, bearer=bearer, policy=BootstrapPolicy.ADAPTIVE)
        (answer,) = heartbeats.run(self.store, [beat._replace(**fields)])
        return answer

    def seen(self, workspace_id: WorkspaceId, bearer: Secret) -> Box | None:
        """What a line knows of the box."""
        parameters = steady.parameters(
            [sha256(bearer)], younger_than=half_patience(HEARTBEAT_INTERVAL)
        )
        with self.store.glance() as connection:
            found = steady.beating(steady.BEATING.run(connection, parameters).all())
        box = found.get(sha256(bearer))
        return box if box and box.workspace_id == workspace_id else None

    def steady(
        self, workspace_id: WorkspaceId, bearer: Secret, **fields: Any
    ) -> Heartbeaten | None:
        """A heartbeat as a line answers it; what is to be written behind is in `heard`."""
        beat = Heartbeat(workspace_id=workspace_id, bearer=bearer, policy=BootstrapPolicy.ADAPTIVE)
        box = self.seen(workspace_id, bearer)
        answer = heartbeats.answer_steady(beat._replace(**fields), box) if box else None
        if box and answer:
            self.heard.note(workspace_id, Heard(box.time, box.incarnation))
        return answer

    def flush(self) -> frozenset[WorkspaceId]:
        """Write behind what is remembered; what was busy is remembered on."""
        heard = self.heard.take(500)
        busy = flush_heartbeats.run(self.store, heard)
        self.heard.put_back(heard, busy)
        return busy

    def deregister(self, workspace_id: WorkspaceId, bearer: Secret | None) -> None:
        deregister.run(
            self.store, Deregister(origin=ORIGIN, workspace_id=workspace_id, bearer=bearer)
        )

    def mint(self, workspace_id: WorkspaceId, **fields: Any) -> Issued:
        return mint_token.run(self.store, mint_of(workspace_id, **fields), new_secret=new_secret)

    def rotate(self, workspace_id: WorkspaceId, token_id: TokenId, **fields: Any) -> Issued:
        command = RotateToken(
            origin=ORIGIN,
            caller=OPERATOR,
            bearer=None,
            workspace_id=workspace_id,
            token_id=token_id,
            request_id=new_request_id(),
        )
        return rotate_token.run(self.store, replace(command, **fields), new_secret=new_secret)

    def revoke(self, workspace_id: WorkspaceId, token_id: TokenId, **fields: Any) -> RevokedToken:
        command = RevokeToken(
            origin=ORIGIN,
            caller=OPERATOR,
            bearer=None,
            workspace_id=workspace_id,
            token_id=token_id,
            reason=RevokeReason.OPERATOR,
        )
        return revoke_token.run(self.store, replace(command, **fields))

    def revoke_text(self, token: Secret, **fields: Any) -> RevokedToken:
        """Named by its own text, as somebody found it."""
        command = RevokeToken(
            origin=ORIGIN,
            caller=OPERATOR,
            bearer=None,
            workspace_id=None,
            token=token,
            reason=RevokeReason.OPERATOR,
        )
        return revoke_token.run(self.store, replace(command, **fields))

    def revoke_all(
        self, workspace_id: WorkspaceId, reason: RevokeReason, **fields: Any
    ) -> RevokedWorkspaceTokens:
        command = RevokeWorkspaceTokens(
            origin=ORIGIN, caller=OPERATOR, workspace_id=workspace_id, reason=reason
        )
        return revoke_workspace_tokens.run(self.store, replace(command, **fields))

    def validate(
        self, token: Secret, workspace_id: WorkspaceId | None = None, **fields: Any
    ) -> Principal | Rejection:
        question = ValidateToken(caller=OPERATOR, token=token, workspace_id=workspace_id)
        return validate_tokens.run(self.store, [question._replace(**fields)]).answers[0]

    def tokens(
        self, workspace_id: WorkspaceId, *, dead: bool = False, proxy: bool = False
    ) -> tuple[ListedToken, ...]:
        command = ListTokens(
            caller=OPERATOR,
            workspace_id=workspace_id,
            include_revoked=dead,
            include_proxy=proxy,
            page_size=200,
        )
        return list_tokens.run(self.store, command).rows

    def live_instances(self, workspace_id: WorkspaceId) -> list[TokenId]:
        listed = self.tokens(workspace_id)
        return [item.token.token_id for item in listed if item.token.kind is TokenKind.INSTANCE]

    def token_of(self, workspace_id: WorkspaceId, secret: Secret) -> ListedToken:
        """The listed token of this secret, dead or alive."""
        wanted = sha256(secret)
        return next(
            item
            for item in self.tokens(workspace_id, dead=True)
            if item.token.token_sha256 == wanted
        )

    def registration(self, workspace_id: WorkspaceId) -> Registration:
        return get_registration.run(
            self.store, GetRegistration(caller=OPERATOR, workspace_id=workspace_id)
        )

    def silence(self, workspace_id: WorkspaceId, span: timedelta) -> None:
        """As if nobody had been heard of for so long."""
        self.sql(
            "UPDATE registry.registrations SET last_heartbeat_time = clock_timestamp() - %(span)s"
            " WHERE workspace_id = %(id)s",
            id=workspace_id,
            span=span,
        )

    def refused_later(self, workspace_id: WorkspaceId, span: timedelta, **shown: Any) -> None:
        """As if so much time had passed since the last refused Register; then one more, which is
        written as the background writes it.
        """
        self.sql(
            "UPDATE registry.registrations SET refused_since = refused_since - %(span)s,"
            " refused_last = refused_last - %(span)s WHERE workspace_id = %(id)s",
            id=workspace_id,
            span=span,
        )
        ledger = RefusedLedger()
        with pytest.raises(RegisterRefused) as caught:
            self.register(workspace_id, **shown)
        ledger.note(caught.value)
        assert flush_rejected_registers.run(self.store, ledger.take()) == frozenset()

    def sql(self, statement: str, **parameters: object) -> list[Any]:
        """Look, or set the scene in a way that no command can."""
        with self.store.transaction() as connection:
            result = connection.exec_driver_sql(statement, parameters)
            return list(result) if result.returns_rows else []

    def expire(self, workspace_id: WorkspaceId, kind: TokenKind) -> None:
        """As if the time of every token of this kind had run out.

        Locks in the order of the commands, so that it is before or after each of them.
        """
        of_kind = "WHERE workspace_id = %(id)s AND kind = %(kind)s"
        ended = "clock_timestamp() - interval '1 second'"
        with self.store.transaction() as connection:
            for statement in (
                "SELECT 1 FROM registry.workspaces WHERE workspace_id = %(id)s FOR UPDATE",
                f"SELECT 1 FROM registry.tokens {of_kind} ORDER BY token_id FOR UPDATE",  # noqa: S608
                f"UPDATE registry.tokens SET expire_time = {ended} {of_kind}",  # noqa: S608
            ):
                connection.exec_driver_sql(statement, {"id": workspace_id, "kind": kind.value})

    def rows(self) -> dict[str, int]:
        """How many rows each table has: what a refusal must not change."""
        tables = ("workspaces", "registrations", "tokens", "requests", "revocations")
        return {
            table: self.sql(f"SELECT count(*) FROM registry.{table}")[0][0]  # noqa: S608
            for table in (*tables, "audit_events")
        }


def sweep_offline(store: Store) -> tuple[WentOffline, ...]:
    """Look for the late ones, and mark those that are silent."""
    return mark_offline.run(store, MarkOffline(among=mark_offline.find_late(store)))


def register_of(workspace_id: WorkspaceId, **fields: Any) -> Register:
    origin = Origin(actor=f"workspace:{workspace_id}", method="/test/Register")
    command = Register(origin=origin, workspace_id=workspace_id, policy=BootstrapPolicy.ADAPTIVE)
    return replace(command, **fields)


def mint_of(workspace_id: WorkspaceId, **fields: Any) -> MintToken:
    command = MintToken(
        origin=ORIGIN,
        caller=OPERATOR,
        workspace_id=workspace_id,
        kind=TokenKind.API,
        request_id=new_request_id(),
    )
    return replace(command, **fields)


@contextmanager
def world_at(url: str, *, pool_size: int = 8) -> Iterator[World]:
    store = open_store(Secret(url), pool_size=pool_size)
    try:
        yield World(store)
    finally:
        store.database.close()


def admission_of(workspace_id: WorkspaceId, **fields: Any) -> AdmitWorkspace:
    command = AdmitWorkspace(
        origin=ORIGIN, caller=OPERATOR, workspace_id=workspace_id, tenant_id=ACME
    )
    return replace(command, **fields)


def launch_of(workspace_id: WorkspaceId, **fields: Any) -> BeginIncarnation:
    command = BeginIncarnation(
        origin=ORIGIN, caller=OPERATOR, workspace_id=workspace_id, request_id=new_request_id()
    )
    return replace(command, **fields)


def all_at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run each on a thread of its own, from one starting shot; exceptions are results."""
    start = Barrier(len(calls))

    def one(call: Callable[[], Any]) -> Any:
        start.wait()
        try:
            return call()
        except Exception as error:  # noqa: BLE001 -- what a racer raised is what is judged
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


def reason_of(call: Callable[[], object]) -> AnyReason:
    with pytest.raises(Refusal) as caught:
        call()
    return caught.value.reason


HOUR = timedelta(hours=1)
