"""Real numbers that a program computes of sizes (`SymFloat`): `n ** 0.5`, `h / w`.

Sizes are dims, known before a kernel runs; a fraction of sizes is none, so it is a 0-d
tensor of `f64`, which is what a Python float is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import f64
from stepwell.errors import UnsupportedError

from .symbols import Symbols


def real_number(symbols: Symbols, expression: Any) -> SSAValue:
    """A SymPy expression as a 0-d `f64` tensor, made where the builder stands.

    Raises:
        UnsupportedError: it calls a function that is not in the tables here.
    """
    if expression.is_number:
        return symbols.builder.constant(np.array(float(expression)))
    if expression.is_integer:
        size = symbols.builder.dim_value(symbols.dim_of(expression))
        return nn.CastOp(size, f64).results[0]
    name = type(expression).__name__
    if name == "ToFloat":
        return real_number(symbols, expression.args[0])
    parts = [real_number(symbols, each) for each in expression.args]
    if (unary := _UNARY.get(name)) is not None:
        return unary(*parts).results[0]
    if (binary := _BINARY.get(name)) is None:
        raise UnsupportedError(f"a number computed of sizes by {name}: {expression}")

    def combined(left: SSAValue, right: SSAValue) -> SSAValue:
        return binary(left, right).results[0]

    return reduce(combined, parts)


_UNARY: dict[str, Callable[..., Operation]] = {
    "Abs": nn.AbsOp,
    "OpaqueUnaryFn_cos": nn.CosOp,
    "OpaqueUnaryFn_exp": nn.ExpOp,
    "OpaqueUnaryFn_log": nn.LogOp,
    "OpaqueUnaryFn_sin": nn.SinOp,
    "OpaqueUnaryFn_sqrt": nn.SqrtOp,
    "OpaqueUnaryFn_tanh": nn.TanhOp,
}
_BINARY: dict[str, Callable[..., Operation]] = {
    "Add": nn.AddOp,
    "Mul": nn.MulOp,
    "Max": nn.MaximumOp,
    "Min": nn.MinimumOp,
    "FloatPow": nn.PowOp,
    "Pow": nn.PowOp,
    "FloatTrueDiv": nn.DivOp,
    "IntTrueDiv": nn.DivOp,
}
"""By the name of PyTorch's function in SymPy."""
