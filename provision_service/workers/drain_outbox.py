"""Worker step: tell the registry what it has not heard yet, in order per workspace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from provision_service.commands import first_token
from provision_service.commands.deployment import Deployment
from provision_service.domain.registry_port import Registry, RegistryRefused, RegistryUnavailable
from provision_service.storage import outbox
from provision_service.storage.outbox import Message, Op
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainOutbox:
    """Delivers at most `limit` messages; `jitter` gives 0 to 1 and spreads the retries."""

    jitter: Callable[[], float]
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainOutboxResult:
    """`full`: there may be more to do at once."""

    delivered: int
    postponed: int
    full: bool


_LONGEST_WAIT: Final = timedelta(seconds=30)
_FIRST_WAIT: Final = timedelta(seconds=1)
_REMOVED: Final = "WORKSPACE_REMOVED"


def run(
    store: Store, command: DrainOutbox, deployment: Deployment, registry: Registry
) -> DrainOutboxResult:
    """Deliver what is due. Replicas may deliver the same message twice: the registry takes
    each of them any number of times.
    """
    with store.reading() as tx:
        messages = outbox.due(tx, command.limit)
    delivered = 0
    for message in messages:
        try:
            _deliver(store, deployment, registry, message)
        except (RegistryUnavailable, RegistryRefused) as error:
            wait = _wait(message.attempts, command.jitter())
            with store.transaction() as tx:
                outbox.postpone(tx, message.seq, wait=wait, why=_why(error))
        else:
            delivered += 1
    return DrainOutboxResult(
        delivered=delivered,
        postponed=len(messages) - delivered,
        full=len(messages) == command.limit,
    )


def _deliver(store: Store, deployment: Deployment, registry: Registry, message: Message) -> None:
    if message.op is Op.RETIRE:
        registry.retire(
            workspace_id=message.admission.workspace_id,
            tenant_id=message.admission.tenant_id,
            timeout=deployment.admit_budget,
        )
        with store.transaction() as tx:
            outbox.forget(tx, message.seq)
        return
    try:
        first_token.admit_pending(registry, message, timeout=deployment.admit_budget)
    except RegistryRefused as refused:
        if refused.reason == _REMOVED:
            # Retired before it was ever admitted: there is nothing left to tell.
            with store.transaction() as tx:
                outbox.forget(tx, message.seq)
            return
        if refused.reason == first_token.TOKEN_HASH_IN_USE:
            with store.transaction() as tx:
                outbox.drop_first_token(tx, message.admission.workspace_id)
        raise
    with store.transaction() as tx:
        outbox.confirm_admissions(tx, [message.admission.workspace_id])


def _wait(attempts: int, jitter: float) -> timedelta:
    """Twice as long each time, half of it by chance, 30 s at most."""
    doubled: timedelta = _FIRST_WAIT * 2 ** min(attempts, 10)
    return min(doubled, _LONGEST_WAIT) * (0.5 + jitter / 2)


def _why(error: RegistryUnavailable | RegistryRefused) -> str:
    return error.reason if isinstance(error, RegistryRefused) else "the registry did not answer"
