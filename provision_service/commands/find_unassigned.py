"""Find workspaces refused only because nobody said which vendor a secret of theirs is for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from provision_service.catalogue.catalogue import Catalogue, Provider
from provision_service.commands.deployment import Deployment
from provision_service.domain.credentials import credential_of
from provision_service.domain.decision import Decision, Inputs
from provision_service.domain.ownership import unsaid_as_anyones
from provision_service.domain.refusals import Reason
from provision_service.launch.decide import Files, decide_stored
from provision_service.storage import workspaces
from provision_service.storage.store import Store

_PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Unassigned:
    """A workspace that would start if `key` were said to be `provider`'s."""

    tenant_id: str
    workspace_id: str
    model: str
    key: str
    provider: str

    @property
    def sentence(self) -> str:
        """What is wrong, and the command that mends it."""
        return (
            f"workspace {self.workspace_id} of tenant {self.tenant_id} would be refused:"
            f" `{self.model}` is {self.provider}'s, and nobody said whose its {self.key} is; if it"
            f" is theirs: workspacectl secrets assign-provider {self.key} {self.provider}"
            f" --workspace {self.workspace_id}"
        )


def run(store: Store, deployment: Deployment) -> Iterator[Unassigned]:
    """Every such workspace, a page at a time, so that no snapshot is held for long."""
    deployment = replace(deployment, unsaid_secrets_count=False)
    files = Files(deployment)
    shared = sorted(files.catalogue.names.shared)
    after = ""
    while True:
        with store.reading() as tx:
            page = workspaces.living(tx, after=after, limit=_PAGE, unsaid=shared)
            decided = [(held, decide_stored(tx, deployment, files, held)) for held in page]
        for held, (inputs, decision) in decided:
            missing = _missing(files.catalogue, inputs, decision, held.tenant.tenant_id)
            if missing is not None:
                yield missing
        if len(page) < _PAGE:
            return
        after = page[-1].workspace.id


def _missing(
    catalogue: Catalogue, inputs: Inputs, decision: Decision, tenant_id: str
) -> Unassigned | None:
    refusal = decision.refusal
    if refusal is None or refusal.reason is not Reason.MISSING_BYOK_CREDENTIAL:
        return None
    selected = decision.resolution.provider_selection
    provider: Provider | None = catalogue.providers.get(selected or "")
    if provider is None:
        return None
    credential = credential_of(catalogue, provider, unsaid_as_anyones(catalogue, inputs.secrets))
    if credential is None:
        return None
    return Unassigned(
        tenant_id=tenant_id,
        workspace_id=inputs.workspace_id,
        model=decision.resolution.effective_model,
        key=credential.key,
        provider=provider.name,
    )
