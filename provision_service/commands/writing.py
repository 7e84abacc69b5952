"""The checks and the warnings that writes of secrets share."""

from __future__ import annotations

from agentworkspace.core.refusal import Refusal
from agentworkspace.core.secret import Secret
from provision_service.domain.decision import Decision
from provision_service.domain.refusals import Reason
from provision_service.domain.step import Notice
from provision_service.storage import secrets
from provision_service.storage.store import Transaction


def refuse_comingled(tx: Transaction, key: str, value: Secret) -> None:
    """Raise PLATFORM_CREDENTIAL_COMINGLED for a value that is the platform's own."""
    if secrets.comingled_keys(tx, {key: value}):
        raise Refusal(
            Reason.PLATFORM_CREDENTIAL_COMINGLED,
            f"the value given for {key} is a credential of the platform; use the tenant's own",
            metadata={"key": key},
        )


def payer_changed(before: Decision, after: Decision) -> tuple[Notice, ...]:
    """A warning when the write made somebody else pay, or another vendor serve.

    Empty where the next launch would be refused: then nobody pays, and the refusal is warned of.
    """
    if after.refusal is not None:
        return ()
    was, now = before.resolution, after.resolution
    found: list[Notice] = []
    if was.resolved_mode is not now.resolved_mode:
        found.append(
            Notice(
                "PAYER_CHANGED",
                f"the payer changed: {was.resolved_mode} before,"
                f" {now.resolved_mode} from the next launch on",
                {"before": was.resolved_mode.value, "after": now.resolved_mode.value},
            )
        )
    elif was.provider_selection != now.provider_selection:
        found.append(
            Notice(
                "PROVIDER_CHANGED",
                f"the provider changed: {was.provider_selection or 'none'}"
                f" before, {now.provider_selection or 'none'} from the next launch on",
                {"before": was.provider_selection or "", "after": now.provider_selection or ""},
            )
        )
    return tuple(found)


def about(key: str, decision: Decision) -> tuple[Notice, ...]:
    """What the decision warns of, as far as it is about one secret."""
    return tuple(
        notice
        for notice in decision.warnings
        if key in (notice.metadata.get("name"), notice.metadata.get("other"))
    )
