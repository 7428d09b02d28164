"""Ops that read shapes or give new ones: their results are views of their inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from xdsl.ir import Operation

from stepwell.dialects import nn
from stepwell.dialects.dtypes import is_float
from stepwell.dialects.shapes import Dim, ceildiv, product
from stepwell.frontends.contents import constant_tensor, symbolic_tensor
from stepwell.frontends.emit import broadcast, cast, reshape, transpose, value
from stepwell.frontends.tensorflow.node import Item, Node
from stepwell.frontends.tensorflow.registry import Output, Rule
from stepwell.frontends.values import dim_array, dim_scalar


def shape(node: Node) -> Item:
    """The dims."""
    return symbolic_tensor(dim_array(node.dims()), node.element("out_type"))


def shapes(node: Node) -> Sequence[Item]:
    """The dims of each input."""
    element = node.element("out_type")
    return [
        symbolic_tensor(dim_array(node.dims(index)), element)
        for index in range(len(node.inputs))
    ]


def size(node: Node) -> Item:
    """The number of elements."""
    return scalar_dim(product(node.dims()), node)


def rank(node: Node) -> Item:
    """The number of dims."""
    return constant_tensor(np.array(node.rank(), np.int32))


def scalar_dim(dim: Dim, node: Node) -> Item:
    """A dim as a scalar of the type that the node gives."""
    return symbolic_tensor(dim_scalar(dim), node.element("out_type"))


def reshape_to(node: Node) -> Operation:
    """To dims that are known, with -1 for "the rest"."""
    return nn.ReshapeOp(node.x(), resolve(node, node.sizes(1)))


def resolve(node: Node, wanted: Sequence[Dim]) -> list[Dim]:
    """The dims that `wanted` stands for."""
    rest = [dim for dim in wanted if dim != -1]
    if len(rest) < len(wanted) - 1:
        raise node.invalid(f"expected at most one -1 in a shape, got {list(wanted)}")
    if len(rest) == len(wanted):
        return list(wanted)
    known, total = product(rest), product(node.dims())
    if known == 0:
        return [0 if dim == -1 else dim for dim in wanted]
    if isinstance(total, int) and isinstance(known, int) and total % known:
        raise node.invalid(f"cannot reshape {list(node.dims())} to {list(wanted)}")
    return [total // known if dim == -1 else dim for dim in wanted]


def squeeze(node: Node) -> Operation:
    """Without dims of size 1."""
    dims = node.dims()
    axes = [axis % max(len(dims), 1) for axis in node.attribute("squeeze_dims")]
    axes = axes or [axis for axis, dim in enumerate(dims) if dim == 1]
    kept = [dim for axis, dim in enumerate(dims) if axis not in axes]
    return nn.ReshapeOp(node.x(), kept)


def expand_dims(node: Node) -> Operation:
    """With one more dim of size 1."""
    dims = list(node.dims())
    dims.insert(node.axis(1, len(dims) + 1), 1)
    return nn.ReshapeOp(node.x(), dims)


def transpose_by(node: Node) -> Output:
    """Dims in another order."""
    perm = [int(axis) % node.rank() for axis in node.constant(1).tolist()]
    return transpose(node.x(), perm)


def broadcast_to(node: Node) -> Output:
    """Repeated along dims of size 1 and along new leading ones."""
    wanted, dims = node.sizes(1), node.dims()
    old = [*[1] * (len(wanted) - len(dims)), *dims]
    sizes = [b if a == 1 else a for a, b in zip(old, wanted, strict=True)]
    return broadcast(node.x(), sizes)


def tile(node: Node) -> Output:
    """Repeated along each dim: broadcast between split dims, which are merged."""
    dims, repeats = node.dims(), node.sizes(1)
    if all(times == 1 for times in repeats):
        return node.tensor(0)
    pairs = list(zip(dims, repeats, strict=True))
    split = [part for dim in dims for part in (1, dim)]
    wide = [part for dim, times in pairs for part in (times, dim)]
    rows = broadcast(reshape(node.x(), split), wide)
    return reshape(rows, [dim * times for dim, times in pairs])


def fill(node: Node) -> Output:
    """One element, repeated to a shape."""
    dims = node.sizes(0)
    number = node.known_now(1)
    sizes = [dim for dim in dims if isinstance(dim, int)]
    if number is not None and len(sizes) == len(dims) and math.prod(sizes) <= 256:
        return constant_tensor(np.full(sizes, number.reshape(())[()], number.dtype))
    return broadcast(reshape(node.x(1), []), dims)


def range_(node: Node) -> Output:
    """`start, start + step, ...` below a limit."""
    element = node.element_of()
    if is_float(element):
        start, limit, step = (node.constant(i).item() for i in range(3))
        numbers = np.arange(start, limit, step)
        return constant_tensor(numbers.astype(node.numpy_dtype()))
    (start,), (limit,), (step,) = (node.sizes(i) for i in range(3))
    if not isinstance(step, int) or step == 0:
        raise node.unsupported("a range whose step is not known")
    count = ceildiv(limit - start, step) if step > 0 else ceildiv(start - limit, -step)
    index = value(nn.IotaOp([count]))
    if step != 1:
        index = value(nn.MulOp(index, node.builder.dim_value(step)))
    if start != 0:
        index = value(nn.AddOp(index, node.builder.dim_value(start)))
    return cast(index, element)


def linspace(node: Node) -> Item:
    """`count` numbers from start to stop."""
    start, stop, count = (node.constant(i).item() for i in range(3))
    return constant_tensor(np.linspace(start, stop, int(count), dtype=np.float32))


def broadcast_args(node: Node) -> Item:
    """The shape that two shapes broadcast to."""
    left, right = list(node.sizes(0)), list(node.sizes(1))
    length = max(len(left), len(right))
    left = [1] * (length - len(left)) + left
    right = [1] * (length - len(right)) + right
    dims = [b if a == 1 else a for a, b in zip(left, right, strict=True)]
    return symbolic_tensor(dim_array(dims), node.element_of())


RULES = (
    Rule("Shape", shape),
    Rule("ShapeN", shapes),
    Rule("Size", size),
    Rule("Rank", rank),
    Rule("Reshape", reshape_to),
    Rule("Squeeze", squeeze),
    Rule("ExpandDims", expand_dims),
    Rule("Transpose", transpose_by),
    Rule("BroadcastTo", broadcast_to),
    Rule("BroadcastArgs", broadcast_args),
    Rule("Tile", tile),
    Rule("Fill", fill),
    Rule("Range", range_),
    Rule("LinSpace", linspace),
)
