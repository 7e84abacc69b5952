"""The smallest agent that google-adk can be: what a user of that library writes, and no more.

Runs in the library's own environment; nothing of ours is importable there.
"""

from __future__ import annotations

import asyncio
import os
import sys

from google.adk.agents import LlmAgent
from google.adk.runners import InMemoryRunner
from google.genai import types


async def ask(question: str) -> None:
    agent = LlmAgent(name="agent", model=os.environ["ADK_MODEL"], instruction="Answer shortly.")
    runner = InMemoryRunner(agent=agent, app_name="agent")
    session = await runner.session_service.create_session(app_name="agent", user_id="user")
    message = types.Content(role="user", parts=[types.Part(text=question)])
    events = runner.run_async(user_id="user", session_id=session.id, new_message=message)
    async for event in events:
        for part in event.content.parts if event.content else []:
            print(part.text or "", end="", flush=True)


asyncio.run(ask(sys.argv[1]))
