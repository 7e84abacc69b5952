"""h2load of Debian's nghttp2-client: the second opinion on the load generator of this bench.

It sends one and the same message, so it is asked once, of ValidateToken with one token; ours is
asked the same. It takes headers as arguments only: what other users of the machine could read
there is the bearer of a throwaway caller, made for this run.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

from tests import debian
from tests.bench.load import Plan

PACKAGE: Final = "nghttp2-client"
_RATE: Final = re.compile(r"finished in [^,]+, ([0-9.]+) req/s")


def program() -> str:
    """Where h2load is, installed first when that can be done. debian.Missing otherwise."""
    return debian.program("h2load", PACKAGE)


def measure(plan: Plan, directory: Path) -> float:
    """Answers a second. It looks at no grpc-status: a refusal is an answer like any other."""
    body = directory / "h2load.body"
    body.write_bytes(plan.messages[0].body)
    arguments = (
        program(),
        *("--duration", str(round(plan.seconds)), "--warm-up-time", "1", "--threads", "1"),
        *("--clients", str(plan.connections)),
        *("--max-concurrent-streams", str(plan.in_flight // plan.connections)),
        *("--data", str(body)),
        *("--header", "content-type: application/grpc", "--header", "te: trailers"),
        *("--header", f"authorization: Bearer {plan.bearer}"),
        f"http://{plan.address}{plan.method}",
    )
    run = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return requests_a_second(run.stdout)


def requests_a_second(output: str) -> float:
    found = _RATE.search(output)
    if found is None:
        raise ValueError(f"h2load said no rate: {output[-500:]}")
    return float(found[1])
