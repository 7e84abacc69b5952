"""Starts many boxes: the vendor's library is loaded once, and every box is a fork of that.

It is itself started without a single variable, so a fork has nothing to inherit; each fork then
gets the environment of its box, all of it and only that. Jobs come in as JSON lines.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import os
import ssl
import sys
from typing import Any, Final, cast

import anthropic

from tests.e2e import box

ABREAST: Final = 4


def main() -> None:
    warm_up()
    # What is there now stays as it is: a collection in a fork would copy all of it.
    gc.freeze()
    running = 0
    for line in sys.stdin:
        if running == ABREAST:
            os.wait()
            running -= 1
        start(json.loads(line))
        running += 1
    while running:
        os.wait()
        running -= 1


def warm_up() -> None:
    """One vain call: the library loads parts of itself at the first use, and every fork would do it
    again.
    """
    # All upstreams here speak plain http; reading the authorities is half of a client's cost.
    ssl.create_default_context = cast(Any, functools.cache(ssl.create_default_context))
    nowhere = "http://127.0.0.1:9"
    with contextlib.suppress(anthropic.APIConnectionError):
        client = anthropic.Anthropic(api_key="warm", base_url=nowhere, max_retries=0)
        box.ask_anthropic(client, "model", "?")


def start(job: dict[str, Any]) -> None:
    if os.fork():
        return
    status = 1
    try:
        os.environ.clear()
        os.environ.update(job["environment"])
        os.chdir(job["directory"])
        box.work()
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
