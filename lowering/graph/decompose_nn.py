"""Express the rarer `nn` ops in others, so that the levels below need not know them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from stepwell.dialects import nn
from stepwell.dialects.shapes import dims_of
from stepwell.lowering.rewriting import Outcome, Rewriter, apply_patterns, pattern

from .matching import is_float_value, rank_of

MAX_BAND = 1024
"""Channels up to which a sum over neighbours is a matrix product."""

MAX_DFT_LENGTH = 4096
"""Longer transforms would need a matrix of more than 100 MB."""


@pattern(nn.BatchNormOp)
def decompose_batch_norm(op: nn.BatchNormOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.batch_norm %x, %scale, %bias, %mean, %variance
    ->   %s = %scale * rsqrt(%variance + epsilon)
         %x * %s + (%bias - %mean * %s)
    ```
    The vectors are shaped to lie along the channels; with constants they fold.
    """
    rank = rank_of(op.x)
    epsilon = rewriter.constant(op.value("epsilon"), like=op.variance)
    shifted = rewriter.emit(nn.AddOp(op.variance, epsilon))
    factor = rewriter.emit(nn.MulOp(op.scale, rewriter.emit(nn.RsqrtOp(shifted))))
    mean = rewriter.emit(nn.MulOp(op.mean, factor))
    offset = rewriter.emit(nn.SubOp(op.bias, mean))
    if not op.value("channels_last") and rank > 2:
        shape = (dims_of(op.scale)[0], *[1] * (rank - 2))
        factor = rewriter.emit(nn.ReshapeOp(factor, shape))
        offset = rewriter.emit(nn.ReshapeOp(offset, shape))
    scaled = rewriter.emit(nn.MulOp(op.x, factor))
    rewriter.replace_with(nn.AddOp(scaled, offset))
    return None


@pattern(nn.LrnOp)
def decompose_lrn(op: nn.LrnOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.lrn %x {size, alpha, beta, bias}
    ->   %x * (bias + alpha / size * sum of %x**2 over neighbours)**-beta
    ```
    The sum over neighbouring channels is a product with a band of ones, channels last.
    """
    rank, channels = rank_of(op.x), dims_of(op.x)[1]
    if not isinstance(channels, int) or channels > MAX_BAND or not is_float_value(op.x):
        return "the band of ones would be too large"
    size = op.value("size")
    steps = np.arange(channels)[:, None] - np.arange(channels)[None, :]
    band = (steps >= -((size - 1) // 2)) & (steps <= size // 2)
    last = (0, *range(2, rank), 1)
    first = (0, rank - 1, *range(1, rank - 1))
    x = rewriter.emit(nn.TransposeOp(op.x, last))
    weight = rewriter.constant(band * (op.value("alpha") / size), like=x)
    total = rewriter.emit(nn.MatmulOp(rewriter.emit(nn.MulOp(x, x)), weight))
    bias = rewriter.constant(op.value("bias"), like=x)
    exponent = rewriter.constant(-op.value("beta"), like=x)
    shifted = rewriter.emit(nn.AddOp(total, bias))
    factor = rewriter.emit(nn.PowOp(shifted, exponent))
    rewriter.replace_with(nn.TransposeOp(rewriter.emit(nn.MulOp(x, factor)), first))
    return None


@pattern(nn.DftOp)
def decompose_dft(op: nn.DftOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.dft %x {axis}   ->   nn.matmul (%x with the axis last), cosines and sines
    ```
    """
    (length,) = op.value("length")
    rank, axis = rank_of(op.operand), op.value("axis") % rank_of(op.operand)
    size, parts = dims_of(op.operand)[axis], dims_of(op.operand)[-1]
    if not isinstance(length, int) or not isinstance(size, int):
        return "the length depends on symbols"
    if length > MAX_DFT_LENGTH or (op.value("inverse") and op.value("onesided")):
        return "no matrix product for this transform"
    assert isinstance(parts, int)
    terms = length // 2 + 1 if op.value("onesided") else length
    matrix = dft_matrix(length, min(size, length), parts, terms, op.value("inverse"))
    matrix = np.pad(matrix, [(0, max(0, size - length) * parts), (0, 0)])
    others = [i for i in range(rank - 1) if i != axis]
    perm = [*others, axis, rank - 1]
    outer = [dims_of(op.operand)[i] for i in others]
    x = rewriter.emit(nn.TransposeOp(op.operand, perm))
    flat = rewriter.emit(nn.ReshapeOp(x, [*outer, size * parts]))
    weight = rewriter.constant(matrix, like=op.operand)
    product = rewriter.emit(nn.MatmulOp(flat, weight))
    split = rewriter.emit(nn.ReshapeOp(product, [*outer, terms, 2]))
    back = sorted(range(rank), key=perm.__getitem__)
    rewriter.replace_with(nn.TransposeOp(split, back))
    return None


def dft_matrix(
    length: int, used: int, parts: int, terms: int, inverse: bool
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """`[used * parts, terms * 2]`: re and im of each term, for each input part."""
    sign = 1 if inverse else -1
    steps = np.outer(np.arange(used), np.arange(terms)) % length
    angles = sign * 2 * math.pi / length * steps
    scale = 1 / length if inverse else 1.0
    cos, sin = np.cos(angles) * scale, np.sin(angles) * scale
    real = np.stack([cos, sin], axis=-1)
    imaginary = np.stack([-sin, cos], axis=-1)
    stacked = np.stack([real, imaginary][:parts], axis=1)
    return stacked.reshape(used * parts, terms * 2)


@dataclass(frozen=True)
class DecomposeNnPass(ModulePass):
    """Rewrite ops in others that are faster: batch norm, local response norm, DFT.

    Output: the module without `nn.batch_norm`; `nn.lrn` and `nn.dft` only where their
    sizes depend on symbols or their matrix would be too large.
    """

    name = "decompose-nn"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Rewrite each such op where it stands."""
        apply_patterns(op, [decompose_batch_norm, decompose_lrn, decompose_dft], ctx)
