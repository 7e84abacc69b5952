"""`tokens`: mint, rotate, list, revoke, check."""

from __future__ import annotations

import argparse
from pathlib import Path

from agentworkspace.ctl.arguments import (
    OUT,
    PAGING,
    REQUEST_ID,
    TOKEN_ID,
    WORKSPACE,
    duration,
    one_of,
    workspace_option,
)
from agentworkspace.ctl.command import Answer, Command, ExitCode, Group, argument
from agentworkspace.ctl.commands.revocations import REVOKE, REVOKE_ALL
from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.delivery import deliver, keeping
from agentworkspace.ctl.files import PrivateFile, Unusable, read_secret
from agentworkspace.ctl.output import facts, short_name
from agentworkspace.ctl.paging import listed
from agentworkspace.ctl.standing import box_of
from agentworkspace.registry.v1 import token_pb2
from agentworkspace.registry.v1 import token_service_pb2 as messages
from agentworkspace.registry.v1.token_service_pb2_grpc import TokenServiceStub

COLUMNS = {
    "TOKEN": "token_id",
    "KIND": "kind",
    "PREFIX": "prefix",
    "LABEL": "label",
    "SCOPES": "scopes",
    "INC": "incarnation",
    "CREATED": "create_time",
    "EXPIRES": "expire_time",
    "FIRST USE": "first_use_time",
    "LAST USE": "last_use_time",
    "REVOKED": "revoke_time",
    "WHY": "revoke_reason",
}
WIDE = ("PREFIX", "SCOPES", "CREATED", "FIRST USE", "REVOKED")
_KIND = token_pb2.TokenKind.DESCRIPTOR
_API, _INSTANCE = token_pb2.TOKEN_KIND_API, token_pb2.TOKEN_KIND_INSTANCE
_SHA256 = argument(
    "--token-sha256", default="", metavar="HEX", help="hash of a token that you made yourself"
)


def _mint(args: argparse.Namespace, session: Session) -> Answer:
    with keeping(args.out) as out:
        response = session.call(
            TokenServiceStub(session.registry).MintToken,
            messages.MintTokenRequest(
                workspace_id=args.workspace,
                kind=args.kind,
                label=args.label,
                scopes=args.scope,
                ttl=args.ttl,
                request_id=args.request_id,
                token_sha256=args.token_sha256,
            ),
        )
        return _issued(response, out)


def _rotate(args: argparse.Namespace, session: Session) -> Answer:
    with keeping(args.out) as out:
        response = session.call(
            TokenServiceStub(session.registry).RotateToken,
            messages.RotateTokenRequest(
                workspace_id=args.workspace,
                token_id=args.token_id,
                overlap=args.overlap,
                request_id=args.request_id,
                token_sha256=args.token_sha256,
            ),
        )
        return _issued(response, out)


def _rotation_ends(args: argparse.Namespace, session: Session) -> str | None:
    if args.overlap is not None:
        return None
    return (
        f"This ends token {args.token_id} of {box_of(session, args.workspace)} at once;"
        " --overlap 15m lets its holder change over."
    )


def _issued(
    response: messages.MintTokenResponse | messages.RotateTokenResponse, out: PrivateFile | None
) -> Answer:
    issued = response.issued
    where = short_name(token_pb2.SecretDelivery.DESCRIPTOR, issued.delivery)
    way = deliver(issued.plaintext, field="plaintext", out=out, why_not=where)
    return Answer(
        document=response,
        view=(facts("", issued.token), *way.view),
        notes=way.notes,
        revealed=way.revealed,
        exit_code=way.exit_code,
    )


def _list(args: argparse.Namespace, session: Session) -> Answer:
    method = TokenServiceStub(session.registry).ListTokens
    request = messages.ListTokensRequest(
        workspace_id=args.workspace, include_revoked=args.include_revoked
    )
    return listed(args, session, method, request, rows="tokens", columns=COLUMNS, wide=WIDE)


def _for_whom(args: argparse.Namespace) -> None:
    if bool(args.workspace) == args.any_workspace:
        raise Unusable("for whom: either --workspace or --any-workspace")


def _validate(args: argparse.Namespace, session: Session) -> Answer:
    request = messages.ValidateTokenRequest(
        token=read_secret(args.value_file, what="token").reveal(),
        required_kind=args.kind,
        required_scopes=args.scope,
    )
    if args.workspace:
        request.workspace_id = args.workspace
    else:
        request.any_workspace = True
    response = session.call(TokenServiceStub(session.registry).ValidateToken, request)
    live = response.HasField("principal")
    return Answer(
        document=response,
        view=(facts("live" if live else "not accepted", response),),
        exit_code=ExitCode.DONE if live else ExitCode.REFUSED,
    )


GROUP = Group(
    "tokens",
    "bearers of workspaces",
    (
        Command(
            "mint",
            "mint a token; it is shown once, or goes to --out",
            _mint,
            (
                WORKSPACE,
                argument(
                    "--kind", default=_API, help="default: api", **one_of(_KIND, _API, _INSTANCE)
                ),
                argument("--label", default="", help="free text"),
                argument("--scope", action="append", default=[], help="may be repeated"),
                argument("--ttl", type=duration, help="such as 30d; default: until revoked"),
                _SHA256,
                OUT,
                REQUEST_ID,
            ),
        ),
        Command(
            "rotate",
            "replace an api token; the new one is shown once, or goes to --out",
            _rotate,
            (
                WORKSPACE,
                TOKEN_ID,
                argument("--overlap", type=duration, help="how long the old one still lives"),
                _SHA256,
                OUT,
                REQUEST_ID,
            ),
            ends=_rotation_ends,
        ),
        Command(
            "list",
            "tokens of a workspace, newest first",
            _list,
            (
                WORKSPACE,
                argument("--include-revoked", action="store_true", help="also dead ones"),
                *PAGING,
            ),
        ),
        REVOKE,
        REVOKE_ALL,
        Command(
            "validate",
            "whom the token on standard input speaks for; exit 1 when it is not accepted",
            _validate,
            (
                workspace_option("it must belong to this one"),
                argument("--any-workspace", action="store_true", help="whichever it belongs to"),
                argument(
                    "--kind",
                    default=None,
                    help="it must be of this kind",
                    **one_of(_KIND, _API, _INSTANCE, token_pb2.TOKEN_KIND_PROXY),
                ),
                argument("--scope", action="append", default=[], help="it must hold this scope"),
                argument("--value-file", type=Path, metavar="FILE", help="read it from FILE"),
            ),
            check=_for_whom,
            secret="token",
        ),
    ),
)
