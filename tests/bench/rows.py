"""The table: one row a method, table size and number of processes; saved, and compared."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

_HEADINGS: Final = (
    "method", "tokens", "proc", "per second", "p50 ms", "p99 ms", "cpu/call", "pg cpu", "wal B",
    "MiB", "failed", "bare/s", "of bare", "spread", "store/s", "of store", "client cpu",
)  # fmt: skip
_IN_PAGES: Final = (
    "method", "tokens", "proc", "per second", "p50 ms", "p99 ms", "cpu/call", "pg cpu", "wal B",
    "of bare", "spread",
)  # fmt: skip
_LEFT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was measured. `throughput` counts units (tokens of a batch), `bare` and the latencies
    calls; CPU is in milliseconds a call, of the service and of PostgreSQL. `shares` are what each
    repeat made of the bare server beside it.
    """

    name: str
    tokens: int
    processes: int
    throughput: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    database_cpu_ms: float
    memory_mib: float
    failed: int
    bare: float
    shares: list[float] = field(default_factory=list)
    store: float = 0.0
    # Of the database's log, a call.
    wal_bytes: float = 0.0
    unit: int = 1
    in_flight: int = 0
    # Of a client whose own work belongs to the answer, a call; in milliseconds as the others.
    client_cpu_ms: float = 0.0

    @property
    def key(self) -> tuple[str, int, int]:
        return (self.name, self.tokens, self.processes)

    @property
    def of_bare(self) -> float:
        """The median of the repeats."""
        if self.shares:
            return statistics.median(self.shares)
        return self.throughput / self.bare if self.bare else 0.0

    @property
    def spread(self) -> str:
        """The least and the largest share of the repeats."""
        return f"{min(self.shares):.2f}-{max(self.shares):.2f}" if self.shares else ""

    @property
    def of_store(self) -> float:
        return self.throughput / self.store if self.store else 0.0

    def brief(self) -> str:
        return (
            f"{self.throughput:,.0f}/s, p50 {self.p50_ms:.1f} ms, p99 {self.p99_ms:.1f} ms, "
            f"{self.of_bare:.2f} ({self.spread}) of the bare server's "
            f"{self.bare:,.0f}/s, {self.failed} failed"
        )

    def cells(self) -> list[str]:
        return [
            self.name,
            f"{self.tokens:,}" if self.tokens else "",
            str(self.processes) if self.processes else "",
            f"{self.throughput:,.0f}",
            _milliseconds(self.p50_ms),
            _milliseconds(self.p99_ms),
            f"{self.cpu_ms:.2f}",
            f"{self.database_cpu_ms:.2f}",
            f"{self.wal_bytes:,.0f}",
            f"{self.memory_mib:,.0f}",
            f"{self.failed:,}",
            f"{self.bare:,.0f}" if self.bare else "",
            f"{self.of_bare:.2f}" if self.bare else "",
            self.spread,
            f"{self.store:,.0f}" if self.store else "",
            f"{self.of_store:.2f}" if self.store else "",
            f"{self.client_cpu_ms:.3f}" if self.client_cpu_ms else "",
        ]


def table(rows: Iterable[Row]) -> str:
    return _aligned([list(_HEADINGS), *(row.cells() for row in rows)])


def markdown(rows: Iterable[Row]) -> str:
    """As in a page: what is compared, and what it cost."""
    kept = [_HEADINGS.index(heading) for heading in _IN_PAGES]
    lines = [list(_HEADINGS), *(row.cells() for row in rows)]
    head, *body = ("| " + " | ".join(line[at] for at in kept) + " |" for line in lines)
    return "\n".join((head, "|---" * len(kept) + "|", *body))


def merged(runs: Iterable[Iterable[Row]]) -> list[Row]:
    """Of several runs the rows of all; of the same row the last."""
    return list({row.key: row for rows in runs for row in rows}.values())


def comparison(rows: Iterable[Row], earlier: Iterable[Row]) -> str:
    """Against a saved run, also as shares of the bare server: machines differ, and so do days."""
    known = {row.key: row for row in earlier}
    lines = [[*_HEADINGS[:4], "was", "change", "of bare", "was", "change"]]
    for row in rows:
        old = known.get(row.key)
        if old is not None:
            lines.append(
                [
                    *row.cells()[:4],
                    f"{old.throughput:,.0f}",
                    _change(row.throughput, old.throughput),
                    f"{row.of_bare:.2f}",
                    f"{old.of_bare:.2f}",
                    _change(row.of_bare, old.of_bare),
                ]
            )
    return _aligned(lines)


def save(path: Path, rows: Iterable[Row], about: dict[str, Any]) -> None:
    document = {"about": about, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(document, indent=1) + "\n")


def about(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())["about"]
    return found


def read(path: Path) -> list[Row]:
    return [Row(**each) for each in json.loads(path.read_text())["rows"]]


def _milliseconds(value: float) -> str:
    return f"{value:.1f}" if value else ""


def _change(now: float, then: float) -> str:
    return f"{(now / then - 1) * 100:+.0f} %" if then else ""


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at < _LEFT else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
