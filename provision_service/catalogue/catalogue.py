"""The provider catalogue: immutable, and indexed once for every question a launch asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Final

from provision_service.catalogue.recipe import Recipe, Routes
from provision_service.domain.endpoints import WebOrigin, web_origin
from provision_service.domain.environment_names import (
    RESERVED,
    RESERVED_PREFIXES,
    is_reserved,
)
from provision_service.domain.scope import Scope

_NO_ROUTES: Final = Routes()
PLATFORM: Final = "platform"
USAGE_TOKEN_ENV: Final = "MOLECULE_LLM_USAGE_TOKEN"
PLATFORM_BASE_URL: Final = "${PLATFORM_LLM_BASE_URL}"
PLATFORM_ANTHROPIC_BASE_URL: Final = "${PLATFORM_LLM_ANTHROPIC_BASE_URL}"


@unique
class Protocol(StrEnum):
    """The API dialect of a provider's own endpoint."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"


@unique
class AuthMode(StrEnum):
    """How a provider's credential authenticates."""

    ANTHROPIC_API = "anthropic_api"
    OAUTH = "oauth"
    THIRD_PARTY_ANTHROPIC_COMPAT = "third_party_anthropic_compat"
    WIF_ADC = "wif_adc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One way to reach models: accepted credential names, endpoints and a model pattern."""

    name: str
    display_name: str
    protocol: Protocol
    auth_mode: AuthMode
    auth_env: tuple[str, ...]
    auth_token_env: str
    base_url: str | None
    anthropic_base_url: str | None
    vendor: str | None
    pattern: str
    aliases: tuple[str, ...]
    searches: Callable[[str], bool] = field(repr=False, compare=False)
    id_prefixes: tuple[str, ...] = ()

    @property
    def is_platform(self) -> bool:
        """Whether launches through this provider are the platform's bill."""
        return self.name == PLATFORM

    @property
    def owner(self) -> str:
        """Whose credentials and endpoints these are: the vendor, or the provider itself."""
        return self.vendor or self.name

    def vendors_id(self, model_id: str) -> str:
        """The model id as the vendor spells it, without a prefix that only our menus use."""
        for prefix in self.id_prefixes:
            if model_id.startswith(prefix) and len(model_id) > len(prefix):
                return model_id.removeprefix(prefix)
        return model_id

    def meets(self, names: frozenset[str]) -> bool:
        """Whether any accepted credential name is among `names`."""
        return not names.isdisjoint(self.auth_env)


@dataclass(frozen=True, slots=True)
class MenuModel:
    """A model id on a runtime's menu; a withdrawn one still derives, but is not offered."""

    id: str
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class Offering:
    """A provider of a runtime and its menu there; with an empty menu it serves by pattern only."""

    provider: Provider
    models: tuple[MenuModel, ...]

    def menu_model(self, model_id: str) -> MenuModel | None:
        """The menu entry with exactly this id."""
        return next((model for model in self.models if model.id == model_id), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """An agent runtime with its own providers, in order: the first declared wins a tie."""

    name: str
    offerings: tuple[Offering, ...]
    default_model: str | None = None
    anthropic_native_proxy: bool = False
    extra_model_env: str | None = None
    recipe: Recipe | None = None
    _exact: Mapping[str, tuple[Provider, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        exact: dict[str, tuple[Provider, ...]] = {}
        for offering in self.offerings:
            for model in offering.models:
                exact[model.id] = (*exact.get(model.id, ()), offering.provider)
        object.__setattr__(self, "_exact", MappingProxyType(exact))

    @property
    def providers(self) -> tuple[Provider, ...]:
        """The runtime's own providers in declared order."""
        return tuple(offering.provider for offering in self.offerings)

    def listing(self, model_id: str) -> tuple[Provider, ...]:
        """Own providers whose menu carries exactly this id, in declared order."""
        return self._exact.get(model_id, ())

    def matching(self, model_id: str) -> tuple[Provider, ...]:
        """Own providers whose pattern is found in this id, in declared order."""
        return tuple(
            offering.provider for offering in self.offerings if offering.provider.searches(model_id)
        )

    def is_withdrawn(self, provider: Provider, model_id: str) -> bool:
        """Whether `provider` lists this id here as withdrawn."""
        for offering in self.offerings:
            if offering.provider is provider:
                model = offering.menu_model(model_id)
                return model is not None and model.withdrawn
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentNames:
    """What the catalogue says of environment names, beside the providers' own;
    catalogue.schema.json describes each list.
    """

    endpoints: frozenset[str]
    extra_credentials: frozenset[str]
    dual_use: frozenset[str]
    shared: frozenset[str]
    shared_accepted_globally_by: frozenset[str]
    forbidden: frozenset[str]
    forbidden_prefixes: tuple[str, ...]
    source_host_tokens: frozenset[str]
    retired: frozenset[str]
    proxies: frozenset[str] = frozenset()
    tls_switches: frozenset[str] = frozenset()

    def is_forbidden(self, name: str) -> bool:
        """Whether the name, or its prefix, is on the catalogue's list of forbidden names."""
        return name in self.forbidden or name.startswith(self.forbidden_prefixes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Every provider and runtime, with the version that each resolution reports."""

    version: str
    providers: Mapping[str, Provider]
    runtimes: Mapping[str, Runtime]
    names: EnvironmentNames
    external_like: frozenset[str]
    virtual: frozenset[str]
    default_runtime: str
    _accepted: Mapping[Scope, Mapping[str, frozenset[str]]] = field(
        init=False, repr=False, compare=False
    )
    _bypass: Mapping[str, frozenset[str]] = field(init=False, repr=False, compare=False)
    _bypass_anywhere: frozenset[str] = field(init=False, repr=False, compare=False)
    _closed: frozenset[str] = field(init=False, repr=False, compare=False)
    _closed_prefixes: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _ruled: frozenset[str] = field(init=False, repr=False, compare=False)
    _switches: frozenset[str] = field(init=False, repr=False, compare=False)
    _routes_anywhere: frozenset[str] = field(init=False, repr=False, compare=False)
    _vendors: Mapping[WebOrigin, frozenset[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        recipes = [r.recipe for r in self.runtimes.values() if r.recipe is not None]
        every = {name for provider in self.providers.values() for name in provider.auth_env}
        every |= {name for recipe in recipes for name in recipe.read_names}
        single_use = frozenset((every | self.names.extra_credentials) - self.names.dual_use)
        object.__setattr__(self, "_bypass_anywhere", single_use)
        object.__setattr__(
            self,
            "_bypass",
            {name: single_use | self._dual_use_of(r) for name, r in self.runtimes.items()},
        )
        object.__setattr__(
            self,
            "_accepted",
            {
                Scope.WORKSPACE: {n: frozenset(p.auth_env) for n, p in self.providers.items()},
                Scope.GLOBAL: {n: self._globally(p) for n, p in self.providers.items()},
            },
        )

        object.__setattr__(self, "_closed", RESERVED | self.names.forbidden)
        prefixes = (*RESERVED_PREFIXES, *self.names.forbidden_prefixes)
        object.__setattr__(self, "_closed_prefixes", prefixes)
        ruled = every | self.names.extra_credentials | self.names.endpoints | self.names.retired
        ruled |= self.names.proxies | self.names.tls_switches
        routes = [recipe.closed_routes for recipe in recipes]
        object.__setattr__(
            self, "_switches", frozenset(name for route in routes for name in route.switches)
        )
        object.__setattr__(
            self, "_routes_anywhere", frozenset(name for route in routes for name in route.all)
        )
        ruled |= self._routes_anywhere
        object.__setattr__(self, "_ruled", ruled | self._closed)
        object.__setattr__(self, "_vendors", _vendors_by_origin(self.providers, recipes))

    def _dual_use_of(self, runtime: Runtime) -> frozenset[str]:
        own = {name for provider in runtime.providers for name in provider.auth_env}
        own |= runtime.recipe.read_names if runtime.recipe is not None else set()
        return self.names.dual_use & own

    def _globally(self, provider: Provider) -> frozenset[str]:
        if provider.name in self.names.shared_accepted_globally_by:
            return frozenset(provider.auth_env)
        return frozenset(provider.auth_env) - self.names.shared

    def is_closed(self, name: str, scope: Scope) -> bool:
        """Whether no tenant may set this name at this scope, because it is forbidden or reserved. A
        token of a source host is closed tenant-wide, and open on a single workspace.
        """
        if name not in self._closed and not name.startswith(self._closed_prefixes):
            return False
        if scope is Scope.WORKSPACE and name in self.names.source_host_tokens:
            return False
        return is_reserved(name) or self.names.is_forbidden(name)

    def has_a_rule(self, name: str) -> bool:
        """Whether any rule speaks of this name; every other secret passes as it is."""
        return name in self._ruled or name.startswith(self._closed_prefixes)

    def has_no_entry_by_design(self, runtime: str) -> bool:
        """Whether the runtime runs its own model (external-like) or none (virtual)."""
        return runtime in self.external_like or runtime in self.virtual

    def accepted(self, provider: Provider, scope: Scope) -> frozenset[str]:
        """Names that count as a credential of `provider` when set at `scope`."""
        return self._accepted[scope][provider.name]

    def own_names(self, provider: Provider) -> tuple[str, ...]:
        """The provider's accepted names that it does not share with other vendors."""
        return tuple(name for name in provider.auth_env if name not in self.names.shared)

    def vendors_at(self, url: str) -> frozenset[str]:
        """Vendors whose own endpoint has the scheme, host and port of `url`."""
        origin = web_origin(url)
        return self._vendors.get(origin, frozenset()) if origin is not None else frozenset()

    def bypass_credentials(self, runtime: str) -> frozenset[str]:
        """Names that carry a vendor credential past the metered proxy in this runtime."""
        return self._bypass.get(runtime, self._bypass_anywhere)

    def endpoint_names(self, runtime: str) -> frozenset[str]:
        """Names by which a tenant points this runtime at an endpoint of its choice."""
        return self.names.endpoints | self.routes(runtime).endpoints

    def routes(self, runtime: str) -> Routes:
        """The runtime's own route names. The variables of its fresh directories and files are among
        the switches, because only the launch may set them.
        """
        entry = self.runtimes.get(runtime)
        recipe = entry.recipe if entry is not None else None
        return recipe.closed_routes if recipe is not None else _NO_ROUTES

    def bypass_names(self, runtime: str) -> frozenset[str]:
        """Bypass credentials and endpoint names of this runtime."""
        return self.bypass_credentials(runtime) | self.endpoint_names(runtime)

    def switches_of_any_runtime(self) -> frozenset[str]:
        """Names that lead some runtime's program elsewhere, whoever pays."""
        return self._switches

    def routes_of_any_runtime(self) -> frozenset[str]:
        """Every runtime's route names, and the proxy variables: refused where the platform pays."""
        return self._routes_anywhere | self.names.proxies

    def bypass_names_of_any_runtime(self) -> frozenset[str]:
        """Bypass names whatever the runtime: what a tenant-wide secret is judged by."""
        return self._bypass_anywhere | self.names.endpoints


def _vendors_by_origin(
    providers: Mapping[str, Provider], recipes: Iterable[Recipe]
) -> dict[WebOrigin, frozenset[str]]:
    """The vendors behind each web origin: of providers' endpoints, and of those in recipes."""
    found: dict[WebOrigin, frozenset[str]] = {}

    def note(url: str | None, vendor: str | None) -> None:
        origin = web_origin(url) if url else None
        if origin is not None and vendor is not None:
            found[origin] = found.get(origin, frozenset()) | {vendor}

    for provider in providers.values():
        note(provider.base_url, provider.vendor)
        note(provider.anthropic_base_url, provider.vendor)
    for recipe in recipes:
        for way in recipe.ways:
            for name in way.providers:
                if name in providers:
                    note(way.endpoint, providers[name].vendor)
    return found
