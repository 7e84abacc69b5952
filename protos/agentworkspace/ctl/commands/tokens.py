"""`tokens`: mint, rotate, list, revoke, check."""

from __future__ import annotations

import argparse
from pathlib import Path

from agentworkspace.ctl.arguments import OUT, PAGING, REQUEST_ID, WORKSPACE, duration, one_of
from agentworkspace.ctl.command import Answer, Command, ExitCode, Group, argument
from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.delivery import deliver, keeping
from agentworkspace.ctl.files import STDIN, PrivateFile, Unusable, read_secret
from agentworkspace.ctl.output import facts, short_name
from agentworkspace.ctl.paging import listed
from agentworkspace.registry.v1 import token_pb2
from agentworkspace.registry.v1 import token_service_pb2 as messages
from agentworkspace.registry.v1.token_service_pb2_grpc import TokenServiceStub

COLUMNS = {
    "TOKEN": "token_id",
    "KIND": "kind",
    "PREFIX": "prefix",
    "LABEL": "label",
    "SCOPES": "scopes",
    "INCARNATION": "incarnation",
    "CREATED": "create_time",
    "EXPIRES": "expire_time",
    "FIRST USE": "first_use_time",
    "LAST USE": "last_use_time",
    "REVOKED": "revoke_time",
    "WHY": "revoke_reason",
}
_KIND = one_of(token_pb2.TokenKind.DESCRIPTOR)
_TOKEN_ID = argument("token_id", metavar="token", help="id of the token")
_SHA256 = argument(
    "--token-sha256", default="", metavar="HEX", help="hash of a token that you made yourself"
)
_WHY = (
    argument(
        "--reason",
        required=True,
        help="operator: its holder may come back; compromised: nobody comes back with it, or with"
        " what was made from it; suspended (revoke-all): nobody is let in until an admin resumes",
        **one_of(token_pb2.RevokeReason.DESCRIPTOR),
    ),
    argument("--note", default="", help="for the audit"),
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
    return listed(args, session, method, request, rows="tokens", columns=COLUMNS)


def _revoke(args: argparse.Namespace, session: Session) -> Answer:
    request = messages.RevokeTokenRequest(reason=args.reason, note=args.note)
    if args.workspace == str(STDIN):
        if args.token_id:
            raise Unusable("the token on standard input says which one it is; leave its id out")
        request.token = read_secret(None, what="token").reveal()
    elif not args.token_id:
        raise Unusable("which token: its id behind the workspace's, or - to read it from input")
    else:
        request.workspace_id, request.token_id = args.workspace, args.token_id
    response = session.call(TokenServiceStub(session.registry).RevokeToken, request)
    return Answer(document=response, view=(facts("", response),))


def _revoke_all(args: argparse.Namespace, session: Session) -> Answer:
    response = session.call(
        TokenServiceStub(session.registry).RevokeWorkspaceTokens,
        messages.RevokeWorkspaceTokensRequest(
            workspace_id=args.workspace, kinds=args.kind, reason=args.reason, note=args.note
        ),
    )
    return Answer(document=response, view=(facts("", response),))


def _validate(args: argparse.Namespace, session: Session) -> Answer:
    if bool(args.workspace) == args.any_workspace:
        raise Unusable("for whom: either --workspace or --any-workspace")
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
                argument("--kind", default=token_pb2.TOKEN_KIND_API, help="default: api", **_KIND),
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
                _TOKEN_ID,
                argument("--overlap", type=duration, help="how long the old one still lives"),
                _SHA256,
                OUT,
                REQUEST_ID,
            ),
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
        Command(
            "revoke",
            "revoke one token, by its ids or, when it was found somewhere, by its own text",
            _revoke,
            (
                argument(
                    "workspace", help="id of its workspace; - reads the token from standard input"
                ),
                argument(
                    "token_id", nargs="?", default="", metavar="token", help="id of the token"
                ),
                *_WHY,
            ),
        ),
        Command(
            "revoke-all",
            "revoke the tokens of a workspace; compromised and suspended fence it",
            _revoke_all,
            (
                WORKSPACE,
                argument(
                    "--kind",
                    action="append",
                    default=[],
                    help="may be repeated; default: instance and api",
                    **_KIND,
                ),
                *_WHY,
            ),
        ),
        Command(
            "validate",
            "whom the token on standard input speaks for; exit 1 when it is not accepted",
            _validate,
            (
                argument(
                    "--workspace", default="", metavar="ID", help="it must belong to this one"
                ),
                argument("--any-workspace", action="store_true", help="whichever it belongs to"),
                argument("--kind", default=None, help="it must be of this kind", **_KIND),
                argument("--scope", action="append", default=[], help="it must hold this scope"),
                argument("--value-file", type=Path, metavar="FILE", help="read it from FILE"),
            ),
        ),
    ),
)
