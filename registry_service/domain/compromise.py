"""What a theft takes along: whatever its holder could have made, or could come back with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from agentworkspace.core.ids import TokenId
from registry_service.domain.tokens import REOPENING, Token, TokenKind

# Belongs to one incarnation, and is in the hands of whoever holds another one of it.
_OF_A_BOX = frozenset({TokenKind.INSTANCE, TokenKind.PROXY})


def reach(stolen: Token, tokens: Sequence[Token]) -> frozenset[TokenId]:
    """The tokens that end as COMPROMISED with this one; `tokens` are all of its workspace.

    Of an instance token or a ticket: itself, and what any box up to its incarnation holds. Of an
    api token: itself, its rotations either way, and what was registered with any of them.
    """
    if stolen.kind is TokenKind.PROXY:
        return frozenset({stolen.token_id})
    if stolen.kind is TokenKind.API:
        return _open(_family(stolen, tokens)) | {stolen.token_id}
    return of_boxes(tokens, up_to=stolen.incarnation) | {stolen.token_id}


def of_boxes(tokens: Iterable[Token], *, up_to: int) -> frozenset[TokenId]:
    """What boxes up to this incarnation hold and could still use, or come back with."""
    return _open(
        token for token in tokens if token.kind in _OF_A_BOX and token.incarnation <= up_to
    )


def fences(stolen: Token, newest: int) -> bool:
    """Whether the workspace, launched last as `newest`, is fenced with it: what an earlier
    launch left behind says nothing of the newest one.
    """
    return stolen.kind in (TokenKind.INSTANCE, TokenKind.TICKET) and stolen.incarnation == newest


def _open(tokens: Iterable[Token]) -> frozenset[TokenId]:
    """Which of them are accepted, or would let their holder in again."""
    return frozenset(
        token.token_id
        for token in tokens
        if not token.is_revoked() or token.revoke_reason in REOPENING
    )


def _family(stolen: Token, tokens: Sequence[Token]) -> list[Token]:
    """An api token, all it was rotated from and into, and what was minted on these, and so on."""
    by_id = {token.token_id: token for token in tokens}
    made_on = defaultdict(list)
    for token in tokens:
        if token.minted_on:
            made_on[token.minted_on].append(token)
    family: dict[TokenId, Token] = {}
    waiting = [stolen]
    while waiting:
        token = waiting.pop()
        if token.token_id in family:
            continue
        family[token.token_id] = token
        waiting += made_on[token.token_id]
        before = by_id.get(token.minted_on) if token.minted_on else None
        if token.kind is TokenKind.API and before and before.kind is TokenKind.API:
            waiting.append(before)
    return list(family.values())
