"""Views of a tile program: the root memory, and the map from their dims to elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xdsl.ir import SSAValue

from stepwell.dialects import tile
from stepwell.dialects.access import row_major
from stepwell.dialects.dims import Dim, substitute
from stepwell.errors import CompileError

from .indices import IndexSpace


def position(dim: int) -> str:
    """The symbol of a position along one dim of a tile."""
    return f"pos${dim}"


class View:
    """A `!tile.view` value: the root pointer, and the map from its dims to elements."""

    def __init__(self, space: IndexSpace, value: SSAValue, roots: Mapping) -> None:
        self.space = space
        self.type = tile.view_of(value)
        self.indices: tuple[View, ...] = ()
        owner = value.owner
        if isinstance(owner, tile.AccessOp):
            source = View(space, owner.source, roots)
            if source.access is not None:
                raise CompileError(
                    "expected tile.access of a function argument, got one of another",
                    where=str(owner.location),
                    fix="compose the two maps",
                )
            self.root = source.root
            self.root_dims = source.root_dims
            self.access = owner.access
            self.indices = tuple(View(space, v, roots) for v in owner.indices)
            self.argument = source.argument
            return
        self.root = roots[value]
        self.argument = value
        self.root_dims = self.type.dims
        self.access = None

    def element(
        self, index: Sequence[Dim]
    ) -> tuple[Dim, list[tuple[Dim, Dim]], list[tuple[View, list[Dim]]]]:
        """Address, guards, and the reads of index views, of the element `index`."""
        guards = list(zip(index, self.type.dims, strict=True))
        if self.access is None:
            results: Sequence[Dim] = index
            indirects: list[tuple[View, list[Dim]]] = []
        else:
            values = dict(zip(self.access.dims, index, strict=True))
            results = [substitute(e, values) for e in self.access.results]
            guards += [
                (substitute(g.expr, values), substitute(g.size, values))
                for g in self.access.guards
            ]
            indirects = [
                (self.indices[i.operand], [substitute(e, values) for e in i.index])
                for i in self.access.indirects
            ]
        address: Dim = 0
        for expr, stride in zip(results, row_major(self.root_dims), strict=True):
            address = address + expr * stride
        return address, guards, indirects
