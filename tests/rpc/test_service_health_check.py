"""`… health`: the exit status that a container's health check goes by."""

from __future__ import annotations

import argparse
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from agentworkspace.service import health_check
from registry_service.config import Settings
from tests.rpc.registry_server import Running, serving
from tests.rpc.test_rpc_tls import Authority
from tests.services import free_address


def asked(running: Running | None, part: str = "", **environ: str) -> str:
    address = running.address if running else free_address()
    everywhere = address.replace("127.0.0.1", "0.0.0.0")  # noqa: S104 - nothing listens there
    settings = Settings.load({"REGISTRY_LISTEN": everywhere, **environ})
    chosen = argparse.Namespace(address=None, part=part, timeout=timedelta(seconds=5))
    return health_check.ask(settings, chosen)


def test_a_service_that_serves_says_so_and_one_that_is_not_there_is_unreachable(
    registry_database: str, tmp_path: Path
) -> None:
    with serving(registry_database, tmp_path) as running:
        assert asked(running) == "SERVING"
        assert asked(running, "agentworkspace.registry.v1.TokenService") == "SERVING"
        assert asked(running, "no.such.Service") == "SERVICE_UNKNOWN"
    assert asked(None) == "UNREACHABLE"


def test_a_service_without_its_database_is_not_serving(tmp_path: Path) -> None:
    url = "postgresql://nobody@/none?host=/nonexistent"
    with serving(url, tmp_path, wait=False) as running:
        assert asked(running) == "NOT_SERVING"


@pytest.mark.parametrize("mutual", [False, True])
@pytest.mark.parametrize("names", [("registry.internal",), ("*.registry.internal",)])
def test_a_listener_with_tls_is_asked_in_its_own_name(
    registry_database: str, tmp_path: Path, names: tuple[str, ...], mutual: bool
) -> None:
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.issue(*names)
    environ = {
        "REGISTRY_TLS_CERTIFICATE_FILE": str(certificate),
        "REGISTRY_TLS_KEY_FILE": str(key),
    }
    if mutual:
        environ["REGISTRY_TLS_CLIENT_CA_FILE"] = str(authority.file)
    with serving(registry_database, tmp_path, wait=False, environment=environ) as running:
        assert asked(running, **environ) in ("SERVING", "NOT_SERVING")


@pytest.mark.parametrize("service", ["registry", "provision"])
def test_asking_loads_neither_the_service_nor_its_database(service: str) -> None:
    heavy = ("sqlalchemy", "alembic", "structlog", f"{service}_service.server", "cryptography")
    program = (
        f"import sys, {service}_service.health; print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run(
        (sys.executable, "-c", program), check=True, capture_output=True, text=True
    )
    assert done.stdout == "[]\n"


def test_the_command_says_the_word_and_the_status_or_what_is_wrong_with_a_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    address = free_address()
    assert health_check.main(Settings, ["--address", address, "--timeout", "2"]) == 1
    said = capsys.readouterr()
    assert said.out == "UNREACHABLE\n"
    assert said.err.startswith(
        f"registry-service: no answer from {address}: start the service, name where it listens with"
        " --address HOST:PORT"
    )
    monkeypatch.setenv("REGISTRY_LISTEN", "nowhere")
    assert health_check.main(Settings, []) == 2
    assert capsys.readouterr().err.startswith("registry-service: REGISTRY_LISTEN must be host:port")


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (("--address", "nowhere"), "argument --address: must be host:port"),
        (("--address", "127.0.0.1:99999"), "argument --address: must be host:port"),
        (("--timeout", "soon"), "argument --timeout: must be a number of seconds from 0.1 to 3600"),
        (("--timeout", "nan"), "argument --timeout: must be a number of seconds from 0.1 to 3600"),
    ],
)
def test_an_argument_that_cannot_be_is_refused_with_its_rule(
    capsys: pytest.CaptureFixture[str], words: tuple[str, str], rule: str
) -> None:
    with pytest.raises(SystemExit) as refused:
        health_check.main(Settings, words)
    assert refused.value.code == 2
    assert rule in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "no PEM file"])
def test_a_certificate_of_no_use_is_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    content: str,
) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text(content)
    monkeypatch.setenv("REGISTRY_TLS_CERTIFICATE_FILE", str(junk))
    monkeypatch.setenv("REGISTRY_TLS_KEY_FILE", str(junk))
    assert health_check.main(Settings, []) == 2
    told = f"registry-service: REGISTRY_TLS_CERTIFICATE_FILE: {junk} "
    assert capsys.readouterr().err.startswith(told)
