"""Commands of a service that are interrupted, or meet a file or a stream of no use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = "import sys; from {0}_service.__main__ import main; sys.exit(main())"
HEALTH = "import sys; from {0}_service.health import main; sys.exit(main())"
EITHER = pytest.mark.parametrize("service", ["registry", "provision"])
NOBODY = "postgresql://nobody@127.0.0.1:1/none"


def started(service: str, words: str, program: str = PROGRAM) -> subprocess.Popen[str]:
    """In a shell, with what that does to the streams; nothing answers for its database."""
    return subprocess.Popen(
        ("bash", "-c", f'exec "$0" -c "$1" {words}', sys.executable, program.format(service)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": ":".join(path for path in sys.path if path),
            f"{service.upper()}_DATABASE_URL": NOBODY,
        },
    )


def ended(service: str, words: str, program: str = PROGRAM) -> tuple[int, str]:
    """(exit code, standard error)."""
    with started(service, words, program) as run:
        _, err = run.communicate(timeout=60)
    return run.returncode, err


@EITHER
def test_a_full_disk_is_said(service: str) -> None:
    told = f"{service}-service: standard output cannot be written: No space left on device\n"
    assert ended(service, "check-config 2>/dev/null >/dev/full")[0] == 1
    code, err = ended(service, "check-config >/dev/full")
    assert (code, err.splitlines(keepends=True)[-1]) == (1, told)


def test_health_says_it_as_well(tmp_path: Path) -> None:
    del tmp_path
    code, err = ended("registry", "health --address 127.0.0.1:1 >/dev/full", HEALTH)
    assert code == 1
    assert "Traceback" not in err
    assert "registry-service: standard output cannot be written: No space left" in err


@EITHER
def test_a_reader_that_has_gone_is_said(service: str) -> None:
    with started(service, "check-config") as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()
        err = run.stderr.read()
        assert run.wait(60) == 1
    told = f"{service}-service: standard output cannot be written: Broken pipe\n"
    assert err.splitlines(keepends=True)[-1] == told


@EITHER
def test_a_file_that_is_not_there_is_named(service: str) -> None:
    assert ended(service, "audit verify --log /none/log") == (
        1,
        (
            f"{service}-service: cannot use /none/log: No such file or directory; name one that"
            " this user may use\n"
        ),
    )


@EITHER
def test_ctrl_c_ends_a_command_that_waits_without_a_traceback(service: str) -> None:
    with started(service, "check-migrations --wait 60") as run:
        assert run.stderr is not None
        assert run.stderr.readline().startswith(f"{service}-service: waits: the database does not")
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=60)
    assert (run.returncode, err) == (130, "")
