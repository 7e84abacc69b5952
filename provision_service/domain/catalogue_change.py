"""What another catalogue would change for a workspace, decided once for all that are alike.

Thousands of workspaces differ in nothing that a decision looks at: their keys' values, their names,
their ids. `Lens` takes those differences away, so that workspaces which are then equal share one
decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Final

from agentworkspace.core.refusal import AnyReason
from agentworkspace.core.secret import Secret
from provision_service.catalogue.catalogue import Catalogue
from provision_service.domain.decision import Decision, Inputs, decide
from provision_service.domain.ownership import ANTHROPIC_PREFIX
from provision_service.domain.plan import OF_SECRETS
from provision_service.domain.platform_proxy import PlatformProxy
from provision_service.domain.secrets import MODEL_NAMES, MergedSecrets, StoredSecret
from provision_service.domain.spec import WorkspaceSpec

# Stands for the workspace's id in a shared decision; as long as an id, and nobody's.
_ANY_ID: Final = "00000000-0000-0000-0000-000000000000"
_SOME_TOKEN: Final = Secret("the usage token")
NOBODY: Final = "nobody"


@unique
class Aspect(StrEnum):
    """What about a launch can change: the fields of `Outcome`."""

    PAYER = "PAYER"
    PROVIDER = "PROVIDER"
    ENDPOINT = "ENDPOINT"
    CREDENTIAL = "CREDENTIAL"
    MODEL = "MODEL"
    REFUSAL = "REFUSAL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a workspace would be launched with.

    `payer` is the billing mode, or `nobody` where the launch would be refused. `endpoint_name`
    is the tenant's variable that the endpoint was taken from: its value is not to be shown.
    `credential` is the name that the paying credential is stored under, `model` the id as the
    program spells it. `refusal` is None where it would start.
    """

    payer: str
    provider: str
    endpoint: str = field(repr=False)
    endpoint_name: str
    credential: str
    model: str
    refusal: AnyReason | None
    refusal_message: str = field(compare=False)

    def shown_endpoint(self, workspace_id: str) -> str:
        """The address of a vendor or the proxy; of a tenant's own, the variable that has it."""
        if self.endpoint_name:
            return f"${{{self.endpoint_name}}}"
        return self.endpoint.replace(_ANY_ID, workspace_id)


@dataclass(frozen=True, slots=True)
class Kind:
    """What decisions look at in a workspace. Equal kinds have equal outcomes."""

    runtime: str
    model: str
    override: str
    required_env: tuple[str, ...]
    has_role: bool
    has_parent: bool
    platform: PlatformProxy
    secrets: tuple[StoredSecret, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What one kind of workspace gets now and would get then; `aspects` are what differs."""

    before: Outcome
    after: Outcome
    aspects: tuple[Aspect, ...]


class Comparison:
    """Two catalogues, and what workspaces get under each.

    `prepare(catalogue, secrets)` is applied to the secrets before each decision.
    """

    def __init__(
        self,
        current: Catalogue,
        proposed: Catalogue,
        prepare: Callable[[Catalogue, MergedSecrets], MergedSecrets],
    ) -> None:
        self.current = current
        self.proposed = proposed
        self._prepare = prepare
        self._lens = Lens((current, proposed))
        self._known: dict[Kind, Change] = {}

    def of(self, spec: WorkspaceSpec, secrets: MergedSecrets, platform: PlatformProxy) -> Change:
        """What changes for one workspace, as stored."""
        kind = self._lens.kind_of(spec, secrets, platform)
        known = self._known.get(kind)
        if known is None:
            before, after = (self._outcome(kind, each) for each in (self.current, self.proposed))
            known = self._known[kind] = Change(before, after, _aspects(before, after))
        return known

    def _outcome(self, kind: Kind, catalogue: Catalogue) -> Outcome:
        secrets = MergedSecrets({row.key: row for row in kind.secrets})
        return outcome_of(
            decide(
                Inputs(
                    workspace_id=_ANY_ID,
                    spec=WorkspaceSpec(
                        runtime=kind.runtime,
                        model=kind.model,
                        billing_mode_override=kind.override,
                        required_env=kind.required_env,
                        role="some role" if kind.has_role else "",
                        parent_id=_ANY_ID if kind.has_parent else "",
                    ),
                    secrets=self._prepare(catalogue, secrets),
                    catalogue=catalogue,
                    platform=kind.platform,
                )
            )
        )


class Lens:
    """Reduces a stored workspace to what a rule of these catalogues looks at.

    Values are kept where a rule reads them: addresses, models, headers. Of a credential's value
    only two facts are kept: whether it begins like Anthropic's, and which others are equal to it.
    """

    def __init__(self, catalogues: Iterable[Catalogue]) -> None:
        self._catalogues = tuple(catalogues)
        self._read = frozenset().union(*map(_read_names, self._catalogues), MODEL_NAMES)

    def kind_of(self, spec: WorkspaceSpec, secrets: MergedSecrets, platform: PlatformProxy) -> Kind:
        """The kind of one workspace."""
        marks: dict[Secret, Secret] = {}
        return Kind(
            runtime=spec.runtime,
            model=spec.model,
            override=spec.billing_mode_override,
            required_env=spec.required_env,
            has_role=bool(spec.role.strip()),
            has_parent=bool(spec.parent_id.strip()),
            platform=_without_its_token(platform),
            secrets=tuple(self._seen(row, marks) for row in secrets.by_key.values()),
        )

    def _seen(self, row: StoredSecret, marks: dict[Secret, Secret]) -> StoredSecret:
        value = row.value
        if value is not None and row.key not in self._read:
            value = self._mark_of(row.key, value, marks)
        return StoredSecret(row.key, row.scope, value, row.comingled, row.provider)

    def _mark_of(self, key: str, value: Secret, marks: dict[Secret, Secret]) -> Secret:
        if value.is_blank():
            return _BLANK
        if not any(catalogue.has_a_rule(key) for catalogue in self._catalogues):
            return _THERE
        if value not in marks:
            is_anthropics = value.reveal().lstrip().startswith(ANTHROPIC_PREFIX)
            prefix = ANTHROPIC_PREFIX if is_anthropics else "credential "
            marks[value] = Secret(f"{prefix}{len(marks)}")
        return marks[value]


_BLANK: Final = Secret(" ")
_THERE: Final = Secret("there")


def outcome_of(decision: Decision) -> Outcome:
    """What a decision says to somebody who compares it with another."""
    resolution, plan, refusal = decision.resolution, decision.plan, decision.refusal
    launch = plan.launch if plan is not None else None
    tenants_own = ""
    if plan is not None and launch is not None and launch.endpoint_name:
        origin = plan.variables[launch.endpoint_name].origin
        tenants_own = launch.endpoint_name if origin in OF_SECRETS else ""
    return Outcome(
        payer=NOBODY if refusal is not None else resolution.resolved_mode.value,
        provider=resolution.provider_selection or "",
        endpoint=launch.endpoint if launch is not None else "",
        endpoint_name=tenants_own,
        credential=plan.pays_with if plan is not None else "",
        model=launch.model if launch is not None else resolution.effective_model,
        refusal=refusal.reason if refusal is not None else None,
        refusal_message=refusal.message if refusal is not None else "",
    )


def _aspects(before: Outcome, after: Outcome) -> tuple[Aspect, ...]:
    def differs(name: str) -> bool:
        return bool(getattr(before, name) != getattr(after, name))

    return tuple(aspect for aspect in Aspect if differs(aspect.value.lower()))


def _read_names(catalogue: Catalogue) -> frozenset[str]:
    """Names of which a rule reads more than whether a credential is there."""
    read = catalogue.names.endpoints | catalogue.routes_of_any_runtime()
    for runtime in catalogue.runtimes.values():
        ways = runtime.recipe.ways if runtime.recipe is not None else ()
        read |= {name for way in ways for name in way.endpoint_from}
    return read


def _without_its_token(platform: PlatformProxy) -> PlatformProxy:
    token = platform.usage_token
    seen = None if token is None or token.is_blank() else _SOME_TOKEN
    return PlatformProxy(
        base_url=platform.base_url,
        anthropic_base_url=platform.anthropic_base_url,
        usage_url=platform.usage_url,
        usage_token=seen,
        usage_token_unreadable=platform.usage_token_unreadable,
        per_box=platform.per_box,
    )
