"""Worker step: say which encryption keys this replica holds, and hear what the others hold."""

from __future__ import annotations

from collections.abc import Iterator

from provision_service.storage import key_holders
from provision_service.storage.key_agreement import AgreedKeys, Agreement
from provision_service.storage.store import Store


def run(store: Store, keys: AgreedKeys) -> Agreement:
    """Report, and take over what that leads to: keys that are new, and the one to write with."""
    with store.transaction() as tx:
        agreement = keys.agree(tx, store.vault)
    keys.take_over(agreement)
    return agreement


def leave(store: Store, keys: AgreedKeys) -> None:
    """Take back the report of a replica that stops."""
    if keys.replica is not None:
        with store.transaction() as tx:
            key_holders.leave(tx, keys.replica)


def unsettled(agreement: Agreement) -> Iterator[str]:
    """Sentences on what keeps everything from being encrypted under the file's current key."""
    yield from agreement.wrong_keys()
    for name in agreement.lacking:
        yield (
            f"{name} does not hold encryption key `{agreement.wants}`, so nothing is written with"
            " it; put it into the keys file there"
        )
    for holder in agreement.holders:
        if holder.wants != agreement.wants and agreement.wants in holder.key_ids:
            yield (
                f"the keys file of {holder.name} calls `{holder.wants}` current, and this one"
                f" `{agreement.wants}`; make them the same"
            )
