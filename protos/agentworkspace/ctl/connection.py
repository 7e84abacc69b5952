"""Where the services are, who is calling, and how the way there is protected."""

from __future__ import annotations

import argparse
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import grpc

from agentworkspace.client.channel import ClientTls, blocking_channel
from agentworkspace.core.pem_files import PemInvalid
from agentworkspace.core.secret import Secret
from agentworkspace.ctl.contexts import Context, read_contexts
from agentworkspace.ctl.files import Unusable
from agentworkspace.server.listening import is_loopback

Request = TypeVar("Request")
Response = TypeVar("Response")

DEFAULTS: Final = {"registry": "127.0.0.1:7101", "provision": "127.0.0.1:7102"}
CONTEXT_VARIABLE: Final = "WORKSPACECTL_CONTEXT"
# The environment may set these instead of a context. If any is set, the current context of the
# file is ignored, so that no token is sent to another installation's address.
_VARIABLES: Final = ("REGISTRY_ADDRESS", "PROVISION_ADDRESS", "WORKSPACECTL_TOKEN_FILE")


_ADDRESS: Final = re.compile(
    r"(?:dns:(?://[A-Za-z0-9.:-]*/)?)?(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})"
)


def usable_address(service: str, text: str) -> str:
    """The address, unchanged. Unusable when it has not the form HOST:PORT."""
    found = _ADDRESS.fullmatch(text)
    if found is None or not 0 < int(found["port"]) < 65536:
        raise Unusable(
            f"{text!r} is no address of the {service} service: --{service} (or {service.upper()}"
            f"_ADDRESS, or the context) takes HOST:PORT, such as {DEFAULTS[service]}, and"
            " dns:///HOST:PORT for all replicas of a name"
        )
    return text


@dataclass(kw_only=True)
class Session:
    """One run of the tool; channels are made when a command first needs them.

    `correlation_id` goes with every call, so that it can be named even when nobody answered.
    `asked` is the service that was called last. `files` maps a field of the request to the name of
    the file that its text came from.
    """

    addresses: Mapping[str, str]
    context: Context
    context_name: str
    tls: ClientTls | None
    timeout_seconds: float
    correlation_id: str
    asked: str = ""
    files: dict[str, str] = field(default_factory=dict)
    _channels: dict[str, grpc.Channel] = field(default_factory=dict)
    _credential: Secret | None = None

    @property
    def registry(self) -> grpc.Channel:
        return self.channel("registry")

    @property
    def provision(self) -> grpc.Channel:
        return self.channel("provision")

    def channel(self, service: str) -> grpc.Channel:
        """The channel to `registry` or `provision`. Unusable when a file it needs is of no use."""
        self.asked = service
        if service not in self._channels:
            self._channels[service] = self._open(self.addresses[service])
        return self._channels[service]

    def call(
        self, method: grpc.UnaryUnaryMultiCallable[Request, Response], request: Request
    ) -> Response:
        """Call with the timeout of the command line. Raises grpc.RpcError."""
        return method(request, timeout=self.timeout_seconds)

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()

    def tls_for(self, address: str) -> ClientTls | None:
        """How to speak TLS to this address; None for plaintext.

        Plaintext is used on request, and on loopback unless certificates were named.
        """
        if self.context.plaintext:
            return None
        return self.tls or (None if is_loopback(address) else ClientTls())

    def _open(self, address: str) -> grpc.Channel:
        if self._credential is None:
            self._credential = self.context.credential()
        try:
            return blocking_channel(
                address,
                bearer=self._credential,
                tls=self.tls_for(address),
                correlation_id=lambda: self.correlation_id,
            )
        except OSError as error:
            raise Unusable(f"cannot read {error.filename}: {error.strerror}") from error
        except PemInvalid as error:
            raise Unusable(f"{error}; see --ca, --cert and --key") from error


def no_session() -> Session:
    """The session of commands that call no service."""
    return Session(
        addresses={},
        context=Context(),
        context_name="",
        tls=None,
        timeout_seconds=0,
        correlation_id="",
    )


def session_from(args: argparse.Namespace) -> Session:
    """The session that the options ask for, on top of a context. Unusable when options clash.

    The context is the one that --context or WORKSPACECTL_CONTEXT names; else what the other
    variables say; else the current one of the contexts file; else the default ports of this
    machine.
    """
    name, context = _context(args.context or os.environ.get(CONTEXT_VARIABLE))
    context = _with_options(context, args)
    if context.plaintext and (context.ca or context.cert or context.key):
        raise Unusable("plaintext and certificates exclude each other")
    if (context.cert is None) != (context.key is None):
        raise Unusable("--cert and --key come together")
    return Session(
        addresses={
            "registry": usable_address("registry", context.registry or DEFAULTS["registry"]),
            "provision": usable_address("provision", context.provision or DEFAULTS["provision"]),
        },
        context=context,
        context_name=name,
        tls=_tls(context),
        timeout_seconds=args.timeout,
        correlation_id=uuid.uuid4().hex,
    )


def _context(name: str | None) -> tuple[str, Context]:
    if name:
        return name, read_contexts(os.environ).named(name)
    registry, provision, token_file = (os.environ.get(variable) or None for variable in _VARIABLES)
    if registry or provision or token_file:
        return "", Context(registry=registry, provision=provision, token_file=token_file)
    contexts = read_contexts(os.environ)
    if contexts.current:
        return contexts.current, contexts.named(contexts.current)
    return "", Context()


def _with_options(context: Context, args: argparse.Namespace) -> Context:
    said = {
        "registry": args.registry,
        "provision": args.provision,
        "ca": args.ca,
        "cert": args.tls_cert,
        "key": args.tls_key,
        "tls_server_name": args.tls_server_name,
        "token_file": args.token_file,
    }
    return context.with_changes(
        {name: str(value) for name, value in said.items() if value is not None}
        | ({"plaintext": True} if args.plaintext else {})
    )


def _tls(context: Context) -> ClientTls | None:
    if context.ca is None and context.cert is None and context.tls_server_name is None:
        return None
    return ClientTls(
        ca_file=_path(context.ca),
        certificate_file=_path(context.cert),
        key_file=_path(context.key),
        server_name=context.tls_server_name,
    )


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text).expanduser()
