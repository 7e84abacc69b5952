"""Who is calling, as the edge established it from the credential."""

from __future__ import annotations

from typing import NamedTuple


class Caller(NamedTuple):
    """A platform service or a person. `tenants` None means all of them. A tuple: one is made for
    every call.
    """

    name: str
    roles: frozenset[str]
    tenants: frozenset[str] | None

    def may_act_for(self, tenant_id: str) -> bool:
        return self.tenants is None or tenant_id in self.tenants
