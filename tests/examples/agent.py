"""An agent: it comes in, works, and leaves when it is told to stop."""

from __future__ import annotations

import asyncio

from agentworkspace.client.agent import AgentClient, Announcement, Stopped


async def main() -> None:
    agent = AgentClient.from_environment(Announcement(runtime="claude-code"))
    try:
        async with agent:  # registers, then heartbeats for as long as this block lasts
            await agent.admitted()  # through lost answers, restarts, a registry that is down
            agent.report(active_tasks=1)  # goes along with the next heartbeat
            await agent.finished()  # raises Stopped; nothing else ends it
    except Stopped as why:
        print(f"exit: {why}")


if __name__ == "__main__":
    asyncio.run(main())
