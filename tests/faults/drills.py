"""What a restore drill needs: a control plane that remembers all that it was handed."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from agentworkspace.provision.v1 import provision_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.registry.v1 import registration_service_pb2
from provision_service.clients.registry import RegistryClient
from provision_service.commands.deployment import Deployment
from provision_service.config import Settings
from provision_service.domain.reconciliation import allowed_a_minute
from provision_service.storage.key_agreement import AgreedKeys
from provision_service.storage.opening import open_store
from provision_service.storage.store import Store, database
from provision_service.wiring import keys_file, registry_channel
from provision_service.workers import reconcile
from provision_service.workers.files import load
from tests.lifecycle.launches import complete, workspace_at
from tests.lifecycle.lives import Box
from tests.lifecycle.processes import ROOT, Pair, Service
from tests.rpc.registry_server import LAUNCHER
from tests.rpc.registry_story import SECONDS, Workspace, new_id

RESTART: Final = provision_pb2.PROVISION_REASON_RESTART
AUTO_RESTART: Final = provision_pb2.PROVISION_REASON_AUTO_RESTART


@dataclass
class ControlPlane:
    """Launches, starts the boxes, and writes down every number and token that it saw."""

    pair: Pair
    numbers: list[tuple[str, int]] = field(default_factory=list)
    tokens: list[tuple[str, str]] = field(default_factory=list)
    boxes: dict[str, Box] = field(default_factory=dict)

    def at_registry(self, workspace_id: str) -> Workspace:
        return workspace_at(self.pair.registry, workspace_id)

    def provision(self, workspace_id: str, reason: Any = RESTART) -> Any:
        """Ask for a launch and get its environment."""
        request = pb.ProvisionWorkspaceRequest(
            workspace_id=workspace_id, request_id=new_id(), reason=reason
        )
        answer = self.pair.provision.workspaces.ProvisionWorkspace(
            request, metadata=LAUNCHER, timeout=SECONDS
        )
        assert not answer.joined
        self.numbers.append((workspace_id, answer.provision.incarnation))
        return answer

    def launch(self, workspace_id: str, reason: Any = RESTART) -> Box:
        """Until the box heartbeats."""
        answer = self.provision(workspace_id, reason)
        complete(self.pair.provision, answer.provision.id)
        return self.start(workspace_id, answer)

    def start(self, workspace_id: str, answer: Any) -> Box:
        ticket = answer.env["WORKSPACE_BOOTSTRAP_TICKET"]
        token = self.at_registry(workspace_id).register(ticket=ticket).auth_token
        box = self.boxes[workspace_id] = Box(workspace_id, token, ticket)
        self.tokens.append((workspace_id, token))
        assert self.is_in(workspace_id)
        return box

    def mint(self, workspace_id: str, label: str) -> Any:
        issued = self.at_registry(workspace_id).mint(label=label)
        self.tokens.append((workspace_id, issued.plaintext))
        return issued

    def is_in(self, workspace_id: str) -> bool:
        told = self.at_registry(workspace_id).heartbeat(self.boxes[workspace_id].token)
        return bool(told.next_action == registration_service_pb2.NEXT_ACTION_NONE)

    def accepted(self) -> list[tuple[str, str]]:
        """Of all tokens that it ever saw."""
        return [each for each in self.tokens if self.at_registry(each[0]).accepts(each[1])]

    def asked_for(self) -> list[str]:
        request = pb.ListWorkspacesRequest(needs_launch=True)
        answer = self.pair.provision.workspaces.ListWorkspaces(
            request, metadata=LAUNCHER, timeout=SECONDS
        )
        return [each.id for each in answer.workspaces]

    def follow(self, reconciler: Reconciler) -> Counter[str]:
        """Launch what asks for it, until nothing does any more; how often each was launched."""
        launched: Counter[str] = Counter()
        while reconciler.round():
            for workspace_id in self.asked_for():
                launched[workspace_id] += 1
                self.launch(workspace_id, AUTO_RESTART)
        return launched


@dataclass
class Reconciler:
    """provision_service's own, a minute after another without the minutes."""

    store: Store
    deployment: Deployment
    registry: RegistryClient

    def round(self) -> int:
        """How many were marked: never more than a minute allows."""
        with self.store.transaction() as tx:
            tx.exec_driver_sql("UPDATE provision.reconciler SET marks = '[]'")
            (alive,) = tx.exec_driver_sql(
                "SELECT count(*) FROM provision.workspaces WHERE remove_time IS NULL"
            ).one()
        result = reconcile.run(self.store, self.deployment, self.registry)
        assert len(result.marked) <= allowed_a_minute(alive)
        return len(result.marked)


@contextmanager
def reconciler_of(pair: Pair) -> Iterator[Reconciler]:
    settings = Settings.load(pair.provision.environment)
    loaded = load(None, None)
    deployment = Deployment(catalogue=lambda: loaded.catalogue, registry_address="")
    assert settings.database_url is not None
    opened = database(settings.database_url, pool_size=1)
    try:
        store = open_store(opened, AgreedKeys(keys_file(settings).current), secrets.token_bytes)
        with registry_channel(settings) as channel:
            yield Reconciler(store, deployment, RegistryClient(channel))
    finally:
        opened.close()


def restored(service: Service, *arguments: str) -> str:
    """Run the command of this service, with its settings; its standard output."""
    done = subprocess.run(
        (sys.executable, "-m", f"{service.name}_service", "restored", *arguments),
        cwd=ROOT,
        env={**service.environment, "PYTHONPATH": f"{ROOT / 'protos'}:{ROOT}", "USER": "alice"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
