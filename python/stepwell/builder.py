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

    from stepwell.accuracy import Bound
    from stepwell.codegen.engine_writer import DeviceCode, LaunchSummary
    from stepwell.dialects.context import StepwellContext
    from stepwell.dialects.target import Target
    from stepwell.frontends.profiles import ShapeSpec
    from stepwell.lowering.pipelines import PassReport, Phase
    from stepwell.runtime.engine_file import EngineFile
    from stepwell.runtime.manifest import KeptOp

WARP = 32
PRECISIONS = ("fp32", "tf32", "fp16", "bf16")
BOUNDED = ("fp16", "bf16")
"""Those that a tolerance may be asked for."""

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
    tolerance: float | None = None,
    samples: Sequence[Mapping[str, Any]] | None = None,
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
        tolerance: the largest relative error, `max|a - b| / max|b|`, that the outputs
            may have beside those in FP32: as few ops as it takes stay in f32. It is
            judged on the target's device if that is here, else on the CPU.
        samples: what it is judged on, sets of inputs by name; default: random ones.

    Raises:
        AccuracyError: the tolerance is missed with every op in f32.
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
    bound = bound_of(precision, tolerance, samples)
    contents = compile_to_file(
        model,
        target,
        precision,
        shapes,
        threads,
        keep_ir,
        progress,
        Example(args, kwargs, dynamic_shapes),
        bound,
        device,
    )
    has_device = device is not None or contents.manifest.target.kind == "cpu"
    return Engine(contents, device=device, start=has_device)


def bound_of(
    precision: str,
    tolerance: float | None,
    samples: Sequence[Mapping[str, Any]] | None,
) -> Bound | None:
    """The bound that is asked for, if one is.

    Raises:
        OptionError: samples without a tolerance, or a precision that rounds nothing.
    """
    if tolerance is None:
        if samples is not None:
            raise OptionError("expected a tolerance beside the samples, got none")
        return None
    if precision not in BOUNDED:
        raise OptionError(
            f"expected a precision of {' or '.join(BOUNDED)} with a tolerance, "
            f"got {precision!r}"
        )
    from stepwell.accuracy import Bound

    return Bound(tolerance, samples)


def compile_to_file(
    model: Any,
    target: str = "cpu",
    precision: str = "fp32",
    shapes: Mapping[str, ShapeSpec] | None = None,
    threads: int | None = None,
    keep_ir: bool = False,
    progress: ProgressCallback | None = None,
    example: Example | None = None,
    bound: Bound | None = None,
    device: str | None = None,
) -> EngineFile:
    """What `build` does, up to the contents of the engine file; loads nothing, unless
    there is a bound to be judged."""
    try:
        for needed in ("xdsl", "onnx"):
            import_module(needed)
    except ImportError:
        raise MissingExtraError(
            "building an engine needs the compiler, which is not installed",
            fix="pip install 'stepwell[compile]'",
        ) from None
    build = Build(model, precision, shapes, threads, keep_ir, progress, example)
    return build.run(target, bound, device)


@dataclass
class Build:
    """One build: the module on its way, and what is noted along it."""

    model: Any
    precision: str
    shapes: Mapping[str, ShapeSpec] | None
    threads: int | None
    keep_ir: bool
    progress: ProgressCallback | None
    example: Example | None = None
    summaries: dict[tuple[str, ...], LaunchSummary] = field(default_factory=dict)
    schedules: dict[tuple[str, ...], str] = field(default_factory=dict)
    snapshots: dict[str, str] = field(default_factory=dict)
    kept: tuple[KeptOp, ...] = ()
    done: int = 0
    total: int = 0

    def run(
        self, target_name: str, bound: Bound | None, device: str | None
    ) -> EngineFile:
        """Import, lower and write."""
        from xdsl.dialects.builtin import StringAttr

        from stepwell.dialects.context import StepwellContext
        from stepwell.dialects.registry import register_dialects
        from stepwell.dialects.target import Target
        from stepwell.lowering.pipelines import phases_of

        start = perf_counter()
        target = Target.parse(_target_name(target_name))
        target = replace(target, threads=self.threads or target.threads)
        phases = phases_of(target)
        self.expect(1 + stages_of(phases))
        context = StepwellContext()
        register_dialects(context)
        module = self.import_model(context)
        module.attributes["stepwell.precision"] = StringAttr(self.precision)
        if bound is None:
            contents = self.finish(module, context, target, phases)
        else:
            from stepwell.bounded import BoundedBuild

            contents = BoundedBuild(self, context, target, device, bound).run(module)
        name = contents.manifest.name
        log.info("built %s in %.2f s", name, perf_counter() - start)
        return contents

    def expect(self, stages: int) -> None:
        """Let progress count on more stages."""
        self.total += stages

    def stage(self, name: str) -> None:
        """Tell the caller that a stage begins."""
        if self.progress is not None:
            self.progress(name, self.done, self.total)
        self.done += 1

    def import_model(self, context: StepwellContext) -> ModuleOp:
        """The model as `nn` ops."""
        self.stage("import")
        module = import_source(self.model, context, self.shapes, self.example)
        if self.keep_ir:
            self.snapshot("import", module)
        return module

    def finish(
        self,
        module: ModuleOp,
        context: StepwellContext,
        target: Target,
        phases: Sequence[Phase],
    ) -> EngineFile:
        """Lower a module through the phases, and write its engine."""
        from stepwell import __version__
        from stepwell.codegen.engine_writer import EngineOptions, write_engine
        from stepwell.lowering.graph.convert_precision import precision_of

        precision = precision_of(module)
        self.lower(module, context, target, phases)
        self.stage("compile kernels")
        options = EngineOptions(
            name=name_of(self.model),
            precision=precision,
            threads=self.threads,
            producer=f"stepwell {__version__}",
            kept_in_f32=self.kept,
            summaries=self.summaries,
            schedules=self.schedules,
            snapshots=self.snapshots,
        )
        return write_engine(module, context.weights, _compile_kernels, options)

    def lower(
        self,
        module: ModuleOp,
        context: StepwellContext,
        target: Target,
        phases: Sequence[Phase],
    ) -> None:
        """Lower a module through the phases, noting what it is on the way."""
        from stepwell.lowering.pipelines import compile_module
        from stepwell.summaries import kept_ops, schedules_of, summaries_of

        levels = {phase.name: phase.level for phase in phases}

        def after(module: ModuleOp, report: PassReport) -> None:
            log.debug("%-28s %.3f s", report.name, report.seconds)
            self.stage(report.name)
            if report.name == "convert-precision":
                self.kept = kept_ops(module)
            if report.name == "form-kernels":
                self.summaries = summaries_of(module)
            if report.name == "assign-schedules":
                self.schedules = schedules_of(module)
            if self.keep_ir and report.index == report.count - 1:
                self.snapshot(levels[report.phase], module)

        compile_module(module, context, target, after=after, phases=phases)

    def snapshot(self, name: str, module: ModuleOp) -> None:
        """Keep a level's text; a later one of the name replaces it."""
        from stepwell.dialects.printing import module_text

        known = [key for key in self.snapshots if key.endswith(f"-{name}.mlir")]
        key = known[0] if known else f"ir/{len(self.snapshots)}-{name}.mlir"
        self.snapshots[key] = module_text(module)


def stages_of(phases: Sequence[Phase]) -> int:
    """How many stages it takes to finish a module: the passes, and the kernels."""
    return sum(len(phase.passes) for phase in phases) + 1


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
