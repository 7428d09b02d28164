"""Attributes as the manifest writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    DictionaryAttr,
    FloatAttr,
    IntegerAttr,
    StringAttr,
)
from xdsl.ir import Attribute

from stepwell.dialects.shapes import DimsAttr
from stepwell.runtime.manifest import Expr


def exprs(dims: Sequence[Any]) -> tuple[Expr, ...]:
    """Dims as numbers and text."""
    return tuple(dim if isinstance(dim, int) else str(dim) for dim in dims)


def expr(text: str) -> Expr:
    """A dim that an attribute holds as text."""
    return int(text) if text.lstrip("-").isdigit() else text


def plain(attribute: Attribute) -> Any:
    """An attribute as JSON."""
    match attribute:
        case DictionaryAttr():
            return {name: plain(item) for name, item in attribute.data.items()}
        case ArrayAttr():
            return [plain(item) for item in attribute]
        case DenseArrayBase():
            return list(cast(Any, attribute).get_values())
        case DimsAttr():
            return {"dims": list(exprs(attribute.data))}
        case IntegerAttr():
            value = attribute.value.data
            return bool(value) if str(attribute.type) == "i1" else value
        case FloatAttr():
            return attribute.value.data
        case StringAttr():
            return attribute.data
        case _:
            return str(attribute)
