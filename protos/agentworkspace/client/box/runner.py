"""Runs the command as a box: first admission, then the command, then an end for both."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentworkspace.client.agent import (
    Announcement,
    BlockingAgentClient,
    Closed,
    Launch,
    Stopped,
)
from agentworkspace.client.box.files import (
    arguments_of,
    directory_of_the_run,
    environment_of,
    write,
)
from agentworkspace.client.box.processes import LOOK_SECONDS, CannotStart, Command
from agentworkspace.client.box.recipe import Recipe
from agentworkspace.client.box.signals import ENDING, Events
from agentworkspace.rpc.errors import RpcFailure

TOLD_TO_STOP: Final = 3
KILLED: Final = 128 + signal.SIGKILL
# How long `--start-anyway` waits for the registry before it starts the command all the same.
START_ANYWAY_SECONDS: Final = 5.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line asks for. `grace_seconds`: between SIGTERM and SIGKILL."""

    command: Sequence[str]
    grace_seconds: float
    start_anyway: bool
    leave_when_done: bool
    announcement: Announcement
    home: Path


class Runner:
    """One run. `own`: names of variables that the command does not get; `say` prints progress."""

    def __init__(
        self,
        launch: Launch,
        recipe: Recipe,
        inherited: Mapping[str, str],
        *,
        own: frozenset[str],
        options: Options,
        say: Say,
    ) -> None:
        self._launch = launch
        self._recipe = recipe
        self._inherited = inherited
        self._own = own
        self._options = options
        self._say = say
        self._events = Events()
        self._agent = BlockingAgentClient(launch, options.announcement)
        self._is_admitted = False
        self._is_daemon = False
        self._ended: Exception | None = None
        # When (time.monotonic) whatever still runs is killed; None while nothing has to end.
        self._deadline: float | None = None

    def run(self) -> int:
        """The exit status of the command; 3 when the registry said STOP before it was started.

        BadRecipe or OSError when what the launch needs cannot be prepared.
        """
        self._say(f"registering workspace {self._launch.workspace_id} at {self._launch.address}")
        with self._agent:
            threading.Thread(target=self._follow, name="admission", daemon=True).start()
            status = self._wait_for_admission()
            if status is None:
                status = self._run_command()
                if status == 0 and self._options.leave_when_done:
                    self._leave()
            return status

    def _follow(self) -> None:
        """On a thread of its own: wait for admission, then for the end; wake the main thread."""
        try:
            admission = self._agent.admitted()
            self._say(f"admitted ({admission.outcome}), incarnation {admission.incarnation}")
            self._is_admitted = True
            self._events.tell()
            self._agent.finished()
        except Exception as ended:  # noqa: BLE001 - the main thread looks at it
            self._ended = ended
        self._events.tell()

    def _wait_for_admission(self) -> int | None:
        """None when the command may begin; else the exit status of the run, without a command."""
        anyway = time.monotonic() + START_ANYWAY_SECONDS if self._options.start_anyway else None
        while not self._is_admitted:
            left = None if anyway is None else anyway - time.monotonic()
            if left is not None and left <= 0:
                self._say("not admitted yet; starting the command anyway, as told")
                return None
            number = self._events.next(left)
            if self._ended is not None:
                self._say(f"{_why(self._ended)}; the command was not started")
                return TOLD_TO_STOP
            if number in ENDING:
                self._say("told to end before the box was admitted; the command was not started")
                return 128 + number
        return None

    def _run_command(self) -> int:
        with directory_of_the_run(self._options.home) as root:
            environment = environment_of(self._recipe, self._inherited, self._own, root)
            arguments = arguments_of(self._recipe, environment)
            write(self._recipe, environment, root)
            try:
                command = Command((*self._options.command, *arguments), environment)
            except CannotStart as error:
                self._say(str(error))
                return error.status
            self._say(f"started {self._options.command[0]} as process {command.pid}")
            try:
                self._accompany(command)
            finally:
                if not command.kill_all():
                    self._say("something that the command started cannot be killed; leaving it")
            status = KILLED if command.status is None else command.status
            self._say(f"the command ended with status {status}")
            return status

    def _accompany(self, command: Command) -> None:
        """Wait until everything that the command started has ended, or the grace period is over."""
        while command.reap():
            settles = False
            if self._deadline is None:
                settles = self._see_whether_it_is_over(command)
            elif time.monotonic() >= self._deadline:
                self._say(f"still running after {self._options.grace_seconds:g} s; killing it")
                return
            number = self._events.next(LOOK_SECONDS if settles else self._seconds_left())
            if number is not None:
                command.hand_on(number)
            if number == signal.SIGTERM and self._deadline is None:
                self._say("handed SIGTERM on to the command")
                self._begin_to_end()

    def _see_whether_it_is_over(self, command: Command) -> bool:
        """Begin to end the command where it is over; True where it may be over without an event."""
        if self._ended is not None:
            self._say(f"{_why(self._ended)}; ending the command")
        elif command.status is None:
            return False
        elif command.status == 0 and (daemons := command.daemons()):
            if not self._is_daemon:
                self._is_daemon = True
                names = ", ".join(sorted({each.name for each in daemons}))
                self._say(f"the command lives on in the background: {names}")
            return False
        elif command.status == 0 and command.settles():
            return True
        # What the command left running gets its time to end, too.
        command.send_to_all(signal.SIGTERM)
        self._begin_to_end()
        return False

    def _begin_to_end(self) -> None:
        self._deadline = time.monotonic() + self._options.grace_seconds

    def _seconds_left(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _leave(self) -> None:
        try:
            self._agent.deregister()
        except (RpcFailure, Closed, Stopped) as failure:
            self._say(f"could not deregister at the registry: {failure}")
        else:
            self._say("deregistered: that this box ends is no reason for another launch")


def _why(ended: Exception) -> str:
    if isinstance(ended, Stopped):
        return f"the registry said STOP: {ended}"
    return f"the client of the box broke ({type(ended).__name__})"
