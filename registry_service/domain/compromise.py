"""Which other tokens end when one is reported stolen.

They are those that its holder could have made with it, or could come back with.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from agentworkspace.core.ids import TokenId
from registry_service.domain.tokens import REOPENING, Token, TokenKind

# The kinds that belong to one incarnation: whoever holds one of them may hold them all.
_OF_A_BOX = frozenset({TokenKind.INSTANCE, TokenKind.PROXY})


def reach(stolen: Token, tokens: Sequence[Token]) -> frozenset[TokenId]:
    """The tokens that end as COMPROMISED with this one; `tokens` are all of its workspace.

    With an instance token or a ticket end all tokens of boxes up to its incarnation. With an api
    token end those that it was rotated from or into, and what was registered with any of them.
    """
    if stolen.kind is TokenKind.PROXY:
        return frozenset({stolen.token_id})
    if stolen.kind is TokenKind.API:
        return _open(_family(stolen, tokens)) | {stolen.token_id}
    return of_boxes(tokens, up_to=stolen.incarnation) | {stolen.token_id}


def of_boxes(tokens: Iterable[Token], *, up_to: int) -> frozenset[TokenId]:
    """The tokens of boxes up to this incarnation that are still accepted, or would let their
    holder in again.
    """
    return _open(
        token for token in tokens if token.kind in _OF_A_BOX and token.incarnation <= up_to
    )


def fences(stolen: Token, newest: int) -> bool:
    """Whether this theft fences the workspace, whose newest launch is `newest`: only a token of
    that launch does, because an older one tells nothing about it.
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
    """An api token, all that it was rotated from or into, and all that was minted on these."""
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
