"""`./deploy/test STEP …`: the steps that can be run by name, beside the checks and the tests.

A step is a command, which gets the arguments behind the step's name. Without the name of a step,
all arguments go to pytest.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parent.parent
PYTEST: Final = (sys.executable, "-m", "pytest")


@dataclass(frozen=True)
class Step:
    """A command, and whether `./deploy/test` without arguments, which CI runs, includes it."""

    command: tuple[str, ...]
    in_ci: bool


STEPS: Final[Mapping[str, Step]] = {
    # The client for Node, with Node's own test runner; skipped where there is no Node.
    "typescript": Step((sys.executable, "-m", "deploy.typescript_client"), in_ci=True),
    # Real agent programs in a network that ends at our recorder; skipped where there can be none.
    "runtimes": Step((sys.executable, "-m", "tests.runtimes"), in_ci=True),
    # Networks, servers and neighbours that fail; AGENTWORKSPACE_TEST_ROUNDS=10 for a campaign.
    "faults": Step((*PYTEST, "tests/faults"), in_ci=True),
    # The image and compose, with a Podman of their own; skipped where there can be none.
    "image": Step((*PYTEST, "-n0", "-o", "faulthandler_timeout=0", "tests/image"), in_ci=True),
    # Random and malformed requests at every method. The tests already try a few of them;
    # AGENTWORKSPACE_TEST_ROUNDS=250 makes a million, AGENTWORKSPACE_TEST_SEED draws others.
    "fuzz": Step((*PYTEST, "-n0", "-s", "tests/contract/test_fuzz.py"), in_ci=False),
}


def main(arguments: list[str]) -> None:
    """Become the step, or pytest."""
    step = STEPS.get(arguments[0]) if arguments else None
    command = (*step.command, *arguments[1:]) if step else (*PYTEST, *arguments)
    os.chdir(ROOT)
    os.execv(command[0], command)  # noqa: S606 -- its own output and exit status are the answer


if __name__ == "__main__":
    main(sys.argv[1:])
