"""deploy/compose.yaml as commands of Podman. A key that nobody here knows is a failure."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.image.podman import LIMITS, Podman

FILE: Final = Path(__file__).resolve().parents[2] / "deploy" / "compose.yaml"
HEALTHY_SECONDS: Final = 60.0
# ${NAME}, ${NAME:-default}, ${NAME:?what to do}
_VARIABLE: Final = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
# Keys that are read elsewhere than in `options`, or say nothing to Podman.
_NOT_OPTIONS: Final = frozenset(
    {"image", "build", "command", "depends_on", "healthcheck", "profiles", "stop_grace_period"}
)


class Wrong(Exception):
    """The file, or a service that it describes, is not as it has to be."""


@dataclass(frozen=True)
class Compose:
    """The services of one installation, under a name of their own."""

    podman: Podman
    project: str
    services: Mapping[str, Any]

    def name(self, service: str) -> str:
        return f"{self.project}-{service}"

    def up(self, networks: Mapping[str, Any]) -> None:
        """Start all that has no profile, each behind what it depends on."""
        for network, told in networks.items():
            internal = ["--internal"] if told.get("internal") else []
            self.podman("network", "create", *internal, self.name(network))
        waiting = {name: each for name, each in self.services.items() if "profiles" not in each}
        while waiting:
            service = next(
                name
                for name, each in waiting.items()
                if not waiting.keys() & each.get("depends_on", {})
            )
            for needed, told in waiting.pop(service).get("depends_on", {}).items():
                self.require(needed, told["condition"])
            self.start(service)

    def start(self, service: str) -> None:
        told = self.services[service]
        # One that ends is awaited: names are not found for a moment while its network goes.
        detached = [] if told.get("restart") == "no" else ["--detach"]
        words = ["run", *detached, f"--name={self.name(service)}", "--pull=never", *LIMITS]
        self.podman(*words, *self.options(service), told["image"], *told.get("command", ()))

    def require(self, service: str, condition: str) -> None:
        """Wait until it is so. Raises Wrong when it will not be."""
        if condition == "service_healthy":
            self.wait_until_healthy(service)
        elif condition == "service_completed_successfully":
            status = self.podman("wait", self.name(service))
            if status != "0":
                raise Wrong(f"{service} ended with {status}:\n{self.logs(service)}")
        else:
            raise Wrong(f"{service}: unknown condition {condition}")

    def wait_until_healthy(self, service: str) -> None:
        """Ask as compose would, but by ourselves: without systemd nobody does."""
        give_up = time.monotonic() + HEALTHY_SECONDS
        while self.podman.attempt("healthcheck", "run", self.name(service)).returncode != 0:
            if time.monotonic() > give_up:
                raise Wrong(f"{service} does not become healthy:\n{self.logs(service)}")
            time.sleep(0.2)

    def logs(self, service: str) -> str:
        done = self.podman.attempt("logs", "--tail=40", self.name(service))
        return done.stdout + done.stderr

    def grace(self, service: str) -> str:
        """Seconds that it may take to stop; compose's own default is 10."""
        told = str(self.services[service].get("stop_grace_period", "10s"))
        if not re.fullmatch(r"\d+s", told):
            raise Wrong(
                f"{service}: a stop_grace_period in whole seconds is understood, not {told}"
            )
        return told.removesuffix("s")

    def options(self, service: str) -> list[str]:
        told = self.services[service]
        words = []
        for key, value in told.items():
            if key not in _NOT_OPTIONS:
                words += self._option(service, key, value)
        return words + _health(told.get("healthcheck", {}))

    def _option(self, service: str, key: str, value: Any) -> list[str]:
        match key:
            case "environment":
                words = [f"--env={name}={each}" for name, each in value.items()]
            case "volumes":
                words = [f"--volume={self._volume(each)}" for each in value]
            case "networks":
                words = [f"--network={self.name(each)}:alias={service}" for each in value]
            case "ports":
                words = [f"--publish={each}" for each in value]
            case "user" | "restart":
                words = [f"--{key}={value}"]
            case "read_only":
                # Podman would put writable directories over it, Docker does not.
                words = ["--read-only", "--read-only-tmpfs=false"] if value else []
            case "cap_drop":
                words = [f"--cap-drop={each}" for each in value]
            case "security_opt":
                words = [f"--security-opt={each.removesuffix(':true')}" for each in value]
            case _:
                raise Wrong(f"{service}: nobody here knows what `{key}` means")
        return words

    def _volume(self, told: str) -> str:
        """A directory as it stands; a named volume under a name of ours."""
        if told.startswith("/"):
            return told
        if told.startswith("./"):
            return f"{FILE.parent}{told.removeprefix('.')}"
        return self.name(told)


def read(variables: Mapping[str, str]) -> Any:
    """The whole file with its variables filled in. Raises Wrong for one that must be set."""
    return _filled(yaml.safe_load(FILE.read_text()), variables)


def _filled(told: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(told, dict):
        return {key: _filled(each, variables) for key, each in told.items()}
    if isinstance(told, list):
        return [_filled(each, variables) for each in told]
    if isinstance(told, str):
        return _VARIABLE.sub(lambda found: _value(found, variables), told)
    return told


def _value(found: re.Match[str], variables: Mapping[str, str]) -> str:
    name, kind, rest = found.groups()
    if variables.get(name):
        return variables[name]
    if kind == "?":
        raise Wrong(f"{name} is not set: {rest}")
    return rest or ""


def _health(told: Mapping[str, Any]) -> list[str]:
    if not told:
        return []
    kind, *command = told["test"]
    if kind != "CMD":
        raise Wrong(f"a health check of the kind CMD is understood, not {kind}")
    # When it is run is decided here.
    return [f"--health-cmd={shlex.join(command)}", "--health-interval=disable"]
