"""Who is calling, as the edge established it from the credential."""

from __future__ import annotations

from typing import NamedTuple

from agentworkspace.core.refusal import Refusal, SharedReason


class Caller(NamedTuple):
    """A platform service or a person named in the credentials file; `tenants` None means all.

    `roles` are the effective ones: admin has been expanded to include the others. It is a
    NamedTuple for speed: every call carries one.
    """

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
                SharedReason.TENANT_FORBIDDEN,
                f"caller `{self.name}` may not act for tenant `{tenant_id}`",
                metadata={"caller": self.name, "tenant_id": tenant_id},
            )

    def listed_tenants(self, tenant_id: str | None) -> list[str] | None:
        """The tenants that a list shows: the one asked for, else all of this caller's.

        None means every tenant. Raises TENANT_FORBIDDEN for a tenant that the caller may not act
        for.
        """
        if not tenant_id:
            return None if self.tenants is None else sorted(self.tenants)
        self.require_tenant(tenant_id)
        return [tenant_id]

    def require_owner(self, tenant_id: str | None, thing: str, thing_id: str) -> None:
        """Raise TENANT_FORBIDDEN unless the caller may act for the tenant that owns a thing.

        `thing` is its kind, for the message. `tenant_id` None: no such thing exists. A caller of
        some tenants is then refused in the same words, or it would learn which ids other tenants
        have; nothing is raised for a caller of all tenants.
        """
        if self.tenants is not None and tenant_id not in self.tenants:
            raise Refusal(
                SharedReason.TENANT_FORBIDDEN,
                f"no tenant that caller `{self.name}` may act for has a {thing} of this id; look "
                f"the id up, or ask a caller of its tenant",
                metadata={"caller": self.name, f"{thing}_id": thing_id},
            )
