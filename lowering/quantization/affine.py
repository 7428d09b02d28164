"""Quantization and dequantization as elementwise arithmetic, bit for bit."""

from __future__ import annotations

from xdsl.ir import Attribute, SSAValue

from stepwell.dialects import nn, quant
from stepwell.dialects.dtypes import (
    bit_width,
    f32,
    f64,
    i32,
    integer_limits,
    is_integer,
    ui8,
)
from stepwell.dialects.shapes import Dim, dims_of, element_of
from stepwell.lowering.graph.eight_bits import dynamic_range
from stepwell.lowering.rewriting import Outcome, Rewriter, pattern


def cast(value: SSAValue, to: Attribute, rewriter: Rewriter) -> SSAValue:
    """`value` in element type `to`; the value itself if it has that type."""
    if element_of(value) == to:
        return value
    return rewriter.emit(nn.CastOp(value, to))


def spread(
    values: SSAValue, x: SSAValue, axis: int, block_size: int, rewriter: Rewriter
) -> SSAValue:
    """Scales or zero points in a shape that broadcasts to the elements of `x`."""
    dims, rank = dims_of(values), len(dims_of(x))
    if dims in ((), (1,)):
        return values
    axis %= rank
    if not block_size:
        shape = [dims[0] if i == axis else 1 for i in range(rank)]
        return rewriter.emit(nn.ReshapeOp(values, shape))
    before, after = dims[: axis + 1], dims[axis + 1 :]
    split = rewriter.emit(nn.ReshapeOp(values, [*before, 1, *after]))
    repeated = [*before, block_size, *after]
    wide = rewriter.emit(nn.BroadcastToOp(split, repeated))
    merged: list[Dim] = [*dims]
    merged[axis] = merged[axis] * block_size
    flat = rewriter.emit(nn.ReshapeOp(wide, merged))
    return rewriter.emit(nn.SliceOp(flat, [0] * rank, dims_of(x)))


def rounded_steps(
    x: SSAValue,
    scale: SSAValue,
    zero_point: SSAValue | None,
    to: Attribute,
    rewriter: Rewriter,
) -> nn.CastOp:
    """`saturate(round(x / scale) + zero_point)` of x and a scale of one float type."""
    steps = rewriter.emit(nn.DivOp(x, scale))
    rounded = rewriter.emit(nn.RoundOp(steps))
    if zero_point is not None:
        rounded = rewriter.emit(nn.AddOp(rounded, zero_point))
    low, high = integer_limits(to)
    held = rewriter.emit(nn.ClampOp(rounded, min=float(low), max=float(high)))
    return nn.CastOp(held, to)


@pattern(quant.QuantizeOp)
def legalize_quantize(op: quant.QuantizeOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    quant.quantize %x, %scale, %zero {to = ui8}
    ->   nn.cast (nn.clamp (nn.round (%x / %scale) + %zero) {0, 255}) {to = ui8}
    ```
    Integers of 8 and 16 bits; adding the zero point in f32 is exact there, because
    what does not fit 24 bits saturates anyway.
    """
    if not is_integer(op.to) or bit_width(op.to) not in (8, 16):
        return f"no arithmetic in {op.to}"
    precise = f64 if element_of(op.x) == f64 else f32
    axis, block = op.value("axis"), op.value("block_size")
    x = cast(op.x, precise, rewriter)
    scale = cast(op.scale, precise, rewriter)
    scale = spread(scale, x, axis, block, rewriter)
    zero = op.zero_point
    if zero is not None:
        zero = spread(cast(zero, precise, rewriter), x, axis, block, rewriter)
    rewriter.replace_with(rounded_steps(x, scale, zero, op.to, rewriter))
    return None


@pattern(quant.DequantizeOp)
def legalize_dequantize(op: quant.DequantizeOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    quant.dequantize %x, %scale, %zero   ->   (nn.cast %x - nn.cast %zero) * %scale
    ```
    Numbers of 8 and 16 bits subtract exactly in f32, those of 32 bits in i32.
    """
    stored, result = element_of(op.x), element_of(op.scale)
    if not is_integer(stored) or bit_width(stored) not in (8, 16, 32):
        return f"no arithmetic in {stored}"
    axis, block = op.value("axis"), op.value("block_size")
    middle = f32 if bit_width(stored) < 32 else i32
    x = cast(op.x, middle, rewriter)
    if op.zero_point is not None:
        zero = cast(op.zero_point, middle, rewriter)
        zero = spread(zero, op.x, axis, block, rewriter)
        x = rewriter.emit(nn.SubOp(x, zero))
    x = cast(cast(x, f32, rewriter), result, rewriter)
    scale = spread(op.scale, op.x, axis, block, rewriter)
    rewriter.replace_with(nn.MulOp(x, scale))
    return None


@pattern(quant.DynamicQuantizeOp)
def legalize_dynamic_quantize(
    op: quant.DynamicQuantizeOp, rewriter: Rewriter
) -> Outcome:
    """
    ```mlir
    quant.dynamic_quantize %x
    ->   %low = minimum(min %x, 0); %high = maximum(max %x, 0)
         %scale = (%high - %low) / 255; %zero = clamp(round(-%low / %scale), 0, 255)
    ```
    A range of nothing but 0 has the scale 1.
    """
    scale, point = dynamic_range(op.x, rewriter)
    zero = rewriter.emit(nn.CastOp(point, ui8))
    y = rewriter.emit(rounded_steps(op.x, scale, point, ui8, rewriter))
    rewriter.replace(op, (), [y, scale, zero])
    return None


@pattern(quant.ObserveOp)
def drop_observer(op: quant.ObserveOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    quant.observe %x   ->   %x
    ```
    """
    rewriter.replace_with(op.x)
    return None


PATTERNS = (
    legalize_quantize,
    legalize_dequantize,
    legalize_dynamic_quantize,
    drop_observer,
)
