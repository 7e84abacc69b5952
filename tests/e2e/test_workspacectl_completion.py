"""What a shell offers behind `workspacectl`: commands, options, words, names of workspaces."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentworkspace.provision.v1 import workspace_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as messages
from tests.rpc.workspacectl_pair import WORKSPACE, Pair, running_pair

SECONDS = 60
# Each sources the script as its user would, and asks for what fits behind a line.
BASH = """
source <(workspacectl completion bash)
COMP_LINE="$1" COMP_POINT=${#1} COMP_TYPE=9
read -ra COMP_WORDS <<<"$1"
[[ $1 == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
eval "$(complete -p workspacectl | sed 's/.*-F \\([^ ]*\\).*/\\1/') workspacectl"
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = 'workspacectl completion fish | source; complete -C "$argv[1]"'
ZSH = """
autoload -Uz compinit && compinit -u -d "$ZDOTDIR/dump"
source <(workspacectl completion zsh)
whence -w _python_argcomplete
print -r -- ${_comps[workspacectl]}
"""


@pytest.fixture
def pair() -> Iterator[Pair]:
    with running_pair() as found:
        scribe = workspace_pb2.Workspace(id=WORKSPACE, name="scribe")
        page = messages.ListWorkspacesResponse(workspaces=[scribe])
        found.provision.on("ListWorkspaces", page)
        yield found


def shell(program: str, script: str, *words: str, home: Path, provision: str = "") -> list[str]:
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program} on this machine")
    form = {"bash": ("bash", "-c", script, "bash"), "fish": ("fish", "-c", script, "--")}
    done = subprocess.run(
        (*form.get(program, (program, "-c", script)), *words),
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "ZDOTDIR": str(home),
            "WORKSPACECTL_CONFIG": str(home / "contexts.yaml"),
            "PROVISION_ADDRESS": provision or "127.0.0.1:1",
        },
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [line.partition("\t")[0].strip() for line in done.stdout.splitlines()]


ASKED = [
    ("workspacectl wat", "watch"),
    ("workspacectl tokens re", "revoke-all"),
    ("workspacectl tokens revoke w t --reason ", "compromised"),
    ("workspacectl explain TENANT_F", "TENANT_FORBIDDEN"),
]


@pytest.mark.parametrize(("line", "offered"), ASKED)
def test_bash_completes(tmp_path: Path, line: str, offered: str) -> None:
    assert offered in shell("bash", BASH, line, home=tmp_path)


@pytest.mark.parametrize(("line", "offered"), ASKED)
def test_fish_completes(tmp_path: Path, line: str, offered: str) -> None:
    assert offered in shell("fish", FISH, line, home=tmp_path)


def test_zsh_takes_the_script(tmp_path: Path) -> None:
    known, registered = shell("zsh", ZSH, home=tmp_path)[-2:]

    assert known.endswith(": function")
    assert registered.startswith("_python_argcomplete")


def test_workspaces_are_offered_by_name_and_by_id(pair: Pair, tmp_path: Path) -> None:
    def offered(typed: str) -> list[str]:
        line = f"workspacectl tokens list {typed}"
        return shell("bash", BASH, line, home=tmp_path, provision=pair.provision.address)

    assert [each.strip() for each in offered("scr")] == ["scribe"]
    assert [each.strip() for each in offered(WORKSPACE[:4])] == [WORKSPACE]


def test_nobody_there_offers_nothing_and_complains_of_nothing(tmp_path: Path) -> None:
    assert shell("bash", BASH, "workspacectl tokens list scr", home=tmp_path) == [""]
