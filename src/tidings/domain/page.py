"""A page of rows and how many there are in all."""

from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True):
    """`rows` of the page asked for, `total` over all pages."""

    rows: list[T]
    total: int
