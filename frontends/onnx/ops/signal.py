"""Random numbers, Fourier transforms, and other rare ops made of common ones."""

from __future__ import annotations

import math

import numpy as np
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import f32
from stepwell.dialects.shapes import Dim, dims_of, element_of, product
from stepwell.frontends.contents import constant_tensor
from stepwell.frontends.described import described
from stepwell.frontends.emit import broadcast, cast, like, rank_of, value
from stepwell.frontends.onnx.node import Node, dtype_of
from stepwell.frontends.onnx.registry import Build, Output, Rule


def dft(node: Node) -> Operation:
    """Along `axis`, an attribute until opset 20."""
    if node.version < 20:
        axis = node.int("axis", 1)
    else:
        axis = int(node.constant(2).item()) if node.has(2) else -2
    (length,) = node.sizes(1) if node.has(1) else (None,)
    return nn.DftOp(
        node.x(0),
        axis=axis % node.rank(),
        length=length,
        inverse=bool(node.int("inverse", 0)),
        onesided=bool(node.int("onesided", 0)),
    )


def stft(node: Node) -> Operation:
    """The transform of frames: `[batch, frames, bins, 2]`."""
    step, length = node.constants(1, 3)
    signal = node.x(0)
    if rank_of(signal) == 2:
        signal = value(nn.ReshapeOp(signal, [*dims_of(signal), 1]))
    batch, samples, parts = dims_of(signal)
    size = node.dims(2)[0] if node.has(2) else int(length.item())  # type: ignore[union-attr]
    if not isinstance(size, int) or not isinstance(samples, int) or step is None:
        raise node.unsupported("STFT of a symbolic length")
    hop = int(step.item())
    frames = (samples - size) // hop + 1
    places = np.arange(frames)[:, None] * hop + np.arange(size)
    indices = node.builder.constant(places.astype(np.int64))
    cut = value(nn.GatherOp(signal, indices, axis=1))
    if node.has(2):
        window = nn.ReshapeOp(node.x(2), [size, 1])
        cut = value(nn.MulOp(cut, window))
    onesided = bool(node.int("onesided", 1)) and parts == 1
    del batch
    return nn.DftOp(cut, axis=2, onesided=onesided)


def mel_weight_matrix(node: Node) -> Output:
    """A filter bank, computed at import."""
    bins, length, rate, low, high = (
        each.item()  # type: ignore[union-attr]
        for each in node.constants(0, 1, 2, 3, 4)
    )
    columns = length // 2 + 1
    mels = 2595 * np.log10(1 + np.array([low, high]) / 700)
    points = mels[0] + np.arange(bins + 2) * (mels[1] - mels[0]) / (bins + 2)
    edges = 700 * (10 ** (points / 2595) - 1)
    edges = ((length + 1) * edges // rate).astype(np.int64)
    weights = np.zeros((columns, bins))
    for index in range(bins):
        lower, center, upper = edges[index : index + 3]
        if lower == center:
            weights[center, index] = 1
        rising, falling = np.arange(lower, center + 1), np.arange(center, upper)
        if lower != center:
            weights[rising, index] = (rising - lower) / (center - lower)
        if upper > center:
            weights[falling, index] = (upper - falling) / (upper - center)
    dtype = dtype_of(node.int("output_datatype", 1))
    return constant_tensor(weights.astype(dtype))


def max_unpool(node: Node) -> Operation:
    """Each maximum back at its place, zeros elsewhere."""
    x, indices = node.x(0), node.x(1)
    kernel = node.ints("kernel_shape")
    strides = node.ints("strides", [1] * len(kernel))
    pads = node.ints("pads", [0] * (2 * len(kernel)))
    dims = dims_of(x)
    sizes = [
        (dims[i + 2] - 1) * strides[i] - pads[i] - pads[i + len(kernel)] + kernel[i]
        for i in range(len(kernel))
    ]
    inner: list[Dim] = [*dims[:2], *sizes]
    outer = list(node.sizes(2)) if node.has(2) else inner
    indices_1d = nn.ReshapeOp(indices, [product(dims)])
    zeros = broadcast(like(node, 0, x), [product(inner)])
    flat = nn.ScatterElementsOp(
        zeros, indices_1d, nn.ReshapeOp(x, [product(dims)]), axis=0
    )
    if outer == inner:
        return nn.ReshapeOp(flat, inner)
    extra = [big - small for big, small in zip(outer, inner, strict=True)]
    return nn.PadOp(nn.ReshapeOp(flat, inner), low=[0] * len(dims), high=extra)


def col2im(node: Node) -> Operation:
    """Blocks added up at their places in an image: the opposite of unfolding."""
    image, block = node.constants(1, 2)
    assert image is not None and block is not None
    sizes, kernel = image.tolist(), block.tolist()
    rank = len(sizes)
    dilations = node.ints("dilations", [1] * rank)
    strides = node.ints("strides", [1] * rank)
    pads = node.ints("pads", [0] * (2 * rank))
    batch, rows, columns = node.dims(0)
    channels = rows // math.prod(kernel)
    padded = [sizes[i] + pads[i] + pads[i + rank] for i in range(rank)]
    counts = [
        (padded[i] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1
        for i in range(rank)
    ]
    flat = np.zeros(kernel + counts, np.int64)
    for i in range(rank):
        inside = np.arange(kernel[i]) * dilations[i]
        starts = np.arange(counts[i]) * strides[i]
        places = inside[:, None] + starts
        shape = [1] * (2 * rank)
        shape[i], shape[i + rank] = kernel[i], counts[i]
        flat = flat * padded[i] + places.reshape(shape)
    x = nn.ReshapeOp(node.x(0), [batch, channels, math.prod(kernel) * columns])
    total = math.prod(padded)
    zeros = broadcast(like(node, 0, node.x(0)), [batch, channels, total])
    indices = node.builder.constant(flat.reshape(1, 1, -1))
    wide = broadcast(indices, dims_of(value(x)))
    summed = nn.ScatterElementsOp(zeros, wide, x, axis=2, reduction="add")
    whole = nn.ReshapeOp(summed, [batch, channels, *padded])
    starts = [0, 0, *pads[:rank]]
    limits = [batch, channels, *(pads[i] + sizes[i] for i in range(rank))]
    return nn.SliceOp(whole, starts=starts, limits=limits)


def det(node: Node) -> Operation:
    """The determinant of 2x2 and 3x3 matrices, by expansion."""
    x, dims = node.x(), node.dims()
    size = dims[-1]
    if size not in (2, 3):
        raise node.unsupported(f"the determinant of a matrix of size {size}")

    def entry(row: int, column: int) -> SSAValue:
        starts = [*[0] * (len(dims) - 2), row, column]
        limits = [*dims[:-2], row + 1, column + 1]
        part = nn.SliceOp(x, starts=starts, limits=limits)
        return value(nn.ReshapeOp(part, dims[:-2]))

    def minor(rows: tuple[int, int], columns: tuple[int, int]) -> Operation:
        (a, b), (c, d) = rows, columns
        left = nn.MulOp(entry(a, c), entry(b, d))
        return nn.SubOp(left, nn.MulOp(entry(a, d), entry(b, c)))

    if size == 2:
        return minor((0, 1), (0, 1))
    terms = [
        nn.MulOp(entry(0, column), minor((1, 2), rest))
        for column, rest in ((0, (1, 2)), (1, (0, 2)), (2, (0, 1)))
    ]
    return nn.AddOp(nn.SubOp(terms[0], terms[1]), terms[2])


def seed(node: Node) -> float | None:
    """The seed, if the node gives one."""
    return node.float("seed") if node.has_attribute("seed") else None


def random(kind: type[Operation], first: str, second: str, of_input: bool) -> Build:
    """Random numbers of a given shape, or of the shape of the input."""

    def build(node: Node) -> Operation:
        dims = node.dims() if of_input else node.ints("shape")
        default = node.element_of() if of_input else f32
        element: Attribute = default
        if node.int("dtype", 0):
            element = node.element("dtype")
        defaults = {"low": 0.0, "high": 1.0, "mean": 0.0, "scale": 1.0}
        given = {name: node.float(name, defaults[name]) for name in (first, second)}
        return kind(dims, element, seed=seed(node), **given)  # type: ignore[call-arg]

    return described(build, f"One `{kind.name}`.")


def bernoulli(node: Node) -> Operation:
    """1 with the given probability."""
    element = node.element("dtype") if node.int("dtype", 0) else node.element_of()
    return nn.BernoulliOp(node.x(), element, seed=seed(node))


def multinomial(node: Node) -> Operation:
    """Class indices drawn from log-probabilities."""
    element = node.element("dtype", 6)
    samples = node.int("sample_size", 1)
    return nn.MultinomialOp(node.x(), samples, element, seed=seed(node))


def binarizer(node: Node) -> SSAValue:
    """1 above the threshold, else 0."""
    x = node.x()
    limit = like(node, node.float("threshold", 0.0), x)
    return cast(value(nn.CompareOp(x, limit, predicate="gt")), element_of(x))


UNIFORM, NORMAL = nn.RandomUniformOp, nn.RandomNormalOp

RULES = (
    Rule("DFT", dft),
    Rule("STFT", stft),
    Rule("MelWeightMatrix", mel_weight_matrix),
    Rule("MaxUnpool", max_unpool),
    Rule("Col2Im", col2im),
    Rule("Det", det),
    Rule("RandomUniform", random(UNIFORM, "low", "high", of_input=False)),
    Rule("RandomUniformLike", random(UNIFORM, "low", "high", of_input=True)),
    Rule("RandomNormal", random(NORMAL, "mean", "scale", of_input=False)),
    Rule("RandomNormalLike", random(NORMAL, "mean", "scale", of_input=True)),
    Rule("Bernoulli", bernoulli),
    Rule("Multinomial", multinomial),
    Rule("Binarizer", binarizer, domain="ai.onnx.ml"),
)
