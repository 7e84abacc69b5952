"""Where the services are, who is calling, and how the way there is protected."""

from __future__ import annotations

import argparse
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, TypeVar

import grpc

from agentworkspace.client.channel import ClientTls, blocking_channel
from agentworkspace.core.secret import Secret
from agentworkspace.ctl.files import Unusable, read_credential
from agentworkspace.server.listening import ListenRefused, is_loopback

Request = TypeVar("Request")
Response = TypeVar("Response")

REGISTRY_DEFAULT: Final = "127.0.0.1:7101"
PROVISION_DEFAULT: Final = "127.0.0.1:7102"
TOKEN_FILE_VARIABLE: Final = "WORKSPACECTL_TOKEN_FILE"


@dataclass(frozen=True, kw_only=True)
class Session:
    """One run of the tool; channels are made when a command first needs them.

    `correlation_id` goes with every call, so that it can be named even when nobody answered.
    """

    registry_address: str
    provision_address: str
    credential: Secret | None
    tls: ClientTls | None
    plaintext: bool
    timeout_seconds: float
    correlation_id: str

    @cached_property
    def registry(self) -> grpc.Channel:
        return self._channel(self.registry_address)

    @cached_property
    def provision(self) -> grpc.Channel:
        return self._channel(self.provision_address)

    def call(
        self, method: grpc.UnaryUnaryMultiCallable[Request, Response], request: Request
    ) -> Response:
        """grpc.RpcError when it fails."""
        return method(request, timeout=self.timeout_seconds)

    def close(self) -> None:
        for name in ("registry", "provision"):
            channel = self.__dict__.get(name)  # where cached_property keeps what was made
            if channel is not None:
                channel.close()

    def _channel(self, address: str) -> grpc.Channel:
        try:
            return blocking_channel(
                address,
                bearer=self.credential,
                tls=self._tls_for(address),
                correlation_id=lambda: self.correlation_id,
            )
        except OSError as error:
            raise Unusable(f"cannot read {error.filename}: {error.strerror}") from error

    def _tls_for(self, address: str) -> ClientTls | None:
        """Plaintext on request, or towards this very machine unless certificates were named."""
        if self.plaintext:
            return None
        try:
            local = is_loopback(address)
        except ListenRefused as error:
            raise Unusable(str(error)) from error
        return self.tls or (None if local else ClientTls())


def session_from(args: argparse.Namespace, environ: Mapping[str, str] | None = None) -> Session:
    """What the options say, else the environment, else this machine. Unusable when they clash."""
    environ = os.environ if environ is None else environ
    if args.plaintext and (args.ca or args.tls_cert or args.tls_key):
        raise Unusable("--plaintext and certificates exclude each other")
    if (args.tls_cert is None) != (args.tls_key is None):
        raise Unusable("--cert and --key come together")
    token_file = args.token_file
    if token_file is None and environ.get(TOKEN_FILE_VARIABLE):
        token_file = Path(environ[TOKEN_FILE_VARIABLE])
    return Session(
        registry_address=args.registry or environ.get("REGISTRY_ADDRESS") or REGISTRY_DEFAULT,
        provision_address=args.provision or environ.get("PROVISION_ADDRESS") or PROVISION_DEFAULT,
        credential=None if token_file is None else read_credential(token_file),
        tls=_tls(args),
        plaintext=args.plaintext,
        timeout_seconds=args.timeout,
        correlation_id=uuid.uuid4().hex,
    )


def _tls(args: argparse.Namespace) -> ClientTls | None:
    if args.ca is None and args.tls_cert is None and args.tls_server_name is None:
        return None
    return ClientTls(
        ca_file=args.ca,
        certificate_file=args.tls_cert,
        key_file=args.tls_key,
        server_name=args.tls_server_name,
    )
