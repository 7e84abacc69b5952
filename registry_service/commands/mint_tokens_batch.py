"""MintToken for many calls at once: one statement, one commit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

from sqlalchemy.exc import IntegrityError

from agentworkspace.core.refusal import Refusal
from agentworkspace.core.secret import Secret
from agentworkspace.service import store_faults
from agentworkspace.service.store_faults import StoreFault
from registry_service.commands import mint_token
from registry_service.commands.issued import Delivery, Issued, NewSecret
from registry_service.commands.mint_token import MintToken, claim_of
from registry_service.domain.tokens import Token, TokenKind, display_prefix, token_sha256
from registry_service.storage import minting
from registry_service.storage.minting import Order
from registry_service.storage.store import Store


def run(
    store: Store, commands: Sequence[MintToken], *, new_secret: NewSecret
) -> list[Issued | Refusal | Exception]:
    """One answer each, in order; an Exception other than a Refusal is a fault with that item."""
    secrets = [None if item.token_sha256 else new_secret(item.kind) for item in commands]
    orders = _orders(commands, secrets)
    minted = _mint_together(store, list(orders.values()))
    answers: list[Issued | Refusal | Exception] = []
    for place, command in enumerate(commands):
        token = minted.get(orders[place].token_sha256) if place in orders else None
        if token is None:
            answers.append(_mint_alone(store, command, new_secret))
        else:
            answers.append(_issued(token, secrets[place]))
    return answers


def _orders(commands: Sequence[MintToken], secrets: Sequence[Secret | None]) -> dict[int, Order]:
    """What one statement can mint, by its place in `commands`: api tokens without repetitions."""
    orders: dict[int, Order] = {}
    seen: set[object] = set()
    for place, (command, secret) in enumerate(zip(commands, secrets, strict=True)):
        order = _order(command, secret)
        request = (order.caller, order.workspace_id, order.request_id)
        repeats = order.token_sha256 in seen or (order.request_id and request in seen)
        if command.kind is TokenKind.API and not repeats:
            orders[place] = order
        seen |= {order.token_sha256, request}
    return orders


def _order(command: MintToken, secret: Secret | None) -> Order:
    claim = claim_of(command)
    text = secret.reveal() if secret else ""
    tenants = command.caller.tenants
    return Order(
        workspace_id=command.workspace_id,
        token_sha256=command.token_sha256 or token_sha256(text),
        prefix=display_prefix(text),
        label=command.label,
        scopes=json.dumps(command.scopes),
        ttl=command.ttl,
        client_made=secret is None,
        request_id=command.request_id,
        caller=claim.caller,
        digest=claim.digest(),
        tenants=None if tenants is None else " ".join(sorted(tenants)),
        actor=command.origin.actor,
        method=command.origin.method,
        correlation_id=command.origin.correlation_id,
    )


def _mint_together(store: Store, orders: Sequence[Order]) -> dict[bytes, Token]:
    """The tokens that were minted, by hash; none at all if another transaction stored one first."""
    if not orders:
        return {}
    try:
        with store.transaction() as tx:
            return minting.mint(tx, orders)
    except IntegrityError:
        return {}


def _mint_alone(
    store: Store, command: MintToken, new_secret: NewSecret
) -> Issued | Refusal | Exception:
    try:
        return store_faults.attempt(partial(mint_token.run, store, command, new_secret=new_secret))
    except (Refusal, StoreFault) as error:
        return error


def _issued(token: Token, secret: Secret | None) -> Issued:
    delivery = Delivery.CALLER_MADE if secret is None else Delivery.ENCLOSED
    return Issued(token=token, plaintext=secret, delivery=delivery)
