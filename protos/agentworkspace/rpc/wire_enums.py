"""Maps a domain's enums to the numbers of the generated enums, in both directions.

The tables are built at import, so that a word without a number fails there and not in a call.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, Protocol, TypeVar, cast

Word = TypeVar("Word", bound=StrEnum)
Number = TypeVar("Number", bound=int)
Number_co = TypeVar("Number_co", bound=int, covariant=True)
_NO_LETTER: Final = re.compile("[^A-Z0-9]")


class WireEnum(Protocol[Number_co]):
    """A generated enum, which knows its values by name."""

    def Value(self, name: str) -> Number_co: ...  # noqa: N802 - protobuf's own name


def numbers(words: Iterable[Word], wire: WireEnum[Number], prefix: str) -> Mapping[Word, Number]:
    """The number of each word. ValueError for a word that the wire does not know.

    A value is spelled as its word, in capitals: `secret:MODEL` is SECRET_MODEL.
    """
    return {word: wire.Value(prefix + _NO_LETTER.sub("_", word.value.upper())) for word in words}


def words(numbers_of: Mapping[Word, int]) -> dict[int, Word]:
    """The word of each number."""
    return {int(number): word for word, number in numbers_of.items()}


def number(table: Mapping[Word, Number], word: Word | None, unspecified: Number) -> Number:
    """The number of a word that may be absent."""
    return unspecified if word is None else table[word]


def number_of_text(table: Mapping[Word, Number], text: str, unspecified: Number) -> Number:
    """The number of a stored text; `unspecified` for an empty or unknown one."""
    # A StrEnum's word equals its text, and so is found by it.
    return cast("Mapping[str, Number]", table).get(text, unspecified)
