"""Gather, scatter, and tensors made of indices."""

from __future__ import annotations

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import i64
from stepwell.dialects.shapes import dims_of, element_of
from stepwell.frontends.described import described
from stepwell.frontends.emit import broadcast, cast, like, reshape, transpose, value
from stepwell.frontends.tensorflow.node import Node
from stepwell.frontends.tensorflow.registry import Build, Output, Rule


def gather(node: Node) -> Output:
    """Slices along an axis, picked by indices; batch dims run together."""
    axis = node.axis(2, node.rank()) if node.has(2) else 0
    batch = 0 if node.op_type == "Gather" else node.attribute("batch_dims")
    x, indices = node.x(0), node.x(1)
    if batch == 0:
        return nn.GatherOp(x, indices, axis=axis)
    return batched_gather(x, indices, axis, batch % (len(dims_of(indices)) + 1))


def batched_gather(x: SSAValue, indices: SSAValue, axis: int, batch: int) -> Output:
    """Slices along `axis`, by indices of their own in each of the batch dims.

    `nn.gather_nd` picks along the first dim behind the batch dims: `axis` is moved
    there, and the dims that it jumped over are moved back.
    """
    rank, count = len(dims_of(x)), len(dims_of(indices)) - batch
    between = list(range(batch, axis))
    x = transpose(x, [*range(batch), axis, *between, *range(axis + 1, rank)])
    tuples = reshape(indices, [*dims_of(indices), 1])
    found = value(nn.GatherNdOp(x, tuples, batch_dims=batch))
    picked = list(range(batch, batch + count))
    skipped = [batch + count + i for i in range(len(between))]
    rest = range(batch + count + len(between), len(dims_of(found)))
    return transpose(found, [*range(batch), *skipped, *picked, *rest])


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


def scatter(reduction: str) -> Build:
    """Updates written, or combined, into a copy of a tensor."""

    def build(node: Node) -> Operation:
        return nn.ScatterNdOp(node.x(0), node.x(1), node.x(2), reduction=reduction)

    return described(build, f"One `nn.scatter_nd` of reduction {reduction}.")


def scatter_sub(node: Node) -> Operation:
    """Updates subtracted from a copy of a tensor."""
    updates = nn.NegOp(node.x(2))
    return nn.ScatterNdOp(node.x(0), node.x(1), updates, reduction="add")


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
        Rule(name, scatter(reduction), ignores=IGNORED)
        for name, reduction in SCATTERS.items()
    ),
    Rule("TensorScatterSub", scatter_sub, ignores=IGNORED),
    Rule("Where", where),
    Rule("InvertPermutation", invert_permutation),
)
