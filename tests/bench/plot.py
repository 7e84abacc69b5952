"""The picture: throughput and p99 against the size of the table, and against processes.

Needs matplotlib, which the extra `bench` brings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench.rows import Row

SHOWN: Final = ("ValidateToken", "MintToken", "Heartbeat")


class Missing(Exception):
    """With what to do about it."""


def pyplot() -> Any:
    """matplotlib's, drawing into files. Missing without it."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - an extra that few have
    except ImportError:
        raise Missing(
            "no plot without matplotlib; it comes with:\n"
            "    .venv/bin/pip install --require-hashes -r deploy/locks/bench.txt"
        ) from None
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    return plt


def draw(path: Path, rows: Sequence[Row]) -> None:
    plt = pyplot()
    figure, axes = plt.subplots(2, 2, figsize=(11, 7), constrained_layout=True)
    by_size = [row for row in rows if row.processes == 1]
    largest = max((row.tokens for row in rows), default=0)
    by_processes = [row for row in rows if row.tokens == largest]
    _panel(axes[0][0], by_size, lambda row: row.tokens, lambda row: row.throughput)
    _panel(axes[1][0], by_size, lambda row: row.tokens, lambda row: row.p99_ms)
    _panel(axes[0][1], by_processes, lambda row: row.processes, lambda row: row.throughput)
    _panel(axes[1][1], by_processes, lambda row: row.processes, lambda row: row.p99_ms)
    for place, name in ((0, "calls a second"), (1, "p99, ms")):
        for axis in axes[place]:
            axis.set_ylabel(name)
            axis.set_ylim(bottom=0)
    for axis in (axes[0][0], axes[1][0]):
        axis.set_xscale("log")
        axis.set_xlabel("tokens in the table, one process")
    for axis in (axes[0][1], axes[1][1]):
        axis.set_xlabel(f"processes, {largest:,} tokens")
    # A run of some parts may have none of what is shown.
    if axes[0][0].lines:
        axes[0][0].legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panel(
    axis: Any, rows: Sequence[Row], x: Callable[[Row], float], y: Callable[[Row], float]
) -> None:
    for name in SHOWN:
        points = sorted((x(row), y(row)) for row in rows if row.name == name)
        if points:
            axis.plot(*zip(*points, strict=True), marker="o", label=name)
    bare = sorted({(x(row), row.bare) for row in rows if row.name == SHOWN[0]})
    if bare and rows and y(rows[0]) == rows[0].throughput:
        axis.plot(*zip(*bare, strict=True), linestyle=":", color="grey", label="bare server")
