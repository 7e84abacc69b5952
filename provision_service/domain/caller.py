"""Who calls: a name, roles, and the tenants the caller may act for."""

from __future__ import annotations

from dataclasses import dataclass

from provision_service.domain.refusals import Reason, Refusal


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller; `tenants` None means all of them."""

    name: str
    roles: frozenset[str]
    tenants: frozenset[str] | None

    def may_act_for(self, tenant_id: str) -> bool:
        """Whether this caller may touch anything of `tenant_id`."""
        return self.tenants is None or tenant_id in self.tenants

    def require_tenant(self, tenant_id: str) -> None:
        """Raise TENANT_FORBIDDEN unless the caller may act for `tenant_id`."""
        if not self.may_act_for(tenant_id):
            raise Refusal(
                Reason.TENANT_FORBIDDEN,
                f"caller `{self.name}` may not act for tenant `{tenant_id}`",
                metadata={"caller": self.name, "tenant_id": tenant_id},
            )
