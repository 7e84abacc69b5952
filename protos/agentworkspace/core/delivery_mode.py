"""How work reaches an agent, named alike in both services."""

from __future__ import annotations

from enum import StrEnum, unique


@unique
class DeliveryMode(StrEnum):
    """`push`: the agent is called at its url. `poll`: the agent fetches its work itself."""

    PUSH = "push"
    POLL = "poll"
