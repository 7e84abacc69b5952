"""What is measured, in which order."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from tests import debian
from tests.bench import (
    cases,
    h2load,
    overload,
    pair,
    plans,
    pooled,
    python_client,
    restart_storm,
    store_ceiling,
    verifier_checks,
    verifier_cold,
)
from tests.bench.bench import Bench, Case, say
from tests.bench.database import Server
from tests.bench.h2 import Message
from tests.bench.load import Plan
from tests.bench.rows import Row

VALIDATE: Final = cases.TOKENS + "ValidateToken"
# So many workspaces are made and launched; each only once.
LAUNCHES: Final = 1000
# By one who waits for each answer before the next call.
LAUNCHES_ALONE: Final = 300


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
    except debian.Missing as missing:
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
        _launch_all(bench, served, tokens, cases.create(LAUNCHES), in_flight=16)
        _launch_all(
            bench,
            served,
            tokens,
            cases.create(LAUNCHES_ALONE, own_secrets=cases.SECRETS),
            in_flight=1,
            names=(
                "CreateWorkspace, one caller",
                f"ProvisionWorkspace, one caller, {cases.SECRETS} secrets",
            ),
        )


def _launch_all(
    bench: Bench,
    served: pair.Served,
    tokens: int,
    messages: list[Message],
    *,
    in_flight: int,
    names: tuple[str, str] = ("CreateWorkspace", "ProvisionWorkspace"),
) -> None:
    """Two rows: the creates, and the launches of what they made."""
    created = bench.measure(
        Case(
            name=names[0],
            method=cases.WORKSPACES + "CreateWorkspace",
            messages=messages,
            in_flight=in_flight,
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
                name=names[1],
                method=cases.WORKSPACES + "ProvisionWorkspace",
                messages=cases.provision(ids),
                in_flight=in_flight,
                once=True,
            ),
            served,
            tokens=tokens,
            count=1,
            stores={},
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
