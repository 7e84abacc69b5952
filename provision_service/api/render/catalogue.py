"""Lists of the catalogue. A page token is an offset: the order never changes by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from agentworkspace.provision.v1 import catalogue_service_pb2 as pb
from agentworkspace.provision.v1 import resolution_pb2
from agentworkspace.rpc.wire_enums import number_of_text
from provision_service.api import wire_enums
from provision_service.api.parse.catalogue import Page
from provision_service.api.render.billing import reason, steps
from provision_service.catalogue.catalogue import Catalogue, Provider, Runtime
from provision_service.catalogue.derivation import Derivation
from provision_service.commands.preview_catalogue import Begun, Changed, Preview
from provision_service.domain.billing import BillingMode
from provision_service.domain.catalogue_change import Aspect, Outcome

T = TypeVar("T")


def providers(catalogue: Catalogue, page: Page) -> pb.ListProvidersResponse:
    shown, after = _cut(tuple(catalogue.providers.values()), page)
    return pb.ListProvidersResponse(
        providers=[_provider(each) for each in shown],
        catalogue_version=catalogue.version,
        next_page_token=after,
    )


def runtimes(catalogue: Catalogue, page: Page) -> pb.ListRuntimesResponse:
    every = [_runtime(each) for each in catalogue.runtimes.values()]
    without = sorted(catalogue.external_like) + sorted(catalogue.virtual)
    every += [pb.Runtime(name=name, launched=False) for name in without]
    shown, after = _cut(every, page)
    return pb.ListRuntimesResponse(
        runtimes=shown, catalogue_version=catalogue.version, next_page_token=after
    )


def models(catalogue: Catalogue, runtime: Runtime | None, page: Page) -> pb.ListModelsResponse:
    """The menu of `runtime`; empty for None, a runtime that has no menu by design."""
    offered: dict[str, list[Provider]] = {}
    for offering in runtime.offerings if runtime is not None else ():
        for model in offering.models:
            if not model.withdrawn:
                offered.setdefault(model.id, []).append(offering.provider)
    shown, after = _cut(tuple(offered.items()), page)
    return pb.ListModelsResponse(
        models=[_model(model_id, served_by) for model_id, served_by in shown],
        catalogue_version=catalogue.version,
        next_page_token=after,
    )


def derived(catalogue: Catalogue, derivation: Derivation) -> pb.DeriveProviderResponse:
    return pb.DeriveProviderResponse(
        provider=derivation.provider.name if derivation.provider else "",
        steps=steps(derivation.steps),
        catalogue_version=catalogue.version,
    )


def begun(begun: Begun) -> pb.PreviewCatalogueResponse:
    return pb.PreviewCatalogueResponse(
        begun=pb.CataloguePreviewBegun(
            current_version=begun.current_version,
            proposed_version=begun.proposed_version,
            workspace_count=begun.workspace_count,
            refused_for=begun.refused_for,
        )
    )


def changed(changed: Changed) -> pb.PreviewCatalogueResponse:
    change = changed.change
    return pb.PreviewCatalogueResponse(
        changed=pb.CatalogueChange(
            workspace_id=changed.workspace_id,
            tenant_id=changed.tenant_id,
            runtime=changed.runtime,
            before=_outcome(change.before, changed.workspace_id),
            after=_outcome(change.after, changed.workspace_id),
            payer_changed=Aspect.PAYER in change.aspects,
            aspects=[wire_enums.CATALOGUE_ASPECT[aspect] for aspect in change.aspects],
        )
    )


def progress(preview: Preview) -> pb.PreviewCatalogueResponse:
    return pb.PreviewCatalogueResponse(
        progress=pb.CataloguePreviewProgress(examined_count=preview.examined_count)
    )


def summary(preview: Preview) -> pb.PreviewCatalogueResponse:
    return pb.PreviewCatalogueResponse(
        summary=pb.CataloguePreviewSummary(
            examined_count=preview.examined_count,
            changed_count=preview.changed_count,
            payer_changed_count=preview.payer_changed_count,
        )
    )


def _outcome(outcome: Outcome, workspace_id: str) -> pb.CatalogueOutcome:
    return pb.CatalogueOutcome(
        payer=outcome.payer,
        mode=number_of_text(
            wire_enums.MODE, outcome.payer, resolution_pb2.BILLING_MODE_UNSPECIFIED
        ),
        provider=outcome.provider,
        endpoint=outcome.shown_endpoint(workspace_id),
        credential=outcome.credential,
        model=outcome.model,
        refusal=reason(outcome.refusal),
        refusal_message=outcome.refusal_message,
    )


def _provider(provider: Provider) -> pb.Provider:
    return pb.Provider(
        name=provider.name,
        display_name=provider.display_name,
        protocol=provider.protocol,
        auth_mode=provider.auth_mode,
        auth_env=provider.auth_env,
        model_pattern=provider.pattern,
        platform=provider.is_platform,
        base_url=_url(provider.base_url),
        anthropic_base_url=_url(provider.anthropic_base_url),
        speaks=wire_enums.PROTOCOL[provider.protocol],
        authentication=wire_enums.AUTH_MODE[provider.auth_mode],
    )


def _url(url: str | None) -> str:
    """The endpoint as shown; empty for the platform's, which is a setting of the deployment."""
    return "" if url is None or url.startswith("${") else url


def _runtime(runtime: Runtime) -> pb.Runtime:
    return pb.Runtime(
        name=runtime.name,
        providers=[provider.name for provider in runtime.providers],
        default_model=runtime.default_model or "",
        launched=True,
    )


def _model(model_id: str, served_by: Sequence[Provider]) -> pb.Model:
    first = served_by[0]
    mode = BillingMode.PLATFORM_MANAGED if first.is_platform else BillingMode.BYOK
    names = dict.fromkeys(name for provider in served_by for name in provider.auth_env)
    return pb.Model(
        id=model_id,
        providers=[provider.name for provider in served_by],
        billing_mode=mode,
        mode=wire_enums.MODE[mode],
        auth_env=names,
    )


def _cut(every: Sequence[T], page: Page) -> tuple[Sequence[T], str]:
    end = page.start + page.size
    return every[page.start : end], str(end) if end < len(every) else ""
