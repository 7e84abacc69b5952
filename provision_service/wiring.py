"""From settings to the objects that need them; nothing is started here."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import grpc
import structlog

from agentworkspace.client.channel import ClientTls, blocking_channel
from agentworkspace.core.pem_files import PemInvalid
from agentworkspace.core.watched_files import Observe, WatchedFiles, unobserved
from agentworkspace.service.declared_settings import BadSettings
from agentworkspace.service.secret_file import SecretFile
from provision_service.clients.probe_plan import platform_urls
from provision_service.clients.probes import VendorProber
from provision_service.commands.deployment import Deployment
from provision_service.config import Settings
from provision_service.domain.billing import BillingMode
from provision_service.domain.platform_proxy import PlatformProxy
from provision_service.domain.probing import ProbesPolicy
from provision_service.metrics import ProvisionMetrics
from provision_service.storage.keyring import KeysFile
from provision_service.workers.files import DeploymentFiles

_LONGEST_TOKEN: Final = 4096
_CERTIFICATE: Final = re.compile(
    "-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\\s]+-----END CERTIFICATE-----"
)


def certificates_of(path: Path) -> str:
    """The certificates of a PEM file and nothing else of it: a box must not get the remarks of
    a bundle, which its client cannot read, and never a key that lies beside them. PemInvalid when
    there is none.
    """
    found = _CERTIFICATE.findall(path.read_text(encoding="utf-8", errors="replace"))
    if not found:
        raise PemInvalid(
            f"PROVISION_REGISTRY_CA_FILE: {path} holds no certificate; name a PEM file"
        )
    return "\n".join(found) + "\n"


def observer(metrics: ProvisionMetrics, file: str) -> Observe:
    """Counts and logs how a changed file was taken; `file` is one of the metric's FILES."""
    log = structlog.get_logger("provision.files")

    def observe(*, refused: bool) -> None:
        metrics.file(file, refused=refused)
        if refused:
            log.error("a changed file cannot be used, keeping the last", file=file)
        else:
            log.info("file read again", file=file)

    return observe


def keys_file(settings: Settings, observe: Observe = unobserved) -> KeysFile:
    """The keys file of the settings. BadKeys when it is refused."""
    if settings.secrets_keys_file is None:
        raise ValueError("no keys file: config.require_for_serving was not asked")
    log = structlog.get_logger("provision.files")
    return KeysFile(settings.secrets_keys_file, report=log.error, observe=observe)


def deployment_of(
    settings: Settings, files: DeploymentFiles, observe_ca: Observe = unobserved
) -> Deployment:
    """What the settings and files decide, as the commands take it."""
    ca_file = settings.registry_ca_file
    platform = PlatformProxy(
        base_url=settings.platform_base_url,
        anthropic_base_url=settings.platform_anthropic_base_url,
        usage_url=settings.platform_usage_url,
        usage_token=settings.platform_usage_token,
    )
    return Deployment(
        catalogue=files.catalogue,
        templates=files.templates,
        registry_address=settings.address_for_boxes,
        registry_ca=(
            WatchedFiles((ca_file,), partial(certificates_of, ca_file), observe_ca)
            if ca_file is not None
            else str
        ),
        platform=platform.for_boxes() if settings.platform_tokens == "box" else platform,
        usage_token_shared=settings.platform_usage_token_shared,
        default_billing=BillingMode(settings.default_billing),
        probes=ProbesPolicy(settings.probes),
        tickets_from_birth=settings.tickets_from_birth,
        unsaid_secrets_count=settings.unassigned_secrets == "any",
        forced_tier=settings.force_tier,
        provision_lease=settings.lease,
        ticket_ttl=settings.ticket_lifetime,
        admit_budget=timedelta(seconds=2),
    )


def prober_of(settings: Settings) -> VendorProber:
    return VendorProber(
        platform=platform_urls(settings.platform_base_url, settings.platform_anthropic_base_url),
        allow_private=settings.probes_allow_private,
        allow_loopback_http=settings.probes_allow_loopback_http,
    )


def registry_token(path: Path, observe: Observe = unobserved) -> SecretFile:
    """The service's own credential at the registry. BadSettings when the file holds none."""
    try:
        return SecretFile(path, _one_word, observe)
    except ValueError:
        told = f"{path}: must hold one line with the credential and nothing else"
        raise BadSettings([f"PROVISION_REGISTRY_TOKEN_FILE: {told}"]) from None


def _one_word(text: str) -> None:
    if len(text) > _LONGEST_TOKEN or not text.isascii() or not text.isprintable():
        raise ValueError("no credential")


def registry_channel(
    settings: Settings, *, observe_tls: Observe = unobserved, observe_token: Observe = unobserved
) -> grpc.Channel:
    """The channel to the registry, whose files are read again by the first call after a change.
    OSError, PemInvalid or BadSettings when they cannot be used at the start.
    """
    if settings.registry_token_file is None:
        raise ValueError("no registry token: config.require_for_serving was not asked")
    tls = None
    if settings.registry_tls:
        tls = ClientTls(
            ca_file=settings.registry_ca_file,
            certificate_file=settings.registry_certificate_file,
            key_file=settings.registry_key_file,
        )
    return blocking_channel(
        settings.registry_address,
        bearer=registry_token(settings.registry_token_file, observe_token),
        tls=tls,
        observe=observe_tls,
    )
