"""What is measured, in which order."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from tests import debian
from tests.bench import (
    cases,
    h2load,
    newcomers,
    overload,
    pair,
    plans,
    pooled,
    python_client,
    queueing,
    restart_storm,
    store_ceiling,
    verifier_checks,
    verifier_cold,
)
from tests.bench.bench import Bench, Case, say
from tests.bench.database import Server
from tests.bench.load import Plan
from tests.bench.ratios import FIRST
from tests.bench.rows import Row

VALIDATE: Final = cases.TOKENS + "ValidateToken"
HEARTBEAT: Final = cases.BOXES + "Heartbeat"
# Calls of a second that may be sent only once; more than any machine answers.
FIRST_REGISTERS_A_SECOND: Final = 4000
LAUNCHES_A_SECOND: Final = 2500


def registry_cases(tokens: int, different: int = cases.DIFFERENT) -> list[Case]:
    return [
        Case(
            name="ValidateToken",
            method=VALIDATE,
            messages=cases.validate(tokens, different),
            store="select",
        ),
        Case(
            name=f"BatchValidateTokens({cases.BATCH})",
            method=cases.TOKENS + "BatchValidateTokens",
            messages=cases.batch(tokens, different),
            unit=cases.BATCH,
            store="select",
            in_flight=16,
        ),
        Case(
            name="MintToken",
            method=cases.TOKENS + "MintToken",
            messages=cases.mint(tokens, different),
            store="insert",
        ),
        Case(
            name="Register",
            method=cases.BOXES + "Register",
            messages=cases.register(tokens, different),
            store="update",
        ),
        Case(
            name="Heartbeat",
            method=HEARTBEAT,
            messages=cases.heartbeat(tokens, different),
            store="update",
        ),
    ]


def launch_cases(server: Server, database_name: str, seconds: float) -> list[Case]:
    """What happens once in a launch."""
    boxes = newcomers.admit(server, database_name, int(seconds * FIRST_REGISTERS_A_SECOND))
    launched = newcomers.admit(server, database_name, int(seconds * LAUNCHES_A_SECOND))
    return [
        Case(
            name=FIRST,
            method=cases.BOXES + "Register",
            messages=newcomers.messages(boxes),
            once=True,
        ),
        Case(
            name="BeginIncarnation",
            method=cases.REGISTRY + "BeginIncarnation",
            messages=cases.begin([each.workspace_id for each in launched]),
            once=True,
        ),
        Case(
            name="AdmitWorkspace",
            method=cases.REGISTRY + "AdmitWorkspace",
            messages=cases.admit(len(launched)),
            once=True,
        ),
    ]


def registry(bench: Bench, server: Server, home: Path, *, tokens: int, count: int) -> None:
    """Every hot method of the registry, and the second opinions on the first of them."""
    say(f"── {tokens:,} tokens, {count} process(es)")
    name = server.registry_with(tokens)
    stores = store_ceiling.measure(server, name, tokens, max(2.0, bench.seconds / 2))
    say("   pgbench: " + ", ".join(f"{key} {value:,.0f}/s" for key, value in stores.items()))
    with pair.registry(server, name, home / "registry", count=count) as served:
        for case in registry_cases(tokens) + launch_cases(server, name, bench.seconds):
            _hear(server, name, tokens, case)
            bench.measure(case, served, tokens=tokens, count=count, stores=stores)
        if count == 1:
            _second_opinions(bench, served, home, tokens)


def _hear(server: Server, name: str, tokens: int, case: Case) -> None:
    """A heartbeat is as a steady box's, whose last one was not long ago and said the same."""
    if case.method == HEARTBEAT:
        server.hear(name, cases.boxes(tokens), active_tasks=cases.ACTIVE_TASKS)


def _second_opinions(bench: Bench, served: pair.Served, home: Path, tokens: int) -> None:
    """The same question with h2load and with ours, and what one grpc.aio client gets."""
    plan = Plan(
        address=served.address,
        method=VALIDATE,
        messages=cases.validate_one(tokens),
        bearer=served.bearer,
        seconds=bench.seconds,
    )
    ours = bench.send(plan).result()
    try:
        theirs = f"{h2load.measure(plan, home):,.0f}/s"
    except debian.Missing as missing:
        theirs = f"not asked: {missing}"
    say(f"   one token again and again: ours {ours.throughput:,.0f}/s, h2load {theirs}")
    client = python_client.measure(served.address, served.bearer, tokens, bench.seconds)
    say(
        f"   one grpc.aio client: {client.throughput:,.0f}/s, "
        f"p50 {client.percentile(50) * 1000:.1f} ms, p99 {client.percentile(99) * 1000:.1f} ms"
    )


def verifier(bench: Bench, server: Server, home: Path, tokens: int) -> None:
    """Checks of tokens that it has not seen; and in the caller's own process, without a call."""
    say("── the verifier")
    name = server.registry_with(tokens)
    with pair.registry(server, name, home / "registry") as served:
        verifier_cold.measure(bench, served, tokens)
    _, checks = asyncio.run(verifier_checks.measure())
    say(f"   {checks:,.0f} cached checks a second, on one core")
    bench.rows.append(_on_one_core("verifier, cached", checks, bench))


def planned(bench: Bench) -> None:
    """Launches decided and materialized, without a call or a database."""
    say("── plans of a launch")
    plans_a_second = plans.measure()
    say(f"   {plans_a_second:,.0f} plans a second, on one core")
    bench.rows.append(_on_one_core(f"plan, {cases.SECRETS} secrets", plans_a_second, bench))


def _on_one_core(name: str, a_second: float, bench: Bench) -> Row:
    return Row(
        name=name,
        tokens=0,
        processes=0,
        throughput=a_second,
        p50_ms=0,
        p99_ms=0,
        cpu_ms=1000 / a_second,
        database_cpu_ms=0,
        wal_bytes=0,
        memory_mib=0,
        failed=0,
        bare=bench.rows[0].bare if bench.rows else 0.0,
    )


def storms(bench: Bench, server: Server, home: Path, tokens: int) -> None:
    """More than can be done, and everybody at once."""
    name = server.registry_with(tokens)
    with pair.registry(server, name, home / "registry") as served:
        validate, *_, heartbeat = registry_cases(tokens)
        overload.storm(bench, served, validate, tokens)
        _hear(server, name, tokens, heartbeat)
        overload.storm(bench, served, heartbeat, tokens)
    restarts(bench, server, home, tokens)


def restarts(bench: Bench, server: Server, home: Path, tokens: int) -> None:
    """Everybody at once, the second time as many more."""
    name = server.registry_with(tokens)
    with pair.registry(server, name, home / "registry") as served:
        for boxes in restart_storm.SIZES:
            restart_storm.storm(bench, server, name, served, boxes=boxes, tokens=tokens)


def queues(bench: Bench, server: Server, home: Path, tokens: int) -> None:
    """At which number of calls that are being served one replica has enough to do."""
    name = server.registry_with(tokens)
    with pair.registry(server, name, home / "registry") as served:
        for case in (registry_cases(tokens)[0], registry_cases(tokens)[-1]):
            queueing.measure(bench, served, case)
        queueing.measure(bench, served, queueing.on_threads(tokens))


def pooler(bench: Bench, server: Server, home: Path, tokens: int) -> None:
    """The same through PgBouncer in transaction mode; and revocations that come nevertheless."""
    name = server.registry_with(tokens)
    with pooled.running(server, home / "pgbouncer") as address:
        settings = pooled.settings(server, name, address)
        with pair.registry(server, name, home / "registry", environment=settings) as served:
            for case in registry_cases(tokens):
                _hear(server, name, tokens, case)
                bench.measure(case, served, tokens=tokens, count=1, stores={})
            pooled.show(server, served)
