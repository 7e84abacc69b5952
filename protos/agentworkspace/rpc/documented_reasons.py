"""Reads what the comments of both `error_reason.proto` files say of every error reason."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SERVICES: Final = ("registry", "provision")
_CONTRACTS: Final = Path(__file__).resolve().parent.parent
# A value's comment: the code, the sentence, then the example.
_VALUE: Final = re.compile(
    r"// (?P<code>[A-Z_]+): (?P<text>[^\n]+)\n"
    r"(?P<rest>(?:  //[^\n]*\n)*)  ERROR_REASON_(?P<reason>\w+) ="
)
_EXAMPLE: Final = re.compile(r"\{.*\}")


@dataclass(frozen=True, slots=True)
class DocumentedReason:
    """`code`: the status code's name; `text`: what it means; `example`: an ErrorInfo as JSON."""

    code: str
    text: str
    example: str


def documented_reasons(service: str) -> dict[str, DocumentedReason]:
    """The reasons of `registry` or `provision`, by name without prefix, in the file's order."""
    proto = _CONTRACTS / service / "v1" / "error_reason.proto"
    return {
        found["reason"]: DocumentedReason(
            found["code"],
            found["text"],
            example[0] if (example := _EXAMPLE.search(found["rest"])) else "",
        )
        for found in _VALUE.finditer(proto.read_text(encoding="utf-8"))
    }
