"""Diagonals of matrices: made, read and replaced; triangles."""

from __future__ import annotations

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.shapes import Dim, dim_max, dim_min, dims_of, element_of
from stepwell.frontends.emit import broadcast, cut, like, reshape, scalar, value
from stepwell.frontends.tensorflow.node import Node
from stepwell.frontends.tensorflow.registry import Output, Rule


def distances(rows: Dim, columns: Dim) -> SSAValue:
    """`[rows, columns]`: the number of each element's diagonal, 0 the main one."""
    row, column = nn.IotaOp([rows, 1], axis=0), nn.IotaOp([1, columns], axis=1)
    return value(nn.SubOp(column, row))


def band_part(node: Node) -> Output:
    """The diagonals from `lower` below to `upper` above; -1 is all of them."""
    x = node.x()
    lower, upper = (int(node.constant(i).item()) for i in (1, 2))
    *_, rows, columns = dims_of(x)
    distance, zero = distances(rows, columns), like(node, 0, x)
    for limit, predicate in ((-lower, "ge"), (upper, "le")):
        if (limit if predicate == "le" else -limit) < 0:
            continue
        bound = scalar(node, limit, element_of(distance))
        keep = nn.CompareOp(distance, bound, predicate=predicate)
        x = value(nn.SelectOp(keep, x, zero))
    return x


def diagonal_number(node: Node, index: int) -> int:
    """Which diagonal is meant, 0 the main one, positive ones above it."""
    if not node.has(index):
        return 0
    given = node.constant(index).reshape(-1).tolist()
    if len({*given}) != 1:
        raise node.unsupported("a band of several diagonals")
    return int(given[0])


def with_diagonal(
    node: Node, diagonal: SSAValue, number: int, dims: list[Dim], other: SSAValue
) -> Operation:
    """`other`, a matrix or one number, with a diagonal in its place."""
    *outer, rows, columns = dims
    *_, length = dims_of(diagonal)
    if number >= 0:
        filled = reshape(diagonal, [*outer, length, 1])
        high: list[Dim] = [*[0] * len(outer), rows - length, 0]
    else:
        filled = reshape(diagonal, [*outer, 1, length])
        high = [*[0] * len(outer), 0, columns - length]
    if any(high):
        filled = value(nn.PadOp(filled, low=[0] * len(dims), high=high))
    distance = distances(rows, columns)
    at = scalar(node, number, element_of(distance))
    is_there = value(nn.CompareOp(distance, at, predicate="eq"))
    return nn.SelectOp(is_there, broadcast(filled, dims), broadcast(other, dims))


def diagonal_matrix(node: Node) -> Output:
    """Matrices that are zero, or a number, but for one diagonal."""
    x = node.x()
    *outer, length = dims_of(x)
    number = diagonal_number(node, 1)
    least = [length + max(-number, 0), length + max(number, 0)]
    wanted = [node.sizes(i)[0] if node.has(i) else -1 for i in (2, 3)]
    if wanted == [-1, -1]:
        wanted = [dim_max(*least)] * 2
    sizes = [b if a == -1 else a for a, b in zip(wanted, least, strict=True)]
    other = reshape(node.x(4), []) if node.has(4) else like(node, 0, x)
    return with_diagonal(node, x, number, [*outer, *sizes], other)


def set_diagonal(node: Node) -> Output:
    """Matrices with one diagonal replaced."""
    number = diagonal_number(node, 2)
    return with_diagonal(node, node.x(1), number, list(node.dims()), node.x(0))


def diagonal_part(node: Node) -> Output:
    """One diagonal of matrices."""
    x, number = node.x(), diagonal_number(node, 1)
    *outer, rows, columns = dims_of(x)
    rows, columns = rows - max(-number, 0), columns - max(number, 0)
    length = dim_min(rows, columns)
    x = cut(x, len(outer), max(-number, 0), max(-number, 0) + length)
    index = value(nn.IotaOp([length, 1], axis=0))
    if number > 0:
        index = value(nn.AddOp(index, scalar(node, number, element_of(index))))
    index = broadcast(index, [*outer, length, 1])
    return reshape(value(nn.GatherElementsOp(x, index, axis=-1)), [*outer, length])


HINTS = ("align",)

RULES = (
    Rule("MatrixBandPart", band_part),
    *(Rule(f"MatrixDiag{v}", diagonal_matrix, ignores=HINTS) for v in ("", "V2", "V3")),
    *(
        Rule(f"MatrixDiagPart{v}", diagonal_part, ignores=HINTS)
        for v in ("", "V2", "V3")
    ),
    *(Rule(f"MatrixSetDiag{v}", set_diagonal, ignores=HINTS) for v in ("", "V2", "V3")),
)
