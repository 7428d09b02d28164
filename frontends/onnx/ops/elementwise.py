"""Elementwise ops: math, activations, logic, comparison, casts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import i1, is_float
from stepwell.dialects.shapes import element_of
from stepwell.frontends.emit import cast, like, scalar, value
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.onnx.ops.rows import binary, unary, variadic
from stepwell.frontends.onnx.registry import Rule
from stepwell.frontends.values import Value

UNARY = {
    "Abs": nn.AbsOp,
    "Acos": nn.AcosOp,
    "Acosh": nn.AcoshOp,
    "Asin": nn.AsinOp,
    "Asinh": nn.AsinhOp,
    "Atan": nn.AtanOp,
    "Atanh": nn.AtanhOp,
    "BitwiseNot": nn.NotOp,
    "Ceil": nn.CeilOp,
    "Cos": nn.CosOp,
    "Cosh": nn.CoshOp,
    "Erf": nn.ErfOp,
    "Exp": nn.ExpOp,
    "Floor": nn.FloorOp,
    "HardSwish": nn.HardSwishOp,
    "IsNaN": nn.IsNanOp,
    "Log": nn.LogOp,
    "Mish": nn.MishOp,
    "Neg": nn.NegOp,
    "Not": nn.NotOp,
    "Reciprocal": nn.ReciprocalOp,
    "Relu": nn.ReluOp,
    "Round": nn.RoundOp,
    "Sigmoid": nn.SigmoidOp,
    "Sign": nn.SignOp,
    "Sin": nn.SinOp,
    "Sinh": nn.SinhOp,
    "Softplus": nn.SoftplusOp,
    "Softsign": nn.SoftsignOp,
    "Sqrt": nn.SqrtOp,
    "Tan": nn.TanOp,
    "Tanh": nn.TanhOp,
}

WITH_FLOATS = {
    "Celu": (nn.CeluOp, {"alpha": 1.0}),
    "Elu": (nn.EluOp, {"alpha": 1.0}),
    "HardSigmoid": (nn.HardSigmoidOp, {"alpha": 0.2, "beta": 0.5}),
    "LeakyRelu": (nn.LeakyReluOp, {"alpha": 0.01}),
    "Selu": (
        nn.SeluOp,
        {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
    ),
}

BINARY = {
    "Add": nn.AddOp,
    "And": nn.AndOp,
    "BitwiseAnd": nn.AndOp,
    "BitwiseOr": nn.OrOp,
    "BitwiseXor": nn.XorOp,
    "Div": nn.DivOp,
    "Mul": nn.MulOp,
    "Or": nn.OrOp,
    "PRelu": nn.PreluOp,
    "Sub": nn.SubOp,
    "Xor": nn.XorOp,
}

COMPARE = {
    "Equal": "eq",
    "Greater": "gt",
    "GreaterOrEqual": "ge",
    "Less": "lt",
    "LessOrEqual": "le",
}

VARIADIC = {"Max": nn.MaximumOp, "Min": nn.MinimumOp, "Sum": nn.AddOp}


def mean(node: Node) -> Operation:
    """The mean of any number of tensors."""
    total, *others = node.all_x()
    for other in others:
        total = value(nn.AddOp(total, other))
    return nn.DivOp(total, like(node, len(node.inputs), total))


def power(node: Node) -> SSAValue:
    """`x ** y` with the type of x; computed in floats if either is one."""
    x, y = node.x(0), node.x(1)
    element = element_of(x)
    if element_of(y) == element:
        return value(nn.PowOp(x, y))
    common = element if is_float(element) else element_of(y)
    if not is_float(common):
        common = element
    return cast(value(nn.PowOp(cast(x, common), cast(y, common))), element)


def modulo(node: Node) -> Operation:
    """The remainder with the sign of the divisor, or with `fmod` of the dividend."""
    return nn.ModOp(node.x(0), node.x(1), fmod=bool(node.int("fmod", 0)))


def bit_shift(node: Node) -> Operation:
    """A shift by at least the width leaves only the sign."""
    is_left = node.string("direction") == "LEFT"
    op = nn.ShiftLeftOp if is_left else nn.ShiftRightOp
    return op(node.x(0), node.x(1))


def clip(node: Node) -> SSAValue:
    """`min(max(x, low), high)`, with bounds by attribute until opset 11."""
    x = node.x()
    if node.version < 11:
        low, high = node.float("min", -np.inf), node.float("max", np.inf)
        return value(nn.ClampOp(x, min=low, max=high))
    bounds = [node.tensor(i) if node.has(i) else None for i in (1, 2)]
    known = [None if bound is None else bound.contents for bound in bounds]
    is_known = all(
        bound is None or (array is not None and array.size == 1)
        for bound, array in zip(bounds, known, strict=True)
    )
    if is_float(element_of(x)) and is_known:
        low, high = (None if array is None else float(array) for array in known)
        return value(nn.ClampOp(x, min=low, max=high))
    for index, op in ((1, nn.MaximumOp), (2, nn.MinimumOp)):
        if node.has(index):
            x = value(op(x, node.x(index)))
    return x


def gelu(node: Node) -> Operation:
    """Exact, or approximated by tanh."""
    return nn.GeluOp(node.x(), approximate=node.string("approximate", "none"))


def swish(node: Node) -> Operation:
    """`x * sigmoid(alpha * x)`."""
    x, alpha = node.x(), node.float("alpha", 1.0)
    return nn.SiluOp(x) if alpha == 1 else _swish(node, x, alpha)


def swiglu(node: Node) -> Operation:
    """`swish(a) * b`."""
    a, alpha = node.x(0), node.float("alpha", 1.0)
    gate = nn.SiluOp(a) if alpha == 1 else _swish(node, a, alpha)
    return nn.MulOp(gate, node.x(1))


def _swish(node: Node, x: SSAValue, alpha: float) -> Operation:
    return nn.MulOp(x, nn.SigmoidOp(nn.MulOp(x, like(node, alpha, x))))


def thresholded_relu(node: Node) -> Operation:
    """`x` where it is above alpha, else 0."""
    x = node.x()
    above = nn.CompareOp(x, like(node, node.float("alpha", 1.0), x), predicate="gt")
    return nn.SelectOp(above, x, like(node, 0, x))


def shrink(node: Node) -> Operation:
    """Towards 0 by `bias`, and 0 within `lambd`."""
    x, bias = node.x(), node.float("bias", 0.0)
    limit = node.float("lambd", 0.5)
    low = nn.CompareOp(x, like(node, -limit, x), predicate="lt")
    high = nn.CompareOp(x, like(node, limit, x), predicate="gt")
    inner = nn.SelectOp(high, nn.SubOp(x, like(node, bias, x)), like(node, 0, x))
    return nn.SelectOp(low, nn.AddOp(x, like(node, bias, x)), inner)


def is_inf(node: Node) -> Operation:
    """Of either sign, or of one."""
    return nn.IsInfOp(
        node.x(),
        detect_positive=bool(node.int("detect_positive", 1)),
        detect_negative=bool(node.int("detect_negative", 1)),
    )


def where(node: Node) -> Operation:
    """Element by element from one of two."""
    return nn.SelectOp(node.x(0), node.x(1), node.x(2))


def cast_node(node: Node) -> Value | SSAValue:
    """Conversion to the type `to`."""
    return _cast(node, node.element("to"))


def cast_like(node: Node) -> Value | SSAValue:
    """Conversion to the type of the second input."""
    return _cast(node, node.element_of(1))


def bit_cast(node: Node) -> Operation:
    """The same bits as another type of the same width."""
    return nn.BitcastOp(node.x(), node.element("to"))


def _cast(node: Node, element: Attribute) -> Value | SSAValue:
    saturate = bool(node.int("saturate", 1))
    round_mode = node.string("round_mode", "up")
    if element == node.element_of():
        return node.tensor(0)
    return value(nn.CastOp(node.x(), element, saturate=saturate, round_mode=round_mode))


def dropout(node: Node) -> Sequence[Value | Operation]:
    """The identity at inference; the mask keeps everything."""
    given, mode = node.constants(1, 2)
    ratio = node.float("ratio", 0.5) if given is None else given.item()
    if mode is not None and mode.item() and ratio > 0:
        raise node.unsupported("dropout in training mode")
    x = node.tensor(0)
    if len(node.outputs) < 2:
        return [x]
    element = i1 if node.version >= 10 else x.element
    mask = nn.BroadcastToOp(scalar(node, True, element), x.dims)
    return [x, mask]


RULES = (
    *(
        Rule(name, unary(op), ignores=("consumed_inputs",))
        for name, op in UNARY.items()
    ),
    *(
        Rule(name, unary(op, **floats), ignores=("consumed_inputs",))
        for name, (op, floats) in WITH_FLOATS.items()
    ),
    *(
        Rule(name, binary(op), ignores=("consumed_inputs",))
        for name, op in BINARY.items()
    ),
    *(
        Rule(name, binary(partial(nn.CompareOp, predicate=predicate)))
        for name, predicate in COMPARE.items()
    ),
    *(Rule(name, variadic(op), since=6) for name, op in VARIADIC.items()),
    Rule("Mean", mean, since=6),
    Rule("Pow", power),
    Rule("Mod", modulo),
    Rule("BitShift", bit_shift),
    Rule("Clip", clip, since=6),
    Rule("Gelu", gelu),
    Rule("Swish", swish),
    Rule("SwiGLU", swiglu),
    Rule("ThresholdedRelu", thresholded_relu),
    Rule("Shrink", shrink),
    Rule("IsInf", is_inf),
    Rule("Where", where),
    Rule("Cast", cast_node, since=6),
    Rule("CastLike", cast_like),
    Rule("BitCast", bit_cast),
    Rule("Dropout", dropout, ignores=("seed", "is_test", "consumed_inputs")),
)
