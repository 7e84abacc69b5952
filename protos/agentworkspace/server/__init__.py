"""What stands in front of a service's methods: the edge, callers, limits, metrics, listeners."""

from __future__ import annotations

import os

# gRPC's core writes a line of its own to stderr for every compressed request that it refuses and
# every handshake that fails: strangers could fill the disk. Read when grpc is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
