"""A method is described by reflection, in both of its versions, to the clients that people use."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.rpc.registry_server import Running, serving

# The clients come as wheels: their programs lie beside the interpreter.
PROGRAMS: Final = Path(sys.executable).parent
METHOD: Final = "agentworkspace.registry.v1.TokenService.MintToken"
BUF: Final = ("buf", "curl", "--http2-prior-knowledge", "--protocol", "grpc", "--list-methods")


@pytest.fixture(scope="module")
def registry(
    registry_database_of_module: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    with serving(registry_database_of_module, tmp_path_factory.mktemp("registry")) as running:
        yield running


def told(*command: str) -> str:
    program = shutil.which(command[0], path=str(PROGRAMS))
    if program is None:
        pytest.skip(f"{command[0]} has no wheel for this machine")
    done = subprocess.run(
        (program, *command[1:]), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_grpcurl_describes_a_method(registry: Running) -> None:
    assert "rpc MintToken (" in told("grpcurl", "-plaintext", registry.address, "describe", METHOD)


@pytest.mark.parametrize("version", ["grpc-v1", "grpc-v1alpha"])
def test_buf_lists_methods_by_either_version(registry: Running, version: str) -> None:
    listed = told(*BUF, "--reflect-protocol", version, f"http://{registry.address}")
    assert "agentworkspace.registry.v1.TokenService/MintToken" in listed.splitlines()
