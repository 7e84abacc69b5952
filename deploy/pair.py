"""Both services together on one embedded PostgreSQL: what demo, tests and `./deploy/run` start."""

from __future__ import annotations

import signal
import socket
import types
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from agentworkspace.service import embedded_postgres
from deploy.installation import Installation
from deploy.process import Service


class Stopped(BaseException):
    """SIGTERM or Ctrl-C arrived; unwinds everything that was started."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Both services, serving."""

    registry: Service
    provision: Service
    installation: Installation


@contextmanager
def running_pair(
    installation: Installation, environment: Mapping[str, str], *, registry: str, provision: str
) -> Iterator[Pair]:
    """Start both on the given addresses and stop them again, whatever happens in between.

    `environment` is handed to both; a setting in it wins over the one that is filled in here.
    Raises deploy.process.StartError.
    """
    installation.prepare()
    settings = {**settings_of(installation, registry, provision), **environment}
    services = [
        Service(name=name, address=address, environment=settings, log=installation.log(name))
        for name, address in (("registry-service", registry), ("provision-service", provision))
    ]
    with ExitStack() as stack:
        # Its last user stops the embedded PostgreSQL; this is for when that one was killed.
        stack.callback(embedded_postgres.stop_unused, installation.postgres)
        for service in services:
            stack.callback(service.stop)
            service.launch()
        for service in services:
            service.wait_until_serving()
        yield Pair(registry=services[0], provision=services[1], installation=installation)


def settings_of(installation: Installation, registry: str, provision: str) -> dict[str, str]:
    """Every setting that the two need to find their files and each other."""
    return {
        "WORKSPACE_SERVICES_HOME": str(installation.home),
        "REGISTRY_LISTEN": registry,
        "REGISTRY_CREDENTIALS_FILE": str(installation.registry_callers),
        "PROVISION_LISTEN": provision,
        "PROVISION_CREDENTIALS_FILE": str(installation.provision_callers),
        "PROVISION_REGISTRY_ADDRESS": registry,
        "PROVISION_REGISTRY_TOKEN_FILE": str(installation.registry_token),
        "PROVISION_SECRETS_KEYS_FILE": str(installation.secrets_keys),
    }


def free_addresses(count: int) -> list[str]:
    """Loopback addresses with different ports, all free at this moment."""
    with ExitStack() as stack:
        listeners = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]


def stop_on_signals() -> None:
    """From now on SIGTERM, SIGINT and SIGHUP raise Stopped, once; later ones are ignored."""

    def raise_stopped(number: int, _frame: types.FrameType | None) -> None:
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(signal.Signals(number).name)

    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, raise_stopped)
