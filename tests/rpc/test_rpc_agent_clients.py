"""Both clients over the wire: they get in, stay in, find back, rotate, and stop when told."""

from __future__ import annotations

import asyncio
import inspect
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from google.protobuf.json_format import MessageToDict

from agentworkspace.client.agent import (
    AgentClient,
    Announcement,
    BlockingAgentClient,
    Closed,
    FileMemory,
    Launch,
    ProcessMemory,
    Remembered,
    StopCause,
    Stopped,
)
from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import derive_instance_token, sha256_hex
from agentworkspace.rpc.errors import RpcFailure
from registry_service.domain.tokens import RevokeReason
from tests.rpc.agent_model_registry import WORKSPACE
from tests.rpc.box_registry_server import BoxRegistry, serving
from tests.rpc.test_rpc_tls import Authority

PATIENCE = 20.0


class OnAThread:
    """The blocking client behind the asyncio one's face, so that one test tells both stories."""

    def __init__(self, agent: BlockingAgentClient) -> None:
        self._agent = agent

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._agent.__enter__)
        return self

    async def __aexit__(self, *error: object) -> None:
        await asyncio.to_thread(self._agent.__exit__, None, None, None)

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._agent, name)
        if name in ("bearer", "report"):
            return member
        return lambda *args, **kwargs: asyncio.to_thread(member, *args, **kwargs)


def asyncio_client(*args: Any, **kwargs: Any) -> Any:
    return AgentClient(*args, **kwargs)


def blocking_client(*args: Any, **kwargs: Any) -> Any:
    return OnAThread(BlockingAgentClient(*args, **kwargs))


both = pytest.mark.parametrize("client", [asyncio_client, blocking_client])


@asynccontextmanager
async def launched(registry: BoxRegistry) -> AsyncIterator[Launch]:
    async with serving(registry):
        yield Launch(
            workspace_id=WORKSPACE,
            address=registry.address,
            ticket=registry.model.launch(),
            incarnation=1,
        )


@both
async def test_a_launched_box_registers_then_reports(client: Any) -> None:
    registry = BoxRegistry()
    said = Announcement(
        url="https://box.example.com", runtime="claude-code", agent_card={"skills": ["review"]}
    )
    async with launched(registry) as launch, client(launch, said) as agent:
        agent.report(active_tasks=3, sample_error="x" * 2000, degraded=True)
        admission = await asyncio.wait_for(agent.admitted(), PATIENCE)
        await registry.until_beats()
        assert launch.ticket is not None
        assert agent.bearer() == derive_instance_token(launch.ticket, WORKSPACE, 1)
    assert (admission.outcome, admission.incarnation) == ("BOOTSTRAPPED", 1)
    (register,) = registry.registers
    assert register.runtime == "claude-code"
    assert MessageToDict(register.agent_card) == {"skills": ["review"]}
    beat = registry.heartbeats[-1]
    assert (beat.active_tasks, beat.degraded, len(beat.sample_error)) == (3, True, 1000)


@both
async def test_lost_answers_and_a_store_that_is_down_cost_nothing(client: Any) -> None:
    registry = BoxRegistry(lose=1, down=1)
    async with launched(registry) as launch, client(launch) as agent:
        await asyncio.wait_for(agent.admitted(), PATIENCE)
        await registry.until_beats()
    assert len(registry.model.live()) == 1
    assert len({each.request_id for each in registry.registers}) == 1


@both
async def test_a_box_restarted_in_place_is_back_with_the_same_token(client: Any) -> None:
    registry = BoxRegistry()
    async with launched(registry) as launch:
        async with client(launch) as first:
            await asyncio.wait_for(first.admitted(), PATIENCE)
            await registry.until_beats()
        async with client(launch) as second:
            again = await asyncio.wait_for(second.admitted(), PATIENCE)
    assert again.outcome == "AUTHENTICATED"
    assert len(registry.model.live()) == 1


@both
async def test_a_revoked_box_comes_back_by_itself(client: Any, tmp_path: Path) -> None:
    registry, file = BoxRegistry(), tmp_path / "state" / "box.json"
    async with launched(registry) as launch, client(launch, memory=FileMemory(file)) as agent:
        await asyncio.wait_for(agent.admitted(), PATIENCE)
        await registry.until_beats()
        assert not file.exists(), "a derived token needs no storage"
        registry.model.revoke(RevokeReason.OPERATOR)
        while not registry.model.live():
            await registry.until_beats(1)
        await registry.until_beats()
        (live,) = registry.model.live()
        assert sha256_hex(agent.bearer()) == live.token_sha256.hex()
        assert FileMemory(file).load() == Remembered(
            held=agent.bearer(), ticket_sha256=sha256_hex(launch.ticket or Secret(""))
        )


@both
async def test_stop_is_the_only_end(client: Any) -> None:
    registry = BoxRegistry()
    async with launched(registry) as launch, client(launch) as agent:
        await asyncio.wait_for(agent.admitted(), PATIENCE)
        await registry.until_beats()
        registry.model.retire()
        with pytest.raises(Stopped) as caught:
            await asyncio.wait_for(agent.finished(), PATIENCE)
    assert caught.value.cause is StopCause.RETIRED


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not reached():  # noqa: ASYNC110 - lists and dicts have no events
            await asyncio.sleep(0.01)


# Far longer than the tests have patience: whoever is back did not wait for a heartbeat.
RARELY = 3600.0


@both
async def test_a_box_that_is_told_elsewhere_registers_at_once(client: Any) -> None:
    registry = BoxRegistry(heartbeat_seconds=RARELY)
    async with launched(registry) as launch, client(launch) as agent:
        await asyncio.wait_for(agent.admitted(), PATIENCE)
        await until(lambda: bool(registry.heartbeats))
        registry.model.revoke(RevokeReason.OPERATOR)
        again = await asyncio.wait_for(agent.register_now(), PATIENCE)
        assert again.outcome == "RECOVERED"
        (live,) = registry.model.live()
        assert sha256_hex(agent.bearer()) == live.token_sha256.hex()


@both
async def test_a_call_of_the_client_s_own_that_is_refused_leads_back_at_once(client: Any) -> None:
    registry = BoxRegistry(heartbeat_seconds=RARELY)
    async with launched(registry) as launch, client(launch) as agent:
        await asyncio.wait_for(agent.admitted(), PATIENCE)
        await until(lambda: bool(registry.heartbeats))
        registry.model.revoke(RevokeReason.OPERATOR)
        with pytest.raises(RpcFailure):
            await agent.update_card({"skills": []})
        await until(lambda: bool(registry.model.live()))


@both
async def test_who_waits_for_the_first_admission_hears_of_stop(client: Any) -> None:
    registry = BoxRegistry()
    registry.model.retire()
    async with launched(registry) as launch, client(launch) as agent:
        with pytest.raises(Stopped, match="ERROR_REASON_WORKSPACE_REMOVED"):
            await asyncio.wait_for(agent.admitted(), PATIENCE)


@both
async def test_rotation_leaves_one_live_token_and_the_box_holds_it(client: Any) -> None:
    registry, memory = BoxRegistry(), ProcessMemory()
    async with launched(registry) as launch, client(launch, memory=memory) as agent:
        await asyncio.wait_for(agent.admitted(), PATIENCE)
        before = agent.bearer()
        registry.lose = 1
        await asyncio.wait_for(agent.rotate(), PATIENCE)
        await registry.until_beats()
        (live,) = registry.model.live()
        assert agent.bearer() != before
        assert sha256_hex(agent.bearer()) == live.token_sha256.hex()


@both
async def test_a_card_is_replaced_now_and_at_the_next_registration(client: Any) -> None:
    registry = BoxRegistry()
    async with launched(registry) as launch, client(launch) as agent:
        await asyncio.wait_for(agent.admitted(), PATIENCE)
        await agent.update_card({"skills": []}, url="https://new.example.com")
        await registry.until_beats()
        registry.model.revoke(RevokeReason.OPERATOR)
        while len(registry.registers) < 2:
            await registry.until_beats(1)
    assert registry.cards[0].url == "https://new.example.com"
    assert registry.registers[-1].url == "https://new.example.com"


@both
async def test_deregister_says_good_bye(client: Any) -> None:
    registry = BoxRegistry()
    async with launched(registry) as launch, client(launch) as agent:
        await asyncio.wait_for(agent.admitted(), PATIENCE)
        await agent.deregister()
        with pytest.raises(Closed):
            await asyncio.wait_for(agent.finished(), PATIENCE)
    assert registry.model.live() == []


@both
async def test_leaving_is_quick_even_while_nobody_answers(client: Any) -> None:
    launch = Launch(workspace_id=WORKSPACE, address="127.0.0.1:1")
    started = asyncio.get_running_loop().time()
    async with client(launch, memory=ProcessMemory()) as agent:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(agent.admitted(), 0.2)
    assert asyncio.get_running_loop().time() - started < 5.0


def test_the_state_file_is_private_whole_and_survives_garbage(tmp_path: Path) -> None:
    file = tmp_path / "state" / "box.json"
    memory = FileMemory(file)
    assert memory.load() is None
    remembered = Remembered(held=Secret("a"), candidate=Secret("b"), request_id="r")
    memory.save(remembered)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert memory.load() == remembered
    assert [each.name for each in file.parent.iterdir()] == ["box.json"]
    for garbage in (b"", b"{}", b"[1]", b'{"version": 1, "held": 5}', b"\xff\xfe"):
        file.write_bytes(garbage)
        assert memory.load() is None


def test_the_launch_is_read_from_the_environment() -> None:
    launch = Launch.from_environment(
        {
            "WORKSPACE_ID": WORKSPACE.upper(),
            "WORKSPACE_INCARNATION": "7",
            "WORKSPACE_BOOTSTRAP_TICKET": "awt_x",
            "WORKSPACE_REGISTRY_ADDRESS": "registry:7101",
            "WORKSPACE_STATE_FILE": "/var/lib/box.json",
        }
    )
    assert launch == Launch(
        workspace_id=WORKSPACE,
        incarnation=7,
        ticket=Secret("awt_x"),
        address="registry:7101",
        state_file=Path("/var/lib/box.json"),
    )
    assert "awt_x" not in repr(launch)
    assert launch.tls() is None


@pytest.mark.parametrize("client", [AgentClient, BlockingAgentClient])
def test_the_ticket_is_taken_out_of_the_environment_of_the_process(
    client: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own = {
        "WORKSPACE_ID": WORKSPACE,
        "WORKSPACE_INCARNATION": "1",
        "WORKSPACE_BOOTSTRAP_TICKET": "awt_x",
        "WORKSPACE_REGISTRY_ADDRESS": "registry:7101",
    }
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    with caplog.at_level("INFO", logger="agentworkspace.agent"):
        agent = client.from_environment(memory=ProcessMemory())
    assert agent._launch.ticket == Secret("awt_x")
    assert "WORKSPACE_BOOTSTRAP_TICKET" not in os.environ
    assert os.environ["WORKSPACE_ID"] == WORKSPACE
    assert "WORKSPACE_BOOTSTRAP_TICKET" in caplog.text
    assert "awt_x" not in caplog.text
    given = dict(own)
    client.from_environment(environ=given, memory=ProcessMemory())
    assert given == own, "somebody else's mapping is only read"


@pytest.mark.parametrize("client", [AgentClient, BlockingAgentClient])
def test_the_help_of_a_client_shows_nothing_of_the_environment(client: Any) -> None:
    def environments(signature: inspect.Signature) -> list[str]:
        return [name for name, each in signature.parameters.items() if each.default is os.environ]

    for name, member in inspect.getmembers(client, callable):
        if not name.startswith("__"):
            assert environments(inspect.signature(member)) == [], name
    assert "environ(" not in str(inspect.signature(client.from_environment))


def test_authorities_in_the_environment_mean_tls(tmp_path: Path) -> None:
    text = "-----BEGIN CERTIFICATE-----\n"
    by_text = Launch(workspace_id=WORKSPACE, address="r:1", registry_ca=text)
    ca_file = Authority(tmp_path, "ca").file
    by_path = Launch(workspace_id=WORKSPACE, address="r:1", registry_ca=str(ca_file))
    by_scheme = Launch(workspace_id=WORKSPACE, address="https://r:1")
    assert all(each.tls() is not None for each in (by_text, by_path, by_scheme))
    assert by_scheme.target == "r:1"
    nowhere = Launch(workspace_id=WORKSPACE, address="r:1", registry_ca="no/such.pem")
    with pytest.raises(ValueError, match=r"^WORKSPACE_REGISTRY_CA is neither PEM text nor a file"):
        nowhere.tls()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKSPACE_ID", ""),
        ("WORKSPACE_ID", "not-a-uuid"),
        ("WORKSPACE_REGISTRY_ADDRESS", ""),
        ("WORKSPACE_INCARNATION", "-1"),
        ("WORKSPACE_INCARNATION", "one"),
    ],
)
def test_a_launch_that_makes_no_sense_is_refused_by_name(name: str, value: str) -> None:
    sound = {"WORKSPACE_ID": WORKSPACE, "WORKSPACE_REGISTRY_ADDRESS": "r:1"}
    with pytest.raises(ValueError, match=name):
        Launch.from_environment({**sound, name: value})


def test_an_agent_needs_nothing_of_the_server_installation() -> None:
    script = """
import sys
import agentworkspace.client.agent, agentworkspace.client.verifier.interceptor
heavy = {"structlog", "uvloop", "sqlalchemy", "prometheus_client", "registry_service", "yaml"}
sys.exit(", ".join(sorted(heavy & set(sys.modules))) or 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": "protos"},
    )
    assert (done.returncode, done.stderr) == (0, "")
