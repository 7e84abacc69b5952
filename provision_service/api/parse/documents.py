"""Documents: google.protobuf.Struct as plain JSON that PostgreSQL can hold."""

from __future__ import annotations

import math
from typing import Any, Final

from google.protobuf.struct_pb2 import ListValue, Struct, Value

from provision_service.api.parse.fields import Fields

Json = dict[str, "JsonValue"]
JsonValue = None | bool | float | int | str | list[Any] | Json

LARGEST_BYTES: Final = 64 * 1024
DEEPEST: Final = 32
# Beyond this a double no longer holds every whole number.
_EXACT: Final = 2**53


class _NotJson(ValueError):
    """The document has no form that a JSON column keeps."""


def document(fields: Fields, struct: Struct, field: str) -> Json:
    """The document as JSON. Too large, too deep, or with a value that JSON lacks: a violation."""
    if struct.ByteSize() > LARGEST_BYTES:
        fields.refuse(field, f"must be at most {LARGEST_BYTES} bytes")
        return {}
    try:
        return _object(struct, DEEPEST)
    except _NotJson as wrong:
        fields.refuse(field, str(wrong))
        return {}


def _object(document: Struct, depth: int) -> Json:
    return {_text(key): _value(value, depth - 1) for key, value in document.fields.items()}


def _array(items: ListValue, depth: int) -> list[JsonValue]:
    return [_value(item, depth - 1) for item in items.values]


def _value(value: Value, depth: int) -> JsonValue:
    if depth < 0:
        raise _NotJson(f"must not nest deeper than {DEEPEST}")
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
