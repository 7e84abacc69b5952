"""Checks bearers without one call per check, for any Python service that receives them.

In front of a service stand `interceptor` (gRPC, asyncio or threads), `asgi` and `wsgi` (HTTP).
"""

from __future__ import annotations

from agentworkspace.client.verifier.asyncio_verifier import Verifier
from agentworkspace.client.verifier.blocking_verifier import BlockingVerifier
from agentworkspace.client.verifier.principals import Principal, Rejected, Rejection, Requirement
from agentworkspace.client.verifier.serving import principal

__all__ = [
    "BlockingVerifier",
    "Principal",
    "Rejected",
    "Rejection",
    "Requirement",
    "Verifier",
    "principal",
]
