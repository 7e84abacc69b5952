"""What is measured, in which order."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from tests.bench import (
    cases,
    h2load,
    overload,
    pair,
    pooled,
    python_client,
    restart_storm,
    store_ceiling,
    verifier_checks,
)
from tests.bench.bench import Bench, Case, say
from tests.bench.database import Server
from tests.bench.load import Plan
from tests.bench.rows import Row

VALIDATE: Final = cases.TOKENS + "ValidateToken"
# So many workspaces are made and launched; each only once.
LAUNCHES: Final = 1000


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
            method=cases.BOXES + "Heartbeat",
            messages=cases.heartbeat(tokens, different),
            store="update",
        ),
    ]


def registry(bench: Bench, server: Server, home: Path, *, tokens: int, count: int) -> None:
    """Every hot method of the registry, and the second opinions on the first of them."""
    say(f"── {tokens:,} tokens, {count} process(es)")
    name = server.registry_with(tokens)
    stores = store_ceiling.measure(server, name, tokens, max(2.0, bench.seconds / 2))
    say("   pgbench: " + ", ".join(f"{key} {value:,.0f}/s" for key, value in stores.items()))
    with pair.registry(server, name, home / "registry", count=count) as served:
        for case in registry_cases(tokens):
            bench.measure(case, served, tokens=tokens, count=count, stores=stores)
        if count == 1:
            _second_opinions(bench, served, home, tokens)


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
    except h2load.Missing as missing:
        theirs = f"not asked: {missing}"
    say(f"   one token again and again: ours {ours.throughput:,.0f}/s, h2load {theirs}")
    client = python_client.measure(served.address, served.bearer, tokens, bench.seconds)
    say(
        f"   one grpc.aio client: {client.throughput:,.0f}/s, "
        f"p50 {client.percentile(50) * 1000:.1f} ms, p99 {client.percentile(99) * 1000:.1f} ms"
    )


def launches(bench: Bench, server: Server, home: Path, tokens: int) -> None:
    """Both services: workspaces are created, and then provisioned, each once."""
    say("── both services")
    name = server.registry_with(tokens)
    with (
        pair.registry(server, name, home / "registry") as registry_served,
        pair.provision(server, home / "registry", registry_served.address) as served,
    ):
        created = bench.measure(
            Case(
                name="CreateWorkspace",
                method=cases.WORKSPACES + "CreateWorkspace",
                messages=cases.create(LAUNCHES),
                in_flight=16,
                once=True,
                keep=True,
            ),
            served,
            tokens=tokens,
            count=1,
            stores={},
        )
        ids = [cases.created_id(body) for body in created.bodies if body]
        if ids:
            bench.measure(
                Case(
                    name="ProvisionWorkspace",
                    method=cases.WORKSPACES + "ProvisionWorkspace",
                    messages=cases.provision(ids),
                    in_flight=16,
                    once=True,
                ),
                served,
                tokens=tokens,
                count=1,
                stores={},
            )


def verifier(bench: Bench) -> None:
    """Checks in the caller's own process, without a call."""
    say("── the verifier")
    _, checks = asyncio.run(verifier_checks.measure())
    say(f"   {checks:,.0f} cached checks a second, on one core")
    bench.rows.append(
        Row(
            name="verifier, cached",
            tokens=0,
            processes=0,
            throughput=checks,
            p50_ms=0,
            p99_ms=0,
            cpu_ms=1000 / checks,
            database_cpu_ms=0,
            wal_bytes=0,
            memory_mib=0,
            failed=0,
            bare=bench.rows[0].bare if bench.rows else 0.0,
        )
    )


def storms(bench: Bench, server: Server, home: Path, tokens: int) -> None:
    """More than can be done, and everybody at once."""
    name = server.registry_with(tokens)
    with pair.registry(server, name, home / "registry") as served:
        overload.storm(bench, served, registry_cases(tokens)[0], tokens)
        overload.storm(bench, served, registry_cases(tokens)[-1], tokens)
        restart_storm.storm(server, name, served)


def pooler(bench: Bench, server: Server, home: Path, tokens: int) -> None:
    """The same through PgBouncer in transaction mode; and revocations that come nevertheless."""
    name = server.registry_with(tokens)
    with pooled.running(server, home / "pgbouncer") as address:
        settings = pooled.settings(server, name, address)
        with pair.registry(server, name, home / "registry", environment=settings) as served:
            for case in registry_cases(tokens):
                bench.measure(case, served, tokens=tokens, count=1, stores={})
            pooled.show(server, served)
