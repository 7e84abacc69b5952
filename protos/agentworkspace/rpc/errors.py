"""A failed call as one value, and how it travels: google.rpc details and plain metadata.

Both ends use this module: `to_trailing` on the server, `failure_from` at the client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

# Published without a py.typed marker.
from google.rpc import (  # type: ignore[import-untyped]
    error_details_pb2,
    status_pb2,
)
from typing_extensions import override

from agentworkspace.core.refusal import Recovery, Violation

CORRELATION_KEY: Final = "agentworkspace-correlation-id"
REASON_KEY: Final = "agentworkspace-reason"
RECOVERY_KEY: Final = "agentworkspace-recovery"
DETAILS_KEY: Final = "grpc-status-details-bin"

# gRPC drops answers whose headers exceed 8 KiB, and the details travel in headers.
_MAX_DETAILS_BYTES: Final = 4096
_MAX_MESSAGE_CHARACTERS: Final = 512
_MAX_VALUE_CHARACTERS: Final = 256

_DEFAULT_RETRY_AFTER: Final = timedelta(seconds=1)
_RETRY_INFO_CODES: Final = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
)

# Replaces gRPC's own message when every server behind a `dns:` name is up and says that it does
# not serve.
NONE_SERVES: Final = (
    "every server behind this name is up, and says NOT_SERVING, most often because its database"
    " takes no writes. Call again in a while; if it lasts, look into the service's log"
)
_NONE_SERVES_IN_GRPC: Final = "backend unhealthy"
# Only for UNIMPLEMENTED without a reason: our servers name a reason with everything they refuse.
NO_SUCH_METHOD: Final = (
    "whoever listens at this address knows no such method: it is another service, or an older"
    " version of this one; check the address"
)

Trailing = tuple[tuple[str, str | bytes], ...]


class RpcFailure(Exception):
    """A refusal or fault with everything that the other side may know about it.

    `domain` is the ErrorInfo's, `reason` the full name of the enum value (empty when the answer
    named none), `message` public text. What is secret or internal belongs in the exception's
    cause, which goes to the log only.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        domain: str,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        retry_after: timedelta | None = None,
        recovery: str = Recovery.RETRY,
        correlation_id: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.domain = domain
        self.reason = reason
        self.message = message
        self.metadata: dict[str, str] = dict(metadata or {})
        self.violations: tuple[Violation, ...] = tuple(violations)
        self.retry_after = retry_after
        self.recovery = recovery
        self.correlation_id = correlation_id

    @override
    def __repr__(self) -> str:
        return f"RpcFailure({self.code.name}, {self.reason or '-'}, {self.message!r})"

    @override
    def __str__(self) -> str:
        return f"{self.code.name} {self.reason}: {self.message}" if self.reason else self.message


def public_message(failure: RpcFailure) -> str:
    """The status message, cut to a length that fits into the headers."""
    return _cut(failure.message, _MAX_MESSAGE_CHARACTERS)


def to_trailing(failure: RpcFailure, correlation_id: str) -> Trailing:
    """The trailing metadata of a failed call: google.rpc.Status, and plain text keys beside it."""
    return (
        (DETAILS_KEY, to_status(failure).SerializeToString()),
        (REASON_KEY, failure.reason),
        (RECOVERY_KEY, str(failure.recovery)),
        (CORRELATION_KEY, correlation_id),
    )


def to_status(failure: RpcFailure) -> status_pb2.Status:
    """The failure as google.rpc.Status; violations that do not fit are counted, not sent."""
    status = _head(failure)
    if failure.violations:
        room = _MAX_DETAILS_BYTES - status.ByteSize()
        status.details.add().Pack(_bad_request(failure.violations, room))
    return status


def failure_from(error: grpc.RpcError) -> RpcFailure:
    """The failure that a server of ours raised, as seen by its client; see `failure_of`."""
    call: Any = error
    code = call.code() or grpc.StatusCode.UNKNOWN
    return failure_of(code, call.details() or "", _trailing_of(call))


def failure_of(
    code: grpc.StatusCode, message: str, trailing: Mapping[str, str | bytes]
) -> RpcFailure:
    """The failure that a call ended with.

    Never raises. An answer without readable details keeps its code and message. A recovery that is
    absent or unknown becomes RETRY.
    """
    reason = _text(trailing.get(REASON_KEY))
    if not reason and code is grpc.StatusCode.UNAVAILABLE and _NONE_SERVES_IN_GRPC in message:
        message = NONE_SERVES
    if not reason and code is grpc.StatusCode.UNIMPLEMENTED:
        message = NO_SUCH_METHOD
    failure = RpcFailure(
        code,
        "",
        reason,
        message,
        correlation_id=_text(trailing.get(CORRELATION_KEY)),
    )
    details = trailing.get(DETAILS_KEY)
    if isinstance(details, bytes):
        _read_details(details, failure)
    failure.recovery = _known(failure.metadata.pop("recovery", _text(trailing.get(RECOVERY_KEY))))
    return failure


def _head(failure: RpcFailure) -> status_pb2.Status:
    status = status_pb2.Status(code=failure.code.value[0], message=public_message(failure))
    info = error_details_pb2.ErrorInfo(reason=failure.reason, domain=failure.domain)
    for key, value in failure.metadata.items():
        info.metadata[key] = _cut(str(value), _MAX_VALUE_CHARACTERS)
    info.metadata["recovery"] = str(failure.recovery)
    status.details.add().Pack(info)
    retry_after = failure.retry_after
    if retry_after is None and failure.code in _RETRY_INFO_CODES:
        retry_after = _DEFAULT_RETRY_AFTER
    if retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromTimedelta(retry_after)
        status.details.add().Pack(retry)
    return status


def _bad_request(violations: Sequence[Violation], room: int) -> error_details_pb2.BadRequest:
    bad = error_details_pb2.BadRequest()
    for told, violation in enumerate(violations):
        field = _cut(violation.field, _MAX_VALUE_CHARACTERS)
        description = _cut(violation.description, _MAX_VALUE_CHARACTERS)
        room -= len(field.encode()) + len(description.encode()) + 8
        if room < _MAX_VALUE_CHARACTERS:
            bad.field_violations.add(description=f"and {len(violations) - told} more")
            break
        bad.field_violations.add(field=field, description=description)
    return bad


def _read_details(details: bytes, failure: RpcFailure) -> None:
    status = status_pb2.Status()
    try:
        status.ParseFromString(details)
        for detail in status.details:
            info = error_details_pb2.ErrorInfo()
            bad = error_details_pb2.BadRequest()
            retry = error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                failure.domain, failure.reason = info.domain, info.reason
                failure.metadata = dict(info.metadata)
            elif detail.Unpack(bad):
                failure.violations = tuple(
                    Violation(each.field, each.description) for each in bad.field_violations
                )
            elif detail.Unpack(retry):
                failure.retry_after = retry.retry_delay.ToTimedelta()
    except (DecodeError, OverflowError, ValueError):
        return  # not written by us; what was read so far stays


def _trailing_of(call: Any) -> dict[str, str | bytes]:
    try:
        pairs = call.trailing_metadata() or ()
    except AttributeError:
        return {}
    return dict(pairs)


def _text(value: str | bytes | None) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value or ""


def _known(word: str) -> Recovery:
    return Recovery(word) if word in Recovery.__members__ else Recovery.RETRY


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"
