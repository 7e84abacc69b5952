"""What fleets of other sizes need, from what a call of each kind cost in a run: arithmetic only."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tests.bench.rows import Row

FLEETS: Final = (100_000, 1_000_000, 10_000_000)
# What a box asks for, as it comes: a heartbeat every 30 s; a verifier that keeps what it knows
# asks about each token once in five minutes, 64 in a call; a launch a day.
HEARTBEATS: Final = 1 / 30
CHECKS: Final = 1 / 300 / 64
LAUNCHES: Final = 1 / 86_400
_ASKED: Final = {
    "Heartbeat": HEARTBEATS,
    "BatchValidateTokens(64)": CHECKS,
    "first Register": LAUNCHES,
    "BeginIncarnation": LAUNCHES,
}
# A core is planned to be busy for so much of the time, a PostgreSQL to have so many of them.
BUSY: Final = 0.6
POSTGRES_CORES: Final = 8
# Of one process: REGISTRY_THREADS + 12, as they come.
CONNECTIONS: Final = 20
_LABELS: Final = (
    "boxes",
    "heartbeats a second",
    "processes of the registry, a core each",
    "connections to PostgreSQL",
    "cores of PostgreSQL",
    "log of PostgreSQL, MB/s",
    "database, GB",
    "cells",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Of one size; cores are whole ones, busy for BUSY of the time. `log` in bytes a second."""

    boxes: int
    processes: int
    postgres_cores: int
    log: float
    database: float

    @property
    def cells(self) -> int:
        """Whole pairs of the services, each with a PostgreSQL of POSTGRES_CORES at most."""
        return math.ceil(self.postgres_cores / POSTGRES_CORES)

    def cells_of_table(self) -> list[str]:
        return [
            f"{self.boxes:,}",
            f"{self.boxes * HEARTBEATS:,.0f}",
            f"{self.processes:,}",
            f"{self.processes * CONNECTIONS:,}",
            f"{self.postgres_cores:,}",
            f"{self.log / 1e6:,.1f}",
            f"{self.database / 1e9:,.1f}",
            f"{self.cells:,}",
        ]


def of(rows: Iterable[Row], *, bytes_a_box: float) -> list[Fleet]:
    """Empty when a row is missing that this needs. Rows of one process at the largest table."""
    single = sorted((row for row in rows if row.processes == 1), key=lambda row: row.tokens)
    found = {row.name: row for row in single if row.name in _ASKED}
    if len(found) < len(_ASKED):
        return []
    service, postgres, log = (
        sum(getattr(found[name], field) * times for name, times in _ASKED.items())
        for field in ("cpu_ms", "database_cpu_ms", "wal_bytes")
    )
    return [
        Fleet(
            boxes=boxes,
            processes=math.ceil(boxes * service / 1000 / BUSY),
            postgres_cores=math.ceil(boxes * postgres / 1000 / BUSY),
            log=boxes * log,
            database=boxes * bytes_a_box,
        )
        for boxes in FLEETS
    ]


def markdown(fleets: Iterable[Fleet]) -> str:
    columns = [list(_LABELS), *(fleet.cells_of_table() for fleet in fleets)]
    head, *body = ("| " + " | ".join(line) + " |" for line in zip(*columns, strict=True))
    return "\n".join((head, "|---" * len(columns) + "|", *body))
