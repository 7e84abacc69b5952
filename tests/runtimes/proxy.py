"""The platform's LLM proxy, as protos/README.md tells whoever runs one to check a box's own key."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from agentworkspace.client.channel import aio_channel
from agentworkspace.client.verifier import BlockingVerifier, Principal, Rejected, Requirement
from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import TokenKind
from agentworkspace.rpc.errors import RpcFailure
from deploy.installation import Installation, as_json, caller, write_once
from tests.runtimes.answers import Answer, answer_to, error
from tests.runtimes.arrivals import Arrival, asks_a_model
from tests.runtimes.cases import PLATFORM

_PROXY: Final = Requirement(kind=TokenKind.PROXY)


class MeteredProxy:
    """Answers as a model's host, and bills the workspace of the key: never that of a header.

    `check` says whose a key is: of the workspace that is named with it, or of any where it is None.
    Raises Rejected, RpcFailure. `metered` are the workspaces billed, in order.
    """

    def __init__(self, check: Callable[[Secret, str | None], Principal]) -> None:
        self._check = check
        self.metered: list[str] = []

    def answer(self, arrival: Arrival) -> Answer:
        if arrival.origin != PLATFORM:
            return answer_to(arrival)
        try:
            principal = self._caller(arrival)
        except Rejected as refusal:
            return error(401, "authentication_error", f"This key is refused: {refusal.reason}.")
        except RpcFailure:
            return error(503, "overloaded_error", "Keys cannot be checked now; try again.")
        if asks_a_model(arrival):
            self.metered.append(principal.workspace_id)
        return answer_to(arrival)

    def _caller(self, arrival: Arrival) -> Principal:
        """Whose box calls. Rejected, also where the header names another workspace than the key."""
        bearer = arrival.headers.get("authorization", "").removeprefix("Bearer ")
        key = Secret(arrival.headers.get("x-api-key") or bearer)
        return self._check(key, arrival.workspace or None)


@contextmanager
def checking_keys(registry: str, credential: str) -> Iterator[MeteredProxy]:
    """A proxy that asks the registry at this address, with the credential of a verifier."""
    with BlockingVerifier(lambda: aio_channel(registry, bearer=Secret(credential))) as verifier:
        yield MeteredProxy(
            lambda key, workspace: verifier.check(key, _PROXY, workspace_id=workspace)
        )


def admit_the_proxy(installation: Installation) -> str:
    """Let the platform's proxy call the registry, as a verifier and nothing else; its credential.

    Before the registry starts.
    """
    installation.prepare()
    file = installation.registry_files / "llm-proxy-token"
    write_once(file, lambda: str(uuid.uuid4()))
    callers = json.loads(installation.registry_callers.read_text("utf-8"))
    callers["callers"].append(caller("llm-proxy", ["verifier"], file))
    installation.registry_callers.write_text(as_json(callers), "utf-8")
    return file.read_text("utf-8").strip()
