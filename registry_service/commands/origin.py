"""Where a change came from, as its audit rows will say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """`actor` is the caller's name, or `workspace:<id>` for a box, or `system`."""

    actor: str
    # The method's full name; empty for the system.
    method: str = ""
    correlation_id: str = ""


SYSTEM = Origin(actor="system")
