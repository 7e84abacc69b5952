"""Both services, each on its own database, meeting on the wire as they do in production."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.rpc import provision_server, registry_server


@dataclass(frozen=True)
class Pair:
    """A registry and a provision service that calls it."""

    registry: registry_server.Running
    provision: provision_server.Running


@contextmanager
def both(
    registry_database: str,
    provision_database: str,
    directory: Path,
    *,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Pair]:
    """Serve both until the block ends. A variable goes to the service that its prefix names;
    what has neither prefix goes to provision.
    """
    given = environment or {}
    for_registry = {name: text for name, text in given.items() if name.startswith("REGISTRY_")}
    for_provision = {name: given[name] for name in given.keys() - for_registry.keys()}
    homes = (directory / "registry", directory / "provision")
    for home in homes:
        home.mkdir()
    with (
        registry_server.serving(registry_database, homes[0], environment=for_registry) as registry,
        provision_server.serving(
            provision_database, homes[1], registry.address, environment=for_provision
        ) as provision,
    ):
        yield Pair(registry, provision)


def free_address() -> str:
    """An address on loopback at which nobody listens now, for a service that comes later."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
