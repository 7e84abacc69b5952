"""Both contracts as one table: what the suite of this folder holds, it holds for either service."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor import ServiceDescriptor

import provision_service.api.errors
import provision_service.api.policy
import provision_service.api.wire_enums
import provision_service.domain.refusals
import registry_service.api.errors
import registry_service.api.policy
import registry_service.api.wire_enums
import registry_service.domain.refusals
from agentworkspace.core.refusal import AnyReason
from agentworkspace.rpc.errors import RpcFailure
from agentworkspace.rpc.policy import Policy
from agentworkspace.server.meanings import Meaning

ROOT: Final = Path(__file__).resolve().parents[2]
_VALUE: Final = re.compile(
    r"(?P<comment>(?:[ \t]*//[^\n]*\n)+)[ \t]*ERROR_REASON_(?P<name>\w+) = (?P<number>\d+);"
)
_METHOD: Final = re.compile(r"(?P<comment>(?:[ \t]*//[^\n]*\n)+)[ \t]*rpc (?P<name>\w+)\(")


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Contract:
    """One service: what its protos say, and the tables that its code keeps beside them."""

    name: str
    policy: Policy
    services: tuple[ServiceDescriptor, ...]
    meanings: Mapping[AnyReason, Meaning]
    translate: Callable[[Exception], RpcFailure]
    reasons: tuple[AnyReason, ...]
    wire_enums: Any
    # The reasons that tell a box to stop unless the refusal itself says otherwise.
    stops: frozenset[str]
    # Numbers of enums that had a word once, by the name of their table.
    reserved: Mapping[str, set[int]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return self.name

    @property
    def package(self) -> str:
        return f"agentworkspace.{self.name}.v1"

    @property
    def protos(self) -> Path:
        return ROOT / "protos" / "agentworkspace" / self.name / "v1"

    def documented_reasons(self) -> dict[str, str]:
        """The short name of each reason to its comment as one line."""
        text = (self.protos / "error_reason.proto").read_text()
        return {
            match["name"]: _one_line(match["comment"])
            for match in _VALUE.finditer(text)
            if match["number"] != "0"
        }

    def documented_methods(self) -> dict[str, str]:
        """The full name of each method to its comment as one line."""
        found = {}
        for path in self.protos.glob("*_service.proto"):
            text = path.read_text()
            service = re.search(r"^service (\w+)", text, re.MULTILINE)
            assert service is not None
            for match in _METHOD.finditer(text):
                full_name = f"/{self.package}.{service[1]}/{match['name']}"
                found[full_name] = _one_line(match["comment"])
        return found


def _one_line(comment: str) -> str:
    lines = (line.strip().removeprefix("//").strip() for line in comment.strip().splitlines())
    return " ".join(line for line in lines if line)


REGISTRY: Final = Contract(
    name="registry",
    policy=registry_service.api.policy.POLICY,
    services=registry_service.api.policy.SERVICES,
    meanings=registry_service.api.errors.MEANINGS,
    translate=registry_service.api.errors.translate,
    reasons=registry_service.domain.refusals.REASONS,
    wire_enums=registry_service.api.wire_enums,
    stops=frozenset({"WORKSPACE_REMOVED", "WORKSPACE_SUSPENDED"}),
)
PROVISION: Final = Contract(
    name="provision",
    policy=provision_service.api.policy.POLICY,
    services=provision_service.api.policy.SERVICES,
    meanings=provision_service.api.errors.MEANINGS,
    translate=provision_service.api.errors.translate,
    reasons=provision_service.domain.refusals.REASONS,
    wire_enums=provision_service.api.wire_enums,
    stops=frozenset({"WORKSPACE_REMOVED"}),
    reserved={"REASON": {19, 22}},
)
BOTH: Final = (REGISTRY, PROVISION)
