"""The settings of provision-service: read here, from the environment, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Final

from typing_extensions import override

from agentworkspace.core.secret import Secret
from agentworkspace.service import settings_values as values
from agentworkspace.service.declared_settings import secret_setting, setting
from agentworkspace.service.settings import ServiceSettings

_LONGEST: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ServiceSettings):
    """What the variables say. Absent and empty mean the same: the default."""

    SERVICE: ClassVar = "PROVISION"
    # A setting of workspacectl, which may stand in the same environment.
    NOT_OURS: ClassVar = frozenset({"PROVISION_ADDRESS"})

    listen: str = setting(
        "PROVISION_LISTEN", "127.0.0.1:7102", values.address, "where gRPC is served"
    )
    secrets_keys_file: Path | None = setting(
        "PROVISION_SECRETS_KEYS_FILE",
        "",
        values.optional(values.file),
        "JSON file of the keys that encrypt secrets; required by serve, re-read on change",
    )
    catalogue_file: Path | None = setting(
        "PROVISION_CATALOGUE_FILE",
        "",
        values.optional(values.file),
        "YAML file of providers and runtimes; default the shipped one, re-read on change",
    )
    templates_file: Path | None = setting(
        "PROVISION_TEMPLATES_FILE",
        "",
        values.optional(values.file),
        "YAML file of workspace templates and probes; re-read on change",
    )
    registry_address: str = setting(
        "PROVISION_REGISTRY_ADDRESS",
        "127.0.0.1:7101",
        values.servers_target,
        "where registry-service is reached from here; dns:///host:port for all replicas of a name",
    )
    registry_token_file: Path | None = setting(
        "PROVISION_REGISTRY_TOKEN_FILE",
        "",
        values.optional(values.file),
        "file with this service's own credential at the registry; required, re-read on change",
    )
    registry_tls: bool = setting(
        "PROVISION_REGISTRY_TLS", "0", values.switch, "1: speak TLS with the registry"
    )
    registry_ca_file: Path | None = setting(
        "PROVISION_REGISTRY_CA_FILE",
        "",
        values.optional(values.file),
        "PEM authorities of the registry, re-read on change; default the system's. Boxes get them",
    )
    registry_certificate_file: Path | None = setting(
        "PROVISION_REGISTRY_CERTIFICATE_FILE",
        "",
        values.optional(values.file),
        "PEM chain that this service shows to the registry (mutual TLS), re-read on change",
    )
    registry_key_file: Path | None = setting(
        "PROVISION_REGISTRY_KEY_FILE",
        "",
        values.optional(values.file),
        "PEM key of that certificate, re-read on change",
    )
    box_registry_address: str | None = setting(
        "PROVISION_BOX_REGISTRY_ADDRESS",
        "",
        values.optional(values.box_target),
        "where boxes reach the registry, host:port, or https://host:port for TLS with the system's"
        " authorities; default PROVISION_REGISTRY_ADDRESS",
    )
    default_billing: str = setting(
        "PROVISION_DEFAULT_BILLING",
        "byok",
        values.one_of("byok", "platform_managed"),
        "whether SetGlobalSecret takes vendors' keys (byok) or refuses them (platform_managed)"
        " while SetTenantBilling has set nothing for the tenant; it does not decide who pays",
    )
    tickets_from_birth: bool = setting(
        "PROVISION_TICKETS_FROM_BIRTH",
        "1",
        values.switch,
        "0: whoever knows the id of a workspace that was never launched may register as its box",
    )
    lease: timedelta = setting(
        "PROVISION_LEASE",
        "15m",
        values.duration(timedelta(seconds=1), _LONGEST),
        "how long a launch is claimed without CompleteProvision or ExtendProvision",
    )
    ticket_ttl: timedelta = setting(
        "PROVISION_TICKET_TTL",
        "45m",
        values.duration(timedelta(seconds=1), _LONGEST),
        "how long a bootstrap ticket lives; never less than the lease",
    )
    allow_private_urls: bool = setting(
        "PROVISION_ALLOW_PRIVATE_URLS",
        "0",
        values.switch,
        "1: the url of a workspace may lead into a private address range",
    )
    force_tier: int | None = setting(
        "PROVISION_FORCE_TIER",
        "",
        values.optional(values.whole(1, 4)),
        "tier of every new workspace, whatever was asked for; a SaaS deployment sets 4",
    )
    unassigned_secrets: str = setting(
        "PROVISION_UNASSIGNED_SECRETS",
        "anthropic",
        values.one_of("anthropic", "any"),
        "which vendor a workspace's ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN counts for when"
        " nobody said; any: its model's vendor, only until what `migrate` lists has been mended",
    )
    probes: str = setting(
        "PROVISION_PROBES",
        "warn",
        values.one_of("off", "warn", "enforce"),
        "credential probes at create and provision: off, warn, or enforce (refuses on 401)",
    )
    probes_allow_private: bool = setting(
        "PROVISION_PROBES_ALLOW_PRIVATE",
        "0",
        values.switch,
        "1: a probe may connect to private addresses",
    )
    probes_allow_loopback_http: bool = setting(
        "PROVISION_PROBES_ALLOW_LOOPBACK_HTTP",
        "0",
        values.switch,
        "1: a probe may speak plain http with this machine (tests)",
    )
    reconciler: bool = setting(
        "PROVISION_RECONCILER", "on", values.on_off, "off: never mark silent boxes for a launch"
    )
    platform_base_url: str | None = setting(
        "PLATFORM_LLM_BASE_URL",
        "",
        values.optional(values.web_url),
        "the metered proxy, openai protocol; {workspace_id} in its path becomes the workspace's id",
    )
    platform_anthropic_base_url: str | None = setting(
        "PLATFORM_LLM_ANTHROPIC_BASE_URL",
        "",
        values.optional(values.web_url),
        "the metered proxy, anthropic protocol; {workspace_id} likewise",
    )
    platform_usage_url: str | None = setting(
        "PLATFORM_LLM_USAGE_URL",
        "",
        values.optional(values.web_url),
        "where the proxy reports what was used",
    )
    platform_tokens: str = setting(
        "PLATFORM_LLM_TOKENS",
        "tenant",
        values.one_of("tenant", "box"),
        "what a box shows at the proxy: its tenant's usage token, or a token of its own (box) that"
        " the proxy checks at the registry and that ends with its launch",
    )
    platform_usage_token: Secret | None = secret_setting(
        "PLATFORM_LLM_USAGE_TOKEN",
        values.secret,
        "usage token of the deployment; serves a single tenant",
    )
    platform_usage_token_shared: bool = setting(
        "PLATFORM_LLM_USAGE_TOKEN_SHARED",
        "0",
        values.switch,
        "1: several tenants may use the token of the deployment",
    )

    @property
    def address_for_boxes(self) -> str:
        """What a box gets as WORKSPACE_REGISTRY_ADDRESS.

        A box that gets no authorities (PROVISION_REGISTRY_CA_FILE) is told to speak TLS by
        `https://`.
        """
        address = self.box_registry_address or self.registry_address.removeprefix("dns:///")
        bare = self.registry_tls and self.registry_ca_file is None
        return f"https://{address}" if bare and "://" not in address else address

    @property
    def ticket_lifetime(self) -> timedelta:
        """How long a ticket lives. One that ran out before its claim would keep its box out for
        good.
        """
        return max(self.ticket_ttl, self.lease)

    @override
    def missing(self, *, embedded: bool) -> list[str]:
        problems = ServiceSettings.missing(self, embedded=embedded)
        if self.secrets_keys_file is None:
            problems.append("PROVISION_SECRETS_KEYS_FILE must be set: no secret could be stored")
        if self.registry_token_file is None:
            problems.append(
                "PROVISION_REGISTRY_TOKEN_FILE must be set: the registry would refuse us"
            )
        return problems

    @override
    def contradictions(self) -> list[str]:
        problems = ServiceSettings.contradictions(self)
        if (self.registry_certificate_file is None) != (self.registry_key_file is None):
            problems.append(
                "PROVISION_REGISTRY_CERTIFICATE_FILE and PROVISION_REGISTRY_KEY_FILE go together"
            )
        tls_only = (self.registry_ca_file, self.registry_certificate_file)
        if any(tls_only) and not self.registry_tls:
            problems.append(
                "PROVISION_REGISTRY_CA_FILE and PROVISION_REGISTRY_CERTIFICATE_FILE need"
                " PROVISION_REGISTRY_TLS=1"
            )
        if self.platform_usage_token_shared and self.platform_usage_token is None:
            problems.append("PLATFORM_LLM_USAGE_TOKEN_SHARED needs PLATFORM_LLM_USAGE_TOKEN")
        return problems
