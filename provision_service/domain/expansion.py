"""A launch recipe, expanded for one launch: keys in their places, rivals out, files filled in."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentworkspace.core.secret import Secret
from provision_service.catalogue.catalogue import Catalogue, Runtime
from provision_service.catalogue.recipe import Filling, Recipe, Way
from provision_service.domain.launch_plan import LAUNCH_NAME, LaunchFile, LaunchPlan
from provision_service.domain.ownership import owner_of
from provision_service.domain.payer import Endpoint, Payer
from provision_service.domain.plan import Origin, RemovalCode, Removed, Variable
from provision_service.domain.platform_proxy import WORKSPACE_PLACE, PlatformProxy
from provision_service.domain.scope import Scope
from provision_service.domain.secrets import MergedSecrets
from provision_service.domain.step import Step


@dataclass(slots=True, kw_only=True)
class Expansion:
    """One launch on its way through its recipe; `variables` and `removed` are added to.

    `key_env` is the name that the paying key stands under.
    """

    catalogue: Catalogue
    runtime: Runtime
    recipe: Recipe
    way: Way
    payer: Payer
    secrets: MergedSecrets
    platform: PlatformProxy
    workspace_id: str
    variables: dict[str, Variable]
    removed: list[Removed]
    key_env: str
    steps: list[Step] = field(default_factory=list)

    def run(self) -> LaunchPlan:
        """Apply the recipe and say what is left for whoever starts the box."""
        if self.way.key is not None and self.payer.key is not None:
            self.key_env = self.way.key
            self.variables[self.key_env] = self.payer.key
        self._take_out_rivals()
        endpoint = self.payer.endpoint(self.platform, self.workspace_id, self.variables)
        plan = self._expanded(endpoint)
        origin = Origin.RECIPE
        text = Variable(Secret(plan.as_text()), origin)
        self.variables[LAUNCH_NAME] = text
        return plan

    def _take_out_rivals(self) -> None:
        """Take out credentials that the program would send instead of the paying key, beside it, or
        to another vendor.
        """
        owner = self.payer.provider.owner
        for read in self.recipe.reads:
            found = self.variables.get(read.name)
            if found is None or self.payer.key is None or read.name in self.way.harmless:
                continue
            if found.value == self.payer.key.value:
                if read.vendor in (None, owner) or read.name == self.key_env:
                    continue
                self._take_out_renamed(read.name, read.vendor or "")
            elif not (self.payer.assumed and self._is_of(read.name, read.vendor or owner)):
                self._take_out_rival(read.name)

    def _is_of(self, name: str, owner: str) -> bool:
        """Whether a stored credential may go to `owner`, when no model says who is meant."""
        row = self.secrets.by_key.get(name)
        if row is None:
            return False
        said = owner_of(self.catalogue, row, self.secrets)
        if said is not None:
            return said == owner
        vendors = (p for p in self.catalogue.providers.values() if p.vendor is not None)
        return owner in {p.owner for p in vendors if name in p.auth_env}

    def _take_out_rival(self, name: str) -> None:
        pays = self.payer.name
        self._take_out(
            name,
            f"would be sent by {self.runtime.name} instead of {pays}, which pays, or beside it",
            RemovalCode.RIVAL,
            pays,
            "delete it, or choose a model that it pays for",
        )

    def _take_out_renamed(self, name: str, vendor: str) -> None:
        self._take_out(
            name,
            f"would be sent by {self.runtime.name} to {vendor}: it is handed on as {self.key_env}",
            RemovalCode.RENAMED,
            self.key_env,
            f"read {self.key_env} in programs of your own",
        )

    def _take_out(self, name: str, why: str, code: RemovalCode, other: str, remedy: str) -> None:
        row = self.secrets.by_key.get(name)
        del self.variables[name]
        if self.payer.provider.is_platform:
            # `environment.py` set the name, and no tenant: there is nobody to warn.
            rule = f"environment.{code.name.lower()}"
            self.steps.append(Step(rule, fired=True, inputs=(name, other), text=f"{name} {why}"))
            return
        scope = row.scope if row is not None else Scope.WORKSPACE
        self.removed.append(Removed(name, scope, why, code, other, remedy))

    def _expanded(self, endpoint: Endpoint) -> LaunchPlan:
        way = self.way
        ready = bool(endpoint.url) or not way.needs_endpoint
        filling = Filling(
            way.words,
            {
                "id": self.payer.model_id,
                "model": self.payer.model,
                "endpoint": endpoint.url,
                "key_env": self.key_env,
                "workspace_id": self.workspace_id,
                "provider": self.payer.provider.name,
            },
            {"endpoint": endpoint.name} if endpoint.name else {},
        )
        for name, text in way.env.items() if ready else ():
            self.variables[name] = Variable(Secret(filling.plain(text)), Origin.RECIPE)
        files = tuple(
            LaunchFile(
                path=file.path,
                mode=file.mode,
                content=filling.quoted(file.text),
                secret=file.secret,
                env=file.env or "",
            )
            for file in (way.files if ready else ())
        )
        return LaunchPlan(
            model=self.payer.model,
            endpoint=endpoint.url,
            endpoint_name=endpoint.name,
            endpoint_missing="" if ready else " or ".join(way.endpoint_from),
            names_workspace=self._names_workspace(),
            names=tuple(way.env),
            arguments=tuple(filling.argument(text) for text in way.arguments),
            directories=self.recipe.directories,
            files=files,
            unset=self._unset(),
        )

    def _names_workspace(self) -> bool:
        """Whether the proxy learns the workspace: by a header, or by its own address."""
        anthropic = self.way.dialect_anthropic
        url = self.platform.anthropic_base_url if anthropic else self.platform.base_url
        return self.recipe.sends_workspace_header or WORKSPACE_PLACE in (url or "")

    def _unset(self) -> tuple[str, ...]:
        routes = self.recipe.closed_routes
        kept_out = routes.switches | routes.models | routes.headers
        kept_out |= self.recipe.read_names | self.catalogue.names.tls_switches
        kept_out |= self.catalogue.endpoint_names(self.runtime.name)
        made = {directory.env for directory in self.recipe.directories}
        made |= {file.env for file in self.way.files if file.env is not None}
        return tuple(sorted(kept_out - self.variables.keys() - made))
