"""Concatenations as pieces written into one tensor.

```mlir
%y = nn.concat %a, %b {axis = 1}
```
becomes
```mlir
%0 = engine.empty
%1 = fusion.insert %a, %0 {offsets = [0, 0]}
%y = fusion.insert %b, %1 {offsets = [0, 64]}
```
so that the kernel which makes a piece can write it in place. A short concatenation
stays one kernel that selects.
"""

from __future__ import annotations

from xdsl.ir import Block, Operation, SSAValue

from stepwell.dialects.dims import Dim
from stepwell.dialects.dtypes import is_float
from stepwell.dialects.engine import EmptyOp
from stepwell.dialects.fusion import InsertOp
from stepwell.dialects.nn.inference import normalise_axis
from stepwell.dialects.nn.shape import ConcatOp
from stepwell.dialects.shapes import dims_of, element_of, num_elements

from .roles import Role, role_of

SHORT = 16384
"""Elements up to which one kernel that selects beats one launch per piece."""


def insert_pieces(block: Block) -> None:
    """Rewrite the long concatenations of a block."""
    order = {op: n for n, op in enumerate(block.ops)}
    for op in list(block.ops):
        if isinstance(op, ConcatOp) and _is_long(op) and role_of(op) is Role.CONCAT:
            _rewrite(op, block, order)


def _is_long(op: ConcatOp) -> bool:
    if len(op.inputs) < 2 or not is_float(element_of(op.result)):
        return False
    count = num_elements(op.result)
    return not isinstance(count, int) or count > SHORT


def _rewrite(op: ConcatOp, block: Block, order: dict[Operation, int]) -> None:
    """Pieces are written in the order in which they are made."""
    rank = len(dims_of(op.result))
    axis = normalise_axis(op.value("axis"), rank)
    offset: Dim = 0
    places: list[tuple[SSAValue, list[Dim]]] = []
    for piece in op.inputs:
        places.append((piece, [offset if n == axis else 0 for n in range(rank)]))
        offset = offset + dims_of(piece)[axis]
    places.sort(key=lambda place: _made_at(place[0], order))
    empty = EmptyOp(op.result.type)
    made: list[Operation] = [empty]
    written: SSAValue = empty.output
    for piece, offsets in places:
        insert = InsertOp(piece, written, offsets)
        made.append(insert)
        written = insert.result
    for one in made:
        one.location = op.location
        block.insert_op_before(one, op)
    written.name_hint = op.result.name_hint
    op.result.replace_all_uses_with(written)
    op.detach()
    op.erase()


def _made_at(value: SSAValue, order: dict[Operation, int]) -> int:
    owner = value.owner
    return order.get(owner, -1) if isinstance(owner, Operation) else -1
