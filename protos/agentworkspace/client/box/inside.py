"""The second half of the runner, which `main` starts without its environment: the run itself."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from agentworkspace.client.agent import Announcement, Launch
from agentworkspace.client.agent.launch import API_TOKEN, STATE_FILE, TICKET
from agentworkspace.client.box import handover
from agentworkspace.client.box.main import CANNOT_START, NAME
from agentworkspace.client.box.recipe import Recipe, parse
from agentworkspace.client.box.runner import Options, Runner
from agentworkspace.rpc.redaction import scrub_text

LAUNCH: Final = "WORKSPACE_LAUNCH"
# Variables that are for the runner alone: the command sees none of them.
OWN: Final = frozenset({TICKET, LAUNCH, API_TOKEN, STATE_FILE})


def main() -> int:
    """Make the run that was handed over under the descriptor in the first argument."""
    options, inherited = handover.handed_over(int(sys.argv[1]))
    handover.harden()
    _show_log()
    try:
        return run(options, inherited)
    except ValueError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{error.filename or 'the system'}: {error.strerror}")


def run(options: Mapping[str, Any], inherited: Mapping[str, str]) -> int:
    """Make one run; its exit status. ValueError or OSError before the command was started."""
    launch = Launch.from_environment(inherited)
    if launch.ticket is None and launch.api_token is None:
        raise ValueError(f"neither {TICKET} nor {API_TOKEN} is set, and a box needs one of them")
    recipe = parse(inherited[LAUNCH]) if inherited.get(LAUNCH, "").strip() else Recipe()
    wanted = Options(
        command=options["command"],
        grace_seconds=options["grace"],
        start_anyway=options["start_anyway"],
        leave_when_done=options["leave_when_done"],
        announcement=Announcement(
            url=options["url"],
            runtime=options["runtime"],
            runtime_version=options["runtime_version"],
        ),
        home=Path(options["directory"] or inherited.get("HOME") or "~").expanduser(),
    )
    return Runner(launch, recipe, inherited, own=OWN, options=wanted, say=_say).run()


class _Readable(logging.Handler):
    """Shows what the agent's client logs, as the runner's own lines."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        _say(record.getMessage())


def _show_log() -> None:
    log = logging.getLogger("agentworkspace")
    log.addHandler(_Readable())
    log.propagate = False
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace", line_buffering=True)


def _say(text: str) -> None:
    print(f"{NAME}: {scrub_text(text)}", file=sys.stderr, flush=True)


def _refuse(text: str) -> int:
    _say(text)
    return CANNOT_START


if __name__ == "__main__":
    sys.exit(main())
