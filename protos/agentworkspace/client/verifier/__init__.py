"""Checks workspace tokens in any Python service, mostly from a cache instead of by a call.

The modules `interceptor` (gRPC, asyncio or threads), `asgi` and `wsgi` (HTTP) put the check in
front of a service.
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
