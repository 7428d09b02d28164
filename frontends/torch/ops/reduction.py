"""Reductions over dims, norms, running sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import i64
from stepwell.dialects.shapes import dims_of, element_of, product
from stepwell.frontends.described import described
from stepwell.frontends.emit import cast, rank_of, reshape, value
from stepwell.frontends.torch.call import Call, axes_of
from stepwell.frontends.torch.registry import Build, Output, Rules

from .elementwise import truth


def reduce(kind: str) -> Build:
    """A reduction over dims, in the type of the result."""

    def build(
        call: Call,
        x: SSAValue,
        dim: Sequence[int] | int | None = None,
        keepdim: bool = False,
        *_: Any,
    ) -> Output:
        x = cast(x, call.element())
        axes = axes_of(x, dim)
        return nn.ReduceOp(x, kind=kind, axes=axes, keepdims=keepdim) if axes else x

    return described(build, f"One `nn.reduce` ({kind}).")


def reduce_all(kind: str) -> Build:
    """A reduction over all dims, in the type of the result."""

    whole = reduce(kind)

    def build(call: Call, x: SSAValue, *_: Any) -> Output | Sequence[Output]:
        return whole(call, x)

    return described(build, f"One `nn.reduce` ({kind}) over all dims.")


def quantify(kind: str) -> Build:
    """`any` or `all` over dims."""

    def build(
        call: Call,
        x: SSAValue,
        dim: Sequence[int] | int | None = None,
        keepdim: bool = False,
    ) -> Output:
        test = truth(call, x)
        axes = axes_of(x, dim)
        if axes:
            test = value(nn.ReduceOp(test, kind=kind, axes=axes, keepdims=keepdim))
        return cast(test, call.element())

    return described(build, f"One `nn.reduce` ({kind}) of truth values.")


def arg_reduce(kind: str) -> Build:
    """The index of the extremum, along a dim or in the flattened tensor."""

    def build(
        call: Call, x: SSAValue, dim: int | None = None, keepdim: bool = False
    ) -> SSAValue:
        dims = call.dims()
        if not rank_of(x):
            return call.scalar(0, i64)
        if dim is None:
            x, dim = reshape(x, [product(dims_of(x))]), 0
        found = nn.ArgReduceOp(x, kind=kind, axis=dim % rank_of(x))
        return reshape(value(found), dims)

    return described(build, f"One `nn.arg_reduce` ({kind}).")


def extremum(kind: str) -> Build:
    """The extremum along a dim and its index."""

    def build(
        call: Call, x: SSAValue, dim: int, keepdim: bool = False
    ) -> Sequence[Output]:
        if not rank_of(x):
            return [x, call.scalar(0, i64)]
        axis = dim % rank_of(x)
        best = nn.ReduceOp(x, kind=kind, axes=[axis], keepdims=keepdim)
        index = nn.ArgReduceOp(x, kind=kind, axis=axis, keepdims=keepdim)
        return [best, index]

    return described(build, f"`nn.reduce` and `nn.arg_reduce` ({kind}).")


def var_mean(
    call: Call, x: SSAValue, axes: Sequence[int], correction: float, keepdim: bool
) -> tuple[SSAValue, SSAValue]:
    """The variance with a correction to the count, and the mean."""
    mean = value(nn.ReduceOp(x, kind="mean", axes=axes, keepdims=True))
    centred = nn.SubOp(x, mean)
    square = nn.MulOp(centred, centred)
    total = nn.ReduceOp(square, kind="sum", axes=axes, keepdims=keepdim)
    count = product(dims_of(x)[axis] for axis in axes)
    element = element_of(x)
    if isinstance(count, int):
        divisor = call.scalar(max(count - correction, 0), element)
    else:
        rest = nn.SubOp(call.scalar(count, element), call.scalar(correction, element))
        divisor = value(nn.MaximumOp(rest, call.scalar(0, element)))
    kept = [1 if i in axes else d for i, d in enumerate(dims_of(x))]
    dims = kept if keepdim else [d for i, d in enumerate(dims_of(x)) if i not in axes]
    return value(nn.DivOp(total, divisor)), reshape(mean, dims)


def variance(*, root: bool, with_mean: bool) -> Build:
    """`var`, `std`, `var_mean` or `std_mean`."""

    def build(
        call: Call,
        x: SSAValue,
        dim: Sequence[int] | None = None,
        correction: float | None = None,
        keepdim: bool = False,
    ) -> Output | Sequence[Output]:
        less = 1 if correction is None else correction
        spread, mean = var_mean(call, x, axes_of(x, dim), less, keepdim)
        if root:
            spread = value(nn.SqrtOp(spread))
        return [spread, mean] if with_mean else spread

    return described(build, "A mean of squared differences.")


def logsumexp(
    call: Call, x: SSAValue, dim: Sequence[int], keepdim: bool = False
) -> SSAValue:
    """`ln(sum of e**x)`, kept from overflow by the maximum."""
    x, axes = cast(x, call.element()), axes_of(x, dim)
    high = value(nn.ReduceOp(x, kind="max", axes=axes, keepdims=True))
    is_infinite, zero = nn.IsInfOp(high), call.scalar(0, element_of(x))
    shift = nn.SelectOp(is_infinite, zero, high)
    total = nn.ReduceOp(
        nn.ExpOp(nn.SubOp(x, shift)), kind="sum", axes=axes, keepdims=True
    )
    return reshape(value(nn.AddOp(nn.LogOp(total), shift)), call.dims())


def vector_norm(
    call: Call,
    x: SSAValue,
    order: float = 2,
    dim: Sequence[int] | None = None,
    keepdim: bool = False,
    *_: Any,
) -> Output:
    """`(sum of |x|**order)**(1/order)`; the extremes for infinite orders."""
    x, axes = cast(x, call.element()), axes_of(x, dim)

    def over(values: Operation | SSAValue, kind: str) -> Operation:
        return nn.ReduceOp(values, kind=kind, axes=axes, keepdims=keepdim)

    if order == float("inf"):
        return over(nn.AbsOp(x), "max")
    if order == float("-inf"):
        return over(nn.AbsOp(x), "min")
    if order == 2:
        return nn.SqrtOp(over(nn.MulOp(x, x), "sum"))
    if order == 1:
        return over(nn.AbsOp(x), "sum")
    element = element_of(x)
    if order == 0:
        test = nn.CompareOp(x, call.scalar(0, element), predicate="ne")
        return over(nn.CastOp(test, element), "sum")
    powers = nn.PowOp(nn.AbsOp(x), call.scalar(order, element))
    return nn.PowOp(over(powers, "sum"), call.scalar(1 / order, element))


def norm(
    call: Call,
    x: SSAValue,
    order: float | None = 2,
    dim: Sequence[int] | None = None,
    keepdim: bool = False,
    *_: Any,
) -> Output:
    """A vector norm over dims."""
    return vector_norm(call, x, 2 if order is None else order, dim, keepdim)


def dist(call: Call, a: SSAValue, b: SSAValue, order: float = 2) -> Output:
    """The norm of the difference of two tensors."""
    return vector_norm(call, value(nn.SubOp(a, b)), order)


def cumulative(kind: str) -> Build:
    """A running sum or product along a dim."""

    def build(call: Call, x: SSAValue, dim: int, *_: Any) -> Output:
        x = cast(x, call.element())
        if not rank_of(x):
            return x
        return nn.CumulativeOp(x, kind=kind, axis=dim % rank_of(x))

    return described(build, f"One `nn.cumulative` ({kind}).")


def count_nonzero(
    call: Call, x: SSAValue, dim: Sequence[int] | int | None = None
) -> Output:
    """How many elements are not 0."""
    counted = cast(truth(call, x), i64)
    axes = axes_of(x, dim)
    return nn.ReduceOp(counted, kind="sum", axes=axes) if axes else counted


RULES: Rules = {
    "aten.sum.default": reduce_all("sum"),
    "aten.sum.dim_IntList": reduce("sum"),
    "aten.mean.default": reduce_all("mean"),
    "aten.mean.dim": reduce("mean"),
    "aten.prod.default": reduce_all("prod"),
    "aten.prod.dim_int": reduce("prod"),
    "aten.amax.default": reduce("max"),
    "aten.amin.default": reduce("min"),
    "aten.max.default": reduce_all("max"),
    "aten.min.default": reduce_all("min"),
    "aten.max.dim": extremum("max"),
    "aten.min.dim": extremum("min"),
    "aten.any.default": quantify("any"),
    "aten.any.dim": quantify("any"),
    "aten.any.dims": quantify("any"),
    "aten.all.default": quantify("all"),
    "aten.all.dim": quantify("all"),
    "aten.all.dims": quantify("all"),
    "aten.argmax.default": arg_reduce("max"),
    "aten.argmin.default": arg_reduce("min"),
    "aten.var.correction": variance(root=False, with_mean=False),
    "aten.std.correction": variance(root=True, with_mean=False),
    "aten.var_mean.correction": variance(root=False, with_mean=True),
    "aten.std_mean.correction": variance(root=True, with_mean=True),
    "aten.logsumexp.default": logsumexp,
    "aten.linalg_vector_norm.default": vector_norm,
    "aten.norm.ScalarOpt_dim": norm,
    "aten.cumsum.default": cumulative("sum"),
    "aten.cumprod.default": cumulative("prod"),
    "aten.dist.default": dist,
    "aten.count_nonzero.default": count_nonzero,
    "aten.count_nonzero.dim_IntList": count_nonzero,
}
