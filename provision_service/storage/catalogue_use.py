"""What stored workspaces need of a catalogue, for `check-config`."""

from __future__ import annotations

from sqlalchemy import Connection, Select, select
from sqlalchemy.dialects.postgresql import distinct_on

from provision_service.catalogue.usage import UsedModel
from provision_service.storage.models import ProvisionRow, WorkspaceRow

_W = WorkspaceRow
_P = ProvisionRow


def used_models(tx: Connection) -> list[UsedModel]:
    """What each workspace's last launch ran on, or what its spec asks for before any; each once.

    A model that was put into a spec after the last launch does not count: it may never have been
    served.
    """
    launched = {UsedModel(*row) for row in tx.execute(_last_launches())}
    waiting = {UsedModel(*row) for row in tx.execute(_never_launched()) if row.model.strip()}
    return sorted(launched | waiting, key=lambda used: (used.runtime, used.model, used.provider))


def _last_launches() -> Select[str, str, str]:
    last = (
        select(_P.workspace_id, _P.billing)
        .where(_P.deliver_time.is_not(None), _P.billing.is_not(None))
        .ext(distinct_on(_P.workspace_id))
        .order_by(_P.workspace_id, _P.create_time.desc())
        .subquery()
    )
    provider = last.c.billing["provider_selection"].astext
    return (
        select(_W.runtime, last.c.billing["effective_model"].astext, provider)
        .join(last, last.c.workspace_id == _W.workspace_id)
        .where(_W.remove_time.is_(None), provider.is_not(None))
        .distinct()
    )


def _never_launched() -> Select[str, str]:
    delivered = (
        select(_P.provision_id)
        .where(_P.workspace_id == _W.workspace_id, _P.deliver_time.is_not(None))
        .exists()
    )
    return select(_W.runtime, _W.model).where(_W.remove_time.is_(None), ~delivered).distinct()
