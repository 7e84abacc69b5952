"""The environment plan: every variable with where it comes from, everything taken out with why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum, unique
from typing import Final, NamedTuple

from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import derive_proxy_token
from provision_service.domain.launch_plan import LaunchPlan
from provision_service.domain.scope import Scope
from provision_service.domain.step import Step


@unique
class Origin(StrEnum):
    """Where a variable's value comes from; shown in the manifest of a provision."""

    SPEC = "spec"
    GLOBAL_SECRET = "global_secret"
    WORKSPACE_SECRET = "workspace_secret"
    PLATFORM = "platform"
    REGISTRY = "registry"
    DERIVED = "derived"
    RECIPE = "recipe"


# What somebody stored here as a secret.
OF_SECRETS: Final = frozenset({Origin.GLOBAL_SECRET, Origin.WORKSPACE_SECRET})

ORIGIN_OF_SCOPE = {
    Scope.GLOBAL: Origin.GLOBAL_SECRET,
    Scope.WORKSPACE: Origin.WORKSPACE_SECRET,
}


class Variable(NamedTuple):
    """One value with its origin."""

    value: Secret
    origin: Origin


@unique
class RemovalCode(StrEnum):
    """The warning that reports a removal. SILENT ones follow from who pays and are not reported."""

    SILENT = ""
    RIVAL = "RIVAL_CREDENTIAL_REMOVED"
    ROUTE = "ROUTE_NAME_REMOVED"
    FOREIGN_ENDPOINT = "FOREIGN_ENDPOINT_REMOVED"
    RENAMED = "CREDENTIAL_RENAMED"


@dataclass(frozen=True, slots=True)
class Removed:
    """A secret that does not reach the box: its scope, the rule in words, what to do instead.

    `other` is a second name that the warning mentions, such as the credential that pays.
    """

    name: str
    scope: Scope
    why: str
    code: RemovalCode = RemovalCode.SILENT
    other: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchFacts:
    """What only a launch knows; `registry_ca` is set when the registry speaks TLS."""

    workspace_id: str
    incarnation: int
    bootstrap_ticket: Secret
    registry_address: str
    registry_ca: str | None = None


LAUNCH_NAMES = frozenset(
    {
        "WORKSPACE_ID",
        "WORKSPACE_INCARNATION",
        "WORKSPACE_BOOTSTRAP_TICKET",
        "WORKSPACE_REGISTRY_ADDRESS",
    }
)


@dataclass(frozen=True, slots=True)
class EnvironmentPlan:
    """Names to values with origins, and what was removed; complete once materialized.

    `launch` is what the runtime's recipe wants beside the environment, None without one.
    `steps` say what the recipe did to names of the platform. `platform_keys` are the names
    that the platform's key stands under; `per_box`: it is not known before the launch.
    `pays_with` is the name that the paying credential is stored under, empty for none.
    """

    variables: Mapping[str, Variable]
    removed: tuple[Removed, ...] = ()
    launch: LaunchPlan | None = None
    steps: tuple[Step, ...] = ()
    platform_keys: frozenset[str] = frozenset()
    per_box: bool = False
    pays_with: str = ""

    def manifest(self) -> Iterator[tuple[str, Origin, Secret]]:
        """Name, origin and value (for a keyed fingerprint) in name order."""
        for name in sorted(self.variables):
            variable = self.variables[name]
            yield name, variable.origin, variable.value

    def reveal(self) -> dict[str, str]:
        """The environment as plain text: for the answer that carries it and nothing else."""
        return {name: variable.value.reveal() for name, variable in self.variables.items()}


def _proxy_token(launch: LaunchFacts) -> Secret | None:
    """The token of this incarnation for the proxy; None when its ticket is of a foreign format."""
    try:
        return derive_proxy_token(launch.bootstrap_ticket, launch.workspace_id, launch.incarnation)
    except ValueError:
        return None


def materialize(plan: EnvironmentPlan, launch: LaunchFacts) -> EnvironmentPlan:
    """The plan with the facts of one launch in it; they win over anything of that name."""
    variables = dict(plan.variables)
    if plan.per_box:
        key = _proxy_token(launch)
        for name in plan.platform_keys:
            del variables[name]
            if key is not None:
                variables[name] = Variable(key, Origin.REGISTRY)
    variables["WORKSPACE_ID"] = Variable(Secret(launch.workspace_id), Origin.SPEC)
    variables["WORKSPACE_INCARNATION"] = Variable(Secret(str(launch.incarnation)), Origin.REGISTRY)
    variables["WORKSPACE_BOOTSTRAP_TICKET"] = Variable(launch.bootstrap_ticket, Origin.REGISTRY)
    variables["WORKSPACE_REGISTRY_ADDRESS"] = Variable(
        Secret(launch.registry_address), Origin.PLATFORM
    )
    if launch.registry_ca:
        variables["WORKSPACE_REGISTRY_CA"] = Variable(Secret(launch.registry_ca), Origin.PLATFORM)
    return replace(plan, variables=variables)
