"""`./deploy/run`: keep both services up until Ctrl-C, and say how to reach them."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import sys
import time
from pathlib import Path

from agentworkspace.service import embedded_postgres
from deploy.installation import Installation
from deploy.pair import Pair, Stopped, running_pair, stop_on_signals
from deploy.process import StartError

ROOT = Path(__file__).resolve().parent.parent
NO_GRPCURL = """
There is no grpcurl on this machine; https://github.com/fullstorydev/grpcurl says how to get it.
Without it, the same through the operator's tool: .venv/bin/workspacectl --help
"""
EXAMPLE = "agentworkspace.provision.v1.CatalogueService/ListRuntimes"


def main() -> int:
    """Run until told to stop; 1 when a service does not come up or goes away by itself."""
    stop_on_signals()
    registry = os.environ.get("REGISTRY_LISTEN", "127.0.0.1:7101")
    provision = os.environ.get("PROVISION_LISTEN", "127.0.0.1:7102")
    for address in (registry, provision):
        if is_taken(address):
            print(f"Something listens on {address} already. Is ./deploy/run running elsewhere?")
            return 1
    installation = Installation(home())
    try:
        print("── Starting both services on an embedded PostgreSQL", flush=True)
        addresses = {"registry": registry, "provision": provision}
        with running_pair(installation, os.environ, **addresses) as pair:
            describe(pair)
            return watch(pair)
    except Stopped:
        print("── Both services have stopped")
        return 0
    except StartError as error:
        print(error, file=sys.stderr)
        return 1


def home() -> Path:
    """Where the data lies: as told, else in the checkout, else where root's database can go."""
    told = os.environ.get("WORKSPACE_SERVICES_HOME")
    if told:
        return Path(told).expanduser().resolve()
    checkout = ROOT / ".data"
    if embedded_postgres.reachable_by_server(checkout):
        return checkout
    # A checkout below root's own directory: PostgreSQL, which never runs as root, cannot get there.
    return Path("/var/lib/agentworkspace")


def is_taken(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
    except (OSError, ValueError):
        return False
    return True


def describe(pair: Pair) -> None:
    installation = pair.installation
    token = shlex.quote(str(installation.admin_token))
    # The shell hands the secret to grpcurl in its environment: arguments are for everyone to see.
    call = "grpcurl -plaintext -expand-headers -H 'authorization: Bearer ${ADMIN_TOKEN}'"
    print(
        f"""
   registry    {pair.registry.address}
   provision   {pair.provision.address}
   admin       {installation.admin_token} (a secret: mode 0600)
   data, logs  {installation.home}

Try, in another terminal:

   ADMIN_TOKEN="$(cat {token})" {call} \\
     {pair.provision.address} {EXAMPLE}
{"" if shutil.which("grpcurl") else NO_GRPCURL}
Ctrl-C stops both.""",
        flush=True,
    )


def watch(pair: Pair) -> int:
    """Return only when a service has gone away by itself."""
    while True:
        for service in (pair.registry, pair.provision):
            if service.exit_status is not None:
                print(f"{service.name} exited with {service.exit_status}; see {service.log}")
                return 1
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
