"""How work reaches an agent, in the words of both services."""

from __future__ import annotations

from enum import StrEnum, unique


@unique
class DeliveryMode(StrEnum):
    """`push`: it is called at its url. `poll`: it fetches its work itself."""

    PUSH = "push"
    POLL = "poll"
