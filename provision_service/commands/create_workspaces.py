"""Creates many workspaces at once: four statements and one commit, and one call to the registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentworkspace.core.refusal import Refusal
from provision_service.commands import create_workspace, first_token, new_workspace
from provision_service.commands.create_workspace import (
    CreateWorkspace,
    CreateWorkspaceResult,
    Stored,
)
from provision_service.commands.deployment import Deployment
from provision_service.commands.new_workspace import Decided, Draft
from provision_service.domain.registry_port import FirstAdmission, FirstToken, Registry
from provision_service.launch import decide
from provision_service.launch.decide import Files
from provision_service.storage import creating, secrets, tenants
from provision_service.storage.requests import RequestKey
from provision_service.storage.store import Store, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A command that may be created together with others."""

    command: CreateWorkspace
    wanted: Draft
    request: tuple[RequestKey, bytes]


def run(
    store: Store, commands: Sequence[CreateWorkspace], deployment: Deployment
) -> list[Stored | None]:
    """What was stored for each command, in their order; the registry is not asked here.

    What `create_workspace` would refuse, repeat or ask a vendor about is answered None, and left
    as it was. LOCK_NOT_AVAILABLE, and nothing stored, where one would have to wait: for the same
    request in another transaction, or for a tenant that another one is making.
    """
    files = Files(deployment)
    asked = _asked(store, commands, deployment, files)
    stored: dict[int, Stored] = {}
    if asked:
        with store.impatient() as tx:
            decided = _decided(tx, asked, deployment, files)
            new = [
                create_workspace.new_of(
                    asked[place].command,
                    deployment,
                    wanted=asked[place].wanted,
                    decided=each,
                    request=asked[place].request,
                )
                for place, each in decided.items()
            ]
            added = creating.add(tx, new) if new else {}
        for place, each in decided.items():
            workspace = added.get(commands[place].workspace_id)
            if workspace:
                stored[place] = create_workspace.stored_of(workspace, asked[place].wanted, each)
    return [stored.get(place) for place in range(len(commands))]


def finish(
    store: Store,
    commands: Sequence[CreateWorkspace],
    stored: Sequence[Stored | None],
    deployment: Deployment,
    registry: Registry,
) -> list[CreateWorkspaceResult | Stored | None]:
    """The results of those that were stored: with a first token, or why there is none, by one call
    to the registry. Stored as it was for each that `create_workspace.answer` has to ask for alone.
    """
    asked = {
        place: _admission(command, each, deployment)
        for place, (command, each) in enumerate(zip(commands, stored, strict=True))
        if each is not None and not command.auth_token_sha256
    }
    found: list[CreateWorkspaceResult | Stored | None] = list(stored)
    if asked:
        answers = first_token.ask_all(store, deployment, registry, list(asked.values()))
        for place, answer in zip(asked, answers, strict=True):
            each = stored[place]
            if each is not None and answer is not None:
                found[place] = create_workspace.result_of(each, answer)
    return found


def _admission(command: CreateWorkspace, stored: Stored, deployment: Deployment) -> FirstAdmission:
    return FirstAdmission(
        admission=create_workspace.admission_of(deployment, stored),
        request_id=first_token.request_id_with_token(stored.workspace.id),
        first_token=FirstToken(label=first_token.LABEL),
        correlation_id=command.call.correlation_id,
    )


def _asked(
    store: Store, commands: Sequence[CreateWorkspace], deployment: Deployment, files: Files
) -> dict[int, _Asked]:
    """The commands that a batch takes, by position, one for each request id. None at all where the
    deployment's usage token serves a single tenant, since a create may have to bind it.
    """
    asked: dict[int, _Asked] = {}
    seen: set[RequestKey] = set()
    if decide.has_single_token(deployment, files):
        return asked
    for place, command in enumerate(commands):
        key = create_workspace.key_of(command)
        wanted = None if key in seen else _wanted(command, deployment, files)
        if wanted:
            seen.add(key)
            request = key, create_workspace.digest_of(store, command)
            asked[place] = _Asked(command=command, wanted=wanted, request=request)
    return asked


def _wanted(command: CreateWorkspace, deployment: Deployment, files: Files) -> Draft | None:
    """The draft; None when the command needs more than a batch does."""
    if command.validate_only or command.spec.parent_id:
        return None
    if not command.call.can_wait(deployment.admit_budget):
        return None
    if new_workspace.has_probes(deployment, files, command.spec.template):
        return None
    try:
        command.call.caller.require_tenant(command.tenant_id)
        return create_workspace.draft_of(command, deployment, files)
    except Refusal:
        return None


def _decided(
    tx: Transaction, asked: Mapping[int, _Asked], deployment: Deployment, files: Files
) -> dict[int, Decided]:
    """The decisions that are no refusal, by position."""
    whose = {each.wanted.workspace_id: each.wanted.tenant_id for each in asked.values()}
    facts = tenants.find_many(tx, set(whose.values()))
    shared = secrets.read_merged_of_many(tx, whose)
    comingled = secrets.comingled_keys(
        tx,
        {
            (place, key): value
            for place, each in asked.items()
            for key, value in each.wanted.secrets.items()
        },
    )
    decided: dict[int, Decided] = {}
    for place, each in asked.items():
        wanted, tenant_id = each.wanted, each.wanted.tenant_id
        try:
            decided[place] = new_workspace.judge(
                tx,
                deployment,
                files,
                wanted,
                tenant=facts.get(tenant_id) or new_workspace.new_tenant(tenant_id),
                shared=shared[wanted.workspace_id],
                comingled={key for key in wanted.secrets if (place, key) in comingled},
            )
        except Refusal:
            continue
    return decided
