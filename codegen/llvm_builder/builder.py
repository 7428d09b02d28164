"""The builder of a function: all that the other files make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from xdsl.dialects import llvm as xllvm
from xdsl.dialects.builtin import ArrayAttr, StringAttr
from xdsl.ir import Attribute, Block, Region

from .control import Control
from .memory import Memory
from .vectors import Vectors


class Builder(Control, Vectors, Memory):
    """Builds one `llvm.func`."""

    @classmethod
    def function(
        cls,
        name: str,
        inputs: Sequence[Attribute],
        output: Attribute | None = None,
        *,
        linkage: str = "external",
        attributes: Sequence[str] = (),
    ) -> Self:
        """A builder at the start of a new function."""
        kind = xllvm.LLVMFunctionType(list(inputs), output)
        other: dict[str, Attribute | None] = {}
        if attributes:
            other["passthrough"] = ArrayAttr([StringAttr(a) for a in attributes])
        func = xllvm.FuncOp(
            name,
            kind,
            linkage=xllvm.LinkageAttr(linkage),
            body=Region(Block(arg_types=list(inputs))),
            other_props=other,
        )
        return cls(func)
