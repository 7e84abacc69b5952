"""The smallest agent on Claude's SDK: what a user of that library writes, and no more.

Runs in the library's own environment; nothing of ours is importable there. The library brings a
Claude Code of its own and drives it over a pipe.
"""

from __future__ import annotations

import asyncio
import sys

from claude_agent_sdk import ResultMessage, query


async def ask(question: str) -> None:
    async for message in query(prompt=question):
        if isinstance(message, ResultMessage):
            print(message.result or "", flush=True)


asyncio.run(ask(sys.argv[1]))
