"""Dynamic quantization to unsigned 8 bits, as `nn` ops."""

from __future__ import annotations

from xdsl.ir import SSAValue

from stepwell.dialects import nn
from stepwell.dialects.shapes import dims_of
from stepwell.lowering.rewriting import Rewriter

from .loops import Emitter

Build = Rewriter | Emitter


def dynamic_range(x: SSAValue, build: Build) -> tuple[SSAValue, SSAValue]:
    """The scale and the zero point, as a float, of 8 bits for the elements of `x`."""
    none = build.constant(0.0, like=x)
    low = extreme(x, "min", none, build)
    high = extreme(x, "max", none, build)
    width = build.emit(nn.SubOp(high, low))
    scale = build.emit(nn.DivOp(width, build.constant(255.0, like=x)))
    is_some = build.emit(nn.CompareOp(scale, none, predicate="gt"))
    scale = build.emit(nn.SelectOp(is_some, scale, build.constant(1.0, like=x)))
    offset = build.emit(nn.DivOp(build.emit(nn.NegOp(low)), scale))
    rounded = build.emit(nn.RoundOp(offset))
    return scale, build.emit(nn.ClampOp(rounded, min=0.0, max=255.0))


def through_eight_bits(x: SSAValue, build: Build) -> SSAValue:
    """What is left of `x` when it is quantized dynamically, and dequantized again."""
    scale, point = dynamic_range(x, build)
    steps = build.emit(nn.RoundOp(build.emit(nn.DivOp(x, scale))))
    held = build.emit(nn.AddOp(steps, point))
    held = build.emit(nn.ClampOp(held, min=0.0, max=255.0))
    return build.emit(nn.MulOp(build.emit(nn.SubOp(held, point)), scale))


def extreme(x: SSAValue, kind: str, none: SSAValue, build: Build) -> SSAValue:
    """The smallest or largest of the elements of `x` and 0."""
    axes = list(range(len(dims_of(x))))
    found = build.emit(nn.ReduceOp(x, kind=kind, axes=axes))
    combine = nn.MinimumOp if kind == "min" else nn.MaximumOp
    return build.emit(combine(found, none))
