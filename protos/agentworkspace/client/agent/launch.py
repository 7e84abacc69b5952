"""What a box is told about itself at its launch, and what it tells the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import grpc
from typing_extensions import override

from agentworkspace.client.channel import ClientTls
from agentworkspace.core.ids import is_canonical_uuid
from agentworkspace.core.pem_files import PemInvalid, require_authorities
from agentworkspace.core.secret import Secret

TICKET: Final = "WORKSPACE_BOOTSTRAP_TICKET"
API_TOKEN: Final = "WORKSPACE_API_TOKEN"
STATE_FILE: Final = "WORKSPACE_STATE_FILE"

_PEM: Final = "-----BEGIN"
_LONGEST_ERROR: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """The launch of this box. ValueError when the id, address or incarnation is malformed.

    address: the registry's `host:port`; `https://host:port` for TLS with the system's authorities.
    registry_ca: the registry's authorities as PEM text, which a launch hands out, or the path of a
    PEM file, for a box that is started by hand. Either means TLS.
    state_file: where a token that cannot be derived from the ticket is kept.
    api_token: registers an agent that nobody launches, and that therefore has no ticket.
    """

    workspace_id: str
    address: str
    ticket: Secret | None = None
    incarnation: int | None = None
    registry_ca: str | None = None
    state_file: Path | None = None
    api_token: Secret | None = None

    def __post_init__(self) -> None:
        if not is_canonical_uuid(self.workspace_id):
            raise ValueError(
                "WORKSPACE_ID must be a canonical lower-case UUID; it is in the environment that"
                " ProvisionWorkspace answered"
            )
        if not self.address:
            raise ValueError(
                "WORKSPACE_REGISTRY_ADDRESS must be host:port; ProvisionWorkspace answered it"
            )
        if self.incarnation is not None and self.incarnation < 0:
            raise ValueError("WORKSPACE_INCARNATION must be a number, 0 or more")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Launch:
        """Reads WORKSPACE_ID, WORKSPACE_REGISTRY_ADDRESS and, where set, WORKSPACE_INCARNATION,
        WORKSPACE_BOOTSTRAP_TICKET, WORKSPACE_REGISTRY_CA, WORKSPACE_STATE_FILE and
        WORKSPACE_API_TOKEN, which is ignored beside a ticket. ValueError as of the class."""
        ticket = _text(environ, TICKET)
        workspace_id = _text(environ, "WORKSPACE_ID").lower()
        state_file = _text(environ, STATE_FILE)
        api_token = _text(environ, API_TOKEN)
        return cls(
            workspace_id=workspace_id,
            address=_text(environ, "WORKSPACE_REGISTRY_ADDRESS"),
            ticket=Secret(ticket) if ticket else None,
            incarnation=_number(_text(environ, "WORKSPACE_INCARNATION")),
            registry_ca=_text(environ, "WORKSPACE_REGISTRY_CA") or None,
            state_file=Path(state_file) if state_file else _default_state(environ, workspace_id),
            api_token=Secret(api_token) if api_token and not ticket else None,
        )

    @property
    def target(self) -> str:
        """The address without its scheme, as gRPC takes it."""
        return self.address.removeprefix("https://").removeprefix("http://").rstrip("/")

    def tls(self) -> ClientTls | None:
        """How to encrypt. None means plain text, for loopback or behind something that encrypts.
        ValueError when WORKSPACE_REGISTRY_CA is neither PEM text nor a file of it."""
        if self.registry_ca is None:
            return ClientTls() if self.address.startswith("https://") else None
        if _PEM in self.registry_ca:
            return _GivenRoots(roots=self.registry_ca.encode("ascii"))
        ca_file = Path(self.registry_ca)
        try:
            require_authorities(ca_file)
        except (OSError, PemInvalid) as wrong:
            raise ValueError(
                f"WORKSPACE_REGISTRY_CA is neither PEM text nor a file of it: {wrong};"
                " ProvisionWorkspace answered it"
            ) from None
        return ClientTls(ca_file=ca_file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What a box says of itself when it registers."""

    url: str = ""
    delivery_mode: str = ""
    agent_card: Mapping[str, Any] | None = None
    runtime: str = ""
    runtime_version: str = ""

    def changed(self, agent_card: Mapping[str, Any] | None, url: str) -> Announcement:
        """A copy with another card and url; None, or an empty url, keeps the one before."""
        card = self.agent_card if agent_card is None else agent_card
        return replace(self, agent_card=card, url=url or self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The state of the box that heartbeats report. Never put a secret into it."""

    active_tasks: int = 0
    sample_error: str = ""
    degraded: bool = False

    @property
    def shortened_error(self) -> str:
        return self.sample_error[:_LONGEST_ERROR]


@dataclass(frozen=True, slots=True, kw_only=True)
class _GivenRoots(ClientTls):
    """Authorities that came as text instead of as a file."""

    roots: bytes

    @override
    def credentials(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(root_certificates=self.roots)


def _text(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip()


def _number(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise ValueError("WORKSPACE_INCARNATION must be a number, 0 or more")
    return int(text)


def _default_state(environ: Mapping[str, str], workspace_id: str) -> Path:
    state = _text(environ, "XDG_STATE_HOME")
    root = Path(state) if state else Path.home() / ".local" / "state"
    return root / "agentworkspace" / f"{workspace_id}.json"
