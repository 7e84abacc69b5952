"""The metered proxy as a deployment configured it, and who it is for."""

from __future__ import annotations

from dataclasses import dataclass

from agentworkspace.core.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformProxy:
    """Addresses of the proxy and the usage token of the tenant at hand; blank is absent.

    `usage_token_unreadable`: the tenant has a token of its own, and it does not decrypt.
    """

    base_url: str | None = None
    anthropic_base_url: str | None = None
    usage_url: str | None = None
    usage_token: Secret | None = None
    usage_token_unreadable: bool = False

    def missing_for(self, *, anthropic_native: bool) -> tuple[str, ...]:
        """What a platform-paid launch lacks on the surface that its runtime speaks."""
        missing = []
        if anthropic_native:
            if not (self.anthropic_base_url or "").strip():
                missing.append("PLATFORM_LLM_ANTHROPIC_BASE_URL")
        elif not (self.base_url or "").strip():
            missing.append("PLATFORM_LLM_BASE_URL")
        if self.usage_token is None or self.usage_token.is_blank():
            missing.append("a usage token for the tenant")
        return tuple(missing)

    def addresses(self) -> tuple[str, ...]:
        """Every configured address."""
        every = (self.base_url, self.anthropic_base_url, self.usage_url)
        return tuple(url for url in every if url and url.strip())
