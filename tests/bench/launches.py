"""Workspaces created, launched, let in and handed their secrets: both services together."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.bench import cases, newcomers, pair
from tests.bench.bench import Bench, Case, say
from tests.bench.database import Server
from tests.bench.h2 import Message
from tests.bench.load import Plan
from tests.bench.newcomers import Newcomer

# So many workspaces are made and launched in all repeats together; each only once.
MANY: Final = 1500
# By one who waits for each answer before the next call.
ALONE: Final = 300
REGISTER_SECONDS: Final = 60.0


def measure(bench: Bench, server: Server, home: Path, tokens: int) -> None:
    say("── both services")
    name = server.registry_with(tokens)
    with (
        pair.registry(server, name, home / "registry") as registry_served,
        pair.provision(server, home / "registry", registry_served.address) as served,
    ):
        boxes = _launch_all(bench, served, tokens, cases.create(MANY), in_flight=16)
        _launch_all(
            bench,
            served,
            tokens,
            cases.create(ALONE, own_secrets=cases.SECRETS),
            in_flight=1,
            names=(
                f"CreateWorkspace, one caller, {cases.SECRETS} secrets",
                f"ProvisionWorkspace, one caller, {cases.SECRETS} secrets",
            ),
        )
        if boxes:
            _let_in(bench, registry_served, boxes)
            messages = cases.secret_values(
                [(each.workspace_id, each.token.reveal()) for each in boxes]
            )
            _row(
                bench,
                served,
                tokens,
                Case(
                    name="GetSecretValues, 16 callers",
                    method=cases.SECRETS_OF_BOXES + "GetSecretValues",
                    messages=messages,
                    in_flight=16,
                ),
            )


def _launch_all(
    bench: Bench,
    served: pair.Served,
    tokens: int,
    messages: list[Message],
    *,
    in_flight: int,
    names: tuple[str, str] = ("CreateWorkspace, 16 callers", "ProvisionWorkspace, 16 callers"),
) -> list[Newcomer]:
    """Two rows: the creates, and the launches of what they made; the boxes of these."""
    created, launched = names
    case = Case(
        name=created,
        method=cases.WORKSPACES + "CreateWorkspace",
        messages=messages,
        in_flight=in_flight,
        once=True,
        keep=True,
    )
    made = [cases.created_id(body) for body in _row(bench, served, tokens, case) if body]
    if not made:
        return []
    case = Case(
        name=launched,
        method=cases.WORKSPACES + "ProvisionWorkspace",
        messages=cases.provision(made),
        in_flight=in_flight,
        once=True,
        keep=True,
    )
    boxes = [cases.launched(body) for body in _row(bench, served, tokens, case) if body]
    return [each for each in boxes if each is not None]


def _row(bench: Bench, served: pair.Served, tokens: int, case: Case) -> list[bytes]:
    return bench.measure(case, served, tokens=tokens, count=1, stores={}).bodies


def _let_in(bench: Bench, served: pair.Served, boxes: list[Newcomer]) -> None:
    plan = Plan(
        address=served.address,
        method=cases.BOXES + "Register",
        messages=newcomers.messages(boxes),
        seconds=REGISTER_SECONDS,
        once=True,
    )
    found = bench.send(plan).result()
    say(f"   {len(found.latencies):,} boxes let in, {found.failed} not")
