"""`./deploy/run`: keep both services up until Ctrl-C, and say how to reach them."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import NoReturn

from agentworkspace.service import embedded_postgres
from agentworkspace.service.embedded_postgres import EmbeddedPostgresError
from deploy.installation import Installation
from deploy.pair import Pair, Stopped, running_pair, stop_on_signals
from deploy.process import StartError

ROOT = Path(__file__).resolve().parent.parent
NO_GRPCURL = """
There is no grpcurl on this machine; https://github.com/fullstorydev/grpcurl says how to get it.
"""
EXAMPLE = "agentworkspace.provision.v1.CatalogueService/ListRuntimes"


def main() -> int:
    """Run until told to stop; 1 when a service does not come up, or does not come up again."""
    stop_on_signals()
    registry = os.environ.get("REGISTRY_LISTEN", "127.0.0.1:7101")
    provision = os.environ.get("PROVISION_LISTEN", "127.0.0.1:7102")
    installation = Installation(home())
    try:
        print("── Starting both services on an embedded PostgreSQL", flush=True)
        addresses = {"registry": registry, "provision": provision}
        with running_pair(installation, os.environ, **addresses) as pair:
            describe(pair)
            watch(pair)
    except Stopped:
        print("── Both services have stopped")
        return 0
    except (StartError, EmbeddedPostgresError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        print(
            f"cannot use {error.filename}: {error.strerror}; WORKSPACE_SERVICES_HOME names another"
            " directory for the data",
            file=sys.stderr,
        )
        return 1


def home() -> Path:
    """Where the data lies: WORKSPACE_SERVICES_HOME, else the checkout's `.data`.

    Where PostgreSQL could not reach that: below /var/lib.
    """
    told = os.environ.get("WORKSPACE_SERVICES_HOME")
    if told:
        return Path(told).expanduser().resolve()
    checkout = ROOT / ".data"
    if embedded_postgres.reachable_by_server(checkout):
        return checkout
    # The checkout is below root's own directory, which PostgreSQL, never run as root, cannot enter.
    return Path("/var/lib/agentworkspace")


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

   .venv/bin/workspacectl --registry {pair.registry.address} --provision {pair.provision.address} \\
     --token-file {token} doctor
{"" if shutil.which("grpcurl") else NO_GRPCURL}
Ctrl-C stops both.""",
        flush=True,
    )


def watch(pair: Pair) -> NoReturn:
    """Start a service again when it ends by itself. StartError when it does not come up again."""
    while True:
        for service in (pair.registry, pair.provision):
            status = service.exit_status
            if status is not None:
                print(f"── {service.name} ended with {status}. {service.last_lines()}", flush=True)
                service.start()
                print(f"── {service.name} serves again", flush=True)
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
