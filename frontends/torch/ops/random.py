"""Random numbers: another result on every run, as in PyTorch."""

from __future__ import annotations

from typing import Any

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import f32, i1
from stepwell.dialects.shapes import dims_of, element_of
from stepwell.frontends.emit import cast, value
from stepwell.frontends.torch.call import Call
from stepwell.frontends.torch.registry import Output, Rules


def uniform(call: Call, *_: Any) -> Operation:
    """Numbers uniform in [0, 1)."""
    return nn.RandomUniformOp(call.dims(), call.element())


def normal(call: Call, *_: Any) -> Operation:
    """Numbers of the standard normal distribution."""
    return nn.RandomNormalOp(call.dims(), call.element())


def bernoulli(call: Call, x: SSAValue, *_: Any) -> Operation:
    """1 with the probability given per element, else 0."""
    return nn.BernoulliOp(x, call.element())


def randint(call: Call, low: int, high: int, *_: Any) -> SSAValue:
    """Integers uniform in `[low, high)`."""
    numbers = nn.RandomUniformOp(call.dims(), f32, low=low, high=high)
    return cast(value(nn.FloorOp(numbers)), call.element())


def randint_below(call: Call, high: int, *_: Any) -> SSAValue:
    """Integers uniform in `[0, high)`."""
    return randint(call, 0, high)


def randperm(call: Call, *_: Any) -> SSAValue:
    """The numbers below n in random order: where sorted random numbers came from."""
    numbers = nn.RandomUniformOp(call.dims(), f32)
    return cast(nn.SortOp(numbers, axis=0).results[1], call.element())


def dropout(call: Call, x: SSAValue, p: float, train: bool | None) -> list[Output]:
    """`x` with elements dropped at random, and which ones were kept."""
    element = element_of(x)
    if not train or p == 0:
        kept = nn.BroadcastToOp(call.scalar(True, i1), dims_of(x))
        return [x, kept]
    draws = nn.RandomUniformOp(dims_of(x), element)
    kept = nn.CompareOp(draws, call.scalar(p, element), predicate="ge")
    scale = call.scalar(0 if p == 1 else 1 / (1 - p), element)
    zero = call.scalar(0, element)
    return [nn.SelectOp(kept, nn.MulOp(x, scale), zero), kept]


def dropout_whole(call: Call, x: SSAValue, p: float, train: bool) -> Output:
    """`x` itself at inference."""
    return dropout(call, x, p, train)[0] if train and p else x


RULES: Rules = {
    "aten.rand.default": uniform,
    "aten.rand_like.default": uniform,
    "aten.randn.default": normal,
    "aten.randn_like.default": normal,
    "aten.bernoulli.default": bernoulli,
    "aten.randint.low": randint,
    "aten.randint.default": randint_below,
    "aten.randperm.default": randperm,
    "aten.native_dropout.default": dropout,
    "aten.dropout.default": dropout_whole,
}
