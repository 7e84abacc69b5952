"""What the tests over the wire share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services import Pair, both


@pytest.fixture(scope="module")
def pair(
    registry_database_of_module: str,
    provision_database_of_module: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    """Both services with their defaults, for all tests of a module."""
    directory = tmp_path_factory.mktemp("pair")
    with both(registry_database_of_module, provision_database_of_module, directory) as running:
        yield running
