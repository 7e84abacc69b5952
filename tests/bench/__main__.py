"""`python -m tests.bench`: the real services on a real PostgreSQL under load, and one table.

python -m tests.bench                         10 000 and 1 000 000 tokens, one and two processes
python -m tests.bench --tokens 10000 --quick  a first impression, in a minute
python -m tests.bench --storm                 twice the capacity, and 5 000 boxes at once
python -m tests.bench --queueing              calls served at once, at parts of the peak
python -m tests.bench --pooler                through PgBouncer in transaction mode
python -m tests.bench --sealing               MintToken with the audit sealed, and not
python -m tests.bench --fleet 50000           so many boxes at their own pace, through two outages
python -m tests.bench --table RUN.json …      saved runs as the tables of README.md
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import grpc

from deploy.pair import Stopped, stop_on_signals
from tests.bench import (
    alternatives,
    database,
    fleet,
    launches,
    openbao,
    page,
    pair,
    plot,
    pythons,
    ratios,
    rows,
    sealing,
    suite,
)
from tests.bench.bench import REPEATS, Bench, say
from tests.bench.database import Server

# Each a part of a run that stands by itself, so that a run can be made piece by piece.
PARTS: Final = ("registry", "launches", "verifier", "plans", "go", "openbao", "pythons")


def main(arguments: list[str]) -> int:
    chosen = parser().parse_args(arguments)
    if chosen.table:
        page.write(chosen.table, chosen.history)
        return 0
    seconds = 2.0 if chosen.quick else chosen.seconds
    with _home(chosen.home) as home, database.running(home / "postgres") as server:
        about = _about(server) | {"repeats": chosen.repeats}
        for name, value in about.items():
            say(f"{name}: {value}")
        with (
            pair.bare(home / "bare") as bare,
            Bench(server, bare, seconds=seconds, repeats=chosen.repeats) as bench,
        ):
            _run(bench, server, home, chosen)
            about["load after"] = _load()
            if "registry" in chosen.only and bench.rows:
                name = server.registry_with(max(chosen.tokens))
                about["bytes a box"] = server.bytes_a_box(name)
    if bench.rows:
        _report(bench.rows, about, chosen)
    return 0


def _run(bench: Bench, server: Server, home: Path, chosen: argparse.Namespace) -> None:
    largest = max(chosen.tokens)
    if chosen.storm:
        suite.storms(bench, server, home, largest)
    elif chosen.restarts:
        suite.restarts(bench, server, home, largest)
    elif chosen.fleet:
        fleet.measure(server, home, chosen.fleet)
    elif chosen.queueing:
        suite.queues(bench, server, home, largest)
    elif chosen.sealing:
        sealing.measure(bench, server, home, largest)
    elif chosen.pooler:
        suite.pooler(bench, server, home, largest)
    else:
        for part in (part for part in PARTS if part in chosen.only):
            _part(part, bench, server, home, chosen)


def _part(name: str, bench: Bench, server: Server, home: Path, chosen: argparse.Namespace) -> None:
    largest, counts = max(chosen.tokens), sorted(chosen.processes)
    match name:
        case "registry":
            for tokens in sorted(chosen.tokens):
                for count in counts:
                    suite.registry(bench, server, home, tokens=tokens, count=count)
        case "launches":
            launches.measure(bench, server, home, largest)
        case "verifier":
            suite.verifier(bench, server, home, largest)
        case "plans":
            suite.planned(bench)
        case "go":
            alternatives.beside_go(
                bench, server, home, tokens=largest, counts=counts, quick=chosen.quick
            )
        case "openbao":
            openbao.beside(bench, home)
        case "pythons":
            pythons.beside(bench, server, home, largest, chosen.python)


def _report(found: list[rows.Row], about: dict[str, Any], chosen: argparse.Namespace) -> None:
    say("\n" + rows.table(found))
    say("\n" + ratios.shown(ratios.of(found)))
    rows.save(chosen.json, found, about)
    say(f"\nsaved in {chosen.json}")
    if chosen.history:
        page.note(chosen.history, found, about)
    try:
        plot.draw(chosen.json.with_suffix(".png"), found)
        say(f"drawn in {chosen.json.with_suffix('.png')}")
    except plot.Missing as missing:
        say(str(missing))
    if chosen.compare:
        say(f"\nAgainst {chosen.compare}:\n" + rows.comparison(found, rows.read(chosen.compare)))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    add = made.add_argument
    add("--tokens", type=int, nargs="+", default=[10_000, 1_000_000], help="10000000 on request")
    add("--processes", type=int, nargs="+", default=[1, 2])
    add("--seconds", type=float, default=6.0, help="of each row, all its repeats together")
    add("--repeats", type=int, default=REPEATS, help="of each row, in turn with the bare server")
    add("--only", nargs="+", choices=PARTS, default=PARTS, help="some parts of the run")
    add("--quick", action="store_true", help="two seconds each: an impression, no numbers")
    add("--python", help="a newer one that has the services' packages, to measure beside")
    add("--storm", action="store_true", help="overload, and both restart storms")
    add("--restarts", action="store_true", help="the restart storms alone")
    add("--fleet", type=int, metavar="BOXES", help="heartbeats at their own pace, two outages")
    add("--queueing", action="store_true", help="calls served at once, at parts of the peak")
    add("--pooler", action="store_true", help="through PgBouncer")
    add("--sealing", action="store_true", help="what sealing the audit costs MintToken")
    add("--home", type=Path, help="keep the databases here, for the next run")
    add("--json", type=Path, default=Path(tempfile.gettempdir()) / "agentworkspace-bench.json")
    add("--history", type=Path, help="append the ratios of this run here, and draw them all")
    add("--table", type=Path, nargs="+", metavar="RUN", help="write saved runs into README.md")
    add("--compare", type=Path, help="a run that was saved before")
    return made


@contextmanager
def _home(chosen: Path | None) -> Iterator[Path]:
    """PostgreSQL never runs as root: whoever runs it for root must get through here."""
    if chosen is not None:
        chosen.mkdir(parents=True, exist_ok=True)
        yield chosen.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="agentworkspace-bench-") as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)


def _about(server: Server) -> dict[str, Any]:
    return {
        "when": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "grpcio": grpc.__version__,
        "postgres": database.describe(server)
        + (", huge pages" if server.huge_pages else ", no huge pages"),
        "load before": _load(),
    }


def _load() -> str:
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


if __name__ == "__main__":
    stop_on_signals()
    try:
        sys.exit(main(sys.argv[1:]))
    except Stopped as stopped:
        sys.exit(f"ended by {stopped}; what was started here ended, too")
