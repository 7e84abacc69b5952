"""`./deploy/run demo`: both services, the incidents over real RPC, and everything stopped again."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc

from deploy.demo import (
    braindead,
    copied_key,
    error_as_text,
    fences,
    first_token,
    missing_scope,
    strangers_door,
    travelling_key,
    wrong_payer,
)
from deploy.demo.narrative import BrokenPromise, Narrative
from deploy.demo.outside import Outside, running_outside
from deploy.demo.stage import Stage
from deploy.installation import Installation
from deploy.pair import Stopped, free_addresses, running_pair, stop_on_signals
from deploy.process import StartError

INCIDENTS = (
    braindead.play,
    wrong_payer.play,
    copied_key.play,
    first_token.play,
    missing_scope.play,
    error_as_text.play,
    fences.play,
    travelling_key.play,
    strangers_door.play,
)
# Settings of the caller's shell that begin so are ignored: they would change the story.
OUR_SETTINGS = ("REGISTRY_", "PROVISION_", "PLATFORM_", "WORKSPACE_")


def main() -> int:
    """Play all incidents; 0 when every one ended as the rules promise."""
    stop_on_signals()
    started = time.monotonic()
    tell = Narrative()
    try:
        with tempfile.TemporaryDirectory(prefix="agentworkspace-demo-") as directory:
            # PostgreSQL never runs as root: the user that runs it for root must get through here.
            Path(directory).chmod(0o711)
            with running_stage(Installation(Path(directory))) as stage:
                for play in INCIDENTS:
                    play(stage, tell)
    except BrokenPromise as promise:
        print(f"\nBroken promise: {promise}", file=sys.stderr)
        return 1
    except StartError as error:
        print(error, file=sys.stderr)
        return 1
    except Stopped:
        print("\nStopped; nothing is left running.", file=sys.stderr)
        return 130
    seconds = time.monotonic() - started
    print(f"\n{tell.proved} promises kept in {seconds:.0f} s; nothing is left running.")
    return 0


@contextmanager
def running_stage(installation: Installation) -> Iterator[Stage]:
    print("── Starting both services on an embedded PostgreSQL", flush=True)
    registry, provision = free_addresses(2)
    with (
        running_outside() as outside,
        running_pair(
            installation,
            settings(outside, installation.home),
            registry=registry,
            provision=provision,
        ) as pair,
        grpc.insecure_channel(registry) as registry_channel,
        grpc.insecure_channel(provision) as provision_channel,
    ):
        print(f"   registry on {registry}, provision on {provision}", flush=True)
        yield Stage(
            registry_channel=registry_channel,
            provision_channel=provision_channel,
            admin_secret=installation.admin_token.read_text().strip(),
            registry=pair.registry,
            provision=pair.provision,
            outside=outside,
        )
        # Both at once; one after the other would be a second of silence.
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda service: service.stop(), (pair.registry, pair.provision)))


def settings(outside: Outside, directory: Path) -> dict[str, str]:
    """The environment of both services: this one's, and a platform that pays for models."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(OUR_SETTINGS)
    }
    return (
        inherited
        | outside.settings(directory)
        | {"PLATFORM_LLM_USAGE_TOKEN": secrets.token_urlsafe(24)}
    )


if __name__ == "__main__":
    sys.exit(main())
