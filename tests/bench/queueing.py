"""How many calls are being served at parts of the peak: the number that replicas are added by."""

from __future__ import annotations

import re
import statistics
import time
import urllib.request
from concurrent.futures import Future
from dataclasses import replace
from typing import Final

from agentworkspace.registry.v1 import workspace_registry_service_pb2 as pb
from tests.bench import cases, database, overload
from tests.bench.bench import Bench, Case, say
from tests.bench.h2 import Message, prefixed
from tests.bench.load import Measured, Plan
from tests.bench.pair import Served

PARTS: Final = (0.5, 0.7, 0.8, 0.9, 1.0)
# An autoscaler sees what Prometheus scraped; here it is looked at more often.
LOOK_EVERY_SECONDS: Final = 0.1
_RUNNING: Final = re.compile(r'^agentworkspace_rpc_running\{kind="unary"\} (\S+)$', re.MULTILINE)


def on_threads(tokens: int) -> Case:
    """A call of the control plane, which runs on a thread as all of provisioning do."""
    messages = [
        Message(body=prefixed(pb.GetRegistrationRequest(workspace_id=each).SerializeToString()))
        for each in map(database.workspace_of, cases.numbers(tokens, 5000))
    ]
    return Case(name="GetRegistration", method=overload.CONTROL, messages=messages)


def measure(bench: Bench, served: Served, case: Case) -> None:
    """The peak first; then so many parts of it a second, whether or not they are answered."""
    plan = Plan(
        address=served.address,
        method=case.method,
        messages=case.messages,
        bearer="" if case.messages[0].bearer else served.bearer,
        in_flight=case.in_flight,
        seconds=bench.seconds,
    )
    peak = bench.send(plan).result().throughput
    say(f"── {case.name}: {peak:,.0f}/s at the peak")
    for part in PARTS:
        sending = bench.send(replace(plan, rate=peak * part))
        seen = sorted(_running_until(sending, served))
        found = sending.result()
        say(
            f"   {part:.0%} of it: {statistics.mean(seen):.1f} served at once,"
            f" nine looks in ten below {seen[len(seen) * 9 // 10]:.0f};"
            f" p50 {found.percentile(50) * 1000:.1f} ms, p99 {found.percentile(99) * 1000:.1f} ms"
        )


def _running_until(sending: Future[Measured], served: Served) -> list[float]:
    """Its own number, of one look after the other: of all its processes, without the first second,
    in which the load begins.
    """
    seen = []
    while not sending.done():
        running = 0.0
        for address in served.metrics:
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
                running += running_in(answer.read().decode())
        seen.append(running)
        time.sleep(LOOK_EVERY_SECONDS)
    return seen[int(1 / LOOK_EVERY_SECONDS) :]


def running_in(scrape: str) -> float:
    """Calls that are being served, streams apart."""
    found = _RUNNING.search(scrape)
    return float(found[1]) if found else 0.0
