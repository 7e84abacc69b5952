"""Start-up step: the deployment's usage token becomes a platform credential by itself."""

from __future__ import annotations

from dataclasses import dataclass

from agentworkspace.core.secret import Secret
from provision_service.commands.call import SYSTEM, record
from provision_service.storage import platform_credentials
from provision_service.storage.encryption import shown
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptUsageToken:
    """PLATFORM_LLM_USAGE_TOKEN as configured; None or blank forgets the last one."""

    usage_token: Secret | None


def run(store: Store, command: AdoptUsageToken) -> None:
    """Register it in place of the one of an earlier configuration.

    While the token stays the same, the tenant that it serves stays the same, too.
    """
    token = command.usage_token
    given = token is not None and not token.is_blank()
    fingerprint = store.fingerprints.of(token) if given and token is not None else None
    with store.transaction() as tx:
        name = platform_credentials.DEPLOYMENT_TOKEN
        gone, is_new = platform_credentials.set_usage_token(
            tx, name=name, fingerprint=fingerprint, tenant_id=None
        )
        if gone or is_new:
            details = {"from": " ".join(map(shown, gone)), "to": shown(fingerprint or b"")}
            record(tx, SYSTEM, "platform_credential.adopt", subject=name, details=details)
