"""Say what another catalogue would change for every stored workspace. Changes nothing.

It goes through the workspaces page by page, each in a transaction of its own: nothing holds a
snapshot for long, and what is written meanwhile is seen or not, as it comes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from agentworkspace.core.refusal import Refusal, SharedReason, Violation
from provision_service.catalogue.catalogue import Catalogue
from provision_service.catalogue.document import CatalogueInvalid
from provision_service.catalogue.parse import parse_catalogue
from provision_service.catalogue.usage import removed_ids
from provision_service.commands.call import Call, require_every_tenant
from provision_service.commands.deployment import Deployment
from provision_service.domain.catalogue_change import Aspect, Change, Comparison
from provision_service.domain.ownership import unsaid_as_anyones
from provision_service.domain.secrets import MergedSecrets
from provision_service.launch.decide import Files, platform_of, with_template
from provision_service.storage import catalogue_use, workspaces
from provision_service.storage import secrets as stored_secrets
from provision_service.storage.store import Store

_PAGE: Final = 500
_MOST_PROBLEMS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewCatalogue:
    """`text` is a whole catalogue file. The caller must act for all tenants."""

    call: Call
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A workspace that would be launched differently from now."""

    workspace_id: str
    tenant_id: str
    runtime: str
    change: Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The versions that are compared, and about how many workspaces there are. `refused_for`: why
    the service would not take the catalogue over, a sentence for each used id that it lacks.
    """

    current_version: str
    proposed_version: str
    workspace_count: int
    refused_for: tuple[str, ...]


@dataclass(slots=True)
class Preview:
    """A comparison on its way through the workspaces."""

    deployment: Deployment
    files: Files
    comparison: Comparison
    begun: Begun
    examined_count: int = 0
    changed_count: int = 0
    payer_changed_count: int = 0
    finished: bool = False
    _after: str = ""

    def next_page(self, store: Store) -> list[Changed]:
        """The changes among the next workspaces; then `finished` says whether that was all."""
        with store.reading() as tx:
            page = workspaces.living(tx, after=self._after, limit=_PAGE)
            whose = {held.workspace.id: held.workspace.tenant_id for held in page}
            secrets = stored_secrets.read_merged_of_many(tx, whose)
            tenants = {held.tenant.tenant_id: held.tenant for held in page}
            platforms = {
                tenant_id: platform_of(tx, self.deployment, self.files, facts)
                for tenant_id, facts in tenants.items()
            }
        found = []
        for held in page:
            workspace = held.workspace
            change = self.comparison.of(
                with_template(workspace.spec, self.files),
                secrets[workspace.id],
                platforms[workspace.tenant_id],
            )
            if change.aspects:
                found.append(
                    Changed(
                        workspace_id=workspace.id,
                        tenant_id=workspace.tenant_id,
                        runtime=workspace.spec.runtime,
                        change=change,
                    )
                )
        self.examined_count += len(page)
        self.changed_count += len(found)
        self.payer_changed_count += sum(Aspect.PAYER in each.change.aspects for each in found)
        self.finished = len(page) < _PAGE
        self._after = page[-1].workspace.id if page else self._after
        return found


def begin(store: Store, command: PreviewCatalogue, deployment: Deployment) -> Preview:
    """Read the proposed catalogue. Raises INVALID_REQUEST with every problem found in it."""
    require_every_tenant(command.call)
    files = Files(deployment)
    proposed = _parsed(command.text)
    with store.reading() as tx:
        count = workspaces.count_living(tx)
        used = catalogue_use.used_models(tx)
    removed = removed_ids(files.catalogue, proposed, used)
    return Preview(
        deployment=deployment,
        files=files,
        comparison=Comparison(files.catalogue, proposed, _prepared(deployment)),
        begun=Begun(
            current_version=files.catalogue.version,
            proposed_version=proposed.version,
            workspace_count=count,
            refused_for=tuple(f"{one.what}; {one.remedy}" for one in removed),
        ),
    )


def _prepared(
    deployment: Deployment,
) -> Callable[[Catalogue, MergedSecrets], MergedSecrets]:
    return unsaid_as_anyones if deployment.unsaid_secrets_count else lambda _, secrets: secrets


def _parsed(text: str) -> Catalogue:
    try:
        return parse_catalogue(text, file="text")
    except CatalogueInvalid as error:
        shown = error.problems[:_MOST_PROBLEMS]
        raise Refusal(
            SharedReason.INVALID_REQUEST,
            f"the catalogue would be refused; the first of {len(error.problems)} problems:"
            f" {error.problems[0]}",
            metadata={"fields": "text", "problems": str(len(error.problems))},
            violations=[Violation("text", str(problem)) for problem in shown],
        ) from None
