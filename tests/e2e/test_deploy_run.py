"""`./deploy/run` and `./deploy/test`, before and beside what they start."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import keep_running
from deploy.pair import free_addresses
from deploy.steps import STEPS

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 90


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The scripts alone, in a place where nothing was installed yet."""
    deploy = tmp_path / "deploy"
    deploy.mkdir()
    for name in ("run", "test", "environment.sh", "steps.py"):
        shutil.copy(ROOT / "deploy" / name, deploy / name)
    return tmp_path


def ran(checkout: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=checkout,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.parametrize(
    "told",
    [
        {"REGISTRY_LISTEN": "127.0.0.1:7111", "PROVISION_LISTEN": "127.0.0.1:7111"},
        {"PROVISION_LISTEN": "127.0.0.1:7101"},
        {"REGISTRY_LISTEN": "127.0.0.1:7102"},
    ],
)
def test_one_address_for_both_is_refused(checkout: Path, told: dict[str, str]) -> None:
    done = ran(checkout, "./deploy/run", **told)

    (address,) = set(told.values())
    assert (done.returncode, done.stderr) == (
        1,
        (
            f"Both services cannot listen on {address}: give REGISTRY_LISTEN and PROVISION_LISTEN"
            " ports of their own.\n"
        ),
    )


@pytest.mark.parametrize("words", [("bogus",), ("demo", "extra"), ("--bogus",)])
def test_a_word_too_many_or_unknown_is_refused(checkout: Path, words: tuple[str, ...]) -> None:
    done = ran(checkout, "./deploy/run", *words)

    assert (done.returncode, done.stderr) == (1, "usage: ./deploy/run [demo]\n")


def test_data_that_can_lie_nowhere_is_said_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKSPACE_SERVICES_HOME", "/proc/none")
    monkeypatch.setattr(keep_running, "stop_on_signals", lambda: None)

    assert keep_running.main() == 1

    assert capsys.readouterr().err == (
        "cannot use /proc/none: No such file or directory; WORKSPACE_SERVICES_HOME names another"
        " directory for the data\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "usage: python3 deploy/installation.py DIRECTORY\n"),
        (("",), "usage: python3 deploy/installation.py DIRECTORY\n"),
        (("--help",), "usage: python3 deploy/installation.py DIRECTORY\n"),
        (("a", "b"), "usage: python3 deploy/installation.py DIRECTORY\n"),
        (
            ("/proc/none",),
            (
                "cannot make /proc/none: No such file or directory; name a directory that this user"
                " may make or write\n"
            ),
        ),
    ],
)
def test_an_installation_that_cannot_be_made_makes_nothing(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = ran(tmp_path, sys.executable, str(ROOT / "deploy" / "installation.py"), *words)

    assert (done.returncode, done.stderr) == (1, said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("taken", ["REGISTRY_LISTEN", "PROVISION_LISTEN"])
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_taken_port_is_said_before_anything_is_installed(
    checkout: Path, taken: str, host: str
) -> None:
    family = socket.AF_INET6 if host == "[::1]" else socket.AF_INET
    addresses = dict(zip(("REGISTRY_LISTEN", "PROVISION_LISTEN"), free_addresses(2), strict=True))
    with socket.create_server((host.strip("[]"), 0), family=family) as listener:
        addresses[taken] = f"{host}:{listener.getsockname()[1]}"
        done = ran(checkout, "./deploy/run", **addresses)

    assert done.returncode == 1
    assert f"Something listens on {addresses[taken]} already" in done.stderr
    assert f"({taken} is {addresses[taken]} now.)" in done.stderr
    assert "REGISTRY_LISTEN=127.0.0.1:7111 PROVISION_LISTEN=127.0.0.1:7112" in done.stderr
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("script", ["run", "test"])
def test_help_installs_nothing(checkout: Path, script: str) -> None:
    done = ran(checkout, f"./deploy/{script}", "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert f"./deploy/{script}" in done.stdout
    assert not (checkout / ".venv").exists()


def test_the_help_of_the_tests_names_every_step(checkout: Path) -> None:
    lines = ran(checkout, "./deploy/test", "--help").stdout.splitlines()

    assert [line.strip() for line in lines if line.strip() in STEPS] == list(STEPS)


@pytest.fixture
def home() -> Iterator[Path]:
    """PostgreSQL never runs as root: the user that runs it for root must get through here."""
    with tempfile.TemporaryDirectory(prefix="agentworkspace-home-") as made:
        Path(made).chmod(0o711)
        yield Path(made)


@pytest.mark.e2e
def test_a_service_that_ends_is_named_with_its_log_and_started_again(
    tmp_path: Path, home: Path
) -> None:
    registry, provision = free_addresses(2)
    output = tmp_path / "output"
    environment = {
        **os.environ,
        "WORKSPACE_SERVICES_HOME": str(home),
        "REGISTRY_LISTEN": registry,
        "PROVISION_LISTEN": provision,
    }
    with output.open("w") as file:
        running = subprocess.Popen(
            [sys.executable, "-m", "deploy.keep_running"],
            cwd=ROOT,
            env=environment,
            stdout=file,
            stderr=file,
        )
    try:
        until(output, "Ctrl-C stops both.")
        told = output.read_text()
        assert f".venv/bin/workspacectl --registry {registry} --provision {provision}" in told

        (ended,) = (pid for pid in children(running.pid) if "provision-service" in command(pid))
        os.kill(ended, signal.SIGKILL)
        until(output, "provision-service serves again")
    finally:
        running.terminate()
        running.wait(SECONDS)

    told = output.read_text()
    assert "provision-service ended with -9. Its log ends with:" in told
    assert "Both services have stopped" in told
    assert running.returncode == 0


def children(pid: int) -> Iterator[int]:
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = status.read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if int(parent) == pid:
            yield int(status.parent.name)


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def until(output: Path, words: str) -> None:
    give_up = time.monotonic() + SECONDS
    while words not in output.read_text():
        assert time.monotonic() < give_up, output.read_text()
        time.sleep(0.05)
