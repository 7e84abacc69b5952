"""Hand a box the secrets of its own environment, as the next launch would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from agentworkspace.core.caller import Caller
from agentworkspace.core.refusal import Recovery, Refusal, SharedReason
from agentworkspace.core.secret import Secret
from provision_service.commands import access
from provision_service.commands.call import Call, record
from provision_service.commands.deployment import Deployment
from provision_service.domain.plan import OF_SECRETS
from provision_service.domain.refusals import Reason
from provision_service.domain.registry_port import (
    Bearer,
    Registry,
    RegistryRefused,
    RegistryUnavailable,
)
from provision_service.launch import decide
from provision_service.storage import workspaces
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class GetSecretValues:
    """`bearer` is the presented instance token; None when the call carried none."""

    workspace_id: str
    bearer: Secret | None
    method: str = ""
    correlation_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GetSecretValuesResult:
    """Values by name."""

    values: Mapping[str, Secret]
    input_revision: int


_CHECK_TIMEOUT: Final = timedelta(seconds=2)
_MUST_RETRY: Final = timedelta(seconds=1)


def run(
    store: Store, command: GetSecretValues, deployment: Deployment, registry: Registry
) -> GetSecretValuesResult:
    """Check the bearer at the registry, then decide as a launch would.

    What a launch would take out of the environment is not here either. No value leaves
    before the audit event of its reading is stored. Raises BEARER_REJECTED,
    REGISTRY_UNAVAILABLE, WORKSPACE_REMOVED and the gates' refusals.
    """
    bearer = _check(command, registry)
    files = decide.Files(deployment)
    with store.reading() as tx:
        held = workspaces.find(tx, command.workspace_id)
        if held is None or held.workspace.tenant_id != bearer.tenant_id:
            raise _rejected(recognised=True)
        access.require_living(held)
        if held.workspace.incarnation != bearer.incarnation:
            raise _rejected(recognised=True)
        _, decision = decide.decide_stored(tx, deployment, files, held)
    if decision.refusal is not None:
        raise decision.refusal
    variables = decision.plan.variables if decision.plan is not None else {}
    values = {
        name: variable.value
        for name, variable in variables.items()
        if variable.origin in OF_SECRETS
    }
    box = Caller(f"workspace:{bearer.workspace_id}", frozenset(), frozenset({bearer.tenant_id}))
    with store.transaction() as tx:
        record(
            tx,
            Call(caller=box, method=command.method, correlation_id=command.correlation_id),
            "secret.read",
            tenant_id=bearer.tenant_id,
            workspace_id=bearer.workspace_id,
            subject=bearer.workspace_id,
            details={"incarnation": str(bearer.incarnation), "names": " ".join(sorted(values))},
        )
    return GetSecretValuesResult(values=values, input_revision=held.workspace.input_revision)


def _check(command: GetSecretValues, registry: Registry) -> Bearer:
    if command.bearer is None:
        raise _rejected()
    try:
        found = registry.validate_token(
            token=command.bearer, workspace_id=command.workspace_id, timeout=_CHECK_TIMEOUT
        )
    except RegistryRefused:
        # The registry answered and refused to look the text up: no token has this form.
        raise _rejected() from None
    except RegistryUnavailable:
        raise Refusal(
            Reason.REGISTRY_UNAVAILABLE,
            "the registry could not check the bearer; call again",
            retry_after=_MUST_RETRY,
        ) from None
    if found is None or found.workspace_id != command.workspace_id:
        raise _rejected()
    if not found.evidence_backed:
        raise Refusal(
            SharedReason.BEARER_REJECTED,
            "this token was handed out to whoever knew the workspace's id, so it reads no"
            " secrets; launch the workspace and register with the ticket of that launch",
            recovery=Recovery.RELAUNCH,
        )
    return found


def _rejected(*, recognised: bool = False) -> Refusal:
    """`recognised`: the registry knows the token, though it opens nothing here."""
    return Refusal(
        SharedReason.BEARER_REJECTED,
        "the bearer is not a live instance token of this workspace's current launch",
        recognised=recognised,
    )
