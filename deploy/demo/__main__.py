"""`./deploy/run demo`: both services, the incidents over real RPC, and everything stopped again."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

from deploy.demo import braindead, first_token, wrong_payer
from deploy.demo.narrative import BrokenPromise, Narrative
from deploy.demo.stage import Stage
from deploy.installation import Installation
from deploy.pair import Stopped, free_addresses, running_pair, stop_on_signals
from deploy.process import StartError

INCIDENTS = (braindead.play, wrong_payer.play, first_token.play)
PLATFORM_URL = "https://llm.platform.example/v1"
PLATFORM_ANTHROPIC_URL = "https://llm.platform.example/anthropic"
# What the caller's shell says about these must not change the story.
OUR_SETTINGS = ("REGISTRY_", "PROVISION_", "PLATFORM_", "WORKSPACE_")


def main() -> int:
    """0 when every incident ended as the rules promise."""
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
        running_pair(installation, settings(), registry=registry, provision=provision) as pair,
        grpc.insecure_channel(registry) as registry_channel,
        grpc.insecure_channel(provision) as provision_channel,
    ):
        print(f"   registry on {registry}, provision on {provision}", flush=True)
        yield Stage(
            registry_channel=registry_channel,
            provision_channel=provision_channel,
            admin_secret=installation.admin_token.read_text().strip(),
            registry=pair.registry,
            platform_anthropic_url=PLATFORM_ANTHROPIC_URL,
        )


def settings() -> dict[str, str]:
    """The environment of both services: this one's, and a platform that pays for models."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(OUR_SETTINGS)
    }
    return inherited | {
        "PLATFORM_LLM_BASE_URL": PLATFORM_URL,
        "PLATFORM_LLM_ANTHROPIC_BASE_URL": PLATFORM_ANTHROPIC_URL,
        "PLATFORM_LLM_USAGE_TOKEN": secrets.token_urlsafe(24),
    }


if __name__ == "__main__":
    sys.exit(main())
