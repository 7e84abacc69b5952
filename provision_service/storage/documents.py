"""Decisions as JSON documents; what was decided once must read the same for ever."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provision_service.domain.billing import BillingMode, Resolution, Source
from provision_service.domain.records import Billing, LastError, ManifestEntry
from provision_service.domain.refusals import Reason
from provision_service.domain.step import Notice, Step


def billing_document(billing: Billing) -> dict[str, Any]:
    """A Billing as JSON."""
    resolution = billing.resolution
    return {
        "workspace_id": resolution.workspace_id,
        "resolved_mode": resolution.resolved_mode.value,
        "source": resolution.source.value,
        "provider_selection": resolution.provider_selection,
        "workspace_override": resolution.workspace_override,
        "effective_model": resolution.effective_model,
        "effective_model_source": resolution.effective_model_source,
        "refusal": resolution.refusal,
        "steps": [[s.rule, s.fired, list(s.inputs), s.text] for s in resolution.steps],
        "catalogue_version": resolution.catalogue_version,
        "change": resolution.change,
        "refusal_message": billing.refusal_message,
        "warnings": [[w.code, w.text, dict(w.metadata)] for w in billing.warnings],
        "stored_override": billing.stored_override,
    }


def billing_from(document: Mapping[str, Any] | None) -> Billing | None:
    """The Billing of a document."""
    if document is None:
        return None
    override, refusal = document["workspace_override"], document["refusal"]
    resolution = Resolution(
        workspace_id=document["workspace_id"],
        resolved_mode=BillingMode(document["resolved_mode"]),
        source=Source(document["source"]),
        provider_selection=document["provider_selection"],
        workspace_override=BillingMode(override) if override else None,
        effective_model=document["effective_model"],
        effective_model_source=document["effective_model_source"],
        refusal=Reason(refusal) if refusal else None,
        steps=tuple(
            Step(rule, fired, tuple(inputs), text)
            for rule, fired, inputs, text in document["steps"]
        ),
        catalogue_version=document["catalogue_version"],
        change=document["change"],
    )
    return Billing(
        resolution=resolution,
        refusal_message=document["refusal_message"],
        # Older documents have no metadata.
        warnings=tuple(Notice(*parts) for parts in document["warnings"]),
        stored_override=document["stored_override"],
    )


def manifest_document(manifest: tuple[ManifestEntry, ...]) -> list[list[str]]:
    """A manifest as JSON."""
    return [[entry.name, entry.origin, entry.fingerprint] for entry in manifest]


def manifest_from(document: list[Any]) -> tuple[ManifestEntry, ...]:
    """The manifest of a document."""
    return tuple(
        ManifestEntry(name=name, origin=origin, fingerprint=fingerprint)
        for name, origin, fingerprint in document
    )


def last_error_document(error: LastError) -> dict[str, Any]:
    """A LastError as JSON."""
    return {
        "code": error.code,
        "message": error.message,
        "incarnation": error.incarnation,
        "time": error.time.isoformat(),
    }
