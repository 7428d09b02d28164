"""Blocks of pixels as samples or as channels, and back.

A convolution between blocks of samples is a dilated one, which is how TensorFlow wrote
those before it had them: `BatchToSpaceND(Conv2D(SpaceToBatchND(x)))` is put together
to one `nn.conv` again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from stepwell.dialects import nn
from stepwell.dialects.shapes import Dim, bounds, dims_of, element_of
from stepwell.frontends.emit import cut, reshape, transpose, value
from stepwell.frontends.tensorflow.node import Node
from stepwell.frontends.tensorflow.registry import Output, Rule
from stepwell.frontends.values import Contents, Tensor, Value


@dataclass(eq=False, kw_only=True)
class BlockTensor(Tensor):
    """Blocks of pixels as samples, and what they were made of.

    Args:
        image: the pixels before they were padded.
        block: the sizes of a block.
        pads: low and high pads of the dims that were cut in blocks.
    """

    image: SSAValue
    block: tuple[Dim, ...]
    pads: Sequence[tuple[Dim, Dim]]


def space_to_batch(node: Node) -> Output:
    """Blocks of pixels become samples, after padding."""
    block, pads = node.sizes(1), node.known(2)
    if pads is None:
        raise node.unknown(2)
    count, rank = len(block), node.rank()
    rows = pads.reshape(-1, 2).tolist()
    low = [0, *(row[0] for row in rows), *[0] * (rank - 1 - count)]
    high = [0, *(row[1] for row in rows), *[0] * (rank - 1 - count)]
    x = node.x()
    if any((*low, *high)):
        x = value(nn.PadOp(x, low=low, high=high))
    batch, *sizes = dims_of(x)
    split_dims: list[Dim] = [batch]
    for size, part in zip(sizes, block, strict=False):
        split_dims += [size // part, part]
    split_dims += sizes[count:]
    blocks = [2 * i + 2 for i in range(count)]
    kept = [2 * i + 1 for i in range(count)]
    perm = [*blocks, 0, *kept, *range(2 * count + 1, len(split_dims))]
    moved = transpose(reshape(x, split_dims), perm)
    for part in block:
        batch = batch * part
    inner = [size // part for size, part in zip(sizes, block, strict=False)]
    made = reshape(moved, [batch, *inner, *sizes[count:]])
    return BlockTensor(
        dims_of(made),
        element_of(made),
        made,
        image=node.x(),
        block=tuple(block),
        pads=[(first, last) for first, last in rows],
    )


def batch_to_space(node: Node) -> Output:
    """Samples become blocks of pixels, of which the borders are cropped."""
    block, crops = node.sizes(1), node.known(2)
    if crops is None:
        raise node.unknown(2)
    count = len(block)
    batch, *sizes = node.dims()
    for part in block:
        batch = batch // part
    split_dims = [*block, batch, *sizes]
    perm = [count]
    for i in range(count):
        perm += [count + 1 + i, i]
    perm += range(2 * count + 1, len(split_dims))
    dilated = as_dilated(node, block, crops)
    if dilated is not None:
        return dilated
    moved = transpose(reshape(node.x(), split_dims), perm)
    wide = [size * part for size, part in zip(sizes, block, strict=False)]
    x = reshape(moved, [batch, *wide, *sizes[count:]])
    return cropped(x, [(low, high) for low, high in crops.reshape(-1, 2).tolist()])


def depth_to_space(node: Node) -> Output:
    """Blocks of channels become blocks of pixels."""
    block = node.attribute("block_size")
    if node.attribute("data_format") == "NCHW":
        n, c, h, w = node.dims()
        c = c // (block * block)
        split_dims, perm = [n, block, block, c, h, w], [0, 3, 4, 1, 5, 2]
        whole = [n, c, h * block, w * block]
    else:
        n, h, w, c = node.dims()
        c = c // (block * block)
        split_dims, perm = [n, h, w, block, block, c], [0, 1, 3, 2, 4, 5]
        whole = [n, h * block, w * block, c]
    return reshape(transpose(reshape(node.x(), split_dims), perm), whole)


def space_to_depth(node: Node) -> Output:
    """Blocks of pixels become channels."""
    block = node.attribute("block_size")
    if node.attribute("data_format") == "NCHW":
        n, c, h, w = node.dims()
        split_dims = [n, c, h // block, block, w // block, block]
        perm = [0, 3, 5, 1, 2, 4]
        whole = [n, c * block * block, h // block, w // block]
    else:
        n, h, w, c = node.dims()
        split_dims = [n, h // block, block, w // block, block, c]
        perm = [0, 1, 3, 2, 4, 5]
        whole = [n, h // block, w // block, c * block * block]
    return reshape(transpose(reshape(node.x(), split_dims), perm), whole)


def as_dilated(node: Node, block: Sequence[Dim], crops: Contents) -> SSAValue | None:
    """The convolution between blocks of samples as a dilated one, if it is that.

    In one dim TensorFlow puts a unit dim before it, and takes that away behind.
    """
    result = before_views(node.tensor(0))
    conv = None if result is None or result.ssa is None else result.ssa.owner
    if not isinstance(conv, nn.ConvOp) or not conv.value("channels_last"):
        return None
    blocks = before_views(result.sources[0]) if result and result.sources else None
    if not isinstance(blocks, BlockTensor) or blocks.block != tuple(block):
        return None
    units = [1] * (len(dims_of(conv.x)) - blocks.rank)
    is_view = dims_of(conv.x) == with_units(blocks.dims, units)
    if not is_view or dims_of(conv.result) != with_units(node.dims(), units):
        return None
    window = dilated_window(node, conv, len(units), blocks, crops)
    if window is None:
        return None
    x = reshape(blocks.image, with_units(dims_of(blocks.image), units))
    y = nn.ConvOp(
        x,
        conv.w,
        strides=window.strides,
        pads=window.pads,
        dilations=window.dilations,
        groups=conv.value("groups"),
        channels_last=True,
    )
    batch, *rest = dims_of(value(y))
    return cropped(reshape(y, [batch, *rest[len(units) :]]), window.crops)


@dataclass
class Window:
    """Where the windows of a convolution lie, and what is cropped of its result."""

    strides: list[int]
    dilations: list[int]
    pads: list[Dim]
    crops: list[tuple[Dim, Dim]]


def dilated_window(
    node: Node, conv: nn.ConvOp, first: int, blocks: BlockTensor, crops: Contents
) -> Window | None:
    """The window of `conv` over the image itself, whose blocked dims begin at `first`.

    None if `conv` strides, dilates or pads these dims, or a block's size is open.
    """
    window = Window(
        list(conv.value("strides")),
        list(conv.value("dilations")),
        list(conv.value("pads")),
        [],
    )
    rank = len(window.strides)
    rows = zip(blocks.block, blocks.pads, crops.reshape(-1, 2).tolist(), strict=True)
    for low, (step, pads, cuts) in enumerate(rows, first):
        high = low + rank
        is_plain = window.strides[low] == window.dilations[low] == 1
        is_padded = window.pads[low] != 0 or window.pads[high] != 0
        if not is_plain or is_padded or not isinstance(step, int):
            return None
        window.dilations[low] = step
        window.pads[low], before = less(node, pads[0], cuts[0])
        window.pads[high], after = less(node, pads[1], cuts[1])
        window.crops.append((before, after))
    return window


def before_views(tensor: Value | None) -> Tensor | None:
    """The tensor that `tensor` is another view of, or itself."""
    while isinstance(tensor, Tensor) and not isinstance(tensor, BlockTensor):
        is_view = tensor.ssa is not None and isinstance(tensor.ssa.owner, nn.ReshapeOp)
        if not is_view or not tensor.sources:
            break
        tensor = tensor.sources[0]
    return tensor if isinstance(tensor, Tensor) else None


def with_units(dims: Sequence[Dim], units: Sequence[int]) -> tuple[Dim, ...]:
    """The dims of images, with unit dims behind the batch."""
    return (dims[0], *units, *dims[1:])


def less(node: Node, pad: Dim, crop: Dim) -> tuple[Dim, Dim]:
    """A pad less what is cropped of it, and what is left to crop."""
    is_enough = bounds(pad - crop, node.builder.ranges)[0] >= 0
    return (pad - crop, 0) if is_enough else (pad, crop)


def cropped(x: SSAValue, crops: Sequence[tuple[Dim, Dim]]) -> SSAValue:
    """Images without some rows or columns at their borders."""
    for axis, (low, high) in enumerate(crops, 1):
        x = cut(x, axis, low, dims_of(x)[axis] - high)
    return x


RULES = (
    Rule("SpaceToBatchND", space_to_batch),
    Rule("BatchToSpaceND", batch_to_space),
    Rule("DepthToSpace", depth_to_space),
    Rule("SpaceToDepth", space_to_depth),
)
