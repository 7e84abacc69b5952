"""The reference of both services in protos/API.md, made from the comments of the protos.

python -m deploy.api_reference            write it
python -m deploy.api_reference --check    exit 1 when it is out of date
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

from deploy.pages import write_or_check

PROTOS = Path(__file__).resolve().parent.parent / "protos"
PAGE = PROTOS / "API.md"
HEAD = """# API reference

Written by `python -m deploy.api_reference` from the comments of the `.proto` files: edit those.
How tokens, credentials, request ids and failures work in all of it: [README.md](README.md).
"""
Said = Callable[..., str]
_F = FieldDescriptorProto
_SCALARS = {
    value: name.removeprefix("TYPE_").lower()
    for name, value in _F.Type.items()
    if value not in (_F.TYPE_MESSAGE, _F.TYPE_ENUM)
}
# Field numbers of google/protobuf/descriptor.proto, of which the paths to comments are made.
_MESSAGES, _ENUMS, _SERVICES, _FIELDS, _VALUES, _METHODS = 4, 5, 6, 2, 2, 2


def page() -> str:
    """The whole page."""
    files = FileDescriptorSet.FromString((PROTOS / "agentworkspace.protoset").read_bytes())
    ours = [each for each in files.file if each.package.startswith("agentworkspace.")]
    parts = [HEAD]
    for package in sorted({each.package for each in ours}):
        parts.append(f"## {package}\n")
        of_package = sorted((each for each in ours if each.package == package), key=_services_first)
        for each in of_package:
            parts += _file(each)
    return "\n".join(parts)


def _services_first(file: FileDescriptorProto) -> tuple[bool, str]:
    return not file.service, file.name


def _file(file: FileDescriptorProto) -> Iterator[str]:
    comments = {tuple(each.path): each.leading_comments for each in file.source_code_info.location}

    def said(*path: int) -> str:
        return comments.get(path, "").rstrip()

    for index, service in enumerate(file.service):
        yield from _service(service, said, index)
    for index, message in enumerate(file.message_type):
        yield from _message(message, said, index)
    for index, enum in enumerate(file.enum_type):
        yield from _enum(enum, said, index)


def _service(service: ServiceDescriptorProto, said: Said, index: int) -> Iterator[str]:
    yield f"### {service.name}\n\n{_text(said(_SERVICES, index))}\n"
    for place, method in enumerate(service.method):
        streams = "stream " if method.server_streaming else ""
        yield f"#### {service.name}.{method.name}\n"
        yield f"`{_name(method.input_type)}` → `{streams}{_name(method.output_type)}`\n"
        yield _text(said(_SERVICES, index, _METHODS, place)) + "\n"


def _message(message: DescriptorProto, said: Said, index: int) -> Iterator[str]:
    yield f"#### {message.name}\n\n{_text(said(_MESSAGES, index))}\n"
    if message.field:
        yield "| field | type | meaning |\n|---|---|---|"
        for place, field in enumerate(message.field):
            meaning = _cell(said(_MESSAGES, index, _FIELDS, place))
            yield f"| `{field.name}` | {_type(message, field)} | {meaning} |"
        yield ""


def _enum(enum: EnumDescriptorProto, said: Said, index: int) -> Iterator[str]:
    yield f"#### {enum.name}\n\n{_text(said(_ENUMS, index))}\n"
    yield "| value | number | meaning |\n|---|---|---|"
    for place, value in enumerate(enum.value):
        meaning = _cell(said(_ENUMS, index, _VALUES, place).partition("\n\n")[0])
        yield f"| `{value.name}` | {value.number} | {meaning} |"
    yield ""


def _type(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    nested = {each.name: each for each in message.nested_type if each.options.map_entry}
    entry = nested.get(_name(field.type_name).rpartition(".")[2])
    if entry is not None:
        key, value = (_type(message, each) for each in entry.field)
        return f"map of {key} to {value}"
    name = _SCALARS.get(field.type) or f"`{_name(field.type_name)}`"
    if field.label == _F.LABEL_REPEATED:
        name = f"list of {name}"
    words = [name]
    if field.proto3_optional:
        words.append("optional")
    if field.options.deprecated:
        words.append("deprecated")
    if field.options.debug_redact:
        words.append("secret")
    return ", ".join(words)


def _name(full_name: str) -> str:
    """The name, without the package when it is ours: `Principal`, `google.protobuf.Timestamp`."""
    name = full_name.removeprefix(".")
    return name.partition(".v1.")[2] if name.startswith("agentworkspace.") else name


def _text(comment: str) -> str:
    """The comment as it was wrapped; Caller, Idempotency and Errors are paragraphs of their own."""
    text = "\n".join(line.removeprefix(" ") for line in comment.splitlines())
    for word in ("Caller:", "Idempotency:", "Errors:"):
        text = text.replace(f"\n{word}", f"\n\n**{word}**")
    return text.replace("\n\n\n", "\n\n")


def _cell(comment: str) -> str:
    return " ".join(comment.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page(), module="deploy.api_reference"))
