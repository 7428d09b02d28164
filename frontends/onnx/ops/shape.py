"""Ops that move data or read shapes: their results are views of their inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from xdsl.ir import Operation

from stepwell.dialects import nn
from stepwell.dialects.dtypes import i64
from stepwell.dialects.shapes import Dim, product
from stepwell.frontends.bounds import slice_bounds
from stepwell.frontends.contents import constant_tensor, symbolic_tensor
from stepwell.frontends.emit import broadcast, cut, scalar, value
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.onnx.registry import Output, Rule
from stepwell.frontends.values import Value, dim_array


def constant(node: Node) -> Value:
    """A tensor, or one of the attribute's shorter forms."""
    return constant_tensor(node.importer.read_constant(node))


def shape(node: Node) -> Value:
    """The dims, or a stretch of them."""
    dims = node.dims()
    start, end = node.int("start", 0), node.int("end", len(dims))
    return symbolic_tensor(dim_array(dims[slice(start, end)]), i64)


def size(node: Node) -> Value:
    """The number of elements."""
    total = np.empty((), object)
    total[()] = product(node.dims())
    return symbolic_tensor(total, i64)


def identity(node: Node) -> Value | None:
    """The input itself."""
    return node.inputs[0]


def reshape(node: Node) -> Operation:
    """To dims that are known, with 0 for "as before" and -1 for "the rest"."""
    wanted: Sequence[Dim] | None = node.ints("shape", None)
    if wanted is None:
        wanted = node.sizes(1)
    keep_zero = bool(node.int("allowzero", 0))
    return nn.ReshapeOp(node.x(), resolve(node, wanted, keep_zero))


def resolve(node: Node, wanted: Sequence[Dim], keep_zero: bool) -> list[Dim]:
    """The dims that `wanted` stands for."""
    dims = node.dims()
    if not keep_zero and any(
        dim == 0 and axis >= len(dims) for axis, dim in enumerate(wanted)
    ):
        raise node.invalid(f"expected at most {len(dims)} dims to keep, got {wanted}")
    found = [
        dims[axis] if dim == 0 and not keep_zero else dim
        for axis, dim in enumerate(wanted)
    ]
    rest = [dim for dim in found if dim != -1]
    if len(rest) < len(found) - 1:
        raise node.invalid(f"expected at most one -1 in a shape, got {list(wanted)}")
    if len(rest) == len(found):
        return found
    known = product(rest)
    if known == 0:
        return [0 if dim == -1 else dim for dim in found]
    total = product(dims)
    if isinstance(total, int) and isinstance(known, int) and total % known:
        raise node.invalid(f"cannot reshape {list(dims)} to {list(wanted)}")
    return [total // known if dim == -1 else dim for dim in found]


def flatten(node: Node) -> Operation:
    """To a matrix."""
    dims, axis = node.dims(), node.int("axis", 1)
    if axis < 0:
        axis += len(dims)
    return nn.ReshapeOp(node.x(), [product(dims[:axis]), product(dims[axis:])])


def axes_of(node: Node, rank: int) -> list[int] | None:
    """Axes by attribute or by input, counted from the front."""
    axes = node.ints("axes", None)
    if node.has(1):
        axes = node.constant(1).reshape(-1).tolist()
    if axes is None:
        return None
    if any(not -rank <= axis < rank for axis in axes):
        raise node.invalid(f"expected axes in [{-rank}, {rank}), got {axes}")
    return [axis % rank for axis in axes]


def squeeze(node: Node) -> Operation:
    """Without dims of size 1."""
    dims = node.dims()
    axes = axes_of(node, len(dims))
    if axes is None:
        axes = [axis for axis, dim in enumerate(dims) if dim == 1]
    kept = [dim for axis, dim in enumerate(dims) if axis not in axes]
    return nn.ReshapeOp(node.x(), kept)


def unsqueeze(node: Node) -> Operation:
    """With more dims of size 1."""
    dims = node.dims()
    given = node.ints("axes", None)
    count = len(given) if given is not None else node.constant(1).size
    axes = axes_of(node, len(dims) + count) or []
    rest = iter(dims)
    shape = [1 if axis in axes else next(rest) for axis in range(len(dims) + count)]
    return nn.ReshapeOp(node.x(), shape)


def transpose(node: Node) -> Operation:
    """Dims in another order."""
    perm = node.ints("perm", list(reversed(range(node.rank()))))
    return nn.TransposeOp(node.x(), perm=perm)


def expand(node: Node) -> Output:
    """To the common shape of the input and a shape."""
    wanted = node.sizes(1)
    dims = node.dims()
    rank = max(len(dims), len(wanted))
    old = [*[1] * (rank - len(dims)), *dims]
    new = [*[1] * (rank - len(wanted)), *wanted]
    shape = [b if a == 1 else a for a, b in zip(old, new, strict=True)]
    return node.tensor(0) if tuple(shape) == dims else broadcast(node.x(), shape)


def tile(node: Node) -> Output:
    """Repeated along each dim: broadcast between split dims, which are merged."""
    if node.version < 6:
        raise node.unsupported("Tile before opset 6")
    dims, repeats = node.dims(), node.sizes(1)
    if all(times == 1 for times in repeats):
        return node.tensor(0)
    split = [part for dim in dims for part in (1, dim)]
    wide = [
        part for dim, times in zip(dims, repeats, strict=True) for part in (times, dim)
    ]
    merged = [dim * times for dim, times in zip(dims, repeats, strict=True)]
    rows = nn.ReshapeOp(node.x(), split)
    return nn.ReshapeOp(broadcast(rows, wide), merged)


def concat(node: Node) -> Output:
    """One after the other along an axis; parts of size 0 are left out."""
    axis = node.int("axis", 1)
    parts = [
        index
        for index in range(len(node.inputs))
        if node.dims(index)[axis % node.rank(index)] != 0
    ]
    if len(parts) < 2:
        return node.tensor(parts[0] if parts else 0)
    return nn.ConcatOp([node.x(index) for index in parts], axis=axis)


def split(node: Node) -> Sequence[Output]:
    """Slices side by side."""
    axis = node.int("axis", 0) % max(node.rank(), 1)
    lengths: Sequence[Dim] | None = node.ints("split", None)
    if node.has(1):
        lengths = node.sizes(1)
    if lengths is None:
        lengths = _even(node, node.dims()[axis])
    outputs: list[Output] = []
    start: Dim = 0
    for length in lengths:
        outputs.append(cut(node.x(), axis, start, start + length))
        start = start + length
    return outputs


def _even(node: Node, total: Dim) -> list[Dim]:
    count = node.int("num_outputs", len(node.outputs))
    each = (total + count - 1) // count
    if not isinstance(total, int) and (total - each * count) != 0:
        raise node.unsupported(f"a split of {total} into {count} parts")
    return [*[each] * (count - 1), total - each * (count - 1)]


def slice_(node: Node) -> Output:
    """A strided part; bounds are clamped like Python's."""
    dims = node.dims()
    if node.version < 10:
        first, last = node.ints("starts"), node.ints("ends")
        axes, steps = node.ints("axes", list(range(len(first)))), [1] * len(first)
    else:
        first, last = node.sizes(1), node.sizes(2)
        given = [None if g is None else g.tolist() for g in node.constants(3, 4)]
        axes = list(range(len(first))) if given[0] is None else given[0]
        steps = [1] * len(first) if given[1] is None else given[1]
    starts: list[Dim] = [0] * len(dims)
    limits: list[Dim] = list(dims)
    all_steps = [1] * len(dims)
    for axis, start, end, step in zip(axes, first, last, steps, strict=True):
        axis %= len(dims)
        starts[axis], limits[axis] = slice_bounds(
            start, end, step, dims[axis], node.builder.ranges
        )
        all_steps[axis] = step
    if starts == [0] * len(dims) and limits == list(dims) and set(all_steps) == {1}:
        return node.tensor(0)
    return nn.SliceOp(node.x(), starts=starts, limits=limits, steps=all_steps)


def pad(node: Node) -> Output:
    """With more elements around, or fewer where a pad is negative."""
    rank = node.rank()
    mode = node.string("mode", "constant")
    if node.version < 11:
        pads: Sequence[Dim] = node.ints("pads")
        fill = scalar(node, node.float("value", 0.0), node.element_of())
        axes = list(range(rank))
    else:
        pads = node.sizes(1)
        fill = node.optional(2)
        axes = list(range(rank))
        if node.has(3):
            axes = [int(a) % rank for a in node.constant(3).reshape(-1)]
    low: list[Dim] = [0] * rank
    high: list[Dim] = [0] * rank
    for index, axis in enumerate(axes):
        low[axis], high[axis] = pads[index], pads[index + len(axes)]
    if not any((*low, *high)):
        return node.tensor(0)
    if mode != "constant":
        fill = None
    elif fill is not None:
        fill = value(nn.ReshapeOp(fill, []))
    return nn.PadOp(node.x(), fill, low=low, high=high, mode=mode)


def constant_of_shape(node: Node) -> Output:
    """One value, repeated."""
    dims = node.sizes(0)
    fill = node.importer.read_constant(node, "value", np.zeros(1, np.float32))
    sizes = [dim for dim in dims if isinstance(dim, int)]
    if len(sizes) == len(dims) and math.prod(sizes) <= 256:
        return constant_tensor(np.full(sizes, fill.reshape(())[()], fill.dtype))
    return broadcast(node.builder.constant(fill.reshape(())), dims)


def depth_to_space(node: Node) -> Operation:
    """Blocks of channels become blocks of pixels."""
    batch, depth, height, width = node.dims()
    block = node.int("blocksize")
    channels = depth // (block * block)
    if node.string("mode", "DCR") == "DCR":
        split, perm = [batch, block, block, channels, height, width], [0, 3, 4, 1, 5, 2]
    else:
        split, perm = [batch, channels, block, block, height, width], [0, 1, 4, 2, 5, 3]
    blocks = nn.TransposeOp(nn.ReshapeOp(node.x(), split), perm=perm)
    return nn.ReshapeOp(blocks, [batch, channels, height * block, width * block])


def space_to_depth(node: Node) -> Operation:
    """Blocks of pixels become channels."""
    batch, channels, height, width = node.dims()
    block = node.int("blocksize")
    rows, columns = height // block, width // block
    split = [batch, channels, rows, block, columns, block]
    is_crd = node.string("mode", "DCR") == "CRD"
    perm = [0, 1, 3, 5, 2, 4] if is_crd else [0, 3, 5, 1, 2, 4]
    blocks = nn.TransposeOp(nn.ReshapeOp(node.x(), split), perm=perm)
    return nn.ReshapeOp(blocks, [batch, channels * block * block, rows, columns])


RULES = (
    Rule("Constant", constant),
    Rule("Shape", shape),
    Rule("Size", size),
    Rule("Identity", identity),
    Rule("Reshape", reshape, ignores=("consumed_inputs",)),
    Rule("Flatten", flatten),
    Rule("Squeeze", squeeze),
    Rule("Unsqueeze", unsqueeze),
    Rule("Transpose", transpose),
    Rule("Expand", expand),
    Rule("Tile", tile),
    Rule("Concat", concat),
    Rule("Split", split),
    Rule("Slice", slice_),
    Rule("Pad", pad, since=2),
    Rule("ConstantOfShape", constant_of_shape),
    Rule("DepthToSpace", depth_to_space),
    Rule("SpaceToDepth", space_to_depth),
)
