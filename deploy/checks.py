"""`./deploy/test` without arguments: every check in turn, the tests, then the steps."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.steps import PYTEST, STEPS

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 88


class Skipped(Exception):
    """The check cannot be made here; the text says why."""


@dataclass(frozen=True)
class Check:
    """One check: its heading, and the command or function that makes it."""

    title: str
    make: tuple[str, ...] | Callable[[], bool]

    def passes(self) -> bool:
        return run(self.make) if isinstance(self.make, tuple) else self.make()


def buf_breaking() -> bool:
    """Compare with the main branch: others already have clients made from it."""
    base = base_revision()
    with tempfile.TemporaryDirectory(prefix="agentworkspace-base-") as scratch:
        archive = git("archive", base, "protos")
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(scratch, filter="data")
        if not list(Path(scratch).rglob("*.proto")):
            raise Skipped(f"{base} has no .proto file yet")
        return run(("buf", "breaking", "protos", "--against", str(Path(scratch, "protos"))))


def alembic_check() -> bool:
    """Each service's migrations, run on an empty database, make the tables of its models."""
    with tempfile.TemporaryDirectory(prefix="agentworkspace-schema-") as scratch:
        # PostgreSQL never runs as root: the user that runs it for root must get through here.
        Path(scratch).chmod(0o711)
        results = [
            run((sys.executable, "-W", "error", "-c", ALEMBIC_CHECK, service, scratch))
            for service in ("registry_service", "provision_service")
        ]
    return all(results)


# Run once for each service: the two are never imported into one process.
ALEMBIC_CHECK = r"""
import importlib, pathlib, sys
from agentworkspace.core.secret import Secret
from agentworkspace.service import embedded_postgres, migrate
service, home = sys.argv[1:]
schema = importlib.import_module(service + ".storage.schema").SCHEMA
with embedded_postgres.running_database(pathlib.Path(home), schema.name) as url:
    migrate.upgrade(schema, Secret(url))
    sys.exit("\n".join(migrate.check(schema, Secret(url))) or None)
"""


def base_revision() -> str:
    """The commit of the main branch. Skipped when there is none."""
    for name in ("origin/main", "main"):
        try:
            return git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").decode().strip()
        except (OSError, subprocess.CalledProcessError):
            continue
    raise Skipped("no main branch to compare with")


def git(*arguments: str) -> bytes:
    return subprocess.run(("git", *arguments), cwd=ROOT, check=True, capture_output=True).stdout


def run(command: tuple[str, ...]) -> bool:
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


# The cheapest first. Whatever needs a running service is a test, not a check.
CHECKS = (
    Check("ruff check", ("ruff", "check", ".")),
    Check("ruff format --check", ("ruff", "format", "--check", ".")),
    Check("lint-imports", ("lint-imports", "--no-logo")),
    Check("buf lint", ("buf", "lint", "protos")),
    Check("buf breaking, against the main branch", buf_breaking),
    Check("protos/generate.py --check", (sys.executable, "protos/generate.py", "--check")),
    Check("the table of reasons", (sys.executable, "-m", "deploy.reasons", "--check")),
    Check("the API reference", (sys.executable, "-m", "deploy.api_reference", "--check")),
    Check("the dashboards", (sys.executable, "-m", "deploy.boards", "--check")),
    Check(
        "the rules of the monitoring overlay",
        (sys.executable, "-m", "deploy.alert_rules", "--check"),
    ),
    Check("the table of runtimes", (sys.executable, "-m", "tests.runtimes.results", "--check")),
    Check("alembic check, both services", alembic_check),
    Check("mypy --strict", ("mypy",)),
)
# The steps run some tests by themselves, after these.
TESTS = (*PYTEST, "-n", "2", "--ignore=tests/faults", "--ignore=tests/image")


def main() -> int:
    """Run all of them even after a failure, and say at the end which failed."""
    failed = [check.title for check in CHECKS if not outcome_of(check)]
    heading("pytest" if not failed else f"pytest; failed so far: {', '.join(failed)}")
    if not run(TESTS):
        failed.append("pytest")
    steps = [Check(name, step.command) for name, step in STEPS.items() if step.in_ci]
    failed += [step.title for step in steps if not outcome_of(step)]
    if failed:
        print(f"FAILED: {', '.join(failed)}", flush=True)
    return 1 if failed else 0


def outcome_of(check: Check) -> bool:
    heading(check.title)
    started = time.monotonic()
    try:
        passed = check.passes()
    except Skipped as why:
        print(f"   skipped: {why}", flush=True)
        return True
    print(f"   {'ok' if passed else 'FAILED'}, {time.monotonic() - started:.1f} s", flush=True)
    return passed


def heading(title: str) -> None:
    print(f"── {title} ".ljust(WIDTH, "─"), flush=True)


if __name__ == "__main__":
    sys.exit(main())
