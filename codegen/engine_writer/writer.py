"""From a module to an engine file."""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp as HostFunction
from xdsl.dialects.func import ReturnOp
from xdsl.ir import SSAValue

from stepwell.dialects import engine
from stepwell.dialects.shapes import ranges_of
from stepwell.dialects.target import Target
from stepwell.dialects.tile import FuncOp as TileFunction
from stepwell.dialects.weights import WeightStore
from stepwell.runtime.engine_file import EngineFile
from stepwell.runtime.manifest import (
    CodeInfo,
    Manifest,
    SymbolRange,
    TargetInfo,
    TensorInfo,
)
from stepwell.runtime.verify_manifest import verify_manifest

from .host import main_of, names_of, root_of, slot_of, slots_of
from .kernels import kernel_of, with_block
from .options import CompileKernels, DeviceCode, EngineOptions
from .program import ProgramWriter
from .values import Values


def write_engine(
    module: ModuleOp,
    weights: WeightStore,
    compile_kernels: CompileKernels,
    options: EngineOptions | None = None,
) -> EngineFile:
    """The engine of a planned module.

    Args:
        compile_kernels: called at the end, if there are kernels; it may lower the
            module's kernels in place.

    Raises:
        CompileError: an op that the runtime has no step for is left.
    """
    options = options or EngineOptions()
    target, main = Target.of(module), main_of(module)
    functions = [op for op in module.ops if isinstance(op, TileFunction)]
    kernels = [kernel_of(function) for function in functions]
    numbers = {kernel.symbol: i for i, kernel in enumerate(kernels)}
    values = Values()
    inputs = _inputs(main, values)
    _number_outputs(main, values)
    writer = ProgramWriter(values, numbers, weights, options)
    program = writer.block(main.body.block)
    outputs = _outputs(main, values)
    slots = slots_of(main)
    code = compile_kernels(module) if kernels else None
    info = None if code is None else _code_info(target)
    manifest = Manifest(
        target=_target_info(target, code),
        inputs=inputs,
        outputs=outputs,
        symbols=_symbols(module),
        values=tuple(values.table),
        slots=slots,
        weights=tuple(writer.weights.table),
        kernels=tuple(with_block(kernel, code) for kernel in kernels),
        program=program,
        code=info,
        name=options.name,
        precision=options.precision,
        kept_in_f32=options.kept_in_f32,
        threads=options.threads,
        producer=options.producer,
    )
    blob = writer.weights.bytes()
    verify_manifest(manifest, blob.nbytes)
    return EngineFile(manifest, blob, _files(code, info), options.snapshots)


def _inputs(main: HostFunction, values: Values) -> tuple[TensorInfo, ...]:
    arguments = main.body.block.args
    names = names_of(main, "arg_attrs", "input", len(arguments))
    return tuple(
        TensorInfo(name, values.add(argument, "input", index))
        for index, (name, argument) in enumerate(zip(names, arguments, strict=True))
    )


def _number_outputs(main: HostFunction, values: Values) -> None:
    """Number what lies in output buffers: the returned value first, so that a view that
    is returned costs nothing."""
    for index, value in enumerate(_returned(main)):
        root = root_of(value)
        if slot_of(root) != engine.OUTPUT_SLOT or root in values:
            continue
        number = values.add(value, "output", index)
        if root is not value:
            values.add(root, "alias", number)


def _outputs(main: HostFunction, values: Values) -> tuple[TensorInfo, ...]:
    returned = _returned(main)
    names = names_of(main, "res_attrs", "output", len(returned))
    return tuple(
        TensorInfo(name, values.number(value))
        for name, value in zip(names, returned, strict=True)
    )


def _returned(main: HostFunction) -> tuple[SSAValue, ...]:
    last = main.body.block.last_op
    assert isinstance(last, ReturnOp)
    return tuple(last.operands)


def _symbols(module: ModuleOp) -> dict[str, SymbolRange]:
    return {
        name: SymbolRange(known.min, known.max, known.opt, known.divisor)
        for name, known in ranges_of(module).items()
    }


def _target_info(target: Target, code: DeviceCode | None) -> TargetInfo:
    triple = "" if code is None else code.triple
    return TargetInfo(
        target.kind, target.name, triple, target.cpu, tuple(target.features)
    )


def _code_info(target: Target) -> CodeInfo:
    """Where the code lies in the engine file."""
    if target.is_cpu:
        return CodeInfo("kernels/cpu.o", "kernels/cpu.ll")
    return CodeInfo(f"kernels/{target.name}.cubin", f"kernels/{target.name}.ptx")


def _files(code: DeviceCode | None, info: CodeInfo | None) -> dict[str, bytes]:
    if code is None or info is None:
        return {}
    return {info.object: code.object, info.fallback: code.fallback.encode()}
