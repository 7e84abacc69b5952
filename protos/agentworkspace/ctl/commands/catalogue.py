"""`catalogue`: what can be run, and on whose credentials."""

from __future__ import annotations

import argparse

from agentworkspace.ctl.arguments import AUTH_ENV, PAGING
from agentworkspace.ctl.command import Answer, Command, Group, argument
from agentworkspace.ctl.commands.catalogue_diff import DIFF
from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.output import facts
from agentworkspace.ctl.paging import listed
from agentworkspace.ctl.resolution import steps_view
from agentworkspace.provision.v1 import catalogue_service_pb2 as messages
from agentworkspace.provision.v1.catalogue_service_pb2_grpc import CatalogueServiceStub

_PROVIDERS = {
    "NAME": "name",
    "PROTOCOL": "protocol",
    "AUTH": "auth_mode",
    "CREDENTIALS": "auth_env",
    "PLATFORM": "platform",
    "MODELS": "model_pattern",
    "ENDPOINT": "base_url",
    "ANTHROPIC ENDPOINT": "anthropic_base_url",
}
_WIDE_OF_PROVIDERS = ("MODELS", "ENDPOINT", "ANTHROPIC ENDPOINT")
_RUNTIMES = {
    "NAME": "name",
    "DEFAULT MODEL": "default_model",
    "LAUNCHED": "launched",
    "PROVIDERS": "providers",
}
_MODELS = {"ID": "id", "PAYS": "billing_mode", "PROVIDERS": "providers", "CREDENTIALS": "auth_env"}
_RUNTIME = argument("runtime", help="name of the runtime")


def _providers(args: argparse.Namespace, session: Session) -> Answer:
    method = CatalogueServiceStub(session.provision).ListProviders
    request = messages.ListProvidersRequest()
    return listed(
        args, session, method, request, rows="providers", columns=_PROVIDERS,
        wide=_WIDE_OF_PROVIDERS,
    )  # fmt: skip


def _runtimes(args: argparse.Namespace, session: Session) -> Answer:
    method = CatalogueServiceStub(session.provision).ListRuntimes
    return listed(
        args, session, method, messages.ListRuntimesRequest(), rows="runtimes", columns=_RUNTIMES
    )


def _models(args: argparse.Namespace, session: Session) -> Answer:
    method = CatalogueServiceStub(session.provision).ListModels
    request = messages.ListModelsRequest(runtime=args.runtime)
    return listed(args, session, method, request, rows="models", columns=_MODELS)


def _derive(args: argparse.Namespace, session: Session) -> Answer:
    response = session.call(
        CatalogueServiceStub(session.provision).DeriveProvider,
        messages.DeriveProviderRequest(
            runtime=args.runtime, model=args.model, auth_env_names=args.auth_env
        ),
    )
    return Answer(document=response, view=(facts("", response), steps_view(response.steps)))


GROUP = Group(
    "catalogue",
    "providers, runtimes and models",
    (
        Command("providers", "vendors and the ways to them", _providers, PAGING),
        Command("runtimes", "kinds of agents", _runtimes, PAGING),
        Command("models", "the menu of a runtime", _models, (_RUNTIME, *PAGING)),
        Command(
            "derive",
            "which provider would serve a model, rule by rule",
            _derive,
            (_RUNTIME, argument("model", help="id of the model"), AUTH_ENV),
        ),
        DIFF,
    ),
)
