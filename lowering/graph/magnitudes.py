"""How large the values of a network are, estimated without running it.

Every tensor is taken for independent numbers of one mean and one deviation. A product
with known weights then has, in its output channel c, the mean `m * sum_k w` and the
variance `s**2 * sum_k w**2`; where the weights are nearly all alike, its inputs are
copies of one another, and the variance is `(s * sum_k w)**2`. The network's inputs are
taken for standardised. So activations that grow beyond the range of f16 show; a trained
network, whose values stay near 1, is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import erf, exp, pi, sqrt
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import bit_width, integer_limits, is_bool, is_integer
from stepwell.dialects.shapes import dims_of, element_of
from stepwell.dialects.weights import WeightStore

DEVIATIONS = 4.0
"""How far from the mean the greatest of many values is, in standard deviations."""

UNKNOWN_SIZE = 64
"""What stands for a size that is only known at run time."""

TRUSTED = 32.0
"""Growth in one layer up to which a trained network is trusted to keep its scale: taken
layer by layer, the estimate's errors would multiply."""

LARGEST = 1e30
"""Where estimates end."""


@dataclass(frozen=True)
class Spread:
    """The mean and the standard deviation of a tensor, and its greatest magnitude."""

    mean: float = 0.0
    deviation: float = 1.0
    greatest: float = DEVIATIONS

    @staticmethod
    def of(mean: float, square: float) -> Spread:
        """From the mean and the mean square."""
        mean = min(max(mean, -LARGEST), LARGEST)
        square = min(square, LARGEST**2)
        deviation = sqrt(max(0.0, square - mean * mean))
        return Spread(mean, deviation, abs(mean) + DEVIATIONS * deviation)

    @property
    def square(self) -> float:
        """The mean square."""
        return self.mean**2 + self.deviation**2


BOUNDED = Spread(0.5, 0.3, 1.0)
"""Of a sigmoid, a probability, a cosine."""


class Magnitudes:
    """The spread of every float value of a module."""

    def __init__(self, module: ModuleOp, weights: WeightStore) -> None:
        self._weights = weights
        self._known: dict[SSAValue, Spread] = {}
        for op in module.walk():
            if isinstance(op, nn.NnOp):
                for result in op.results:
                    self._known[result] = self._estimate(op)

    def __getitem__(self, value: SSAValue) -> Spread:
        """The spread of a value; of one that nothing is known of, that of an input."""
        return self._known.get(value, Spread())

    def _estimate(self, op: nn.NnOp) -> Spread:
        if isinstance(op, nn.ConstantOp):
            return spread_of(nn.constant_value(op.results[0], self._weights))
        rule = RULES.get(type(op))
        operands = [self[v] for v in op.operands]
        if rule is not None:
            return rule(self, op, operands)
        return max(operands, key=lambda s: s.greatest, default=Spread())

    def array(self, value: SSAValue) -> np.ndarray[Any, Any] | None:
        """What a constant holds."""
        return nn.constant_value(value, self._weights)


def spread_of(array: np.ndarray[Any, Any] | None) -> Spread:
    """The spread of known numbers; infinities do not count."""
    if array is None or array.size == 0 or array.dtype == object:
        return Spread()
    wide = array.astype(np.float32) if array.dtype.kind != "f" else array
    low, high = float(wide.min()), float(wide.max())
    if not np.isfinite(low + high):
        wide = wide[np.isfinite(wide)]
        if wide.size == 0:
            return Spread(0.0, 0.0, 0.0)
        low, high = float(wide.min()), float(wide.max())
    mean = float(wide.mean(dtype=np.float64))
    deviation = float(wide.std(dtype=np.float64))
    return Spread(mean, deviation, max(-low, high, 0.0))


def _product(m: Magnitudes, op: Any, operands: list[Spread]) -> Spread:
    """A sum of products: with known weights channel by channel."""
    left, right = operands[0], operands[1]
    array = m.array(op.operands[1])
    if array is None or array.ndim < 2:
        depth = dims_of(op.operands[0])[-1]
        count = depth if isinstance(depth, int) else UNKNOWN_SIZE
        mean = count * left.mean * right.mean
        return Spread.of(mean, mean**2 + count * left.square * right.square)
    weights = np.asarray(array, np.float32)
    axes = _summed_axes(op, weights.ndim)
    sums = weights.sum(axis=axes, dtype=np.float64)
    squares = np.square(weights).sum(axis=axes, dtype=np.float64)
    count = weights.size // max(1, sums.size)
    alike = 2 * sums**2 > count * squares
    means = left.mean * sums
    variances = left.deviation**2 * np.where(alike, sums**2, squares)
    greatest = float((np.abs(means) + DEVIATIONS * np.sqrt(variances)).max(initial=0.0))
    pooled = Spread.of(float(means.mean()), float((means**2 + variances).mean()))
    if not alike.any() and pooled.square < (TRUSTED * max(1.0, sqrt(left.square))) ** 2:
        return Spread.of(0.0, left.square)
    return Spread(pooled.mean, pooled.deviation, min(greatest, LARGEST))


def _summed_axes(op: Operation, rank: int) -> tuple[int, ...]:
    if isinstance(op, nn.MatmulOp):
        return (rank - 2,)
    last = isinstance(op, nn.ConvOp) and bool(op.value("channels_last"))
    return tuple(range(rank - 1)) if last else tuple(range(1, rank))


def _sum(_: Magnitudes, op: Any, operands: list[Spread]) -> Spread:
    sign = -1.0 if isinstance(op, nn.SubOp) else 1.0
    left, right = operands
    mean = left.mean + sign * right.mean
    return Spread.of(mean, mean**2 + left.deviation**2 + right.deviation**2)


def _times(_: Magnitudes, op: Any, operands: list[Spread]) -> Spread:
    left, right = operands
    return Spread.of(left.mean * right.mean, left.square * right.square)


def _quotient(m: Magnitudes, op: Any, operands: list[Spread]) -> Spread:
    left, right = operands
    size = sqrt(right.square) or 1.0
    return Spread.of(left.mean / size, left.square / size**2)


def _rectified(_: Magnitudes, op: Any, operands: list[Spread]) -> Spread:
    """The moments of max(0, x) of a normal x."""
    mean, deviation = operands[0].mean, operands[0].deviation
    if deviation == 0.0:
        return Spread.of(max(0.0, mean), max(0.0, mean) ** 2)
    ratio = mean / deviation
    above = 0.5 * (1.0 + erf(ratio / sqrt(2.0)))
    density = exp(-min(ratio * ratio / 2.0, 700.0)) / sqrt(2.0 * pi)
    first = mean * above + deviation * density
    second = (mean**2 + deviation**2) * above + mean * deviation * density
    found = Spread.of(first, max(second, first**2))
    return Spread(found.mean, found.deviation, max(found.greatest, mean))


def _normalised(m: Magnitudes, op: Any, operands: list[Spread]) -> Spread:
    scale = operands[1] if len(operands) > 1 else Spread(1.0, 0.0, 1.0)
    shift = operands[2] if len(operands) > 2 else Spread(0.0, 0.0, 0.0)
    return Spread.of(shift.mean, shift.square + scale.square)


def _bounded(_: Magnitudes, op: Any, operands: list[Spread]) -> Spread:
    return BOUNDED


def _mixed(_: Magnitudes, op: Any, operands: list[Spread]) -> Spread:
    """Some elements of each operand."""
    count = len(operands)
    mean = sum(s.mean for s in operands) / count
    square = sum(s.square for s in operands) / count
    found = Spread.of(mean, square)
    return Spread(found.mean, found.deviation, max(s.greatest for s in operands))


def _first(_: Magnitudes, op: Any, operands: list[Spread]) -> Spread:
    return operands[0]


def _values(_: Magnitudes, op: Any, operands: list[Spread]) -> Spread:
    return operands[2]


def _cast(_: Magnitudes, op: Any, operands: list[Spread]) -> Spread:
    """Integers of up to 8 bits are taken for quantized numbers: any of their values."""
    element = element_of(op.operands[0])
    if not is_integer(element) or is_bool(element):
        return operands[0] if not is_bool(element) else BOUNDED
    if bit_width(element) > 8:
        return operands[0]
    low, high = integer_limits(element)
    middle, quarter = (low + high) / 2, (high - low) / 4
    return Spread(middle, quarter, max(-low, high))


def _clamped(_: Magnitudes, op: Any, operands: list[Spread]) -> Spread:
    """Between two bounds any value may occur: so numbers are quantized."""
    low, high = op.value("min"), op.value("max")
    if low is None or high is None or high - low > LARGEST:
        return operands[0]
    return Spread((low + high) / 2, (high - low) / 4, max(-low, high))


def _reduced(m: Magnitudes, op: Any, operands: list[Spread]) -> Spread:
    source = operands[0]
    if op.value("kind") != "sum":
        return Spread(source.mean, source.deviation, source.greatest)
    count = 1.0
    for axis in op.value("axes"):
        size = dims_of(op.operands[0])[axis]
        count *= size if isinstance(size, int) else UNKNOWN_SIZE
    mean = count * source.mean
    return Spread.of(mean, mean**2 + count * source.deviation**2)


Rule = Callable[[Magnitudes, Any, list[Spread]], Spread]


def _rows(rule: Rule, kinds: Iterable[type[Operation]]) -> dict[type[Operation], Rule]:
    return dict.fromkeys(kinds, rule)


RULES: dict[type[Operation], Rule] = {
    **_rows(_product, (nn.MatmulOp, nn.ConvOp, nn.ConvTransposeOp)),
    **_rows(_sum, (nn.AddOp, nn.SubOp)),
    **_rows(_rectified, (nn.ReluOp, nn.GeluOp, nn.SiluOp, nn.HardSwishOp, nn.MishOp)),
    **_rows(
        _normalised,
        (nn.LayerNormOp, nn.RmsNormOp, nn.InstanceNormOp, nn.GroupNormOp),
    ),
    **_rows(
        _bounded,
        (
            nn.SigmoidOp,
            nn.HardSigmoidOp,
            nn.TanhOp,
            nn.SoftmaxOp,
            nn.ErfOp,
            nn.SinOp,
            nn.CosOp,
        ),
    ),
    **_rows(
        _first,
        (
            nn.GatherOp,
            nn.GatherElementsOp,
            nn.GatherNdOp,
            nn.MaxPoolOp,
            nn.AvgPoolOp,
            nn.PadOp,
            nn.ResizeOp,
            nn.LrnOp,
        ),
    ),
    **_rows(_mixed, (nn.ConcatOp,)),
    nn.CastOp: _cast,
    nn.ClampOp: _clamped,
    nn.MulOp: _times,
    nn.DivOp: _quotient,
    nn.AttentionOp: _values,
    nn.ReduceOp: _reduced,
}
"""How the spread of a result follows from those of the operands; by default it is that
of the largest operand."""
