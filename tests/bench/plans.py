"""How many launches one core plans a second: derive and materialize, from 50 secrets of both
scopes: `python -m tests.bench.plans`.
"""

from __future__ import annotations

import time
import uuid
from typing import Final

from agentworkspace.core.secret import Secret
from provision_service.domain.decision import Inputs, decide
from provision_service.domain.plan import LaunchFacts, materialize
from provision_service.domain.platform_proxy import PlatformProxy
from provision_service.domain.scope import Scope
from provision_service.domain.secrets import MergedSecrets, merge, stored
from provision_service.domain.spec import WorkspaceSpec
from provision_service.workers.files import load_catalogue
from tests.bench import cases

PLANS: Final = 5_000


def measure() -> float:
    """Plans a second of the processor's time."""
    catalogue = load_catalogue(None)
    workspace_id, ticket = str(uuid.uuid4()), Secret("awt_a-ticket-of-the-bench")
    worked = time.process_time()
    for number in range(PLANS):
        inputs = Inputs(
            workspace_id=workspace_id,
            spec=WorkspaceSpec(name="bench", model="opus"),
            # As read: whatever a merge computes belongs to the plan.
            secrets=_secrets(),
            catalogue=catalogue,
            platform=PlatformProxy(),
        )
        plan = decide(inputs).plan
        if plan is None:
            raise AssertionError("nothing refuses this launch")
        materialize(
            plan,
            LaunchFacts(
                workspace_id=workspace_id,
                incarnation=number,
                bootstrap_ticket=ticket,
                registry_address="127.0.0.1:7101",
            ),
        )
    return PLANS / (time.process_time() - worked)


def _secrets() -> MergedSecrets:
    texts = sorted(cases.secrets(0).items())
    return merge(stored(dict(texts[::2]), Scope.GLOBAL), stored(dict(texts[1::2]), Scope.WORKSPACE))


if __name__ == "__main__":
    print(f"{measure():,.0f} plans a second of one core")
