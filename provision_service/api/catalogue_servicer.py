"""CatalogueService: the lists are answered from the catalogue in force, without the store."""

from __future__ import annotations

from collections.abc import AsyncIterator

from typing_extensions import override

from agentworkspace.core.refusal import AnyReason, Refusal
from agentworkspace.provision.v1 import catalogue_service_pb2 as pb
from agentworkspace.provision.v1 import catalogue_service_pb2_grpc
from agentworkspace.rpc import calls
from provision_service.api.box_bearers import BoxBearers
from provision_service.api.core import Core, current_call
from provision_service.api.parse import catalogue as parse
from provision_service.api.render import catalogue as render
from provision_service.catalogue.catalogue import Catalogue
from provision_service.catalogue.derivation import PresentNames, derive
from provision_service.commands import preview_catalogue
from provision_service.domain.refusals import Reason


class Catalogues(catalogue_service_pb2_grpc.CatalogueServiceServicer):
    def __init__(self, core: Core, bearers: BoxBearers) -> None:
        self._core = core
        self._bearers = bearers

    @override
    async def ListProviders(
        self, request: pb.ListProvidersRequest, context: object
    ) -> pb.ListProvidersResponse:
        await self._bearers.require(calls.current())
        return render.providers(self._core.deployment.catalogue(), parse.page(request))

    @override
    async def ListRuntimes(
        self, request: pb.ListRuntimesRequest, context: object
    ) -> pb.ListRuntimesResponse:
        await self._bearers.require(calls.current())
        return render.runtimes(self._core.deployment.catalogue(), parse.page(request))

    @override
    async def ListModels(
        self, request: pb.ListModelsRequest, context: object
    ) -> pb.ListModelsResponse:
        await self._bearers.require(calls.current())
        name, page = parse.list_models(request)
        catalogue = self._core.deployment.catalogue()
        runtime = catalogue.runtimes.get(name)
        if runtime is None and not catalogue.has_no_entry_by_design(name):
            raise _refused(catalogue, Reason.RUNTIME_UNKNOWN, name, "", ())
        return render.models(catalogue, runtime, page)

    @override
    async def DeriveProvider(
        self, request: pb.DeriveProviderRequest, context: object
    ) -> pb.DeriveProviderResponse:
        await self._bearers.require(calls.current())
        asked = parse.derive_provider(request)
        catalogue = self._core.deployment.catalogue()
        derivation = derive(
            catalogue,
            runtime=asked.runtime,
            model=asked.model,
            present=PresentNames.unscoped(asked.names),
        )
        if derivation.reason is not None:
            names = tuple(provider.name for provider in derivation.candidates)
            raise _refused(catalogue, derivation.reason, asked.runtime, asked.model, names)
        return render.derived(catalogue, derivation)

    @override
    async def PreviewCatalogue(
        self, request: pb.PreviewCatalogueRequest, context: object
    ) -> AsyncIterator[pb.PreviewCatalogueResponse]:
        core, command = self._core, parse.preview_catalogue(request, current_call())
        preview = await core.run(preview_catalogue.begin, command, core.deployment)
        yield render.begun(preview.begun)
        while not preview.finished:
            for changed in await core.run(preview.next_page):
                yield render.changed(changed)
            yield render.progress(preview)
        yield render.summary(preview)


def _refused(
    catalogue: Catalogue, reason: AnyReason, runtime: str, model: str, candidates: tuple[str, ...]
) -> Refusal:
    texts: dict[AnyReason, str] = {
        Reason.RUNTIME_UNKNOWN: f"runtime `{runtime}` is not in the catalogue; it has "
        + ", ".join(catalogue.runtimes),
        Reason.MODEL_REQUIRED: "a model is needed to derive its provider",
        Reason.MODEL_UNREGISTERED: f"no provider of runtime `{runtime}` serves `{model}`;"
        " ListModels names those that are served",
        Reason.PROVIDER_AMBIGUOUS: f"`{model}` is served by {', '.join(candidates)}, and the names"
        " given do not decide",
    }
    metadata = {"runtime": runtime, "model": model, "providers": ", ".join(candidates)}
    shown = {name: text for name, text in metadata.items() if text}
    return Refusal(reason, texts[reason], metadata=shown)
