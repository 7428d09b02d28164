"""Which ops may compute on f16 or bf16, and why the others stay in f32.

A kernel always computes in f32 and sums in f32; what a lower precision changes is what
is stored between kernels, and what enters a tensor core. So an op stays in f32 when its
result must not be rounded to the narrow type: because it would overflow, because small
differences of it matter later, or because it counts or places something.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import f32, is_integer, numpy_dtype
from stepwell.dialects.shapes import element_of
from stepwell.lowering.fusion.roles import Role, role_of

from .magnitudes import Magnitudes

KEPT: dict[type[Operation], str] = {
    **dict.fromkeys(
        (nn.ExpOp, nn.Expm1Op, nn.PowOp, nn.SinhOp, nn.CoshOp, nn.TanOp),
        "its result may leave the range of the type",
    ),
    **dict.fromkeys(
        (nn.LogOp, nn.Log1pOp, nn.ReciprocalOp, nn.SqrtOp, nn.RsqrtOp),
        "it magnifies the rounding of its operand",
    ),
    **dict.fromkeys((nn.SinOp, nn.CosOp), "an angle needs the digits of f32"),
    **dict.fromkeys(
        (nn.CumulativeOp, nn.ScatterElementsOp, nn.ScatterNdOp, nn.LpPoolOp),
        "it sums in its result",
    ),
    **dict.fromkeys(
        (nn.ArgReduceOp, nn.SortOp, nn.TopkOp, nn.ModOp, nn.FloorOp, nn.CeilOp),
        "rounding would change which element is chosen",
    ),
    nn.IotaOp: "it counts",
    nn.DimValueOp: "it is a size",
}
"""Ops that always stay, each with the reason."""

BOUNDED = (
    nn.SigmoidOp,
    nn.HardSigmoidOp,
    nn.TanhOp,
    nn.ErfOp,
    nn.SinOp,
    nn.CosOp,
    nn.SoftsignOp,
    nn.SignOp,
    nn.SoftmaxOp,
)
"""Ops whose results are small whatever they read."""

FOLLOWING = (Role.POINTWISE, Role.MOVEMENT, Role.CONCAT)
"""Roles of ops that stay in f32 when all they read is there already."""

MULTIPLYING = (Role.CONTRACTION, Role.ATTENTION)
"""Roles of ops that are worth narrowing even where they read clamped values."""


def reason_to_keep(op: Operation) -> str | None:
    """Why `op` stays in f32 whatever it reads, or None."""
    if (reason := KEPT.get(type(op))) is not None:
        return reason
    if isinstance(op, nn.ReduceOp) and op.value("kind") not in ("max", "min"):
        return "it sums in its result"
    if isinstance(op, nn.MulOp) and op.lhs is op.rhs:
        return "a square may leave the range of the type"
    if role_of(op) is Role.HOST and not isinstance(op, nn.ConstantOp):
        return "no kernel computes it"
    return None


def constants_do_not_fit(
    op: Operation, narrow: Attribute, magnitudes: Magnitudes
) -> str | None:
    """Why the constants that `op` reads forbid the narrow type, or None."""
    greatest, least = float(finfo(narrow).max), float(finfo(narrow).tiny)
    is_weight = role_of(op) in (*MULTIPLYING, Role.REDUCTION)
    for operand in floats(op.operands):
        if not isinstance(operand.owner, nn.ConstantOp):
            continue
        size = magnitudes[operand].greatest
        if size > greatest:
            return f"a constant of {size:.3g} is beyond the type"
        if 0 < size < least and not is_weight:
            return f"a constant of {size:.3g} would vanish"
    return None


def finfo(element: Attribute) -> Any:
    """The limits of a float type, as `numpy.finfo` gives them."""
    import ml_dtypes

    return ml_dtypes.finfo(numpy_dtype(element))


def floats(values: Iterable[SSAValue]) -> Iterator[SSAValue]:
    """Those of the values that are f32 tensors."""
    return (v for v in values if element_or_none(v) == f32)


def element_or_none(value: SSAValue) -> Attribute | None:
    """The element type of a tensor, else None."""
    element = getattr(value.type, "element_type", None)
    return None if element is None else element_of(value)


def positions(module: ModuleOp) -> set[Operation]:
    """The ops whose results become integers: sizes, indices, places.

    They are found backwards from casts, through whatever only moves or computes
    elementwise.
    """
    found = set[Operation]()
    pending = [
        op.operand.owner
        for op in module.walk()
        if isinstance(op, nn.CastOp)
        and is_integer(op.to)
        and element_or_none(op.operand) == f32
    ]
    while pending:
        op = pending.pop()
        if not isinstance(op, nn.NnOp) or op in found:
            continue
        if op.regions or role_of(op) not in (*FOLLOWING, Role.SOURCE, Role.MAP):
            continue
        found.add(op)
        pending += [operand.owner for operand in floats(op.operands)]
    return found
