"""What a field's comment says of it is what the parser holds it to."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorSet
from google.protobuf.json_format import ParseDict

from agentworkspace.core.refusal import Refusal
from provision_service.commands.probing import _WARNING_CODES
from provision_service.domain.plan import RemovalCode
from provision_service.domain.refusals import REASONS
from tests.contract.contracts import ROOT
from tests.contract.field_ranges import RANGES, REQUESTS, Asked, Range

# A range in words. Every list has the two page fields, which one method stands for.
_A_RANGE: Final = re.compile(
    r"\d[\d,]* (?:s |byte )?to \d|at most \d|at least \d|\d lower-case hex"
)
_OF_EVERY_LIST: Final = {"page_size", "page_token"}
# Judged by the commands, with what is stored.
_JUDGED_LATER: Final = {
    "BeginIncarnationRequest.minimum_incarnation",
    "PreviewCatalogueRequest.text",
}


@dataclass(frozen=True)
class Documented:
    package: str
    message: str
    field: FieldDescriptorProto
    comment: str

    def __str__(self) -> str:
        return f"{self.message}.{self.field.name}"


def documented() -> Iterator[Documented]:
    files = FileDescriptorSet.FromString((ROOT / "protos/agentworkspace.protoset").read_bytes())
    for file in files.file:
        if not file.package.startswith("agentworkspace."):
            continue
        comments = {
            tuple(each.path): " ".join(each.leading_comments.split())
            for each in file.source_code_info.location
        }
        for m, message in enumerate(file.message_type):
            for f, field in enumerate(message.field):
                comment = comments.get((4, m, 2, f), "")
                yield Documented(file.package, message.name, field, comment)


FIELDS: Final = list(documented())


def comment_of(descriptor: Any, path: str) -> str:
    *parents, last = path.split(".")
    for parent in parents:
        descriptor = descriptor.fields_by_name[parent].message_type
    return next(
        each.comment
        for each in FIELDS
        if each.package == descriptor.file.package
        and (each.message, each.field.name) == (descriptor.name, last)
    )


def violations(asked: Asked, path: str, value: Any) -> list[str]:
    """What is refused at the path of the good request when it holds this value there."""
    given = copy.deepcopy(asked.good)
    place = given
    *parents, last = path.split(".")
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = value
    try:
        asked.read(ParseDict(given, asked.message()))
    except Refusal as refusal:
        return [each.field for each in refusal.violations if each.field.startswith(path)]
    return []


@pytest.mark.parametrize("stated", RANGES, ids=lambda each: f"{each.request}.{each.field}")
def test_a_stated_range_is_the_checked_one(stated: Range) -> None:
    asked = REQUESTS[stated.request]
    assert stated.said in comment_of(asked.message.DESCRIPTOR, stated.field)
    for value in stated.inside:
        assert violations(asked, stated.field, value) == []
    for value in stated.outside:
        assert violations(asked, stated.field, value) != [], str(value)[:80]


def test_every_stated_range_of_a_request_is_tried() -> None:
    tried = set()
    for stated in RANGES:
        *parents, last = stated.field.split(".")
        descriptor: Any = REQUESTS[stated.request].message.DESCRIPTOR
        for parent in parents:
            descriptor = descriptor.fields_by_name[parent].message_type
        tried.add(f"{descriptor.name}.{last}")
    stated_somewhere = {
        str(each)
        for each in FIELDS
        if (each.message.endswith("Request") or each.message in {"Workspace", "FirstToken"})
        and _A_RANGE.search(each.comment)
        and each.field.name not in _OF_EVERY_LIST
        and "Output only" not in each.comment
    }
    assert stated_somewhere - tried == _JUDGED_LATER


def test_every_field_is_explained() -> None:
    thin = [str(each) for each in FIELDS if len(each.comment.split()) < 3]
    assert thin == []


def test_every_request_id_says_that_it_is_optional() -> None:
    ids = [
        each
        for each in FIELDS
        if each.field.name == "request_id" and each.message.endswith("Request")
    ]
    assert len(ids) == 8
    assert [str(each) for each in ids if "optional" not in each.comment] == []


def test_a_word_that_is_deprecated_names_the_enum_beside_it() -> None:
    enums = {
        (each.package, each.message, each.field.name)
        for each in FIELDS
        if each.field.type == FieldDescriptorProto.TYPE_ENUM
    }
    words = [
        each
        for each in FIELDS
        if each.field.options.deprecated and each.field.type == FieldDescriptorProto.TYPE_STRING
    ]
    assert len(words) == 24
    for word in words:
        named = re.search(r"Use (\w+)|The former name of (\w+)", word.comment)
        assert named is not None, str(word)
        assert (word.package, word.message, named[1] or named[2]) in enums, str(word)


def test_no_other_text_is_from_a_closed_set() -> None:
    """Words in a comment's backticks, one or the other, are an enum's business."""
    closed = re.compile(r"^(?:Output only\. )?`[a-z_]+`(?:, `[a-z_]+`)* or `[a-z_]+`")
    texts = [
        str(each)
        for each in FIELDS
        if each.field.type == FieldDescriptorProto.TYPE_STRING
        and closed.search(each.comment)
        and not each.field.options.deprecated
    ]
    assert texts == []


def test_every_warning_code_of_provisioning_is_listed() -> None:
    comment = next(
        each.comment
        for each in FIELDS
        if (each.package, str(each)) == ("agentworkspace.provision.v1", "Warning.code")
    )
    listed = set(re.findall(r"[A-Z]+(?:_[A-Z]+)+", comment))
    given = {code.value for code in RemovalCode if code.value} | set(_WARNING_CODES.values())
    for path in (ROOT / "provision_service").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Notice":
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    given.add(str(first.value))
    assert listed == given - {reason.value for reason in REASONS}
