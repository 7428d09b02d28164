"""`stepwell.build`: from a model to an engine, through every level of the IR."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from time import perf_counter
from typing import TYPE_CHECKING, Any

from stepwell.errors import DeviceError, MissingExtraError, OptionError
from stepwell.importing import Example, import_source, name_of
from stepwell.runtime import Engine

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

    from stepwell.codegen.engine_writer import DeviceCode, LaunchSummary
    from stepwell.dialects.context import StepwellContext
    from stepwell.dialects.target import Target
    from stepwell.frontends.profiles import ShapeSpec
    from stepwell.lowering.pipelines import PassReport
    from stepwell.runtime.engine_file import EngineFile
    from stepwell.runtime.manifest import KeptOp

WARP = 32
PRECISIONS = ("fp32", "tf32", "fp16", "bf16")

log = logging.getLogger("stepwell.build")


ProgressCallback = Callable[[str, int, int], None]
"""Called as a stage begins: its name, how many are done, and how many there are."""


def build(
    model: Any,
    target: str = "cpu",
    precision: str = "fp32",
    shapes: Mapping[str, ShapeSpec] | None = None,
    threads: int | None = None,
    keep_ir: bool = False,
    progress: ProgressCallback | None = None,
    *,
    device: str | None = None,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    dynamic_shapes: Any = None,
) -> Engine:
    """Compile a model.

    Args:
        model: the path of an ONNX file, its bytes, or an `onnx.ModelProto`; a
            `torch.nn.Module`, an `ExportedProgram` or the path of one (`.pt2`); a
            SavedModel directory, a `.keras` or frozen `.pb` file, a Keras model or a
            `tf.function`.
        target: "cpu" is this machine; "cpu-avx512", "cpu-avx2" and "cpu-baseline" are
            fixed levels of x86-64. "sm_80", "sm_90a" and others are NVIDIA GPUs, which
            need not be there; "cuda" is the one that is, or else "sm_90a".
        precision: "fp32"; "tf32": products of f32 may round their factors to TF32
            where tensor cores do; "fp16" and "bf16": weights and activations are stored
            and multiplied in that type, sums stay in f32, inputs and outputs of the
            model keep their types.
        shapes: sizes or ranges of inputs by name: `{"x": "1..32x3x224x224"}`,
            `{"x": [(1, 8, 32), 3, 224, 224]}` (min, opt, max), or of a symbol.
        threads: how many threads a run may use; default: all that the process has.
        keep_ir: keep the IR of every level in the engine, for `inspect`.
        progress: called before each stage, `progress(stage, done, total)`.
        device: what to run the engine on, as `stepwell.load` takes it.
        args, kwargs, dynamic_shapes: what to export a `torch.nn.Module` with, as
            `torch.export.export` takes them.

    Raises:
        ModelError: the model is damaged or inconsistent.
        UnsupportedError: lists everything in the model that is not supported.
        OptionError: an argument is not valid.
        CompileError: a pass cannot lower an op; names the op.
    """
    if precision not in PRECISIONS:
        raise OptionError(
            f"expected a precision of {', '.join(PRECISIONS)}, got {precision!r}"
        )
    if threads is not None and threads < 1:
        raise OptionError(f"expected at least 1 thread, got {threads}")
    contents = compile_to_file(
        model,
        target,
        precision,
        shapes,
        threads,
        keep_ir,
        progress,
        Example(args, kwargs, dynamic_shapes),
    )
    has_device = device is not None or contents.manifest.target.kind == "cpu"
    return Engine(contents, device=device, start=has_device)


def compile_to_file(
    model: Any,
    target: str = "cpu",
    precision: str = "fp32",
    shapes: Mapping[str, ShapeSpec] | None = None,
    threads: int | None = None,
    keep_ir: bool = False,
    progress: ProgressCallback | None = None,
    example: Example | None = None,
) -> EngineFile:
    """What `build` does, up to the contents of the engine file; loads nothing."""
    try:
        for needed in ("xdsl", "onnx"):
            import_module(needed)
    except ImportError:
        raise MissingExtraError(
            "building an engine needs the compiler, which is not installed",
            fix="pip install 'stepwell[compile]'",
        ) from None
    build = _Build(model, target, shapes, progress, example)
    return build.run(precision, threads, keep_ir)


@dataclass
class _Build:
    """One build: the module on its way, and what is noted along it."""

    model: Any
    target: str
    shapes: Mapping[str, ShapeSpec] | None
    progress: ProgressCallback | None
    example: Example | None = None
    summaries: dict[tuple[str, ...], LaunchSummary] = field(default_factory=dict)
    schedules: dict[tuple[str, ...], str] = field(default_factory=dict)
    snapshots: dict[str, str] = field(default_factory=dict)
    kept: tuple[KeptOp, ...] = ()
    done: int = 0
    passes: int = 0

    @property
    def total(self) -> int:
        """How many stages there are: the passes, the import and the kernels."""
        return self.passes + 2

    def run(self, precision: str, threads: int | None, keep_ir: bool) -> EngineFile:
        from xdsl.dialects.builtin import StringAttr

        from stepwell import __version__
        from stepwell.codegen.engine_writer import EngineOptions, write_engine
        from stepwell.dialects.context import StepwellContext
        from stepwell.dialects.registry import register_dialects
        from stepwell.dialects.target import Target
        from stepwell.lowering.pipelines import phases_of

        start = perf_counter()
        target = Target.parse(_target_name(self.target))
        target = replace(target, threads=threads or target.threads)
        self.passes = sum(len(phase.passes) for phase in phases_of(target))
        context = StepwellContext()
        register_dialects(context)
        module = self.import_model(context)
        module.attributes["stepwell.precision"] = StringAttr(precision)
        self.lower(module, context, target, keep_ir)
        self.stage("compile kernels")
        options = EngineOptions(
            name=name_of(self.model),
            precision=precision,
            threads=threads,
            producer=f"stepwell {__version__}",
            kept_in_f32=self.kept,
            summaries=self.summaries,
            schedules=self.schedules,
            snapshots=self.snapshots,
        )
        contents = write_engine(module, context.weights, _compile_kernels, options)
        log.info("built %s in %.2f s", options.name, perf_counter() - start)
        return contents

    def stage(self, name: str) -> None:
        """Tell the caller that a stage begins."""
        if self.progress is not None:
            self.progress(name, self.done, self.total)
        self.done += 1

    def import_model(self, context: StepwellContext) -> ModuleOp:
        self.stage("import")
        return import_source(self.model, context, self.shapes, self.example)

    def lower(
        self, module: ModuleOp, context: StepwellContext, target: Any, keep_ir: bool
    ) -> None:
        from stepwell.lowering.pipelines import compile_module, phases_of
        from stepwell.summaries import kept_ops, schedules_of, summaries_of

        levels = {phase.name: phase.level for phase in phases_of(target)}
        if keep_ir:
            self.snapshot("import", module)

        def after(module: ModuleOp, report: PassReport) -> None:
            log.debug("%-28s %.3f s", report.name, report.seconds)
            self.stage(report.name)
            if report.name == "convert-precision":
                self.kept = kept_ops(module)
            if report.name == "form-kernels":
                self.summaries = summaries_of(module)
            if report.name == "assign-schedules":
                self.schedules = schedules_of(module)
            if keep_ir and report.index == report.count - 1:
                self.snapshot(levels[report.phase], module)

        compile_module(module, context, target, after=after)

    def snapshot(self, name: str, module: ModuleOp) -> None:
        from stepwell.dialects.printing import module_text

        number = len(self.snapshots)
        self.snapshots[f"ir/{number}-{name}.mlir"] = module_text(module)


def _target_name(target: str) -> str:
    """The target's own name: "cuda" is the GPU that is there, or else sm_90a."""
    if target != "cuda":
        return target
    from stepwell.runtime.devices.cuda import open_cuda, own_target

    try:
        return own_target(open_cuda().capability)
    except (DeviceError, MissingExtraError):
        return "sm_90a"


def _compile_kernels(module: ModuleOp) -> DeviceCode:
    """The machine code of the module's kernels, which are lowered in place."""
    from xdsl.dialects.builtin import ModuleOp as Module

    from stepwell.dialects.target import Target
    from stepwell.dialects.tile import FuncOp

    target = Target.of(module)
    kernels = Module(
        [op.detach() or op for op in list(module.ops) if isinstance(op, FuncOp)]
    )
    for name, value in module.attributes.items():
        kernels.attributes[name] = value
    compile_for = _compile_for_cpu if target.is_cpu else _compile_for_gpu
    return compile_for(kernels, target)


def _compile_for_cpu(kernels: ModuleOp, target: Target) -> DeviceCode:
    from llvmlite import binding

    from stepwell.codegen.cpu.driver import DRIVER_IR
    from stepwell.codegen.cpu.objects import compile_object
    from stepwell.codegen.engine_writer import DeviceCode

    compiled = compile_object(kernels, target, extra_ir=DRIVER_IR)
    triple = str(binding.get_process_triple())
    return DeviceCode(compiled.data, compiled.ir_text, triple)


def _compile_for_gpu(kernels: ModuleOp, target: Target) -> DeviceCode:
    from stepwell.codegen.cuda.objects import compile_cuda
    from stepwell.codegen.cuda.ptx import TRIPLE
    from stepwell.codegen.engine_writer import DeviceCode, ThreadBlock

    compiled = compile_cuda(kernels, target)
    blocks = {
        name: ThreadBlock(
            one.symbol, WARP * one.warps, one.shared_bytes, one.cluster, one.grid
        )
        for name, one in compiled.kernels.items()
    }
    return DeviceCode(compiled.cubin, compiled.ptx, TRIPLE, blocks)
