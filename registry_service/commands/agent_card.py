"""The agent card as JSON text that the database takes."""

from __future__ import annotations

import json
from collections.abc import Mapping

from registry_service.commands import grounds


def encode(card: Mapping[str, object] | None) -> str | None:
    """Refusal INVALID_REQUEST for what JSON or PostgreSQL cannot hold: NaN, infinity, NUL."""
    if card is None:
        return None
    try:
        text = json.dumps(card, allow_nan=False)
    except ValueError:
        raise grounds.invalid("agent_card", "must hold finite numbers only") from None
    if "\\u0000" in text:
        raise grounds.invalid("agent_card", "must not hold the character NUL")
    return text
