"""Turns protobuf messages into what is shown of them: tables, facts, trees, documents.

Tables are told which fields to show, as {heading: path}. A field marked `debug_redact` in the
protos is a secret: it is left out everywhere unless its name was revealed for this one answer.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from agentworkspace.core.secret import SHOWN

ABSENT: Final = "-"
# Not a type: each implementation of protobuf has its own class for it.
FieldDescriptor = Any


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows of text; without a header they are pairs of a name and a value.

    The columns in `wide` are shown with `-o wide` only.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    wide: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Branch:
    """A sentence and the reasons behind it; one that is `decided` is shown bold."""

    text: str
    reasons: tuple[Branch, ...] = ()
    decided: bool = False


@dataclass(frozen=True, slots=True)
class Plain:
    """A text for another program, printed as it is."""

    text: str


Shown = Grid | Branch | Plain


def table(
    title: str,
    columns: Mapping[str, str],
    messages: Iterable[Message],
    wide: Iterable[str] = (),
) -> Grid:
    """One row for every message; the columns are dotted paths into it."""
    paths = tuple(columns.values())
    return Grid(
        title,
        tuple(columns),
        tuple(tuple(text_at(message, path) for path in paths) for message in messages),
        frozenset(wide),
    )


def facts(title: str, message: Message, *, leave: Collection[str] = ()) -> Grid:
    """Pairs of name and value for every field that is set, nested ones included.

    Left out: the fields in `leave`, and lists of messages, which `table` shows.
    """
    return Grid(title, (), tuple(_facts_of(message, leave)))


def text_at(message: Message, path: str) -> str:
    """The field at the dotted path, as text; `-` where there is nothing."""
    first, _, rest = path.partition(".")
    field = message.DESCRIPTOR.fields_by_name[first]
    if rest:
        return text_at(getattr(message, first), rest) if message.HasField(first) else ABSENT
    if field.has_presence and not message.HasField(first):
        return ABSENT
    return _text(field, getattr(message, first))


def document(message: Message, *, revealed: Collection[str] = ()) -> dict[str, Any]:
    """The message as protobuf JSON, without its secrets."""
    shown = type(message)()
    shown.CopyFrom(message)
    _clear_secrets(shown, revealed)
    found: dict[str, Any] = MessageToDict(shown, always_print_fields_with_no_presence=True)
    return found


def printable(text: str) -> str:
    """The text with control characters escaped: what a box sent must not steer the terminal."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def short_name(enum: EnumDescriptor, number: int) -> str:
    """The value's name without the enum's prefix; `-` for 0; an unknown number as it is."""
    value = enum.values_by_number.get(number)
    if value is None:
        return str(number)
    return ABSENT if number == 0 else value.name.removeprefix(prefix_of(enum))


def prefix_of(enum: EnumDescriptor) -> str:
    """The prefix of all names of the enum, such as `TOKEN_KIND_`."""
    return str(enum.values_by_number[0].name.removesuffix("UNSPECIFIED"))


def _facts_of(
    message: Message, leave: Collection[str], prefix: str = ""
) -> Iterable[tuple[str, str]]:
    for field in message.DESCRIPTOR.fields:
        if field.name in leave or (field.has_presence and not message.HasField(field.name)):
            continue
        value = getattr(message, field.name)
        name = prefix + field.name.replace("_", " ")
        if _is_plain_message(field):
            if not field.is_repeated:
                yield from _facts_of(value, (), f"{name} ")
        elif (text := _text(field, value)) not in ("", ABSENT):
            yield name, text


def _text(field: FieldDescriptor, value: Any) -> str:
    if field.GetOptions().debug_redact:
        return SHOWN if value else ABSENT
    if _is_map(field):
        return ", ".join(f"{key}={value[key]}" for key in sorted(value)) or ABSENT
    if field.is_repeated:
        return ", ".join(_single(field, each) for each in value) or ABSENT
    return _single(field, value)


def _single(field: FieldDescriptor, value: Any) -> str:
    if field.enum_type is not None:
        return short_name(field.enum_type, value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Timestamp):
        return value.ToDatetime(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, Message):
        return json.dumps(MessageToDict(value), ensure_ascii=False)
    return str(value) or ABSENT


def _is_map(field: FieldDescriptor) -> bool:
    inside = field.message_type
    return inside is not None and bool(inside.GetOptions().map_entry)


def _is_plain_message(field: FieldDescriptor) -> bool:
    """Whether it holds a message of these services, whose fields are shown one by one."""
    inside = field.message_type
    return (
        inside is not None
        and not _is_map(field)
        and not inside.full_name.startswith("google.protobuf.")
    )


def _clear_secrets(message: Message, revealed: Collection[str]) -> None:
    for field, value in message.ListFields():
        if field.GetOptions().debug_redact:
            if field.name not in revealed:
                message.ClearField(field.name)
        elif _is_plain_message(field):
            for each in value if field.is_repeated else (value,):
                _clear_secrets(each, revealed)
