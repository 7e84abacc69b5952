"""Both services as Prometheus sees them, and what their faults are made with."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.faults.pairs import make_databases
from tests.faults.servers import Server, reachable_directory, started
from tests.lifecycle.launches import create, launch, workspace_at
from tests.lifecycle.processes import (
    ROOT,
    ProvisionProcess,
    RegistryProcess,
    nursery_of,
    provision_process,
    registry_process,
)
from tests.observability.prometheus import Prometheus, hurried, scraping
from tests.postgres import superuser
from tests.rpc.provision_server import write_keys
from tests.services import free_address

KEYS: Final = {name: hashlib.sha256(name.encode()).digest() for name in ("k1", "k2")}
CATALOGUE: Final = ROOT / "provision_service" / "catalogue" / "catalogue.yaml"


@dataclass(frozen=True)
class Watched:
    """A registry and two replicas of provisioning, on a server that can be killed. Each replica has
    files of its own in a directory of its own; `stack` ends before all of them.
    """

    server: Server
    registry: RegistryProcess
    provisions: tuple[ProvisionProcess, ...]
    directories: tuple[Path, ...]
    prometheus: Prometheus
    stack: ExitStack

    @property
    def provision(self) -> ProvisionProcess:
        return self.provisions[0]

    def sql(self, database: str, statement: str, *values: str) -> None:
        with superuser(self.server.sockets, database) as cursor:
            cursor.execute(statement, values)

    def create(self) -> str:
        """The id of a new workspace."""
        return str(create(self.provision).workspace.id)

    @contextmanager
    def transaction(self, database: str, statement: str) -> Iterator[None]:
        """Somebody else's, which stays open until the block ends."""
        with superuser(self.server.sockets, database) as cursor:
            cursor.execute("BEGIN")
            cursor.execute(statement)
            yield
            cursor.execute("ROLLBACK")

    def a_days_work(self) -> None:
        """A workspace is made and launched, its box comes, and its token is checked."""
        workspace_id = self.create()
        launched = launch(self.provision, workspace_id)
        box = workspace_at(self.registry, workspace_id)
        token = box.register(ticket=launched.env["WORKSPACE_BOOTSTRAP_TICKET"]).auth_token
        box.heartbeat(token)
        assert box.accepts(token)


@contextmanager
def watching(directory: Path) -> Iterator[Watched]:
    """With our rules, a minute of which is a second."""
    registry_metrics, *provision_metrics = (free_address() for _ in range(3))
    jobs = {
        "agentworkspace-registry": [registry_metrics],
        "agentworkspace-provision": provision_metrics,
    }
    with ExitStack() as stack:
        prometheus = stack.enter_context(scraping(directory, jobs, hurried(directory)))
        server = Server(stack.enter_context(reachable_directory()) / "pg")
        stack.enter_context(started(server))
        make_databases(server)
        nursery = stack.enter_context(nursery_of(directory))
        metrics = {"REGISTRY_METRICS_LISTEN": registry_metrics}
        registry = registry_process(nursery, stack, server.url("registry"), metrics)
        homes = tuple(directory / name for name in ("first", "second"))
        provisions = tuple(
            provision_process(
                nursery, stack, server.url("provision"), registry.address, files_in(home, address)
            )
            for home, address in zip(homes, provision_metrics, strict=True)
        )
        prometheus.until("sum(agentworkspace_database_takes_writes) == 3 and count(up) == 3")
        ending = stack.enter_context(ExitStack())
        yield Watched(server, registry, provisions, homes, prometheus, ending)


def files_in(home: Path, metrics: str) -> dict[str, str]:
    """The settings of a replica whose keys and catalogue lie there."""
    home.mkdir()
    catalogue = shutil.copy(CATALOGUE, home)
    keys = write_keys(home, "k1", k1=KEYS["k1"])
    return {
        "PROVISION_METRICS_LISTEN": metrics,
        "PROVISION_CATALOGUE_FILE": str(catalogue),
        "PROVISION_SECRETS_KEYS_FILE": str(keys),
    }
