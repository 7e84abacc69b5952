"""`tokens revoke` and `tokens revoke-all`: end tokens, and say whether a holder may come back."""

from __future__ import annotations

import argparse
from dataclasses import replace

from agentworkspace.ctl import lookup
from agentworkspace.ctl.arguments import TOKEN_ID, WORKSPACE, one_of
from agentworkspace.ctl.command import Answer, Command, argument
from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.files import STDIN, Unusable, read_secret
from agentworkspace.ctl.output import facts, short_name
from agentworkspace.ctl.standing import box_of
from agentworkspace.registry.v1 import token_pb2
from agentworkspace.registry.v1 import token_service_pb2 as messages
from agentworkspace.registry.v1.token_service_pb2_grpc import TokenServiceStub

_KIND = token_pb2.TokenKind.DESCRIPTOR
_NOTE = argument("--note", default="", help="for the audit")
_OPERATOR = "operator: its holder may come back"
_COMPROMISED = "compromised: nobody comes back with it, or with what was made from it"
_WHY = token_pb2.RevokeReason.DESCRIPTOR
_API = token_pb2.TOKEN_KIND_API
_TAKEN_BACK = (token_pb2.REVOKE_REASON_OPERATOR, token_pb2.REVOKE_REASON_COMPROMISED)


def _which_token(args: argparse.Namespace) -> None:
    from_input = args.workspace == str(STDIN)
    if from_input and args.token_id:
        raise Unusable("the token on standard input says which one it is; leave its id out")
    if not from_input and not args.token_id:
        raise Unusable(
            "which token: give its id after the workspace, or - to read the token from input"
        )


def _revocation_ends(args: argparse.Namespace, session: Session) -> str:
    if args.workspace == str(STDIN):
        return "This revokes the token on standard input, whatever holds it."
    return f"This revokes token {args.token_id} of {box_of(session, args.workspace)} for ever."


def _revocation_of_all_ends(args: argparse.Namespace, session: Session) -> str:
    kinds = " and ".join(short_name(_KIND, each) for each in args.kind) or "INSTANCE and API"
    fence = ""
    if args.reason == token_pb2.REVOKE_REASON_SUSPENDED:
        fence = " Nobody is let in again before an admin resumes it."
    elif args.reason == token_pb2.REVOKE_REASON_COMPROMISED and args.kind != [_API]:
        fence = " Nobody is let in again before a new launch."
    whose = box_of(session, args.workspace)
    return f"This revokes every token of kind {kinds} of {whose} at once.{fence}"


def _revoke(args: argparse.Namespace, session: Session) -> Answer:
    request = messages.RevokeTokenRequest(reason=args.reason, note=args.note)
    if args.workspace == str(STDIN):
        request.token = read_secret(None, what="token").reveal()
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


REVOKE = Command(
    "revoke",
    "revoke one token, by its ids or, when it was found somewhere, by its own text",
    _revoke,
    (
        argument(
            "workspace",
            help="its workspace, or - to read the token itself from standard input",
            find=lookup.workspace,
            complete=lookup.offered_workspaces,
        ),
        replace(TOKEN_ID, options={**TOKEN_ID.options, "nargs": "?", "default": ""}),
        argument(
            "--reason",
            required=True,
            help=f"{_OPERATOR}; {_COMPROMISED}",
            **one_of(_WHY, *_TAKEN_BACK),
        ),
        _NOTE,
    ),
    check=_which_token,
    ends=_revocation_ends,
)

REVOKE_ALL = Command(
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
            **one_of(_KIND, token_pb2.TOKEN_KIND_API, token_pb2.TOKEN_KIND_INSTANCE),
        ),
        argument(
            "--reason",
            required=True,
            help=f"{_OPERATOR}; {_COMPROMISED}; suspended: nobody is let in until an admin"
            " launches with reason resume",
            **one_of(_WHY, *_TAKEN_BACK, token_pb2.REVOKE_REASON_SUSPENDED),
        ),
        _NOTE,
    ),
    ends=_revocation_of_all_ends,
)
