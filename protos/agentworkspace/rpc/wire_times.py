"""Moments and spans of time as protobuf's Timestamp and Duration."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_A_DAY: Final = 86_400


def timestamp(moment: datetime | None) -> Timestamp | None:
    """The moment as a Timestamp; None stays None.

    ValueError for a moment without a time zone, which protobuf would take for UTC.
    """
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError("a moment without a zone")
    # The same as FromDatetime, which takes three times as long.
    since = moment - _EPOCH
    return Timestamp(
        seconds=since.days * _SECONDS_A_DAY + since.seconds, nanos=since.microseconds * 1000
    )


def duration(span: timedelta) -> Duration:
    made = Duration()
    made.FromTimedelta(span)
    return made
