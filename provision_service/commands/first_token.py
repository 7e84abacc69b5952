"""Admits a workspace at the registry, with or without its first api token."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid5

from sqlalchemy.exc import SQLAlchemyError

from agentworkspace.core.refusal import SharedReason
from agentworkspace.core.secret import Secret
from agentworkspace.service.store_faults import OutcomeUnknown
from provision_service.commands.deployment import Deployment
from provision_service.domain.refusals import Reason
from provision_service.domain.registry_port import (
    Admission,
    Admitted,
    Delivery,
    FirstAdmission,
    FirstToken,
    Registry,
    RegistryOlder,
    RegistryRefused,
    RegistryUnavailable,
)
from provision_service.storage import outbox
from provision_service.storage.store import Store

LABEL: Final = "first"
TOKEN_HASH_IN_USE: Final = SharedReason.TOKEN_HASH_IN_USE.value


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstTokenAnswer:
    """`error` is `REASON: sentence`, empty when the token is here or with the caller."""

    token: Secret | None = None
    error: str = ""
    admitted: bool = False


_UNANSWERED: Final = FirstTokenAnswer(
    error=f"{Reason.REGISTRY_UNAVAILABLE}: the registry did not answer; it will be told of the"
    " workspace when it is back"
)


def request_id_with_token(workspace_id: str) -> str:
    """The request id of every admission with a first token, so that a replay finds the first."""
    return str(uuid5(UUID(workspace_id), "agentworkspace/first-token"))


def request_id_without_token(workspace_id: str) -> str:
    """The request id of admissions without a token, which are another request."""
    return str(uuid5(UUID(workspace_id), "agentworkspace/admission"))


def admission_of(
    deployment: Deployment, *, workspace_id: str, tenant_id: str, external_like: bool
) -> Admission:
    """What the registry is told of a workspace, so that its id alone never opens it.

    A workspace that is not launched from here has no ticket to show, only its api token.
    """
    return Admission(
        workspace_id=workspace_id,
        tenant_id=tenant_id,
        ticket_required=deployment.tickets_from_birth and not external_like,
        evidence_required=external_like,
    )


def ask(
    store: Store,
    deployment: Deployment,
    registry: Registry,
    admission: Admission,
    *,
    token_sha256: str | None,
) -> FirstTokenAnswer:
    """Admit with a first token, after the create was committed; never raises for the registry."""
    workspace_id = admission.workspace_id
    try:
        admitted = registry.admit(
            admission,
            request_id=request_id_with_token(workspace_id),
            first_token=FirstToken(label=LABEL, token_sha256=token_sha256),
            timeout=deployment.admit_budget,
        )
    except RegistryUnavailable:
        return _UNANSWERED
    except RegistryRefused as refused:
        if refused.reason == TOKEN_HASH_IN_USE:
            with store.transaction() as tx:
                outbox.drop_first_token(tx, workspace_id)
        return FirstTokenAnswer(error=f"{refused.reason}: {refused.message}")
    _confirm(store.after_the_call(), [workspace_id])
    return _answer(admitted)


def ask_all(
    store: Store,
    deployment: Deployment,
    registry: Registry,
    asked: Sequence[FirstAdmission],
) -> list[FirstTokenAnswer | None]:
    """`ask` for several at once, in order; none of them brings a hash of its own. None for each
    that is to be asked for alone.
    """
    try:
        admitted = registry.admit_many(asked, timeout=deployment.admit_budget)
    except (RegistryOlder, RegistryRefused):
        return [None] * len(asked)
    except RegistryUnavailable:
        return [_UNANSWERED] * len(asked)
    known = [
        item.admission.workspace_id
        for item, each in zip(asked, admitted, strict=True)
        if each is not None
    ]
    if known:
        _confirm(store, known)
    return [None if each is None else _answer(each) for each in admitted]


def _confirm(store: Store, workspace_ids: Sequence[str]) -> None:
    """The tokens are made, and only the answers at hand carry them: a database that fails now must
    not swallow them. The messages then stay in the outbox, and admitting again changes nothing.
    """
    with contextlib.suppress(SQLAlchemyError, OutcomeUnknown), store.noting() as tx:
        outbox.confirm_admissions(tx, workspace_ids)


def _answer(admitted: Admitted) -> FirstTokenAnswer:
    if admitted.delivery is Delivery.ALREADY_DELIVERED:
        return FirstTokenAnswer(
            error="ALREADY_DELIVERED: an earlier answer carried the first token and it was used",
            admitted=True,
        )
    if admitted.delivery is None:
        return FirstTokenAnswer(
            error="FIRST_TOKEN_NOT_ISSUED: the registry knew the workspace before it was asked for"
            " a first token, and mints none by admitting twice; an admin's MintToken makes one",
            admitted=True,
        )
    return FirstTokenAnswer(token=admitted.plaintext, admitted=True)


def admit_pending(
    registry: Registry,
    message: outbox.Message,
    *,
    timeout: timedelta,
) -> None:
    """Deliver an admission out of the outbox. Raises what the registry raises."""
    first_token = None
    workspace_id = message.admission.workspace_id
    request_id = request_id_without_token(workspace_id)
    if message.first_token_sha256:
        first_token = FirstToken(label=LABEL, token_sha256=message.first_token_sha256)
        request_id = request_id_with_token(workspace_id)
    registry.admit(
        message.admission, request_id=request_id, first_token=first_token, timeout=timeout
    )
