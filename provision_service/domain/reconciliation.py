"""How many of the workspaces that need a launch are marked at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MAX_PERCENT_A_MINUTE: Final = 5


@dataclass(frozen=True, slots=True)
class Marking:
    """Workspaces to mark now, and how many more are held back by the limit."""

    workspace_ids: tuple[str, ...]
    held_back: int

    @property
    def stopped(self) -> bool:
        """Whether the limit was hit, which the reconciler must say."""
        return self.held_back > 0


def allowed_a_minute(workspaces: int) -> int:
    """How many may be marked within a minute: five in a hundred, at least one."""
    return max(1, workspaces * MAX_PERCENT_A_MINUTE // 100)


def choose_marks(needing: Sequence[str], *, workspaces: int, marked_last_minute: int) -> Marking:
    """The first of them that the limit still admits; the rest is held back."""
    room = max(0, allowed_a_minute(workspaces) - marked_last_minute)
    chosen = tuple(needing[:room])
    return Marking(chosen, len(needing) - len(chosen))
