"""One service as a child process: started, waited for, stopped by its own process id."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

START_SECONDS = 60.0
STOP_SECONDS = 30.0
SERVING = health_pb2.HealthCheckResponse.SERVING


class StartError(Exception):
    """A service did not come up; the message ends with the last lines of its log."""


class Service:
    """`<name> serve --embedded`, with its settings in the environment and its output in a file."""

    def __init__(
        self, *, name: str, address: str, environment: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.address = address
        self.log = log
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until its health says SERVING. Raises StartError."""
        self.launch()
        self.wait_until_serving()

    def launch(self) -> None:
        # The script in this Python's environment, not one that happens to be on PATH.
        program = str(Path(sys.executable).with_name(self.name))
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                (program, "serve", "--embedded"),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the supervisor, who stops its children in order.
                start_new_session=True,
            )

    def wait_until_serving(self) -> None:
        give_up = time.monotonic() + START_SECONDS
        with grpc.insecure_channel(self.address) as channel:
            # Its methods are made at run time, where mypy cannot see them.
            health: Any = health_pb2_grpc.HealthStub(channel)
            while not serves(health):
                if self.exit_status is not None:
                    raise StartError(f"{self.name} exited at its start.\n{self.last_lines()}")
                if time.monotonic() > give_up:
                    raise StartError(
                        f"{self.name} was not ready within {START_SECONDS:.0f} s.\n"
                        f"{self.last_lines()}"
                    )
                time.sleep(0.05)

    @property
    def exit_status(self) -> int | None:
        """How it ended; None while it runs."""
        return None if self._process is None else self._process.poll()

    def stop(self) -> None:
        """Let it finish what runs; kill it when that takes too long. May be called twice."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def restart(self, **settings: str) -> None:
        """Stop it, and start it again with these settings over its own. Raises StartError."""
        self.stop()
        self._environment |= settings
        self.start()

    def last_lines(self) -> str:
        """The end of its log, and where the rest is."""
        lines = self.log.read_text(errors="replace").splitlines()[-20:]
        return "\n".join(["Its log ends with:", *lines, f"All of it: {self.log}"])


def serves(health: Any) -> bool:
    try:
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=2, wait_for_ready=False)
    except grpc.RpcError:
        return False
    return bool(answer.status == SERVING)
