"""What exactly is asked to prove a credential: one URL and its headers."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from agentworkspace.core.secret import Secret
from provision_service.catalogue.catalogue import (
    PLATFORM_ANTHROPIC_BASE_URL,
    PLATFORM_BASE_URL,
    AuthMode,
    Protocol,
    Provider,
)
from provision_service.domain.probing import ProbeRequest, TemplateProbe, Verdict

_PLACE: Final = re.compile(r"\{value\}|\{basic:([^{}]*)\}")
_SENDABLE: Final = re.compile(r"[\x21-\x7e]+(?:[ \t]+[\x21-\x7e]+)*")
_ANTHROPIC_VERSION: Final = "anthropic-version: 2023-06-01"


class NotAsked(Exception):
    """There is nothing to ask, or nothing that may be sent; the text says why."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One GET. `headers` hold the secret, so they are never shown. Equal ones are asked once."""

    probe: TemplateProbe
    host: str
    port: int
    tls: bool
    target: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)


def plan(request: ProbeRequest, platform: Mapping[str, str]) -> Asked:
    """The GET that answers `request`. `platform` maps the catalogue's placeholders to URLs."""
    if request.value is None or request.value.is_blank():
        raise NotAsked(f"{request.env} is not set")
    probe = request.probe
    if probe is None:
        if request.provider is None:
            raise NotAsked("no probe is configured for it")
        probe = _of_provider(request.env, request.provider, platform)
    parts = urlsplit(probe.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    tls = parts.scheme == "https"
    return Asked(
        probe=probe,
        host=parts.hostname or "",
        port=parts.port or (443 if tls else 80),
        tls=tls,
        target=target,
        headers=_headers(probe.header, request.value),
    )


def platform_urls(base_url: str | None, anthropic_base_url: str | None) -> dict[str, str]:
    """What the catalogue's placeholders stand for in this deployment."""
    both = {PLATFORM_BASE_URL: base_url, PLATFORM_ANTHROPIC_BASE_URL: anthropic_base_url}
    return {name: url for name, url in both.items() if url}


def _of_provider(env: str, provider: Provider, platform: Mapping[str, str]) -> TemplateProbe:
    """List the provider's models: that costs nothing, and a wrong key is refused."""
    base = provider.base_url or ""
    base = platform.get(base, base)
    if not base or "{" in base:
        raise NotAsked(f"{provider.name} has no endpoint to ask")
    if provider.auth_mode is AuthMode.WIF_ADC:
        raise NotAsked(f"{provider.name} takes no key that could be sent")
    header = "Authorization: Bearer {value}"
    if provider.protocol is Protocol.ANTHROPIC:
        if provider.auth_mode is AuthMode.ANTHROPIC_API:
            header = "x-api-key: {value}"
        header = f"{header}\n{_ANTHROPIC_VERSION}"
    # Vendors mean many things by 403 (region, plan, a key without this right): no verdict.
    return TemplateProbe(
        env=env,
        url=f"{base.rstrip('/')}/models",
        header=header,
        on_403=Verdict.INCONCLUSIVE,
    )


def _headers(form: str, value: Secret) -> tuple[tuple[str, str], ...]:
    """The lines of `form` with the secret in its place. NotAsked when no header can carry it."""
    headers = []
    for line in form.splitlines():
        name, _, text = line.partition(":")
        text = _PLACE.sub(lambda place: _inserted(place, value), text.strip())
        if not _SENDABLE.fullmatch(text):
            raise NotAsked("its value has characters that no header can carry")
        headers.append((name.strip(), text))
    return tuple(headers)


def _inserted(place: re.Match[str], value: Secret) -> str:
    user = place[1]
    if user is None:
        return value.reveal()
    return base64.b64encode(f"{user}:{value.reveal()}".encode()).decode("ascii")
