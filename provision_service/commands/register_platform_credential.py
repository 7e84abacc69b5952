"""Make a value the platform's own: no tenant may store it, no launch may carry it."""

from __future__ import annotations

from dataclasses import dataclass

from agentworkspace.core.refusal import Violation, refuse_shape
from agentworkspace.core.secret import Secret
from provision_service.commands.call import Call, record, require_every_tenant
from provision_service.domain.records import PlatformCredential, SecretHolder
from provision_service.storage import platform_credentials, workspaces
from provision_service.storage.encryption import shown
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterPlatformCredential:
    """The caller must act for all tenants. With `validate_only` the matches are only listed."""

    call: Call
    name: str
    value: Secret
    validate_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterPlatformCredentialResult:
    """The credential, and where tenants hold the same value already."""

    credential: PlatformCredential
    matches: tuple[SecretHolder, ...]


def run(store: Store, command: RegisterPlatformCredential) -> RegisterPlatformCredentialResult:
    """Register it; another value under the same name is added to it, say for a rotation."""
    require_every_tenant(command.call)
    _check(command)
    fingerprint = store.fingerprints.of(command.value)
    if command.validate_only:
        with store.reading() as tx:
            matches = platform_credentials.holders_of(tx, fingerprint)
            credential = PlatformCredential(
                name=command.name,
                fingerprint=shown(fingerprint),
                source=platform_credentials.REGISTERED,
                create_time=workspaces.now(tx),
            )
        return _result(credential, matches)
    with store.transaction() as tx:
        platform_credentials.register(tx, name=command.name, fingerprint=fingerprint)
        found = platform_credentials.find(tx, name=command.name, fingerprint=fingerprint)
        matches = platform_credentials.holders_of(tx, fingerprint)
        record(
            tx,
            command.call,
            "platform_credential.register",
            subject=command.name,
            details={"fingerprint": shown(fingerprint)},
        )
    if found is None:
        raise AssertionError("what was registered in a transaction is found in it")
    return _result(found, matches)


def _check(command: RegisterPlatformCredential) -> None:
    violations = []
    if command.name.startswith(platform_credentials.USAGE_TOKEN_PREFIX):
        violations.append(
            Violation(
                "name", f"`{platform_credentials.USAGE_TOKEN_PREFIX}` names belong to the service"
            )
        )
    if command.value.is_blank():
        violations.append(Violation("value", "must not be blank"))
    refuse_shape(violations)


def _result(
    credential: PlatformCredential, matches: list[tuple[bytes, SecretHolder]]
) -> RegisterPlatformCredentialResult:
    return RegisterPlatformCredentialResult(
        credential=credential, matches=tuple(holder for _, holder in matches)
    )
