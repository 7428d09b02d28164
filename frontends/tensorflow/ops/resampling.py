"""Images in other sizes, and crops of them. Images are NHWC, sizes `[height, width]`.

A dim of known size is resampled as TensorFlow does it, rounding included: where its
arithmetic in f32 differs from exact coordinates, by constant indices, and where a
filter has more than two taps, by a product with a constant matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import f32, i64
from stepwell.dialects.shapes import Dim, dims_of
from stepwell.frontends.emit import broadcast, cast, cut, like, reshape, scalar, value
from stepwell.frontends.tensorflow.node import Node
from stepwell.frontends.tensorflow.registry import Output, Rule

Array = np.ndarray[Any, Any]

ROWS, COLUMNS = 1, 2
"""The dims of an image that are resampled."""


def coordinates(node: Node) -> str:
    """Which rule gives the source coordinate of an output."""
    if node.attribute("align_corners"):
        return "align_corners"
    return "half_pixel" if node.attribute("half_pixel_centers") else "asymmetric"


def resized_dims(node: Node) -> list[Dim]:
    """The dims of the result: those of x with the sizes of input 1."""
    batch, _, _, channels = node.dims()
    return [batch, *node.sizes(1), channels]


def bilinear(node: Node) -> Operation:
    """Between two neighbours in each dim, in f32."""
    x = cast(node.x(), f32)
    return nn.ResizeOp(
        x, resized_dims(node), mode="linear", coordinates=coordinates(node)
    )


NEAREST = {
    "align_corners": ("align_corners", "round_prefer_ceil"),
    "half_pixel": ("tf_half_pixel_for_nn", "floor"),
    "asymmetric": ("asymmetric", "floor"),
}
"""Coordinates and rounding of `nn.resize` for those of `ResizeNearestNeighbor`."""


def nearest(node: Node) -> Output:
    """The nearest element in each dim."""
    rule, wanted = coordinates(node), resized_dims(node)
    x = node.x()
    for axis in (ROWS, COLUMNS):
        size, count = dims_of(x)[axis], wanted[axis]
        if isinstance(size, int) and isinstance(count, int):
            index, exact = nearest_indices(rule, size, count)
            if not np.array_equal(index, exact):
                x = value(nn.GatherOp(x, node.builder.constant(index), axis=axis))
    if dims_of(x) == tuple(wanted):
        return x
    kind, rounding = NEAREST[rule]
    return nn.ResizeOp(x, wanted, mode="nearest", coordinates=kind, rounding=rounding)


def nearest_indices(rule: str, size: int, count: int) -> tuple[Array, Array]:
    """The source of each of `count` outputs: in TensorFlow's f32, and exactly."""
    out = np.arange(count)
    scale = step_of(rule, size, count)
    place = out.astype(np.float32)
    if rule == "align_corners":
        found = np.floor(place * scale + np.float32(0.5))
        above, below = max(size - 1, 0), max(count - 1, 1)
        exact = (2 * out * above + below) // (2 * below)
    elif rule == "half_pixel":
        found = np.floor((place + np.float32(0.5)) * scale)
        exact = (2 * out + 1) * size // (2 * count)
    else:
        found = np.floor(place * scale)
        exact = out * size // count
    limit = size - 1
    return np.clip(found.astype(np.int64), 0, limit), np.clip(exact, 0, limit)


def step_of(rule: str, size: int, count: int) -> np.float32:
    """The distance of two outputs' sources, as `CalculateResizeScale` rounds it."""
    if rule == "align_corners" and count > 1:
        return np.float32(size - 1) / np.float32(count - 1)
    return np.float32(size) / np.float32(count)


def bicubic(node: Node) -> Output:
    """Four neighbours in each dim, in f32."""
    rule = coordinates(node)
    wanted = resized_dims(node)
    sizes = static_sizes(node, wanted)
    x = cast(node.x(), f32)
    if sizes is None:
        is_centred = rule == "half_pixel"
        return nn.ResizeOp(
            x,
            wanted,
            mode="cubic",
            coordinates=rule,
            cubic_coefficient=-0.5 if is_centred else -0.75,
            exclude_outside=is_centred,
        )
    return by_matrices(node, x, [cubic_matrix(rule, *each) for each in sizes])


TABLE_SIZE = 1024
"""TensorFlow looks the weights of its bicubic filter up at this many positions."""


def cubic_matrix(rule: str, size: int, count: int) -> Array:
    """`[count, size]`: the weights of R. Keys' filter, as TensorFlow tabulates them.

    With half pixel centres taps outside weigh nothing, else they fall on the border.
    """
    scale, out = step_of(rule, size, count), np.arange(count, dtype=np.float32)
    is_centred = rule == "half_pixel"
    half = np.float32(0.5)
    place = (out + half) * scale - half if is_centred else out * scale
    base = np.floor(place)
    step = np.rint((place - base) * TABLE_SIZE) / TABLE_SIZE
    a = -0.5 if is_centred else -0.75
    taps = np.arange(-1, 3)
    weights = keys_filter(np.abs(taps - step[:, None]), a)
    index = base[:, None].astype(np.int64) + taps
    if is_centred:
        weights = np.where((index < 0) | (index >= size), 0, weights)
        total = weights.sum(1, keepdims=True)
        weights = np.where(np.abs(total) >= 1000 * np.finfo("f4").tiny, weights, 0)
        weights = weights / np.where(total == 0, 1, total)
    return gathered(weights, np.clip(index, 0, size - 1), size)


def keys_filter(distance: Array, a: float) -> Array:
    """The convolution kernel of R. Keys (doi:10.1109/TASSP.1981.1163711)."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def gathered(weights: Array, index: Array, size: int) -> Array:
    """`[count, size]`: the weights of each output's taps, added up where they meet."""
    matrix = np.zeros((len(weights), size))
    np.add.at(matrix, (np.arange(len(weights))[:, None], index), weights)
    return matrix


def area(node: Node) -> Output:
    """The mean of what each output covers, in f32."""
    sizes = static_sizes(node, resized_dims(node))
    if sizes is None:
        raise node.unsupported("a resize by area of open sizes")
    rule = "align_corners" if node.attribute("align_corners") else "asymmetric"
    matrices = [area_matrix(step_of(rule, *each), *each) for each in sizes]
    return by_matrices(node, cast(node.x(), f32), matrices)


def area_matrix(step: np.float32, size: int, count: int) -> Array:
    """`[count, size]`: how much of an output's span lies on each element.

    Spans end at the borders; what sticks out counts for the element at the border.
    """
    low = np.arange(count, dtype=np.float32)[:, None] * step
    high = np.arange(1, count + 1, dtype=np.float32)[:, None] * step
    reach = int(np.ceil(float(high.max(initial=0)))) + 1
    left = np.arange(max(reach, size))
    covered = np.clip(np.minimum(high, left + 1) - np.maximum(low, left), 0, None)
    index = np.broadcast_to(np.minimum(left, size - 1), covered.shape)
    return gathered(covered / step, index, size)


def static_sizes(node: Node, wanted: Sequence[Dim]) -> list[tuple[int, int]] | None:
    """Old and new size of each resampled dim; None if one is open."""
    pairs = [(node.dims()[axis], wanted[axis]) for axis in (ROWS, COLUMNS)]
    known = [(a, b) for a, b in pairs if isinstance(a, int) and isinstance(b, int)]
    return known if len(known) == len(pairs) else None


def by_matrices(node: Node, x: SSAValue, matrices: Sequence[Array]) -> SSAValue:
    """Rows and columns of `x`, multiplied by a matrix each, `[new size, old size]`."""
    rows, columns = (
        node.builder.constant(each.astype(np.float32)) for each in matrices
    )
    batch, height, width, channels = dims_of(x)
    flat = reshape(x, [batch, height, width * channels])
    tall = value(nn.MatmulOp(rows, flat))
    tall = reshape(tall, [batch, dims_of(rows)[0], width, channels])
    return value(nn.MatmulOp(columns, tall))


KERNELS = {
    "lanczos1": (1.0, lambda x: lanczos(x, 1.0)),
    "lanczos3": (3.0, lambda x: lanczos(x, 3.0)),
    "lanczos5": (5.0, lambda x: lanczos(x, 5.0)),
    "gaussian": (1.5, lambda x: np.exp(-(x**2) / (2 * 0.5**2))),
    "box": (1.0, lambda x: np.where(x < 0.5, 1.0, np.where(x == 0.5, 0.5, 0.0))),
    "triangle": (1.0, lambda x: np.clip(1 - x, 0, None)),
    "keyscubic": (2.0, lambda x: keys_filter(x, -0.5)),
    "mitchellcubic": (2.0, lambda x: mitchell(x)),
}
"""Radius and weights by distance of the filters of `ScaleAndTranslate`."""


def lanczos(x: Array, radius: float) -> Array:
    """The windowed sinc filter."""
    return np.where(x > radius, 0.0, np.sinc(x) * np.sinc(x / radius))


def mitchell(x: Array) -> Array:
    """The cubic filter of D. Mitchell and A. Netravali (doi:10.1145/54852.378514)."""
    near = (7 * x**3 - 12 * x**2 + 16 / 3) / 6
    far = (-7 / 3 * x**3 + 12 * x**2 - 20 * x + 32 / 3) / 6
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def scale_and_translate(node: Node) -> Output:
    """`x` scaled, then moved, by a filter that widens where it shrinks."""
    sizes = static_sizes(node, resized_dims(node))
    if sizes is None:
        raise node.unsupported("a resize by a wide filter of open sizes")
    kernel = node.attribute("kernel_type")
    is_wide = bool(node.attribute("antialias"))
    scales, shifts = (node.constant(i).astype(np.float64) for i in (2, 3))
    matrices = [
        filter_matrix(kernel, is_wide, scale, shift, *each)
        for scale, shift, each in zip(scales, shifts, sizes, strict=True)
    ]
    return by_matrices(node, cast(node.x(), f32), matrices)


def filter_matrix(
    kernel: str, is_wide: bool, scale: float, shift: float, size: int, count: int
) -> Array:
    """`[count, size]`: the weights of a filter around each output's source.

    Outputs whose source lies outside of the image are 0.
    """
    radius, weight_at = KERNELS[kernel]
    stretch = max(1 / scale, 1.0) if is_wide else 1.0
    place = (np.arange(count) + 0.5 - shift) / scale
    distance = np.abs(np.arange(size) + 0.5 - place[:, None]) / stretch
    weights = np.where(distance <= radius, weight_at(distance), 0.0)
    total = weights.sum(1, keepdims=True)
    weights = weights / np.where(total == 0, 1, total)
    inside = (place >= 0) & (place <= size)
    return np.where(inside[:, None], weights, 0.0)


def crop_and_resize(node: Node) -> Output:
    """Boxes `[y1, x1, y2, x2]`, normalised, cut from images and resampled, in f32."""
    x, boxes = cast(node.x(0), f32), node.x(1)
    count, sizes = dims_of(boxes)[0], node.sizes(3)
    places: list[SSAValue] = []
    limits: list[SSAValue] = []
    for axis, size in enumerate(sizes):
        limits.append(number(node, node.dims()[axis + 1] - 1))
        place = crop_places(node, boxes, axis, size, limits[axis])
        shape = [count, size, 1] if axis == 0 else [count, 1, size]
        places.append(reshape(place, shape))
    shape = [count, *sizes]
    image = reshape(node.x(2), [count, 1, 1])

    def read(*at: SSAValue) -> SSAValue:
        index = [broadcast(cast(each, i64), shape) for each in (image, *at)]
        rows = [reshape(each, [*shape, 1]) for each in index]
        return value(nn.GatherNdOp(x, value(nn.ConcatOp(rows, axis=-1))))

    inside = [is_within(node, *pair) for pair in zip(places, limits, strict=True)]
    held = [held_within(node, *pair) for pair in zip(places, limits, strict=True)]
    if node.attribute("method") == "nearest":
        y = read(*(rounded(node, each) for each in held))
    else:
        y = interpolated(read, *held)
    keep = broadcast(nn.AndOp(*inside), shape)
    outside = scalar(node, node.attribute("extrapolation_value"), f32)
    return nn.SelectOp(reshape(keep, [*shape, 1]), y, outside)


def number(node: Node, dim: Dim) -> SSAValue:
    """A dim as an f32 scalar."""
    is_known = isinstance(dim, int)
    return (
        scalar(node, dim, f32) if is_known else cast(node.builder.dim_value(dim), f32)
    )


def crop_places(
    node: Node, boxes: SSAValue, axis: int, size: Dim, limit: SSAValue
) -> SSAValue:
    """`[boxes, size]`: where the rows or columns of each crop lie in its image.

    They run from one edge of the box to the other; a single one is in the middle.
    """
    start, end = (
        value(nn.MulOp(cut(boxes, 1, i, i + 1), limit)) for i in (axis, axis + 2)
    )
    if size == 1:
        half = scalar(node, 0.5, f32)
        return value(nn.MulOp(nn.AddOp(start, end), half))
    step = nn.DivOp(nn.SubOp(end, start), number(node, size - 1))
    index = cast(value(nn.IotaOp([1, size], axis=1)), f32)
    return value(nn.AddOp(start, nn.MulOp(index, step)))


def is_within(node: Node, place: SSAValue, limit: SSAValue) -> SSAValue:
    """Whether places are in `[0, limit]`."""
    low = nn.CompareOp(place, like(node, 0, place), predicate="ge")
    return value(nn.AndOp(low, nn.CompareOp(place, limit, predicate="le")))


def held_within(node: Node, place: SSAValue, limit: SSAValue) -> SSAValue:
    """The places, moved to `[0, limit]`."""
    return value(nn.MinimumOp(nn.MaximumOp(place, like(node, 0, place)), limit))


def rounded(node: Node, place: SSAValue) -> SSAValue:
    """The nearest integers to places that are not negative, halves up."""
    return value(nn.FloorOp(nn.AddOp(place, like(node, 0.5, place))))


def interpolated(
    read: Callable[[SSAValue, SSAValue], SSAValue], row: SSAValue, column: SSAValue
) -> SSAValue:
    """What lies between the four neighbours of each place."""
    top, left = value(nn.FloorOp(row)), value(nn.FloorOp(column))
    bottom, right = value(nn.CeilOp(row)), value(nn.CeilOp(column))
    down, along = (
        reshape(part, [*dims_of(part), 1])
        for part in (value(nn.SubOp(row, top)), value(nn.SubOp(column, left)))
    )
    upper = blend(read(top, left), read(top, right), along)
    lower = blend(read(bottom, left), read(bottom, right), along)
    return blend(upper, lower, down)


def blend(a: SSAValue, b: SSAValue, share: SSAValue) -> SSAValue:
    """`a + (b - a) * share`."""
    return value(nn.AddOp(a, nn.MulOp(nn.SubOp(b, a), share)))


RULES = (
    Rule("ResizeBilinear", bilinear),
    Rule("ResizeNearestNeighbor", nearest),
    Rule("ResizeBicubic", bicubic),
    Rule("ResizeArea", area),
    Rule("ScaleAndTranslate", scale_and_translate),
    Rule("CropAndResize", crop_and_resize),
)
