"""What was asked for, as ratios of the rows of one run: numbers, and no judgement.

Each row counts in units of the bare server beside it, so that a machine that was slower for one
row than for another divides out. A ratio whose rows were not measured is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench.rows import Row

VALIDATE: Final = "ValidateToken"
BATCH: Final = "BatchValidateTokens(64)"
BESIDE_GO: Final = "ValidateToken, beside Go"
GO: Final = "Go: SELECT and UPDATE"
GO_AS_IT_COMES: Final = "Go, its library's pool"
COLD: Final = "verifier, cold"
UNARY: Final = "ValidateToken, the same clients"
SMALL: Final = 10_000
LARGE: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """`asked`: what it should be, in words."""

    name: str
    value: float
    asked: str


def of(rows: Iterable[Row]) -> list[Ratio]:
    found = {row.key: row for row in rows}
    largest = max((tokens for name, tokens, _ in found if name == VALIDATE), default=0)
    ratios: list[Ratio] = []

    def add(name: str, over: float | None, under: float | None, asked: str) -> None:
        if over is not None and under:
            ratios.append(Ratio(name=name, value=over / under, asked=asked))

    def share(name: str, tokens: int, processes: int) -> float | None:
        row = found.get((name, tokens, processes))
        return row.of_bare if row else None

    def p99(tokens: int) -> float | None:
        row = found.get((VALIDATE, tokens, 1))
        return row.p99_ms * row.bare if row else None

    add(
        f"ValidateToken, 1 process, {largest:,} tokens: of the bare server",
        share(VALIDATE, largest, 1), 1.0, "at least 0.6",
    )  # fmt: skip
    for go in (GO, GO_AS_IT_COMES):
        for tokens, processes in sorted(key[1:] for key in found if key[0] == go):
            add(
                f"ValidateToken, {processes} process(es), {tokens:,} tokens: of {go}",
                share(BESIDE_GO, tokens, processes),
                share(go, tokens, processes),
                "at least 1.5" if processes == 2 and go == GO else "not asked",
            )
    add(
        f"a batch of 64, 1 process, {largest:,} tokens: tokens of single calls",
        share(BATCH, largest, 1), share(VALIDATE, largest, 1), "at least 15",
    )  # fmt: skip
    add("the cold verifier: checks of unary calls", share(COLD, largest, 1),
        share(UNARY, largest, 1), "not asked")  # fmt: skip
    add("the cold verifier: checks of Go's calls, one process", share(COLD, largest, 1),
        share(GO, largest, 1), "at least 3")  # fmt: skip
    add("p99 at 1,000,000 tokens: of p99 at 10,000", p99(LARGE), p99(SMALL), "at most 1.3")
    return ratios


def shown(ratios: Sequence[Ratio]) -> str:
    lines = [f"   {each.value:7.2f}  {each.name} ({each.asked})" for each in ratios]
    return "\n".join(("what was asked, from the rows above:", *lines)) if lines else ""
