"""Attributes of the upper half of `tile`."""

from __future__ import annotations

from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import SpacedOpaqueSyntaxAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.utils.str_enum import StrEnum


class CombineKind(StrEnum):
    """The monoids of reductions, scans and accumulating stores.

    `max` and `min` of floats propagate NaN; `and` and `or` are bitwise.
    """

    ADD = "add"
    MUL = "mul"
    MAX = "max"
    MIN = "min"
    AND = "and"
    OR = "or"


@irdl_attr_definition
class CombineKindAttr(EnumAttribute[CombineKind], SpacedOpaqueSyntaxAttribute):
    """`add | mul | max | min | and | or`."""

    name = "tile.combine"
