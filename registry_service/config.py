"""The settings of registry-service, which are read from the environment here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from agentworkspace.core.secret import Secret
from agentworkspace.service import settings_values as values
from agentworkspace.service.declared_settings import secret_setting, setting
from agentworkspace.service.settings import ServiceSettings
from registry_service.domain.standing import BootstrapPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ServiceSettings):
    """The values of the environment variables. An absent or empty one means its default."""

    SERVICE: ClassVar = "REGISTRY"
    # This variable has our prefix, but belongs to workspacectl.
    NOT_OURS: ClassVar = frozenset({"REGISTRY_ADDRESS"})

    listen: str = setting(
        "REGISTRY_LISTEN", "127.0.0.1:7101", values.address, "where gRPC is served"
    )
    database_listen_url: Secret | None = secret_setting(
        "REGISTRY_DATABASE_LISTEN_URL",
        values.database_url,
        "the database's URL past any pooler, for LISTEN; default: the database URL, unless that is"
        " pooled: then revocations are polled only",
    )
    bootstrap_policy: BootstrapPolicy = setting(
        "REGISTRY_BOOTSTRAP_POLICY",
        "adaptive",
        lambda text: BootstrapPolicy(values.one_of(*BootstrapPolicy)(text)),
        "whom the id of a workspace lets in, where AdmitWorkspace asked for no evidence; adaptive:"
        " the first box of a workspace that was never launched; strict: nobody; open: also one"
        " that was launched, while no box of it lives and no ticket is out",
    )
    heartbeat_interval: timedelta = setting(
        "REGISTRY_HEARTBEAT_INTERVAL_SECONDS",
        "30",
        values.seconds(1, 3600),
        "how often a box reports; three missed ones make it OFFLINE",
    )
    allow_private_urls: bool = setting(
        "REGISTRY_ALLOW_PRIVATE_URLS",
        "0",
        values.switch,
        "1: a box may announce a url in a private address range",
    )
    max_request_bytes: int = setting(
        "REGISTRY_MAX_REQUEST_BYTES",
        "262144",
        values.whole(65_536, 16_777_216),
        "the largest message that is read; 262144 at most at a listener of the boxes' own",
    )
    calls_per_caller: int = setting(
        "REGISTRY_MAX_CALLS_PER_CALLER",
        "1024",
        values.whole(1, 1_000_000),
        "calls that one caller of the credentials file may have running",
    )
    calls_per_tenant: int = setting(
        "REGISTRY_MAX_CALLS_PER_TENANT",
        "512",
        values.whole(1, 1_000_000),
        "calls that the callers of the same tenants may have running together",
    )
    threads: int = setting(
        "REGISTRY_THREADS",
        "8",
        values.whole(1, 128),
        "threads for calls that are not batched; a process holds twelve connections more",
    )
    max_in_flight: int = setting(
        "REGISTRY_MAX_IN_FLIGHT",
        "2048",
        values.whole(100, 1_000_000),
        "calls served at once; more are OVERLOADED",
    )
    max_waiting: int = setting(
        "REGISTRY_MAX_WAITING",
        "1024",
        values.whole(1, 1_000_000),
        "calls that may wait for the threads, or for one kind of batch (a call for many counts as"
        " many); more are OVERLOADED",
    )
    max_batch: int = setting(
        "REGISTRY_MAX_BATCH",
        "256",
        values.whole(1, 1000),
        "calls that one database transaction may answer together",
    )
    refused_burst: int = setting(
        "REGISTRY_REFUSED_REGISTERS_BURST",
        "200",
        values.whole(1, 1_000_000),
        "refused registers without evidence that a workspace may have at once",
    )
    refused_per_second: int = setting(
        "REGISTRY_REFUSED_REGISTERS_PER_SECOND",
        "5",
        values.whole(1, 1_000_000),
        "how fast that allowance refills",
    )
