"""Gather, scatter, and tensors made of indices."""

from __future__ import annotations

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import i64
from stepwell.dialects.shapes import dims_of, element_of
from stepwell.frontends.emit import broadcast, cast, like, reshape, scalar, value
from stepwell.frontends.tensorflow.node import Node
from stepwell.frontends.tensorflow.registry import Output, Rule


def gather(node: Node) -> Output:
    """Slices along an axis, picked by indices; batch dims run together."""
    axis = node.axis(2, node.rank()) if node.has(2) else 0
    batch = 0 if node.op_type == "Gather" else node.attribute("batch_dims")
    x, indices = node.x(0), node.x(1)
    if batch == 0:
        return nn.GatherOp(x, indices, axis=axis)
    batch %= len(dims_of(indices))
    if axis != batch:
        raise node.unsupported(f"a gather of {batch} batch dims along axis {axis}")
    tuples = reshape(indices, [*dims_of(indices), 1])
    return nn.GatherNdOp(x, tuples, batch_dims=batch)


def gather_variable(node: Node) -> Output:
    """Rows of a variable, picked by indices."""
    node.inputs = (node.resource().value, *node.inputs[1:])
    return gather(node)


def gather_nd(node: Node) -> Operation:
    """Slices at index tuples."""
    return nn.GatherNdOp(node.x(0), node.x(1))


def one_hot(node: Node) -> Output:
    """`on` where the index is, `off` elsewhere, along a new axis."""
    indices, on, off = cast(node.x(0), i64), node.x(2), node.x(3)
    (depth,) = node.sizes(1)
    dims = list(dims_of(indices))
    axis = node.attribute("axis") % (len(dims) + 1)
    column = reshape(indices, [*dims[:axis], 1, *dims[axis:]])
    extent = [depth if i == axis else 1 for i in range(len(dims) + 1)]
    here = nn.CompareOp(column, nn.IotaOp(extent, axis=axis), predicate="eq")
    return nn.SelectOp(here, on, off)


def scatter_nd(node: Node) -> Operation:
    """Updates added into zeros."""
    indices, updates = node.x(0), node.x(1)
    zeros = broadcast(like(node, 0, updates), node.sizes(2))
    return nn.ScatterNdOp(zeros, indices, updates, reduction="add")


def scatter(reduction: str) -> object:
    """Updates written, or combined, into a copy of a tensor."""

    def build(node: Node) -> Operation:
        return nn.ScatterNdOp(node.x(0), node.x(1), node.x(2), reduction=reduction)

    build.__doc__ = f"One `nn.scatter_nd` of reduction {reduction}."
    return build


def scatter_sub(node: Node) -> Operation:
    """Updates subtracted from a copy of a tensor."""
    updates = nn.NegOp(node.x(2))
    return nn.ScatterNdOp(node.x(0), node.x(1), updates, reduction="add")


def band_part(node: Node) -> Operation:
    """The diagonals from `lower` below to `upper` above; -1 is all of them."""
    x = node.x()
    lower, upper = (int(node.constant(i).item()) for i in (1, 2))
    *_, rows, columns = dims_of(x)
    row = value(nn.IotaOp([rows, 1], axis=0))
    column = value(nn.IotaOp([1, columns], axis=1))
    distance = value(nn.SubOp(column, row))
    keep: list[Operation] = []
    if lower >= 0:
        keep.append(bounded(node, distance, -lower, "ge"))
    if upper >= 0:
        keep.append(bounded(node, distance, upper, "le"))
    zero = like(node, 0, x)
    for mask in keep:
        x = value(nn.SelectOp(mask, x, zero))
    return x.owner if isinstance(x.owner, Operation) else nn.AddOp(x, zero)


def bounded(node: Node, x: SSAValue, bound: int, predicate: str) -> Operation:
    """Whether the integers `x` are above or below a bound."""
    return nn.CompareOp(x, scalar(node, bound, element_of(x)), predicate=predicate)


def where(node: Node) -> Output:
    """The indices of all elements that are not zero, one row each."""
    x = node.x()
    size = node.fresh_size(dims_of(x))
    found = nn.NonzeroOp(x, count=size)
    return nn.TransposeOp(found, perm=[1, 0])


def invert_permutation(node: Node) -> Output:
    """Where each index stands."""
    x = node.x()
    (count,) = dims_of(x)
    rows = reshape(cast(x, i64), [count, 1])
    numbers = cast(value(nn.IotaOp([count])), element_of(x))
    return nn.ScatterNdOp(numbers, rows, numbers)


def segment_sum(node: Node) -> Output:
    """Rows added up by the number of their segment."""
    data, segments = node.x(0), node.x(1)
    (count,) = node.sizes(2)
    rest = dims_of(data)[len(dims_of(segments)) :]
    zeros = broadcast(like(node, 0, data), [count, *rest])
    rows = reshape(segments, [*dims_of(segments), 1])
    return nn.ScatterNdOp(zeros, rows, data, reduction="add")


def diagonal_part(node: Node) -> Output:
    """The main diagonal of matrices."""
    x = node.x()
    *outer, rows, columns = dims_of(x)
    if rows != columns:
        raise node.unsupported("the diagonal of a matrix that is not square")
    index = value(nn.IotaOp([1, rows], axis=1))
    index = broadcast(reshape(index, [*[1] * len(outer), rows, 1]), [*outer, rows, 1])
    return reshape(value(nn.GatherElementsOp(x, index, axis=-1)), [*outer, rows])


SCATTERS = {
    "TensorScatterAdd": "add",
    "TensorScatterMax": "max",
    "TensorScatterMin": "min",
    "TensorScatterUpdate": "none",
}

IGNORED = ("validate_indices", "bad_indices_policy")

RULES = (
    Rule("GatherV2", gather, ignores=IGNORED),
    Rule("Gather", gather, ignores=IGNORED),
    Rule("ResourceGather", gather_variable, ignores=IGNORED),
    Rule("GatherNd", gather_nd, ignores=IGNORED),
    Rule("OneHot", one_hot),
    Rule("ScatterNd", scatter_nd, ignores=IGNORED),
    *(
        Rule(name, scatter(reduction), ignores=IGNORED)  # type: ignore[arg-type]
        for name, reduction in SCATTERS.items()
    ),
    Rule("TensorScatterSub", scatter_sub, ignores=IGNORED),
    Rule("MatrixBandPart", band_part),
    Rule("Where", where),
    Rule("InvertPermutation", invert_permutation),
    Rule("UnsortedSegmentSum", segment_sum),
    Rule("MatrixDiagPart", diagonal_part),
)
