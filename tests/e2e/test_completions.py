"""Every runtime, provider, scope and payer is launched; a box of the runtime that reads nothing but
its environment makes a real completion with the vendor's own library, and the upstreams tell whose
credential came. (The other runtimes' real programs: `tests/runtimes`.)

Around each case lies what once went wrong: another vendor's credential in the tenant's store that
a greedy runtime would prefer, and an endpoint that points at the platform's proxy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc
import pytest

from tests.e2e import vendors
from tests.e2e.boxes import Job, Nursery, Reply, reply_of, run_all, run_alone
from tests.e2e.cases import ALONE, CASES, MODES, REFUSED, RUNNING, SABOTAGE, Case
from tests.e2e.upstreams import answer_to
from tests.e2e.vendors import PROXY, WAYS
from tests.e2e.verdict import Expected, NotProven, prove, prove_silence
from tests.e2e.world import World, credential_value, reason_of, running_world, sent

# One fixture starts all boxes, and a busy machine takes its time over them.
pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Launched:
    """What ProvisionWorkspace answered: an environment, or why not."""

    workspace: str
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    refusal: str = ""


@dataclass(frozen=True)
class Run:
    """A launch, and what its box did."""

    launched: Launched
    job: Job
    reply: Reply


@pytest.fixture(scope="module")
def world(
    registry_database_of_module: str,
    provision_database_of_module: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    with running_world(
        registry_database_of_module, provision_database_of_module, tmp_path_factory.mktemp("world")
    ) as running:
        yield running


@pytest.fixture(scope="module")
def runs(world: World) -> dict[Case, Run]:
    """All cases at once; a box starts as soon as its environment is there."""
    nursery = Nursery()

    def launch_and_start(case: Case) -> tuple[Launched, Job]:
        launched = launch(world, case)
        job = world.job(case.runtime, launched.environment)
        if case in RUNNING and not launched.refusal:
            nursery.start(job)
        return launched, job

    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda case: furnish(world, case), CASES[:: len(MODES)]))
            started = list(pool.map(launch_and_start, CASES))
    finally:
        nursery.wait()
    return {
        case: Run(launched, job, reply_of(job))
        for case, (launched, job) in zip(CASES, started, strict=True)
    }


def furnish(world: World, case: Case) -> None:
    """The case's tenant, which has one workspace for each mode."""
    world.give_usage_token(case.owner, f"usage-token-of-{case.owner}")
    world.set_global(case.owner, strays(world, case))
    if case.scope == "global":
        world.set_global(case.owner, own_secrets(world, case))


def launch(world: World, case: Case) -> Launched:
    own = own_secrets(world, case)
    on_workspace = own if case.scope == "workspace" else {}
    derived = "platform_managed" if case.provider == "platform" else "byok"
    try:
        if case.mode == derived == "byok":
            workspace = world.create(case.owner, case.runtime, case.model, on_workspace)
        else:
            # The payer changes after the credential is there, as it does in life.
            workspace = world.create(
                case.owner, case.runtime, case.model, on_workspace, override="disabled"
            )
            world.override(workspace, None if case.mode == derived else case.mode)
        return Launched(workspace, dict(world.launch(workspace).env))
    except grpc.RpcError as error:
        return Launched("", refusal=reason_of(error))


def own_secrets(world: World, case: Case) -> dict[str, str]:
    """The tenant's credential; for an endpoint of its own choosing that too."""
    name = case.way.credential
    secrets = {name: credential_value(name, case.owner)}
    if case.provider == "custom":
        secrets["OPENAI_BASE_URL"] = world.upstreams.url("custom.example", "/v1")
    return secrets


def strays(world: World, case: Case) -> dict[str, str]:
    found = {}
    if case.stray:
        found[case.stray] = credential_value(case.stray, f"another-vendor-{case.owner}")
    if case.provider != "custom":
        found[case.endpoint_name] = world.upstreams.url(PROXY, "/left/over")
    return found


def expected_of(world: World, case: Case, run: Run) -> Expected:
    if case.mode == "platform_managed":
        upstream, credential = PROXY, f"usage-token-of-{case.owner}"
        path = "/anthropic/v1/messages"
    else:
        upstream, path = case.way.upstream, case.way.path
        credential = sent(case.way.credential, case.owner)
    return Expected(
        question=run.job.question,
        answer=answer_to(run.job.question),
        upstream=upstream,
        port=world.port(upstream),
        path=path,
        # On a key of the tenant's own, the vendor's own id behind the platform's.
        model=case.model.removeprefix("anthropic/") if upstream != PROXY else case.model,
        credential=credential,
        workspace_id=run.launched.workspace if upstream == PROXY else "",
    )


def check(world: World, case: Case, run: Run) -> None:
    calls = world.upstreams.asked(run.job.question)
    if case.mode == "disabled":
        prove_silence(run.reply, calls)
    else:
        prove(run.reply, calls, expected_of(world, case, run))


@pytest.mark.parametrize("case", RUNNING, ids=str)
def test_a_box_reaches_its_model_on_the_payers_credential_and_nothing_else(
    world: World, runs: Mapping[Case, Run], case: Case
) -> None:
    run = runs[case]
    refusal = REFUSED.get((case.provider, case.scope, case.mode), "")
    assert run.launched.refusal == refusal
    if refusal:
        assert not run.launched.environment
        return
    assert run.reply.environment == run.launched.environment
    check(world, case, run)


def test_no_upstream_was_asked_for_anything_else(world: World, runs: Mapping[Case, Run]) -> None:
    assert {run.job.question for run in runs.values()} >= {
        call.question for call in world.upstreams.calls
    }


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_environment_holds_what_belongs_to_another_payer(
    runs: Mapping[Case, Run], case: Case
) -> None:
    environment = runs[case].launched.environment
    values = set(environment.values())
    if case.mode == "platform_managed":
        assert credential_value(case.way.credential, case.owner) not in values
    else:
        assert f"usage-token-of-{case.owner}" not in values
        assert "MOLECULE_LLM_BASE_URL" not in environment
    if case.mode != "disabled" and case.stray:
        assert credential_value(case.stray, f"another-vendor-{case.owner}") not in values


def test_the_table_has_every_provider_of_every_runtime() -> None:
    catalogue = vendors.shipped()
    listed = {
        (runtime["name"], provider["name"])
        for runtime in catalogue["runtimes"]
        for provider in runtime["providers"]
    }
    assert set(WAYS) == listed


@pytest.mark.parametrize("case", ALONE, ids=str)
def test_a_process_of_its_own_does_the_same(
    world: World, runs: Mapping[Case, Run], case: Case
) -> None:
    launched = runs[case].launched
    job = world.job(case.runtime, launched.environment)
    run = Run(launched, job, run_alone(job))
    assert run.reply.environment == launched.environment
    check(world, case, run)


@pytest.fixture(scope="module")
def sabotaged(world: World, runs: Mapping[Case, Run]) -> dict[str, Run]:
    """Boxes whose environment was spoilt on the way, as a bug would spoil it."""
    jobs = []
    for case, changes, _ in SABOTAGE.values():
        environment = dict(runs[case].launched.environment)
        for name, value in changes.items():
            if value is None:
                environment.pop(name)
            else:
                environment[name] = world.upstreams.url(PROXY) if value == "proxy" else value
        jobs.append(world.job(case.runtime, environment))
    replies = run_all(jobs)
    return {
        name: Run(runs[SABOTAGE[name][0]].launched, job, reply)
        for name, job, reply in zip(SABOTAGE, jobs, replies, strict=True)
    }


@pytest.mark.parametrize("name", SABOTAGE)
def test_a_spoilt_environment_never_passes(
    world: World, sabotaged: Mapping[str, Run], name: str
) -> None:
    case, _, said = SABOTAGE[name]
    run = sabotaged[name]
    with pytest.raises(NotProven, match=said):
        check(world, case, run)
