"""Elementwise ops: math, activations, logic, comparison, casts."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import bit_width, is_float, numpy_dtype
from stepwell.dialects.shapes import dims_of, element_of
from stepwell.frontends.described import described, op_name
from stepwell.frontends.emit import like, reshape, value
from stepwell.frontends.tensorflow.node import Item, Node
from stepwell.frontends.tensorflow.ops.normalisation import as_batch_norm
from stepwell.frontends.tensorflow.ops.rows import binary, unary
from stepwell.frontends.tensorflow.registry import Build, Output, Rule

UNARY = {
    "Abs": nn.AbsOp,
    "Acos": nn.AcosOp,
    "Acosh": nn.AcoshOp,
    "Asin": nn.AsinOp,
    "Asinh": nn.AsinhOp,
    "Atan": nn.AtanOp,
    "Atanh": nn.AtanhOp,
    "Ceil": nn.CeilOp,
    "Cos": nn.CosOp,
    "Cosh": nn.CoshOp,
    "Erf": nn.ErfOp,
    "Exp": nn.ExpOp,
    "Expm1": nn.Expm1Op,
    "Floor": nn.FloorOp,
    "Inv": nn.ReciprocalOp,
    "Invert": nn.NotOp,
    "IsInf": nn.IsInfOp,
    "IsNan": nn.IsNanOp,
    "Log": nn.LogOp,
    "Log1p": nn.Log1pOp,
    "LogicalNot": nn.NotOp,
    "Neg": nn.NegOp,
    "Reciprocal": nn.ReciprocalOp,
    "Relu": nn.ReluOp,
    "Rint": nn.RoundOp,
    "Rsqrt": nn.RsqrtOp,
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

BINARY = {
    "Add": nn.AddOp,
    "BitwiseAnd": nn.AndOp,
    "BitwiseOr": nn.OrOp,
    "BitwiseXor": nn.XorOp,
    "LogicalAnd": nn.AndOp,
    "LogicalOr": nn.OrOp,
    "Maximum": nn.MaximumOp,
    "Minimum": nn.MinimumOp,
    "Mul": nn.MulOp,
    "Pow": nn.PowOp,
    "RealDiv": nn.DivOp,
    "Sub": nn.SubOp,
    "TruncateDiv": nn.DivOp,
}

COMPARE = {
    "Equal": "eq",
    "Greater": "gt",
    "GreaterEqual": "ge",
    "Less": "lt",
    "LessEqual": "le",
    "NotEqual": "ne",
}


COMPARE_HINTS = ("incompatible_shape_error",)


def add(node: Node) -> Output:
    """A sum, or the batch norm that it is the last step of."""
    found = as_batch_norm(node.x(0), node.x(1), node.builder.context.weights)
    return found or nn.AddOp(node.x(0), node.x(1))


def add_all(node: Node) -> Output:
    """The sum of any number of tensors."""
    total = node.x(0)
    for index in range(1, len(node.inputs)):
        total = value(nn.AddOp(total, node.x(index)))
    return total


def bias_add(node: Node) -> Operation:
    """`x` plus one number per channel."""
    x, bias = node.x(0), node.x(1)
    if node.attribute("data_format") == "NCHW":
        rank = len(dims_of(x))
        bias = reshape(bias, [*dims_of(bias), *[1] * (rank - 2)])
    return nn.AddOp(x, bias)


def square(node: Node) -> Operation:
    """`x * x`."""
    return nn.MulOp(node.x(), node.x())


def squared_difference(node: Node) -> Operation:
    """`(x - y) * (x - y)`."""
    difference = value(nn.SubOp(node.x(0), node.x(1)))
    return nn.MulOp(difference, difference)


def erfc(node: Node) -> Operation:
    """`1 - erf(x)`."""
    x = node.x()
    return nn.SubOp(like(node, 1, x), nn.ErfOp(x))


def floor_divide(node: Node) -> Output:
    """Division towards minus infinity."""
    x, y = node.x(0), node.x(1)
    if is_float(element_of(x)):
        return nn.FloorOp(nn.DivOp(x, y))
    quotient = value(nn.DivOp(x, y))
    if numpy_dtype(element_of(x)).kind == "u":
        return quotient
    # Truncation is one too high where the signs differ and something is left over.
    rest = value(nn.ModOp(x, y, fmod=True))
    is_inexact = nn.CompareOp(rest, like(node, 0, x), predicate="ne")
    signs = nn.CompareOp(
        nn.CompareOp(rest, like(node, 0, x), predicate="lt"),
        nn.CompareOp(y, like(node, 0, x), predicate="lt"),
        predicate="ne",
    )
    lower = nn.SubOp(quotient, like(node, 1, x))
    return nn.SelectOp(nn.AndOp(is_inexact, signs), lower, quotient)


def divide_no_nan(node: Node) -> Operation:
    """`x / y`, and 0 where y is 0."""
    x, y = node.x(0), node.x(1)
    is_zero = value(nn.CompareOp(y, like(node, 0, y), predicate="eq"))
    safe = nn.SelectOp(is_zero, like(node, 1, y), y)
    return nn.SelectOp(is_zero, like(node, 0, x), nn.DivOp(x, safe))


def multiply_no_nan(node: Node) -> Operation:
    """`x * y`, and 0 where y is 0."""
    x, y = node.x(0), node.x(1)
    is_zero = nn.CompareOp(y, like(node, 0, y), predicate="eq")
    return nn.SelectOp(is_zero, like(node, 0, x), nn.MulOp(x, y))


def log_when(
    node: Node, x: SSAValue, y: SSAValue, log: Callable[[SSAValue], Operation]
) -> Operation:
    """`x * log(y)`, and 0 where x is 0."""
    is_zero = value(nn.CompareOp(x, like(node, 0, x), predicate="eq"))
    return nn.SelectOp(is_zero, like(node, 0, x), nn.MulOp(x, log(y)))


def xlogy(node: Node) -> Operation:
    """`x * log(y)`, and 0 where x is 0."""
    return log_when(node, node.x(0), node.x(1), nn.LogOp)


def xlog1py(node: Node) -> Operation:
    """`x * log(1 + y)`, and 0 where x is 0."""
    return log_when(node, node.x(0), node.x(1), nn.Log1pOp)


def xdivy(node: Node) -> Operation:
    """`x / y`, and 0 where x is 0."""
    x, y = node.x(0), node.x(1)
    zero = like(node, 0, x)
    is_zero = nn.CompareOp(x, zero, predicate="eq")
    return nn.SelectOp(is_zero, zero, nn.DivOp(x, y))


def modulo(node: Node) -> Operation:
    """The remainder with the sign of the divisor."""
    return nn.ModOp(node.x(0), node.x(1))


def truncate_modulo(node: Node) -> Operation:
    """The remainder with the sign of the dividend."""
    return nn.ModOp(node.x(0), node.x(1), fmod=True)


def shift(op: Callable[..., Operation]) -> Build:
    """Bits moved by as many places as the second input says, within the width."""

    def build(node: Node) -> Operation:
        x, places = node.x(0), node.x(1)
        most = like(node, bit_width(element_of(x)) - 1, places)
        held = nn.MinimumOp(nn.MaximumOp(places, like(node, 0, places)), most)
        return op(x, held)

    return described(build, f"One `{op_name(op)}`.")


def is_finite(node: Node) -> Operation:
    """Neither infinite nor NaN."""
    x = node.x()
    return nn.NotOp(nn.OrOp(nn.IsInfOp(x), nn.IsNanOp(x)))


def relu6(node: Node) -> Operation:
    """`min(max(x, 0), 6)`."""
    return nn.ClampOp(node.x(), min=0.0, max=6.0)


def elu(node: Node) -> Operation:
    """`x`, and `e**x - 1` below 0."""
    return nn.EluOp(node.x(), alpha=1.0)


def selu(node: Node) -> Operation:
    """The scaled exponential unit."""
    alpha, gamma = 1.6732632423543772, 1.0507009873554805
    return nn.SeluOp(node.x(), alpha=alpha, gamma=gamma)


def leaky_relu(node: Node) -> Operation:
    """`x`, and `alpha * x` below 0."""
    return nn.LeakyReluOp(node.x(), alpha=node.attribute("alpha"))


def clip(node: Node) -> Output:
    """`min(max(x, low), high)`."""
    x = node.x()
    known = [node.known_now(i) for i in (1, 2)]
    scalars = [array for array in known if array is not None and array.size == 1]
    if is_float(element_of(x)) and len(scalars) == 2:
        low, high = (float(array.item()) for array in scalars)
        return nn.ClampOp(x, min=low, max=high)
    return nn.MinimumOp(nn.MaximumOp(x, node.x(1)), node.x(2))


def select(node: Node) -> Operation:
    """Element by element from one of two; a vector condition picks rows."""
    condition, x = node.x(0), node.x(1)
    rank = len(dims_of(x))
    if node.op_type == "Select" and len(dims_of(condition)) == 1 and rank > 1:
        condition = reshape(condition, [*dims_of(condition), *[1] * (rank - 1)])
    return nn.SelectOp(condition, x, node.x(2))


def cast(node: Node) -> Output:
    """Conversion to another type; floats are truncated to integers."""
    element = node.element("DstT")
    if element == node.element_of():
        return node.tensor(0)
    return nn.CastOp(node.x(), element, saturate=False)


def bitcast(node: Node) -> Operation:
    """The same bits as another type of the same width."""
    return nn.BitcastOp(node.x(), node.element("type"))


def atan2(node: Node) -> Operation:
    """The angle of the point (x, y), in `(-pi, pi]`."""
    y, x = node.x(0), node.x(1)
    zero, pi = like(node, 0, x), like(node, math.pi, x)
    left = value(nn.CompareOp(x, zero, predicate="lt"))
    is_axis = nn.CompareOp(x, zero, predicate="eq")
    half = nn.MulOp(nn.SignOp(y), like(node, math.pi / 2, x))
    below = nn.CompareOp(y, zero, predicate="lt")
    angle = value(nn.AtanOp(nn.DivOp(y, x)))
    turned = nn.AddOp(angle, nn.SelectOp(below, nn.NegOp(pi), pi))
    return nn.SelectOp(is_axis, half, nn.SelectOp(left, turned, angle))


def approximately_equal(node: Node) -> Operation:
    """`|x - y| < tolerance`."""
    distance = value(nn.AbsOp(nn.SubOp(node.x(0), node.x(1))))
    limit = like(node, node.attribute("tolerance"), distance)
    return nn.CompareOp(distance, limit, predicate="lt")


def zeros_like(node: Node) -> Output:
    """As many zeros."""
    return filled(node, 0)


def ones_like(node: Node) -> Output:
    """As many ones."""
    return filled(node, 1)


def filled(node: Node, number: float) -> Item | Operation:
    """A tensor of the input's shape, all one number."""
    element, dims = node.element_of(), node.dims()
    fill = np.array(number).astype(numpy_dtype(element))
    return nn.BroadcastToOp(node.builder.constant(fill), dims)


RULES = (
    *(Rule(name, unary(op)) for name, op in UNARY.items()),
    *(Rule(name, binary(op)) for name, op in BINARY.items()),
    *(
        Rule(name, binary(nn.CompareOp, predicate=predicate), ignores=COMPARE_HINTS)
        for name, predicate in COMPARE.items()
    ),
    Rule("AddV2", add),
    Rule("AddN", add_all),
    Rule("AccumulateNV2", add_all, ignores=("shape",)),
    Rule("BiasAdd", bias_add),
    Rule("Square", square),
    Rule("SquaredDifference", squared_difference),
    Rule("Erfc", erfc),
    Rule("FloorDiv", floor_divide),
    Rule("Div", binary(nn.DivOp)),
    Rule("DivNoNan", divide_no_nan),
    Rule("MulNoNan", multiply_no_nan),
    Rule("Xdivy", xdivy),
    Rule("Xlogy", xlogy),
    Rule("Xlog1py", xlog1py),
    Rule("FloorMod", modulo),
    Rule("Mod", truncate_modulo),
    Rule("TruncateMod", truncate_modulo),
    Rule("Round", unary(nn.RoundOp)),
    Rule("LeftShift", shift(nn.ShiftLeftOp)),
    Rule("RightShift", shift(nn.ShiftRightOp)),
    Rule("IsFinite", is_finite),
    Rule("Relu6", relu6),
    Rule("Elu", elu),
    Rule("Selu", selu),
    Rule("LeakyRelu", leaky_relu),
    Rule("ClipByValue", clip),
    Rule("Select", select),
    Rule("SelectV2", select),
    Rule("Cast", cast),
    Rule("Bitcast", bitcast),
    Rule("Atan2", atan2),
    Rule("ApproximateEqual", approximately_equal),
    Rule("ZerosLike", zeros_like),
    Rule("OnesLike", ones_like),
)
