"""Turns a document, a google.protobuf.Struct, into JSON that PostgreSQL can store."""

from __future__ import annotations

import math
from typing import Any, Final

from google.protobuf.struct_pb2 import ListValue, Struct, Value

from agentworkspace.server.request_fields import RequestFields

Json = dict[str, "JsonValue"]
JsonValue = None | bool | float | int | str | list[Any] | Json

LARGEST_BYTES: Final = 64 * 1024
# Beyond this a double no longer holds every whole number.
_EXACT: Final = 2**53


class _NotJson(ValueError):
    """The document holds a value that a JSON column cannot store."""


class _TooDeep(ValueError):
    """The document nests deeper than is allowed."""


def read(fields: RequestFields, document: Struct, field: str, *, deepest: int) -> Json:
    """The document as JSON data; `{}`, and a violation of `field`, when it cannot be stored.

    That is so when it is larger than LARGEST_BYTES, nests deeper than `deepest` levels, or has a
    value that JSON lacks. protobuf itself parses 100 messages deep: about 33 levels of a document.
    """
    if document.ByteSize() > LARGEST_BYTES:
        fields.refuse(field, f"must be at most {LARGEST_BYTES} bytes")
        return {}
    try:
        return _object(document, deepest)
    except _TooDeep:
        fields.refuse(field, f"must not nest deeper than {deepest}")
    except _NotJson as wrong:
        fields.refuse(field, str(wrong))
    return {}


def _object(document: Struct, depth: int) -> Json:
    return {_text(key): _value(value, depth - 1) for key, value in document.fields.items()}


def _array(items: ListValue, depth: int) -> list[JsonValue]:
    return [_value(item, depth - 1) for item in items.values]


def _value(value: Value, depth: int) -> JsonValue:
    if depth < 0:
        raise _TooDeep
    match value.WhichOneof("kind"):
        case "string_value":
            return _text(value.string_value)
        case "number_value":
            return _number(value.number_value)
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return _object(value.struct_value, depth)
        case "list_value":
            return _array(value.list_value, depth)
        case _:
            return None


def _number(number: float) -> float | int:
    if not math.isfinite(number):
        raise _NotJson("must not contain a number that is not finite")
    return int(number) if number.is_integer() and abs(number) < _EXACT else number


def _text(text: str) -> str:
    if "\0" in text:
        raise _NotJson("must not contain a NUL character")
    return text
