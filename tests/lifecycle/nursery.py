"""Starts services as processes of their own: what they import is loaded once, each is a fork.

So a service that was killed is back in a tenth of a second, and many deaths fit into one test.
Orders come in as JSON lines, the number of each new process goes out as one. Whoever closes the
input ends all of them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from typing import Any

from provision_service.__main__ import main as provision_main
from registry_service.__main__ import main as registry_main

MAINS = {"registry": registry_main, "provision": provision_main}


def main() -> None:
    # Nobody waits for them here: the kernel buries those that ended.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        print(start(json.loads(line)), flush=True)


def start(order: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.environ.clear()
        os.environ.update(order["environment"])
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        status = MAINS[order["service"]](["serve"])
    except BaseException:  # noqa: BLE001 -- the log is all that is left of it
        traceback.print_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
