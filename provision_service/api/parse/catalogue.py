"""CatalogueService: requests to questions that the catalogue alone answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from agentworkspace.provision.v1 import catalogue_service_pb2 as pb
from provision_service.api.parse.fields import Fields
from provision_service.api.parse.workspaces import LONGEST_MODEL, LONGEST_WORD
from provision_service.commands.call import Call
from provision_service.commands.preview_catalogue import PreviewCatalogue

LARGEST_CATALOGUE_BYTES: Final = 1024 * 1024
_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class Page:
    """Entries `start` to `start + size` of a list whose order never changes by itself."""

    size: int
    start: int


@dataclass(frozen=True, slots=True)
class Derive:
    """Which provider would serve `model`, with these names present on the workspace."""

    runtime: str
    model: str
    names: frozenset[str]


class _Paged(Protocol):
    page_size: int
    page_token: str


def page(request: _Paged) -> Page:
    fields = Fields()
    found = _page(fields, request)
    return fields.finish(found)


def list_models(request: pb.ListModelsRequest) -> tuple[str, Page]:
    fields = Fields()
    runtime = fields.text(request.runtime, "runtime", at_least=1, at_most=LONGEST_WORD)
    found = _page(fields, request)
    return fields.finish((runtime, found))


def derive_provider(request: pb.DeriveProviderRequest) -> Derive:
    fields = Fields()
    question = Derive(
        runtime=fields.text(request.runtime, "runtime", at_most=LONGEST_WORD),
        model=fields.text(request.model.strip(), "model", at_most=LONGEST_MODEL),
        names=frozenset(fields.names(request.auth_env_names, "auth_env_names")),
    )
    return fields.finish(question)


def preview_catalogue(request: pb.PreviewCatalogueRequest, call: Call) -> PreviewCatalogue:
    fields = Fields()
    size = len(request.text.encode())
    if not 1 <= size <= LARGEST_CATALOGUE_BYTES:
        fields.refuse("text", f"must be 1 to {LARGEST_CATALOGUE_BYTES} bytes, a whole catalogue")
    return fields.finish(PreviewCatalogue(call=call, text=request.text))


def _page(fields: Fields, request: _Paged) -> Page:
    token = request.page_token
    well_formed = token.isascii() and token.isdecimal() and len(token) <= _DIGITS
    if token and not well_formed:
        fields.refuse("page_token", "must come from an earlier answer")
    return Page(
        size=fields.page_size(request.page_size), start=int(token) if token and well_formed else 0
    )
