"""Twice as many calls as can be answered, and the control plane in the midst of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agentworkspace.registry.v1 import workspace_registry_service_pb2 as pb
from tests.bench import cases, database
from tests.bench.bench import Bench, Case, say
from tests.bench.h2 import Message, prefixed
from tests.bench.load import OK, RESOURCE_EXHAUSTED, Measured, Plan, percentile
from tests.bench.pair import Served

CONTROL: Final = "/agentworkspace.registry.v1.WorkspaceRegistryService/GetRegistration"
CONTROL_A_SECOND: Final = 20.0
TIMES: Final = 2.0


def storm(bench: Bench, served: Served, case: Case, tokens: int) -> None:
    """First the peak: as many at a time as keep it busy. Then TIMES as many a second, whether or
    not they are answered.
    """
    say(f"── {case.name}: the peak, and {TIMES:g} times the peak")
    plan = Plan(
        address=served.address,
        method=case.method,
        messages=case.messages,
        bearer="" if case.messages[0].bearer else served.bearer,
        in_flight=case.in_flight,
        seconds=bench.seconds,
        connections=8,
    )
    calm = bench.send(control(served, tokens, bench.seconds)).result()
    peak = bench.send(plan).result()
    storming = bench.send(replace(plan, rate=peak.throughput * TIMES))
    between = bench.send(control(served, tokens, bench.seconds)).result()
    over = storming.result()
    say(f"   peak                 {told(peak)}")
    say(f"   at {TIMES:g} times the peak  {told(over)}")
    share = over.throughput / peak.throughput if peak.throughput else 0.0
    say(f"   throughput kept      {share:.0%}")
    say(f"   control plane, calm  {told(calm)}")
    say(f"   control plane, storm {told(between)}")


def control(served: Served, tokens: int, seconds: float) -> Plan:
    """The control plane's own calls, CONTROL_A_SECOND whatever else goes on."""
    messages = [
        Message(body=prefixed(pb.GetRegistrationRequest(workspace_id=each).SerializeToString()))
        for each in map(database.workspace_of, cases.numbers(tokens, 500))
    ]
    return Plan(
        address=served.address,
        method=CONTROL,
        messages=messages,
        bearer=served.bearer,
        rate=CONTROL_A_SECOND,
        connections=1,
        seconds=seconds,
    )


def told(found: Measured) -> str:
    refused = found.statuses.get(RESOURCE_EXHAUSTED, 0)
    others = {
        status: count
        for status, count in found.statuses.items()
        if status not in (OK, RESOURCE_EXHAUSTED)
    }
    return (
        f"{found.throughput:,.0f}/s, p50 {found.percentile(50) * 1000:.1f} ms, "
        f"p99 {found.percentile(99) * 1000:.1f} ms; refused {refused / found.seconds:,.0f}/s "
        f"within {percentile(found.refused_latencies, 99) * 1000:.1f} ms (p99)"
        + (f"; others {others}" if others else "")
    )
