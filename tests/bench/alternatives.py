"""Hot calls beside what a user would write instead: the same tokens, the same load, in turn."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.bench import cases, go_service, newcomers, pair
from tests.bench.bench import Bench, Case, say
from tests.bench.database import Server
from tests.bench.load import Plan
from tests.bench.ratios import BESIDE_GO, GO, GO_AS_IT_COMES, GO_FIRST, GO_HEARTBEAT

# Connections to the database that the service in Go is tried with; it gets the best of them.
POOLS: Final = (8, 16, 32, 64, 96)
# What pgx takes when nobody says how many.
PGX_POOL: Final = max(4, os.cpu_count() or 4)
FIRST_REGISTERS_A_SECOND: Final = 8000
TRY_SECONDS: Final = 3.0
# The registry writes the uses of a minute together: less than that would leave them out.
A_MINUTE: Final = 66.0


def beside_go(
    bench: Bench, server: Server, home: Path, *, tokens: int, counts: list[int], quick: bool
) -> None:
    """The registry by number of processes, and after each the service in Go, tuned and not."""
    say("── beside one SELECT and one UPDATE a check, in Go")
    try:
        program = go_service.built(home / "go")
    except go_service.Missing as missing:
        say(f"   not compared: {missing}")
        return
    name = server.registry_with(tokens)
    seconds = 0.0 if quick else A_MINUTE
    if quick:
        say(
            "   quick: too short for the registry's write of last uses, which Go pays in every call"
        )
    case = Case(
        name=BESIDE_GO,
        method=cases.TOKENS + "ValidateToken",
        messages=cases.validate(tokens),
        least_seconds=seconds,
    )
    trial = Plan(
        address="",
        method=case.method,
        messages=case.messages,
        in_flight=case.in_flight,
        seconds=TRY_SECONDS,
    )
    tried: dict[int, float] = {}
    for pool in POOLS:
        with go_service.running(program, server, name, home, pool=pool) as served:
            plan = replace(trial, address=served.address, bearer=served.bearer)
            tried[pool] = bench.send(plan).result().throughput
    pool = max(tried, key=lambda pool: tried[pool])
    rates = ", ".join(f"{pool}: {rate:,.0f}/s" for pool, rate in tried.items())
    say(f"   Go by connections to the database: {rates}; taken: {pool}")
    for count in counts:
        with pair.registry(server, name, home / "registry", count=count) as served:
            bench.measure(case, served, tokens=tokens, count=count, stores={})
        # The number of processes is that of the registry it stands beside.
        for row, connections in ((GO, pool), (GO_AS_IT_COMES, PGX_POOL)):
            with go_service.running(program, server, name, home, pool=connections) as served:
                bench.measure(
                    replace(case, name=row, least_seconds=0.0),
                    served, tokens=tokens, count=count, stores={},
                )  # fmt: skip
    with go_service.running(program, server, name, home, pool=pool) as served:
        for case in _of_boxes(server, name, tokens, bench.seconds):
            bench.measure(case, served, tokens=tokens, count=min(counts), stores={})


def _of_boxes(server: Server, database_name: str, tokens: int, seconds: float) -> list[Case]:
    """Heartbeats, and first Registers of boxes that were launched for it."""
    boxes = newcomers.admit(server, database_name, int(seconds * FIRST_REGISTERS_A_SECOND))
    return [
        Case(
            name=GO_HEARTBEAT,
            method=cases.BOXES + "Heartbeat",
            messages=cases.heartbeat(tokens),
        ),
        Case(
            name=GO_FIRST,
            method=cases.BOXES + "Register",
            messages=newcomers.messages(boxes),
            once=True,
        ),
    ]
