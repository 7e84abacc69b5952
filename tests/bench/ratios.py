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
MINT: Final = "MintToken"
FIRST: Final = "first Register"
HEARTBEAT: Final = "Heartbeat"
CREATE: Final = "CreateWorkspace, 16 callers"
PROVISION: Final = "ProvisionWorkspace, 16 callers"
BESIDE_GO: Final = "ValidateToken, beside Go"
GO: Final = "Go: SELECT and UPDATE"
GO_AS_IT_COMES: Final = "Go, its library's pool"
GO_HEARTBEAT: Final = "Go: heartbeat, one UPDATE"
GO_FIRST: Final = "Go: first Register, four statements"
BAO_CREATE: Final = "OpenBao: token creation"
BAO_LOOKUP: Final = "OpenBao: token lookup"
COLD: Final = "verifier, cold"
UNARY: Final = "ValidateToken, the same clients"
SMALL: Final = 10_000
LARGE: Final = 1_000_000
NOT_ASKED: Final = "not asked"

# Of the bare server, with one process and the largest table.
_OF_BARE: Final = {
    VALIDATE: "at least 0.65",
    BATCH: "at least 8",
    MINT: "at least 0.40",
    FIRST: "at least 0.18",
    HEARTBEAT: "at least 0.55",
    CREATE: "at least 0.06",
    PROVISION: "at least 0.06",
}
# Of another row of the run: how many processes serve, and which row it is.
_OF_OTHERS: Final = (
    (BESIDE_GO, 1, GO, NOT_ASKED),
    (BESIDE_GO, 2, GO, "at least 1"),
    (BESIDE_GO, 1, GO_AS_IT_COMES, NOT_ASKED),
    (BESIDE_GO, 2, GO_AS_IT_COMES, NOT_ASKED),
    (HEARTBEAT, 1, GO_HEARTBEAT, NOT_ASKED),
    (FIRST, 1, GO_FIRST, NOT_ASKED),
    (MINT, 1, BAO_CREATE, NOT_ASKED),
    (MINT, 2, BAO_CREATE, "at least 2.5"),
    (VALIDATE, 1, BAO_LOOKUP, NOT_ASKED),
    (VALIDATE, 2, BAO_LOOKUP, NOT_ASKED),
    (COLD, 1, UNARY, NOT_ASKED),
    (COLD, 1, GO, "at least 3"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """`asked`: what it should be, in words."""

    name: str
    value: float
    asked: str


def of(rows: Iterable[Row]) -> list[Ratio]:
    """Of the largest table in the run, and of servers that keep tokens of their own."""
    found = {row.key: row for row in rows}
    largest = max((tokens for _, tokens, _ in found), default=0)

    def row(name: str, processes: int) -> Row | None:
        for key in ((name, largest, processes), (name, largest, 1), (name, 0, 0)):
            # What others do is measured once, and by no number of processes of ours.
            if key in found and (key[2] == processes or name.startswith(("Go", "OpenBao"))):
                return found[key]
        return None

    ratios = [
        Ratio(name=f"{name}: of the bare server", value=each.of_bare, asked=asked)
        for name, asked in _OF_BARE.items()
        if (each := row(name, 1)) and each.bare
    ]
    for name, processes, other, asked in _OF_OTHERS:
        over, under = row(name, processes), row(other, processes)
        if over and under and under.of_bare:
            value = over.of_bare / under.of_bare
            served = "" if processes == 1 else f", {processes} processes"
            ratios.append(Ratio(name=f"{name}{served}: of {other}", value=value, asked=asked))
    small, large = found.get((VALIDATE, SMALL, 1)), found.get((VALIDATE, LARGE, 1))
    if small and large and small.p99_ms:
        # A slower moment is slower for the bare server, too.
        value = large.p99_ms * large.bare / (small.p99_ms * small.bare)
        ratios.append(
            Ratio(
                name="p99 at 1,000,000 tokens: of p99 at 10,000", value=value, asked="at most 1.3"
            )
        )
    return ratios


def shown(ratios: Sequence[Ratio]) -> str:
    lines = [f"   {each.value:7.2f}  {each.name} ({each.asked})" for each in ratios]
    return "\n".join(("what was asked, from the rows above:", *lines)) if lines else ""


def markdown(ratios: Sequence[Ratio]) -> str:
    lines = [f"| {each.name} | {each.value:.2f} | {each.asked} |" for each in ratios]
    return "\n".join(("| ratio | here | asked |", "|---|---|---|", *lines))
