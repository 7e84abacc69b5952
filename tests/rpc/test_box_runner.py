"""The box runner: what the command sees, what it leaves with, and what it is kept from."""

from __future__ import annotations

import signal
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from agentworkspace.core.secret import Secret
from registry_service.domain.tokens import RevokeReason
from tests.rpc.box_registry_server import BoxRegistry, serving
from tests.rpc.box_run import environment, is_alive, recipe, running, until
from tests.rpc.test_rpc_tls import Authority

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

NAME = "agentworkspace-box: "
# Ends when told to, with a status of its own, and not because a signal killed it.
POLITE = "trap 'echo told; exit 5' TERM; echo up; while :; do sleep 0.05; done"
STUBBORN = "trap '' TERM; echo up; while :; do sleep 0.05; done"


def contents(directory: Path) -> list[Path]:
    return list(directory.iterdir())


@pytest.fixture
async def registry() -> AsyncIterator[BoxRegistry]:
    async with serving(BoxRegistry()) as running_registry:
        yield running_registry


@pytest.fixture
def environ(registry: BoxRegistry, tmp_path: Path) -> dict[str, str]:
    return environment(registry, tmp_path, registry.model.launch())


async def test_the_command_runs_registered_and_its_status_is_the_runner_s(
    registry: BoxRegistry, environ: dict[str, str]
) -> None:
    async with running(environ, "sh", "-c", "echo hello; read -r line; exit 7") as run:
        status, output, said = await run.ended()
    assert (status, output) == (7, "hello\n")
    (register,) = registry.registers
    assert register.bootstrap_ticket == environ["WORKSPACE_BOOTSTRAP_TICKET"]
    lines = said.splitlines()
    assert lines[0] == (
        f"{NAME}registering workspace {environ['WORKSPACE_ID']} at {registry.address}"
    )
    assert lines[1] == f"{NAME}admitted (BOOTSTRAPPED), incarnation 1"
    assert lines[2].startswith(f"{NAME}started sh as process ")
    assert lines[3:] == [f"{NAME}the command ended with status 7"]


async def test_heartbeats_go_on_beside_the_command(
    registry: BoxRegistry, environ: dict[str, str]
) -> None:
    async with running(environ, "sh", "-c", POLITE) as run:
        await registry.until_beats(5)
        run.process.send_signal(signal.SIGTERM)
        status, output, said = await run.ended()
    assert (status, output) == (5, "up\ntold\n")
    assert "handed SIGTERM on to the command" in said


async def test_nothing_of_the_launch_s_own_is_left_where_the_command_can_look(
    environ: dict[str, str], tmp_path: Path
) -> None:
    environ |= recipe(unset=["OPENAI_API_KEY"]) | {
        "OPENAI_API_KEY": "a-key-that-this-launch-keeps-away",
        "MINE": "stays",
        "WORKSPACE_API_TOKEN": "not-used-beside-a-ticket",
        "WORKSPACE_STATE_FILE": str(tmp_path / "state.json"),
    }
    look = (
        "env; echo ---; tr '\\0' '\\n' < /proc/$PPID/environ; echo ---;"
        " tr '\\0' '\\n' < /proc/$PPID/cmdline; echo ---; ls /proc/self/fd"
    )
    async with running(environ, "sh", "-c", look) as run:
        status, output, _ = await run.ended()
    assert status == 0
    own, parent, arguments, descriptors = output.split("---\n")
    names = {line.partition("=")[0] for line in own.splitlines()}
    assert {"MINE", "WORKSPACE_ID", "WORKSPACE_INCARNATION", "WORKSPACE_REGISTRY_ADDRESS"} <= names
    assert not names & {
        "OPENAI_API_KEY",
        "WORKSPACE_API_TOKEN",
        "WORKSPACE_BOOTSTRAP_TICKET",
        "WORKSPACE_LAUNCH",
        "WORKSPACE_STATE_FILE",
    }
    assert {line.partition("=")[0] for line in parent.splitlines()} == {
        "HOME",
        "LANG",
        "PATH",
        "PYTHONPATH",
    }
    assert environ["WORKSPACE_BOOTSTRAP_TICKET"] not in output
    assert "awi_" not in output
    assert arguments.splitlines()[-4:] == ["--", "sh", "-c", look]
    assert descriptors.split()[:3] == ["0", "1", "2"]
    assert len(descriptors.split()) <= 4, "ls itself opens one more"


async def test_the_launch_s_files_are_there_for_the_run_and_gone_afterwards(
    environ: dict[str, str], tmp_path: Path
) -> None:
    environ |= {"KEY": "the-tenant's $ {key} ${MINE}"} | recipe(
        arguments=["--config", "${CODEX_HOME}/config.toml", "costs $$5"],
        directories=[{"env": "CODEX_HOME", "path": ".codex"}],
        files=[
            {
                "path": ".codex/deep/auth.json",
                "mode": "0600",
                "content": "${KEY} $$ $x ${WORKSPACE_ID} ${CODEX_HOME}",
                "secret": True,
                "env": "AUTH_FILE",
            },
            {"path": ".codex/config.toml", "mode": "0400", "content": "plain", "secret": False},
        ],
    )
    show = 'umask; cat "$AUTH_FILE"; echo; for each; do echo "$each"; done; echo "$CODEX_HOME"'
    wait = "; echo ready >&2; while [ ! -e ../go ]; do sleep 0.02; done; chmod 0 $CODEX_HOME/deep"
    async with running(environ, "sh", "-c", f"cd $HOME/.a*; {show}{wait}", "sh", "own") as run:
        await run.until_said("ready")
        (root,) = contents(tmp_path)
        modes = {
            str(each.relative_to(root)): stat.S_IMODE(each.stat().st_mode)
            for each in (root, *root.rglob("*"))
        }
        (tmp_path / "go").touch()
        status, output, said = await run.ended()
    assert status == 0
    assert modes == {
        ".": 0o700,
        ".codex": 0o700,
        ".codex/config.toml": 0o400,
        ".codex/deep": 0o700,
        ".codex/deep/auth.json": 0o600,
    }
    _, auth, own, *added, home = output.splitlines()
    assert home == str(root / ".codex")
    assert auth == f"the-tenant's $ {{key}} ${{MINE}} $ $x {environ['WORKSPACE_ID']} {home}"
    assert own == "own"
    assert added == ["--config", f"{home}/config.toml", "costs $5"]
    assert not root.exists()
    assert "the-tenant's" not in said


async def test_a_launch_that_cannot_be_followed_starts_nothing_and_says_why(
    environ: dict[str, str], tmp_path: Path
) -> None:
    file = {"path": "a", "mode": "0600", "content": "hidden ${GONE}", "secret": True}
    environ |= recipe(files=[file])
    async with running(environ, "touch", str(tmp_path / "started")) as run:
        status, _, said = await run.ended()
    assert status == 2
    assert said.endswith(f"{NAME}the file a of this launch needs ${{GONE}}, which is not set\n")
    assert "hidden" not in said
    assert contents(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("WORKSPACE_LAUNCH", "{", "WORKSPACE_LAUNCH is not JSON"),
        ("WORKSPACE_BOOTSTRAP_TICKET", "", "neither WORKSPACE_BOOTSTRAP_TICKET nor WORKSPACE_API"),
        (
            "WORKSPACE_REGISTRY_CA",
            "/no/such/file",
            "WORKSPACE_REGISTRY_CA is neither PEM text nor a file of it",
        ),
        ("HOME", "/no/such/home", "No such file or directory"),
    ],
)
async def test_an_environment_that_makes_no_sense_starts_nothing_and_says_why(
    environ: dict[str, str], tmp_path: Path, name: str, value: str, complaint: str
) -> None:
    async with running(environ | {name: value}, "touch", str(tmp_path / "started")) as run:
        status, _, said = await run.ended()
    assert (status, complaint in said) == (2, True), said
    assert "Traceback" not in said
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (("no-such-program",), 127, "no-such-program was not found"),
        (("/proc/version",), 126, "/proc/version is not executable"),
        (("sh", "-c", "kill -KILL $$"), 137, "the command ended with status 137"),
    ],
)
async def test_a_command_that_cannot_start_or_is_killed_ends_as_in_a_shell(
    environ: dict[str, str], words: tuple[str, ...], status: int, complaint: str
) -> None:
    async with running(environ, *words) as run:
        found, _, said = await run.ended()
    assert (found, complaint in said) == (status, True), said


async def test_a_command_that_ignores_sigterm_is_killed_after_the_grace(
    environ: dict[str, str],
) -> None:
    async with running(environ, "sh", "-c", STUBBORN, options=("--grace", "0.2")) as run:
        await run.until_said("started sh")
        assert run.process.stdout is not None
        await run.process.stdout.readline()
        run.process.send_signal(signal.SIGTERM)
        status, _, said = await run.ended()
    assert status == 137
    assert "still running after 0.2 s; killing it" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
async def test_signals_are_handed_on(environ: dict[str, str], number: signal.Signals) -> None:
    script = f"trap 'echo got; exit 9' {number.name.removeprefix('SIG')}; echo up; "
    async with running(environ, "sh", "-c", script + "while :; do sleep 0.05; done") as run:
        assert run.process.stdout is not None
        assert await run.process.stdout.readline() == b"up\n"
        run.process.send_signal(number)
        status, output, _ = await run.ended()
    assert (status, output) == (9, "got\n")


@pytest.mark.parametrize("script", [POLITE, STUBBORN])
async def test_a_box_that_was_replaced_ends_its_command_and_all_it_started(
    registry: BoxRegistry, environ: dict[str, str], tmp_path: Path, script: str
) -> None:
    daemon = f"setsid sh -c 'echo $$ > {tmp_path}/pid; trap \"\" TERM; sleep 300' & "
    async with running(environ, "sh", "-c", daemon + script, options=("--grace", "0.3")) as run:
        await until((tmp_path / "pid").exists)
        await registry.until_beats()
        registry.model.retire()
        status, _, said = await run.ended()
    assert status == (5 if script is POLITE else 137)
    assert "the registry said STOP" in said
    assert "ending the command" in said
    assert not is_alive(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("before", ["", "sleep 0.3;"], ids=["at once", "after its parent ended"])
async def test_a_command_that_daemonizes_stays_a_box_until_it_is_told_to_end(
    registry: BoxRegistry, environ: dict[str, str], tmp_path: Path, before: str
) -> None:
    session = f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 300'"
    daemon = f"({{ {before} {session}; }} &) ; exit 0"
    async with running(environ, "sh", "-c", daemon) as run:
        await run.until_said("the command lives on in the background")
        await registry.until_beats(3)
        pid = int((tmp_path / "pid").read_text())
        assert is_alive(pid)
        run.process.send_signal(signal.SIGTERM)
        status, _, _ = await run.ended()
    assert status == 0
    assert not is_alive(pid)


async def test_what_a_daemon_that_soon_ends_leaves_behind_ends_with_it(
    environ: dict[str, str], tmp_path: Path
) -> None:
    left = f"(setsid sleep 0.3 &) ; sleep 300 & echo $! > {tmp_path}/pid; exit 0"
    async with running(environ, "sh", "-c", left) as run:
        await run.until_said("the command lives on in the background: sleep")
        status, _, _ = await run.ended()
    assert status == 0
    assert not is_alive(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("status", [0, 4])
async def test_what_a_command_leaves_behind_when_it_is_done_ends_with_it(
    environ: dict[str, str], tmp_path: Path, status: int
) -> None:
    left = f"sleep 300 & echo $! > {tmp_path}/pid; exit {status}"
    async with running(environ, "sh", "-c", left) as run:
        found, _, _ = await run.ended()
    assert found == status
    assert not is_alive(int((tmp_path / "pid").read_text()))


async def test_the_command_starts_only_once_the_box_is_admitted(
    registry: BoxRegistry, environ: dict[str, str], tmp_path: Path
) -> None:
    registry.down = 10_000
    async with running(environ, "touch", str(tmp_path / "started")) as run:
        await run.until_said("not admitted: UNAVAILABLE")
        assert not (tmp_path / "started").exists()
        registry.down = 0
        status, _, _ = await run.ended()
    assert status == 0
    assert (tmp_path / "started").exists()


async def test_a_runner_that_waits_for_admission_ends_when_told_to(
    registry: BoxRegistry, environ: dict[str, str], tmp_path: Path
) -> None:
    registry.down = 10_000
    async with running(environ, "touch", str(tmp_path / "started")) as run:
        await run.until_said("not admitted")
        run.process.send_signal(signal.SIGTERM)
        status, _, _ = await run.ended()
    assert status == 128 + signal.SIGTERM
    assert not (tmp_path / "started").exists()


async def test_told_to_start_anyway_it_does_and_goes_on_registering(
    registry: BoxRegistry, environ: dict[str, str]
) -> None:
    registry.down = 10_000
    async with running(environ, "sh", "-c", POLITE, options=("--start-anyway",)) as run:
        await run.until_said("starting the command anyway, as told")
        registry.down = 0
        await run.until_said("admitted (BOOTSTRAPPED)")
        run.process.send_signal(signal.SIGTERM)
        status, _, _ = await run.ended()
    assert status == 5


async def test_a_box_that_is_to_stop_does_not_start_its_command(
    registry: BoxRegistry, environ: dict[str, str], tmp_path: Path
) -> None:
    registry.model.retire()
    async with running(environ, "touch", str(tmp_path / "started")) as run:
        status, _, said = await run.ended()
    assert status == 3
    assert "the registry said STOP" in said
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(("script", "live"), [("exit 0", 0), ("exit 1", 1)])
async def test_a_job_that_is_done_may_leave_for_good(
    registry: BoxRegistry, environ: dict[str, str], script: str, live: int
) -> None:
    async with running(environ, "sh", "-c", script, options=("--leave-when-done",)) as run:
        status, _, _ = await run.ended()
    assert status == int(script.removeprefix("exit "))
    assert len(registry.model.live()) == live


async def test_an_agent_that_nobody_launched_is_let_in_by_its_api_token(
    registry: BoxRegistry, tmp_path: Path
) -> None:
    token = Secret("a-token-that-its-holder-made")
    registry.model.mint_api(token)
    environ = environment(registry, tmp_path, None) | {"WORKSPACE_API_TOKEN": token.reveal()}
    del environ["WORKSPACE_INCARNATION"]
    async with running(environ, "sh", "-c", "env") as run:
        status, output, said = await run.ended()
    assert status == 0
    assert "admitted (RECOVERED)" in said
    assert "WORKSPACE_API_TOKEN" not in output
    assert token.reveal() not in said
    assert len(registry.registers) == 1


async def test_a_runner_restarted_in_place_comes_back_after_its_token_was_revoked(
    registry: BoxRegistry, environ: dict[str, str]
) -> None:
    for expected in ("BOOTSTRAPPED", "AUTHENTICATED"):
        async with running(environ, "true") as run:
            status, _, said = await run.ended()
        assert (status, f"admitted ({expected})" in said) == (0, True), said
    registry.model.revoke(RevokeReason.OPERATOR)
    async with running(environ, "true") as run:
        status, _, said = await run.ended()
    assert (status, "admitted (RECOVERED)" in said) == (0, True), said


async def test_the_authorities_of_the_launch_mean_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.issue("registry")
    pair = (key.read_bytes(), certificate.read_bytes())
    registry = BoxRegistry()
    async with serving(registry, grpc.ssl_server_credentials([pair])):
        environ = environment(registry, tmp_path, registry.model.launch())
        environ["WORKSPACE_REGISTRY_CA"] = authority.file.read_text()
        async with running(environ, "true") as run:
            status, _, said = await run.ended()
    assert (status, "admitted (BOOTSTRAPPED)" in said) == (0, True), said


async def test_nothing_but_the_command_is_on_standard_output(environ: dict[str, str]) -> None:
    async with running(environ, "true") as run:
        assert (await run.ended())[1] == ""
