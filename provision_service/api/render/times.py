"""Times on the wire."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp


def timestamp(time: datetime | None) -> Timestamp | None:
    """None stays None, which leaves the field unset."""
    if time is None:
        return None
    if time.tzinfo is None:
        raise ValueError("a time without a zone would silently be taken as UTC")
    found = Timestamp()
    found.FromDatetime(time)
    return found
