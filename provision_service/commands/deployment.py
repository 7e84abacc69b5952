"""What a deployment decided by its settings and files, as the use cases need it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from provision_service.catalogue.catalogue import Catalogue
from provision_service.domain.billing import BillingMode
from provision_service.domain.platform_proxy import PlatformProxy
from provision_service.domain.probing import ProbesPolicy, Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """`platform` carries PLATFORM_LLM_USAGE_TOKEN, the token of the deployment, or none.

    `catalogue` and `templates` are asked once per use case, so that a reload between two
    calls never mixes two versions in one decision. `registry_ca` gives the PEM text for
    WORKSPACE_REGISTRY_CA, or none. `launch_budget` bounds BeginIncarnation, `admit_budget`
    AdmitWorkspace and RetireWorkspace, `peek_budget` a GetRegistration on a read.
    `unsaid_secrets_count`: a secret under a name that vendors share counts for any of them
    while nobody said whose it is, as before there was a way to say it.
    """

    catalogue: Callable[[], Catalogue]
    registry_address: str
    platform: PlatformProxy = field(default_factory=PlatformProxy)
    templates: Callable[[], Mapping[str, Template]] = dict
    registry_ca: Callable[[], str] = str
    usage_token_shared: bool = False
    default_billing: BillingMode = BillingMode.BYOK
    probes: ProbesPolicy = ProbesPolicy.WARN
    tickets_from_birth: bool = True
    unsaid_secrets_count: bool = False
    forced_tier: int | None = None
    provision_lease: timedelta = timedelta(minutes=15)
    ticket_ttl: timedelta = timedelta(minutes=45)
    launch_budget: timedelta = timedelta(seconds=5)
    admit_budget: timedelta = timedelta(seconds=2)
    peek_budget: timedelta = timedelta(milliseconds=500)
