"""The wheel as an agent gets it: installed beside its base dependencies, and nothing else."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120
# The rooms of the wheel that promise to need nothing but its base dependencies.
# Used where somebody else has installed it, and done without otherwise.
OPTIONAL = {"opentelemetry"}
BASE_ROOMS = ("client", "core", "provision.v1", "registry.v1", "rpc")

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
import agentworkspace
done = []
for room in sys.argv[1:]:
    start = importlib.import_module(f"agentworkspace.{room}")
    done.append(start.__name__)
    for found in pkgutil.walk_packages(start.__path__, start.__name__ + "."):
        importlib.import_module(found.name)
        done.append(found.name)
print(len(done))
"""


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it."""

    home: Path

    def run(
        self, program: str, *arguments: str, beside: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """`beside`: a folder with further packages."""
        return subprocess.run(
            (str(self.home / "bin" / program), *arguments),
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
            cwd=self.home,
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": str(self.home),
                "PYTHONPATH": "" if beside is None else str(beside),
            },
        )

    @property
    def packages(self) -> Path:
        (found,) = self.home.glob("lib/python*/site-packages")
        return found


def requirements_of(texts: list[str]) -> list[str]:
    """The distributions that are required without asking for an extra."""
    return [re.split(r"[^A-Za-z0-9._-]", each)[0] for each in texts if "extra ==" not in each]


def closure(names: list[str]) -> Mapping[str, metadata.Distribution]:
    found: dict[str, metadata.Distribution] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name not in found:
            found[name] = metadata.distribution(name)
            waiting += requirements_of(found[name].requires or [])
    return found


def put_into(packages: Path, distribution: metadata.Distribution) -> None:
    """Copies what pip put beside our own modules when the tests were installed."""
    for file in distribution.files or ():
        if ".." not in file.parts and file.suffix != ".pyc":
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(file.locate()), target)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    scratch = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    wheel = ("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir")
    subprocess.run((*pip, *wheel, str(scratch), str(ROOT)), check=True, timeout=SECONDS)
    (file,) = scratch.glob("agentworkspace-*.whl")
    home = scratch / "environment"
    venv.create(home, symlinks=True)
    target = (*pip, "--python", str(home / "bin" / "python"), "install", "--no-index", "--no-deps")
    subprocess.run((*target, str(file)), check=True, timeout=SECONDS)
    environment = Installed(home)
    (own,) = metadata.distributions(path=[str(environment.packages)])
    for distribution in closure(requirements_of(own.requires or [])).values():
        put_into(environment.packages, distribution)
    yield environment
    shutil.rmtree(scratch)


def test_every_module_of_a_client_imports(installed: Installed) -> None:
    done = installed.run("python", "-W", "error", "-c", IMPORT_EVERYTHING, *BASE_ROOMS)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 80


def test_what_a_client_imports_is_declared_by_name(installed: Installed) -> None:
    (own,) = metadata.distributions(path=[str(installed.packages)], name="agentworkspace")
    declared = set(requirements_of(own.requires or []))
    providers = metadata.packages_distributions()
    for room in BASE_ROOMS:
        for path in (installed.packages / "agentworkspace" / room.replace(".", "/")).rglob("*.py"):
            for name in imported_by(path) - sys.stdlib_module_names - {"agentworkspace"} - OPTIONAL:
                owners = {owner.replace("_", "-") for owner in providers[name]}
                assert declared & owners, f"{path.name} imports {name}"


def imported_by(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


def test_the_wheel_declares_its_types(installed: Installed) -> None:
    program = 'from agentworkspace.core.secret import Secret; reveal_type(Secret("x").reveal())'
    mypy = (sys.executable, "-m", "mypy", "--strict", "--cache-dir=/dev/null", "-c", program)
    done = subprocess.run(
        (*mypy, "--python-executable", str(installed.home / "bin" / "python")),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        cwd=installed.home,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r'Revealed type is "(builtins\.)?str"', done.stdout), done.stdout


@pytest.mark.parametrize("command", ["registry-service", "provision-service"])
def test_a_service_says_what_to_install(installed: Installed, command: str) -> None:
    done = installed.run(command, "serve")
    assert done.returncode == 2
    assert done.stderr.startswith(f"{command} needs ")
    assert done.stderr.endswith(
        ", which the base installation leaves out: install agentworkspace[server]\n"
    )
    assert done.stdout == ""


def test_the_operator_s_tool_says_what_to_install(installed: Installed) -> None:
    done = installed.run("workspacectl", "tokens", "list")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("workspacectl needs ")
    assert done.stderr.endswith(
        ", which the base installation leaves out: install agentworkspace[ctl]\n"
    )


def test_the_operator_s_tool_needs_the_extra_that_it_names_and_no_more(
    installed: Installed, tmp_path: Path
) -> None:
    (own,) = metadata.distributions(path=[str(installed.packages)], name="agentworkspace")
    extra = [each.partition(";")[0] for each in own.requires or [] if "extra == 'ctl'" in each]
    for distribution in closure(requirements_of(extra)).values():
        put_into(tmp_path, distribution)

    for words in (("tokens", "list", "--help"), ("explain", "TOKEN_UNKNOWN")):
        done = installed.run("workspacectl", *words, beside=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), words
    version = installed.run("workspacectl", "--version", beside=tmp_path)
    assert version.stdout == f"workspacectl {own.version}\n"


def test_the_box_runner_starts_and_says_what_it_lacks(installed: Installed) -> None:
    done = installed.run("agentworkspace-box", "run", "--", "true")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "agentworkspace-box: WORKSPACE_ID must be a canonical lower-case UUID; it is in the"
        " environment that ProvisionWorkspace answered\n"
    )


def test_a_command_of_the_base_wheel_says_its_version(installed: Installed) -> None:
    (own,) = metadata.distributions(path=[str(installed.packages)], name="agentworkspace")
    done = installed.run("agentworkspace-box", "--version")
    assert (done.returncode, done.stdout) == (0, f"agentworkspace-box {own.version}\n")


@pytest.mark.parametrize("command", ["registry-service", "provision-service"])
def test_a_command_of_a_full_installation_says_its_version(command: str) -> None:
    program = Path(sys.executable).parent / command
    done = subprocess.run(
        (str(program), "--version"), capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert (done.returncode, done.stdout) == (
        0,
        f"{command} {metadata.version('agentworkspace')}\n",
    )
