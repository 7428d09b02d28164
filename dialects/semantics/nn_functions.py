"""The `nn` semantics as functions of xDSL's interpreter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.interpreter import (
    Interpreter,
    InterpreterFunctions,
    OpImplResult,
    PythonValues,
    ReturnedValues,
)
from xdsl.ir import Operation

from stepwell.dialects import nn
from stepwell.dialects.dtypes import numpy_dtype
from stepwell.dialects.provenance import location_names
from stepwell.dialects.shapes import element_of
from stepwell.errors import CompileError, StepwellError

from . import (
    nn_contraction,
    nn_control,
    nn_elementwise,
    nn_normalisation,
    nn_order,
    nn_random,
    nn_recurrent,
    nn_reduction,
    nn_sampling,
    nn_shape,
)
from .environment import Array, Environment, Table, operand_slots, round_to

NN_SEMANTICS: Table = {
    **nn_shape.TABLE,
    **nn_elementwise.TABLE,
    **nn_contraction.TABLE,
    **nn_reduction.TABLE,
    **nn_normalisation.TABLE,
    **nn_sampling.TABLE,
    **nn_order.TABLE,
    **nn_recurrent.TABLE,
    **nn_control.TABLE,
    **nn_random.TABLE,
}
"""What each `nn` op computes."""


def evaluate_op(
    environment: Environment, op: Operation, arrays: PythonValues, table: Table
) -> tuple[Array, ...]:
    """Run one op: results of the declared types, their symbols bound.

    Raises:
        ShapeError: a result's shape is not the declared one.
        CompileError: the table has no meaning for the op.
    """
    if (semantic := table.get(type(op))) is None:
        raise CompileError(f"expected an op with semantics, got {op.name}")
    try:
        with np.errstate(all="ignore"):
            values = semantic(environment, op, *operand_slots(op, arrays))
            values = values if isinstance(values, tuple) else (values,)
            return tuple(
                _declared(environment, op, index, value)
                for index, value in enumerate(values)
            )
    except StepwellError as error:
        error.where = error.where or _place(op)
        raise
    except (ValueError, IndexError, TypeError, ArithmeticError) as error:
        raise CompileError(
            f"cannot interpret {op.name}: {error}", where=_place(op)
        ) from error


def _place(op: Operation) -> str | None:
    return ", ".join(location_names(op)) or None


def _declared(environment: Environment, op: Operation, index: int, value: Any) -> Array:
    kind = op.results[index].type
    if not isinstance(kind, TensorType):
        return value
    array = round_to(value, numpy_dtype(element_of(kind)))
    environment.bind(kind, array, f"result {index} of {op.name}")
    return array


class TableFunctions(InterpreterFunctions):
    """Interpreter functions out of a table of semantics."""

    def __init__(self, table: Table, environment: Environment) -> None:
        self.table = table
        self.environment = environment

    def _impls(self) -> Iterable[tuple[type[Operation], Any]]:  # pyright: ignore
        return [(kind, TableFunctions._run) for kind in self.table]

    def _run(
        self, interpreter: Interpreter, op: Operation, arrays: PythonValues
    ) -> OpImplResult:
        self.environment.interpreter = interpreter
        return OpImplResult(evaluate_op(self.environment, op, arrays, self.table), None)

    def _cast_impls(self) -> Iterable[Any]:  # pyright: ignore
        return ()

    def _attr_impls(self) -> Iterable[Any]:  # pyright: ignore
        return ()

    def _ext_impls(self) -> Iterable[Any]:  # pyright: ignore
        return ()

    def _callable_impls(self) -> Iterable[Any]:  # pyright: ignore
        return ()


class YieldFunctions(TableFunctions):
    """`nn.yield`: the values go to the op around the region."""

    def __init__(self) -> None:
        super().__init__({}, Environment())

    def _impls(self) -> Iterable[tuple[type[Operation], Any]]:  # pyright: ignore
        return [(nn.YieldOp, YieldFunctions._yield)]

    def _yield(
        self, interpreter: Interpreter, op: Operation, arrays: PythonValues
    ) -> OpImplResult:
        return OpImplResult((), ReturnedValues(arrays))
