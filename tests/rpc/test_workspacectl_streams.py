"""`workspacectl` where standard input, output or error is closed, or takes no more."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from agentworkspace.provision.v1 import secret_service_pb2 as secrets
from agentworkspace.registry.v1 import workspace_registry_service_pb2 as messages
from tests.rpc.vendor_server import until
from tests.rpc.workspacectl_pair import Pair, running_pair

PROGRAM = "import sys; from agentworkspace.ctl.main import main; sys.exit(main())"
LIST = "registrations list"


@pytest.fixture
def pair() -> Iterator[Pair]:
    with running_pair() as found:
        found.registry.on("ListRegistrations", messages.ListRegistrationsResponse())
        yield found


def started(pair: Pair, words: str) -> subprocess.Popen[str]:
    """In a shell, with what it does to the streams."""
    where = f"--registry {pair.registry.address} --provision {pair.provision.address}"
    return subprocess.Popen(
        ("bash", "-c", f'exec "$0" -c "$1" {where} {words}', sys.executable, PROGRAM),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
    )


def ended(pair: Pair, words: str) -> tuple[int, str]:
    """(exit code, standard error)."""
    with started(pair, words) as run:
        _, err = run.communicate(timeout=60)
    return run.returncode, err


def test_a_full_disk_is_said_together_with_what_is_lost(pair: Pair) -> None:
    assert ended(pair, f"{LIST} >/dev/full") == (
        2,
        (
            "workspacectl: standard output cannot be written: No space left on device; the command"
            " itself was carried out, and what it would have shown is lost\n"
        ),
    )


@pytest.mark.parametrize("words", [LIST, "health", "explain", "completion bash"])
def test_with_a_closed_output_nothing_is_done(pair: Pair, words: str) -> None:
    assert ended(pair, f"{words} >&-") == (
        2,
        "workspacectl: standard output is closed; nothing was done: say >/dev/null\n",
    )
    assert pair.registry.asked == []


def test_a_closed_input_holds_no_secret_and_nobody_to_ask(pair: Pair) -> None:
    code, err = ended(pair, "secrets set K --tenant acme <&-")
    assert (code, err) == (2, "workspacectl: standard input is empty: expected the value\n")
    pair.provision.on("DeleteGlobalSecret", secrets.DeleteGlobalSecretResponse(deleted=True))
    code, err = ended(pair, "secrets delete K --tenant acme <&-")
    assert code == 2
    assert "nobody is there to ask: say --yes" in err
    assert pair.provision.asked == []


def test_with_a_closed_error_the_exit_code_still_says_it(pair: Pair) -> None:
    assert ended(pair, f"{LIST} --bogus 2>&-") == (2, "")
    assert ended(pair, f"{LIST} 2>&-") == (0, "")


def test_ctrl_c_ends_a_call_that_waits_without_a_word(pair: Pair) -> None:
    pair.registry.on("ListRegistrations", None)
    # Longer than a busy machine takes to see that it asked.
    with started(pair, f"{LIST} --timeout 600") as run:
        until(lambda: pair.registry.asked, 60)
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=60)
    assert (run.returncode, err) == (130, "")
