"""The oracle of the tiling tests: `nn` semantics against tiled programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.parser import Parser

from stepwell.dialects.context import StepwellContext
from stepwell.dialects.dtypes import numpy_dtype
from stepwell.dialects.engine import CopyOp, LaunchOp
from stepwell.dialects.fusion import KernelOp
from stepwell.dialects.nn import ConstantOp, NnOp
from stepwell.dialects.registry import register_dialects
from stepwell.dialects.schedules import Schedule, ScheduleAttr
from stepwell.dialects.semantics import interpret
from stepwell.dialects.semantics.tile import interpret_tile
from stepwell.dialects.shapes import bind_symbols, dims_of, element_of, evaluate
from stepwell.dialects.target import Target
from stepwell.dialects.tile import FuncOp
from stepwell.lowering.pipelines import parse_passes, run_passes

TO_GENERIC = "form-kernels,decompose-kernels,fuse-generics"
TO_SCHEDULES = "collapse-dims,flatten-products,assign-schedules"
TO_TILE = "pack-weights,fold-constants{limit=1000000},dce,convert-fusion-to-tile"
TO_LAYOUTS = "dce,convert-fusion-to-tile,canonicalize-tile,assign-layouts"


def lower(
    text: str, target: str, *passes: str, schedule: Schedule | None = None
) -> tuple[ModuleOp, StepwellContext]:
    """Run lists of passes; behind the second, every kernel may be rescheduled."""
    context = StepwellContext()
    register_dialects(context)
    module = Parser(context, text).parse_module()
    Target.parse(target).attach(module)
    for number, one in enumerate(passes):
        run_passes(module, context, parse_passes(one))
        if number == 1 and schedule is not None:
            for kernel in [op for op in module.walk() if isinstance(op, KernelOp)]:
                kernel.schedule = ScheduleAttr(schedule)
    module.verify()
    return module, context


def run_tiled(
    module: ModuleOp, context: StepwellContext, inputs: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Run `@main`, whose kernels are launches, on the interpreter of programs."""
    programs = {f.sym_name.data: f for f in module.ops if isinstance(f, FuncOp)}
    main = next(f for f in module.ops if isinstance(f, func.FuncOp))
    values: dict[SSAValue, np.ndarray] = {}
    symbols: dict[str, int] = {}
    for argument, array in zip(main.body.block.args, inputs, strict=True):
        values[argument] = array
        bind_symbols(dims_of(argument), array.shape, symbols, "argument")
    for op in main.body.block.ops:
        if isinstance(op, LaunchOp):
            launch(programs[op.kernel.root_reference.data], op, values, symbols)
        elif isinstance(op, func.ReturnOp):
            return [values[value] for value in op.operands]
        elif isinstance(op, CopyOp):
            values[op.output] = values[op.source].copy()
        elif isinstance(op, NnOp):
            values[op.results[0]] = run_host(op, values, symbols, context)
    raise AssertionError("expected func.return")


def launch(
    program: FuncOp,
    op: LaunchOp,
    values: dict[SSAValue, np.ndarray],
    symbols: Mapping[str, int],
) -> None:
    arrays = [values[operand] for operand in op.inputs]
    tied = op.tied_operands
    for position, result in enumerate(op.outputs):
        shape = [evaluate(dim, symbols) for dim in dims_of(result)]
        dtype = numpy_dtype(element_of(result))
        garbage = np.full(shape, 77).astype(dtype)
        values[result] = arrays[tied[position]] if position in tied else garbage
        arrays.append(values[result])
    interpret_tile(program, arrays, symbols)


def run_host(
    op: NnOp,
    values: dict[SSAValue, np.ndarray],
    symbols: Mapping[str, int],
    context: StepwellContext,
) -> np.ndarray:
    if isinstance(op, ConstantOp):
        main = func.FuncOp("main", ((), [op.result.type]))
        copy = op.clone()
        main.body.block.add_ops([copy, func.ReturnOp(copy.results[0])])
        return interpret(ModuleOp([main]), [], context.weights)[0]
    assert op.name == "nn.reshape", f"{op.name} is not in a kernel"
    shape = [evaluate(dim, symbols) for dim in dims_of(op.results[0])]
    return values[op.operands[0]].reshape(shape)


Check = Callable[..., ModuleOp]


@pytest.fixture(params=["cpu-avx512", "cpu-avx2", "sm_90a"])
def check(request: pytest.FixtureRequest) -> Check:
    """Lower a graph to tile and compare it with the meaning of the graph itself."""

    def run(
        text: str,
        *inputs: np.ndarray,
        tolerance: float = 1e-5,
        schedule: Schedule | None = None,
    ) -> ModuleOp:
        original, first = lower(text, request.param, "dce")
        expected = interpret(original, list(inputs), first.weights)
        is_cpu = request.param.startswith("cpu")
        phases = TO_GENERIC, TO_SCHEDULES, TO_TILE if is_cpu else TO_LAYOUTS
        module, context = lower(text, request.param, *phases, schedule=schedule)
        got = run_tiled(module, context, list(inputs))
        for mine, truth in zip(got, expected, strict=True):
            assert mine.shape == truth.shape
            assert mine.dtype == truth.dtype
            np.testing.assert_allclose(
                mine.astype(np.float64),
                truth.astype(np.float64),
                rtol=tolerance,
                atol=tolerance,
            )
        return module

    return run
