"""The client of a box, asyncio or blocking: it registers, sends heartbeats and registers again.

A box is a running launch of a workspace, mostly a container with one agent in it.
"""

from __future__ import annotations

from agentworkspace.client.agent.asyncio_client import AgentClient
from agentworkspace.client.agent.blocking_client import BlockingAgentClient
from agentworkspace.client.agent.box import Closed
from agentworkspace.client.agent.launch import Announcement, Launch, Report
from agentworkspace.client.agent.memory import FileMemory, Memory, ProcessMemory, Remembered
from agentworkspace.client.agent.steps import Admission, StopCause, Stopped

__all__ = [
    "Admission",
    "AgentClient",
    "Announcement",
    "BlockingAgentClient",
    "Closed",
    "FileMemory",
    "Launch",
    "Memory",
    "ProcessMemory",
    "Remembered",
    "Report",
    "StopCause",
    "Stopped",
]
