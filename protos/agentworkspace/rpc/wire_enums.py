"""A domain's words and their numbers on the wire, in both directions.

Built from the enums' names at import: a word without a number fails there, not in a call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Protocol, TypeVar

Word = TypeVar("Word", bound=StrEnum)
Number = TypeVar("Number", bound=int)
Number_co = TypeVar("Number_co", bound=int, covariant=True)


class WireEnum(Protocol[Number_co]):
    """A generated enum, which knows its values by name."""

    def Value(self, name: str) -> Number_co: ...  # noqa: N802 - protobuf's own name


def numbers(words: Iterable[Word], wire: WireEnum[Number], prefix: str) -> Mapping[Word, Number]:
    """The number of each word. ValueError for a word that the wire does not know."""
    return {word: wire.Value(prefix + word.value) for word in words}


def words(numbers_of: Mapping[Word, int]) -> dict[int, Word]:
    """The word of each number."""
    return {int(number): word for word, number in numbers_of.items()}


def number(table: Mapping[Word, Number], word: Word | None, unspecified: Number) -> Number:
    """The number of a word that may be absent."""
    return unspecified if word is None else table[word]
