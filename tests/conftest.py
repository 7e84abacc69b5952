"""What every test may ask for: above all a real PostgreSQL, made fresh.

`registry_database` and `provision_database` are SQLAlchemy URLs of a migrated database that only
this test sees; `..._of_module` the same for all tests of one module; `empty_database` has no table.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentworkspace.service import embedded_postgres
from tests.postgres import PostgresServer, running_server

if TYPE_CHECKING:
    from tests.services import Pair

RUN_DIRECTORY = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Choose the server's directory once; the xdist workers are told which it is."""
    worker_input: dict[str, str] | None = getattr(config, "workerinput", None)
    if worker_input is None:
        directory = Path(tempfile.mkdtemp(prefix="agentworkspace-tests-"))
        # PostgreSQL never runs as root: the user that runs it for root must get through here.
        directory.chmod(0o711)
        config.stash[RUN_DIRECTORY] = directory
    else:
        config.stash[RUN_DIRECTORY] = Path(worker_input["run_directory"])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Hand the directory on; only called under xdist."""
    config: pytest.Config = getattr(node, "config")  # noqa: B009 -- xdist ships no types
    worker_input: dict[str, str] = getattr(node, "workerinput")  # noqa: B009 -- likewise
    worker_input["run_directory"] = str(config.stash[RUN_DIRECTORY])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing running and nothing behind, even when a worker was killed."""
    directory = config.stash.get(RUN_DIRECTORY, None)
    if directory is None or hasattr(config, "workerinput"):
        return
    if (directory / "postgres").exists():
        embedded_postgres.stop_unused(directory / "postgres")
    shutil.rmtree(directory, ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave benchmarks out unless they are asked for."""
    if config.option.markexpr:
        return
    unasked = [item for item in items if item.get_closest_marker("bench")]
    if unasked:
        config.hook.pytest_deselected(items=unasked)
        items[:] = [item for item in items if item not in unasked]


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    with running_server(request.config.stash[RUN_DIRECTORY] / "postgres") as server:
        yield server


@pytest.fixture
def empty_database(postgres: PostgresServer) -> Iterator[str]:
    with postgres.fresh_database() as url:
        yield url


@pytest.fixture
def registry_database(postgres: PostgresServer) -> Iterator[str]:
    with postgres.fresh_database("registry") as url:
        yield url


@pytest.fixture
def provision_database(postgres: PostgresServer) -> Iterator[str]:
    with postgres.fresh_database("provision") as url:
        yield url


@pytest.fixture(scope="module")
def registry_database_of_module(postgres: PostgresServer) -> Iterator[str]:
    with postgres.fresh_database("registry") as url:
        yield url


@pytest.fixture(scope="module")
def provision_database_of_module(postgres: PostgresServer) -> Iterator[str]:
    with postgres.fresh_database("provision") as url:
        yield url


@pytest.fixture(scope="module")
def pair(
    registry_database_of_module: str,
    provision_database_of_module: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    """Both services with their defaults, for all tests of a module."""
    # Most tests need neither service, and shall not wait until both are imported.
    from tests.services import both  # noqa: PLC0415

    directory = tmp_path_factory.mktemp("pair")
    with both(registry_database_of_module, provision_database_of_module, directory) as running:
        yield running
