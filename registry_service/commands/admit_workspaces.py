"""AdmitWorkspace for many new workspaces at once: two statements, one commit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError, IntegrityError

from agentworkspace.core.ids import WorkspaceId
from agentworkspace.core.refusal import Refusal
from agentworkspace.core.secret import Secret
from agentworkspace.service.store_faults import is_busy
from registry_service.commands import issuing, registration_view
from registry_service.commands.admit_workspace import (
    AdmittedWorkspace,
    AdmitWorkspace,
    FirstToken,
    claim_of,
)
from registry_service.commands.issued import Delivery, Issued, NewSecret
from registry_service.commands.views import Registration
from registry_service.domain.tokens import Token, TokenKind, display_prefix, token_sha256
from registry_service.storage import admissions
from registry_service.storage.admissions import NewWorkspace
from registry_service.storage.store import Store


@dataclass(frozen=True, slots=True)
class _Draft:
    """One workspace to admit, and its first token's secret, if one was asked for."""

    new: NewWorkspace
    secret: Secret | None


def run(
    store: Store, commands: Sequence[AdmitWorkspace], *, new_secret: NewSecret
) -> list[AdmittedWorkspace | None]:
    """One answer each, in order. None: nothing was done; run `admit_workspace` for it alone.

    None is answered wherever `admit_workspace` would refuse, or repeat an answer.
    """
    drafts: dict[int, _Draft] = {}
    seen: set[WorkspaceId] = set()
    for place, command in enumerate(commands):
        if command.workspace_id not in seen and _is_simple(command):
            seen.add(command.workspace_id)
            drafts[place] = _draft(command, new_secret)
    if not drafts:
        return [None] * len(commands)
    try:
        with store.impatient() as tx:
            admitted = admissions.admit(tx, [draft.new for draft in drafts.values()])
            viewed = [
                commands[place].workspace_id
                for place in drafts
                if commands[place].with_registration and commands[place].workspace_id in admitted
            ]
            views = registration_view.read_many(tx, viewed) if viewed else {}
    except DBAPIError as error:
        # Another transaction stores the same thing, so none of these was admitted.
        if isinstance(error, IntegrityError) or is_busy(error):
            return [None] * len(commands)
        raise
    return [
        _answer(drafts[place], admitted[command.workspace_id], views.get(command.workspace_id))
        if place in drafts and command.workspace_id in admitted
        else None
        for place, command in enumerate(commands)
    ]


def _is_simple(command: AdmitWorkspace) -> bool:
    """Whether the launcher remembers nothing of it, and sent no hash, which may be in use."""
    if command.remembered_incarnation or command.suspended:
        return False
    if command.first_token and command.first_token.token_sha256:
        return False
    try:
        command.caller.require_tenant(command.tenant_id)
    except Refusal:
        return False
    return True


def _draft(command: AdmitWorkspace, new_secret: NewSecret) -> _Draft:
    wanted = command.first_token
    secret = new_secret(TokenKind.API) if wanted else None
    text = secret.reveal() if secret else ""
    token = wanted or FirstToken()
    new = NewWorkspace(
        workspace_id=command.workspace_id,
        tenant_id=command.tenant_id,
        ticket_required=command.ticket_required,
        evidence_required=command.evidence_required,
        token_sha256=token_sha256(text) if secret else None,
        prefix=display_prefix(text),
        label=token.label,
        scopes=json.dumps(issuing.scopes_as_param(token.scopes)),
        ttl=token.ttl,
        request_id=command.request_id,
        caller=command.caller.name,
        digest=claim_of(command, wanted).digest() if wanted else None,
        actor=command.origin.actor,
        method=command.origin.method,
        correlation_id=command.origin.correlation_id,
    )
    return _Draft(new, secret)


def _answer(
    draft: _Draft, token: Token | None, registration: Registration | None
) -> AdmittedWorkspace:
    issued = None
    if token:
        issued = Issued(token=token, plaintext=draft.secret, delivery=Delivery.ENCLOSED)
    return AdmittedWorkspace(registration=registration, issued=issued)
