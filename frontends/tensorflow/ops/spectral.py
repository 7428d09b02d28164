"""Fourier transforms, and the complex numbers that they make.

A `ComplexTensor` is a tensor of floats with a last dim of 2: real and imaginary part.
"""

from __future__ import annotations

from collections.abc import Callable

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.shapes import Dim, dims_of
from stepwell.frontends.contents import as_value
from stepwell.frontends.described import described
from stepwell.frontends.emit import broadcast, cut, reshape, value
from stepwell.frontends.tensorflow.node import ComplexTensor, Item, Node
from stepwell.frontends.tensorflow.registry import Build, Output, Rule
from stepwell.frontends.values import Tensor


def as_complex(parts: SSAValue | Operation) -> Item:
    """A complex tensor of its parts."""
    tensor = as_value(SSAValue.get(parts))
    assert isinstance(tensor, Tensor)
    return ComplexTensor(tensor)


def part(node: Node, index: int, number: int = 0) -> SSAValue:
    """The real (0) or imaginary (1) parts of an input."""
    parts = node.complex_x(number)
    *dims, _ = dims_of(parts)
    return reshape(cut(parts, len(dims), index, index + 1), dims)


def paired(real: SSAValue, imaginary: SSAValue) -> Item:
    """A complex tensor of its real and imaginary parts."""
    rows = [reshape(each, [*dims_of(each), 1]) for each in (real, imaginary)]
    return as_complex(nn.ConcatOp(rows, axis=-1))


def real_transform(node: Node) -> Item:
    """The first half of the transform of real numbers along the last dim."""
    x, length = node.x(0), fft_length(node)
    *outer, size = dims_of(x)
    column = reshape(x, [*outer, size, 1])
    return as_complex(nn.DftOp(column, axis=-2, length=length, onesided=True))


def inverse_real_transform(node: Node) -> Output:
    """Real numbers from the first half of their transform."""
    length = fft_length(node)
    y = nn.DftOp(node.complex_x(), axis=-2, length=length, onesided=True, inverse=True)
    *dims, _ = dims_of(value(y))
    return reshape(y, dims)


def fft_length(node: Node) -> Dim:
    """How many points the transform is over."""
    (length,) = node.sizes(1)
    return length


def transform(inverse: bool) -> Build:
    """The transform of complex numbers along the last dim."""

    def build(node: Node) -> Item:
        return as_complex(nn.DftOp(node.complex_x(), axis=-2, inverse=inverse))

    return described(build, "One `nn.dft`.")


def magnitude(node: Node) -> Operation:
    """`sqrt(re**2 + im**2)`."""
    real, imaginary = part(node, 0), part(node, 1)
    squares = nn.AddOp(nn.MulOp(real, real), nn.MulOp(imaginary, imaginary))
    return nn.SqrtOp(squares)


def make_complex(node: Node) -> Item:
    """Complex numbers of their real and imaginary parts."""
    real, imaginary = node.x(0), node.x(1)
    dims = dims_of(value(nn.AddOp(real, imaginary)))
    return paired(broadcast(real, dims), broadcast(imaginary, dims))


def conjugate(node: Node) -> Item:
    """The imaginary parts with the other sign."""
    return paired(part(node, 0), value(nn.NegOp(part(node, 1))))


def one_part(index: int) -> Callable[[Node], SSAValue]:
    """The real or the imaginary parts."""

    def build(node: Node) -> SSAValue:
        return part(node, index)

    build.__doc__ = "The imaginary parts." if index else "The real parts."
    return build


RULES = (
    Rule("RFFT", real_transform),
    Rule("IRFFT", inverse_real_transform),
    Rule("FFT", transform(inverse=False)),
    Rule("IFFT", transform(inverse=True)),
    Rule("Complex", make_complex),
    Rule("ComplexAbs", magnitude),
    Rule("Conj", conjugate),
    Rule("Real", one_part(0)),
    Rule("Imag", one_part(1)),
)
