"""What sealing the audit costs MintToken: two registries in turn, of which one does not seal.

Run as a program it is the one that does not.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from agentworkspace.service.audit import sealer
from registry_service.__main__ import main
from tests.bench import cases, pair, processes
from tests.bench.bench import Bench, say, turned
from tests.bench.database import Server
from tests.bench.load import Plan
from tests.bench.pair import Served

# Each is measured so often, for a quarter of the seconds of a row: a shared machine is another one
# every second. Whoever comes first in one turn comes second in the next.
TURNS: Final = 24
# What was minted last is sealed within it, and belongs to whoever minted it.
REST_SECONDS: Final = 1.5
MINT: Final = cases.TOKENS + "MintToken"
UNSEALED: Final = "tests.bench.sealing"


def measure(bench: Bench, server: Server, home: Path, tokens: int) -> None:
    """The medians, and the median of what one made of the other beside it."""
    say(f"── MintToken with and without sealing, {tokens:,} tokens, {TURNS} turns")
    # Each has a database of its own: one would seal what the other mints.
    sealed_name = server.registry_with(tokens)
    unsealed_name = server.copy_of(sealed_name)
    key = home / "audit-key.pem"
    key.write_bytes(
        Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
    )
    key.chmod(0o600)
    signing = {"REGISTRY_AUDIT_KEY_FILE": str(key)}
    with (
        pair.registry(server, sealed_name, home / "sealed", environment=signing) as sealed,
        pair.registry(server, unsealed_name, home / "unsealed", module=UNSEALED) as unsealed,
    ):
        found = [_turn(bench, server, (sealed, unsealed), turn, tokens) for turn in range(TURNS)]
    with server.session(sealed_name) as cursor:
        cursor.execute("SELECT coalesce(max(rows), 0), count(*) FROM registry.audit_seals")
        rows, seals = cursor.fetchone() or (0, 0)
    say(f"   {rows:,} rows under {seals:,} seals; medians, and median of the turns' ratios:")
    for name, digits, each in (
        ("calls a second", 0, [[one.throughput for one in turn] for turn in found]),
        ("ms of the service's processor a call", 3, [[one.cpu for one in turn] for turn in found]),
        ("ms of PostgreSQL's", 3, [[one.database for one in turn] for turn in found]),
    ):
        sealing, without = (statistics.median(column) for column in zip(*each, strict=True))
        ratio = statistics.median(one / other for one, other in each)
        say(f"   {name}: {sealing:,.{digits}f} sealed, {without:,.{digits}f} not; {ratio:.3f}")


@dataclass(frozen=True, slots=True)
class Spent:
    """Of one part of a turn; milliseconds of processor a call."""

    throughput: float
    cpu: float
    database: float


def _turn(
    bench: Bench, server: Server, both: tuple[Served, Served], turn: int, tokens: int
) -> list[Spent]:
    """One after the other; in the order of `both`, whoever came first."""
    order = both if turn % 2 else both[::-1]
    found = {served.address: _part(bench, server, served, turn, tokens) for served in order}
    return [found[served.address] for served in both]


def _part(bench: Bench, server: Server, served: Served, turn: int, tokens: int) -> Spent:
    plan = Plan(
        address=served.address,
        method=MINT,
        messages=turned(cases.mint(tokens), turn, TURNS),
        bearer=served.bearer,
        warm_seconds=0.0,
        seconds=bench.seconds / 4,
    )
    before = served.process.cpu_seconds(), processes.cpu_seconds(server.pid)
    found = bench.send(plan).result()
    time.sleep(REST_SECONDS)
    after = served.process.cpu_seconds(), processes.cpu_seconds(server.pid)
    cpu, database = (
        (now - then) / sum(found.statuses.values()) * 1000
        for then, now in zip(before, after, strict=True)
    )
    return Spent(found.throughput, cpu, database)


if __name__ == "__main__":
    vars(sealer)["SEAL_SECONDS"] = 1e9
    sys.exit(main())
