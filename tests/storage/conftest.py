"""What the tests of provisioning's storage share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.provision_world import World, emptied, opened


@pytest.fixture
def world(provision_database_of_module: str, tmp_path: Path) -> Iterator[World]:
    """An empty database of this module; the registry's modules make worlds of their own."""
    with opened(emptied(provision_database_of_module), tmp_path) as each:
        yield each
