"""The reference interpreter: what every op means, run on NumPy arrays.

It is the oracle of the tests and the constant folder's arithmetic. It puts accuracy
before speed: floats are computed in f64 and rounded once to each op's declared type,
and every result's shape is checked against the declared one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp
from xdsl.interpreter import Interpreter, InterpreterFunctions
from xdsl.interpreters.func import FuncFunctions
from xdsl.ir import Operation

from stepwell.dialects.weights import WeightStore
from stepwell.errors import CompileError, InputError, StepwellError

from .environment import Array, Environment, Table
from .nn_functions import NN_SEMANTICS, TableFunctions, YieldFunctions, evaluate_op
from .quant import QUANT_SEMANTICS

__all__ = [
    "Environment",
    "argument_names",
    "fold_op",
    "has_semantics",
    "interpret",
    "semantics_table",
]

_SEMANTICS: Table = {**NN_SEMANTICS, **QUANT_SEMANTICS}
_LOWER_LEVELS = {
    "fusion": "stepwell.dialects.semantics.fusion",
}
"""Modules with `functions(environment)`, needed only where their dialect occurs."""


def interpret(
    module: ModuleOp,
    inputs: Mapping[str, Array] | Sequence[Array],
    weights: WeightStore | None = None,
    entry: str = "main",
) -> list[Array]:
    """Run a function of the module and return its results.

    Args:
        module: IR of the levels `nn` and `fusion`.
        inputs: the arguments, in order or by their `nn.name`.
        weights: what `#nn.weight` refers to.
        entry: the function's name.

    Raises:
        InputError: the inputs do not fit the function's signature.
        ShapeError: a computed shape is not the declared one, or an assertion fails.
        CompileError: an op has no semantics.
    """
    function = _function(module, entry)
    environment = Environment(weights or WeightStore())
    arrays = _arguments(function, inputs, environment)
    interpreter = _interpreter(module, environment)
    try:
        return list(interpreter.call_op(function, arrays))
    except StepwellError as error:
        getattr(error, "__notes__", []).clear()
        raise


def fold_op(
    op: Operation, arrays: Sequence[Array], weights: WeightStore
) -> list[Array]:
    """Evaluate one op without regions on constant operands.

    Raises:
        ShapeError: the result depends on symbols, or its shape is not the declared one.
        CompileError: the op has no semantics.
    """
    environment = Environment(weights)
    return list(evaluate_op(environment, op, tuple(arrays), semantics_table()))


def has_semantics(op: Operation) -> bool:
    """Whether `fold_op` knows the op."""
    return type(op) in semantics_table() and not op.regions


def semantics_table() -> Table:
    """What each op of the level `nn` computes."""
    return _SEMANTICS


def argument_names(function: FuncOp) -> list[str]:
    """The `nn.name` of each argument; `arg<i>` where there is none."""
    attributes = function.arg_attrs
    given = list(attributes) if isinstance(attributes, ArrayAttr) else []
    names: list[str] = []
    for index in range(len(function.body.block.args)):
        entry = given[index] if index < len(given) else None
        name = entry.data.get("nn.name") if isinstance(entry, DictionaryAttr) else None
        names.append(name.data if isinstance(name, StringAttr) else f"arg{index}")
    return names


def _function(module: ModuleOp, entry: str) -> FuncOp:
    for op in module.ops:
        if isinstance(op, FuncOp) and op.sym_name.data == entry:
            return op
    raise CompileError(f"expected a function @{entry} in the module")


def _arguments(
    function: FuncOp,
    inputs: Mapping[str, Array] | Sequence[Array],
    environment: Environment,
) -> tuple[Array, ...]:
    names = argument_names(function)
    if isinstance(inputs, Mapping):
        if missing := [name for name in names if name not in inputs]:
            raise InputError(f"expected inputs {', '.join(missing)}, got none")
        inputs = [inputs[name] for name in names]
    if len(inputs) != len(names):
        raise InputError(f"expected {len(names)} inputs, got {len(inputs)}")
    arrays = tuple(np.asarray(array) for array in inputs)
    for name, argument, array in zip(
        names, function.body.block.args, arrays, strict=True
    ):
        environment.bind(argument.type, array, f"input {name}")
    return arrays


def _interpreter(module: ModuleOp, environment: Environment) -> Interpreter:
    interpreter = Interpreter(module)
    functions: list[InterpreterFunctions] = [
        FuncFunctions(),
        YieldFunctions(),
        TableFunctions(semantics_table(), environment),
    ]
    dialects = {op.dialect_name() for op in module.walk()}
    for dialect in sorted(dialects & _LOWER_LEVELS.keys()):
        functions += import_module(_LOWER_LEVELS[dialect]).functions(environment)
    for implementation in functions:
        interpreter.register_implementations(implementation)
    return interpreter
