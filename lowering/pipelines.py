"""The standard pipeline: phases, the passes of each, and the driver that runs them.

A pass is found by name: `fold-constants` of folder `graph` is the class of that `name`
in `stepwell.lowering.graph.fold_constants`. Nothing is imported before it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from time import perf_counter

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.utils.arg_spec import parse_pipeline
from xdsl.utils.exceptions import ArgSpecParseError

from stepwell.dialects.levels import keeps_level, verify_level
from stepwell.dialects.target import Target
from stepwell.errors import OptionError

PASS_FOLDERS: dict[str, tuple[str, ...]] = {
    "stepwell.lowering.graph": (
        "infer-shapes",
        "assert-dims",
        "fold-constants",
        "canonicalize",
        "simplify-shapes",
        "cse",
        "dce",
        "lift-softmax",
        "lift-layer-norm",
        "lift-gelu",
        "lift-activations",
        "lift-attention",
        "lift-lookup",
        "fold-batch-norm",
        "fold-pad-into-conv",
        "convert-conv-transpose",
        "decompose-nn",
        "decompose-recurrent",
        "convert-scan-to-loop",
        "propagate-channels-last",
        "cancel-transposes",
        "convert-precision",
        "simulate-precision",
        "verify-provenance",
    ),
    "stepwell.lowering.quantization": ("legalize-quant",),
    "stepwell.lowering.fusion": ("form-kernels", "decompose-kernels", "fuse-generics"),
    "stepwell.lowering.tiling": (
        "collapse-dims",
        "flatten-products",
        "align-weights",
        "assign-schedules",
        "pack-weights",
        "convert-fusion-to-tile",
        "canonicalize-tile",
        "specialise-warps",
        "assign-layouts",
        "pipeline-loads",
        "plan-shared-memory",
    ),
    "stepwell.lowering.memory": ("convert-nn-to-engine", "plan-memory"),
    "stepwell.codegen.cpu": ("convert-tile-to-llvm",),
    "stepwell.codegen.cuda": ("convert-tile-to-nvvm", "convert-nvvm-to-llvm"),
}
"""The passes of each folder."""

PassLoader = Callable[[], type[ModulePass]]


def pass_loader(folder: str, name: str) -> PassLoader:
    """Import `name`'s class from its file when it is first needed."""

    def load() -> type[ModulePass]:
        module = import_module(f"{folder}.{name.replace('-', '_')}")
        return next(
            kind
            for kind in vars(module).values()
            if isinstance(kind, type)
            and issubclass(kind, ModulePass)
            and vars(kind).get("name") == name
        )

    return load


PASSES: Mapping[str, PassLoader] = {
    name: pass_loader(folder, name)
    for folder, names in PASS_FOLDERS.items()
    for name in names
}
"""Every pass of the lowering, by name."""


@dataclass(frozen=True)
class Phase:
    """A stretch of the pipeline that ends at a level's contract.

    `passes` is one flat list of pass specs (`name{option=value}`); its comments say why
    each stretch stands where it does. `level` is what the IR obeys when it is done.
    """

    name: str
    level: str
    passes: tuple[str, ...]


PHASES: tuple[Phase, ...] = (
    Phase(
        "graph",
        "nn",
        (
            # Types first: every later pass may rely on shapes.
            "infer-shapes",
            # While the ops are still those that the model's owner wrote.
            "assert-dims",
            # Arithmetic on sizes, so that branches on them are decided.
            "simplify-shapes",
            # Before anything is matched: quantized convolutions are then ordinary ones.
            "canonicalize",
            "legalize-quant",
            # One spelling for one meaning, before anything is recognised.
            "canonicalize",
            "fold-constants",
            "canonicalize",
            "cse",
            # From the parts to the whole; a norm or a softmax is part of attention.
            "lift-softmax",
            "lift-layer-norm",
            "lift-gelu",
            "lift-activations",
            "lift-attention",
            "lift-lookup",
            # Into the weights, while a convolution and its neighbours stand together.
            "fold-pad-into-conv",
            "fold-batch-norm",
            # What is left over that no kernel is made of.
            "decompose-nn",
            "decompose-recurrent",
            "convert-scan-to-loop",
            "fold-constants",
            # One order of dims, then what depends on it.
            "propagate-channels-last",
            "convert-conv-transpose",
            "cancel-transposes",
            # Whole ops, in their final order: what is f32 inside of them stays so.
            "convert-precision",
            # Clean up what all this left behind.
            "canonicalize",
            "fold-constants",
            "cse",
            "dce",
            "verify-provenance",
        ),
    ),
    Phase("fusion", "fusion", ("form-kernels",)),
    Phase("loops", "generic", ("decompose-kernels", "fuse-generics")),
    Phase(
        "tiling",
        "tile",
        (
            # Schedules see the fewest and longest dims.
            "collapse-dims",
            "assign-schedules",
            # Packing is nn ops on constants, for the folder.
            "pack-weights",
            # Packing pads to whole panels, so its results may exceed their operands.
            "fold-constants{limit=1099511627776}",
            "dce",
            "convert-fusion-to-tile",
        ),
    ),
    Phase("memory", "engine", ("convert-nn-to-engine", "plan-memory")),
)
"""The road from `nn` to a planned host program with tile kernels, on a CPU."""

GPU_TILING = Phase(
    "tiling",
    "tile",
    (
        # Schedules see the fewest and longest dims.
        "collapse-dims",
        "flatten-products",
        # Aligning is nn ops on constants, for the folder.
        "align-weights",
        "fold-constants{limit=1099511627776}",
        "assign-schedules",
        "dce",
        "convert-fusion-to-tile",
        "canonicalize-tile",
        # From what a block computes to who computes it.
        "specialise-warps",
        "assign-layouts",
        "pipeline-loads",
        "plan-shared-memory",
    ),
)
"""The same stretch on a GPU: weights stay as they are, and kernels get layouts."""


def phases_of(target: Target) -> tuple[Phase, ...]:
    """The phases that lead to kernels for `target`."""
    if target.is_cpu:
        return PHASES
    return tuple(GPU_TILING if one.name == "tiling" else one for one in PHASES)


@dataclass(frozen=True)
class PassReport:
    """What one pass did: pass `index` of `count` in its phase, and its time."""

    phase: str
    name: str
    index: int
    count: int
    seconds: float


def parse_passes(
    text: str, available: Mapping[str, PassLoader] = PASSES
) -> tuple[ModulePass, ...]:
    """The passes of a spec like `canonicalize,fold-constants{limit=1024}`.

    Raises `OptionError` for an unknown pass, an unknown option, or a syntax error.
    """
    try:
        specs = tuple(parse_pipeline(text))
    except ArgSpecParseError as error:
        raise OptionError(
            f"expected passes like 'a,b{{option=1}}', got {text!r}",
            notes=[str(error).strip()],
        ) from None
    unknown = [spec.name for spec in specs if spec.name not in available]
    if unknown:
        raise OptionError(
            f"unknown pass: {', '.join(unknown)}",
            notes=[f"known passes: {', '.join(sorted(available))}"],
        )
    try:
        return tuple(available[spec.name]().from_spec(spec) for spec in specs)
    except ValueError as error:
        raise OptionError(f"bad pass options in {text!r}: {error}") from None


def phases_until(
    level: str | None, phases: Sequence[Phase] = PHASES
) -> tuple[Phase, ...]:
    """The phases up to and including the one that reaches `level` (`None`: all)."""
    if level is None:
        return tuple(phases)
    levels = [phase.level for phase in phases]
    if level not in levels:
        raise OptionError(f"expected a level of {', '.join(levels)}, got {level!r}")
    return tuple(phases[: levels.index(level) + 1])


def phases_left(
    module: ModuleOp, level: str | None, phases: Sequence[Phase] = PHASES
) -> tuple[Phase, ...]:
    """Those of the phases up to `level` that `module` has not been through.

    It is behind the phase whose level it keeps, the first if it keeps several; a graph
    of `nn` ops, which may come from an importer, is in front of all.

    Raises:
        OptionError: it is below `level`.
    """
    until = phases_until(level, phases)
    levels = [phase.level for phase in phases]
    reached = next((one for one in levels if keeps_level(module, one)), levels[0])
    if reached == levels[0]:
        return until
    done = levels.index(reached) + 1
    if done > len(until):
        raise OptionError(
            f"expected IR above the level {level}, got IR of the level {reached}"
        )
    return until[done:]


After = Callable[[ModuleOp, PassReport], None]
"""Called behind each pass: progress, timing, snapshots."""


def run_passes(
    module: ModuleOp,
    context: Context,
    passes: Sequence[ModulePass],
    *,
    phase: str = "",
    after: After | None = None,
) -> None:
    """Apply `passes` to `module` in place, calling `after` behind each of them."""
    for index, one in enumerate(passes):
        start = perf_counter()
        one.apply(context, module)
        seconds = perf_counter() - start
        if after is not None:
            after(module, PassReport(phase, one.name, index, len(passes), seconds))


def compile_module(
    module: ModuleOp,
    context: Context,
    target: Target | None = None,
    *,
    stop_after: str | None = None,
    after: After | None = None,
    phases: Sequence[Phase] | None = None,
) -> None:
    """Lower `module` in place from its level down to the level `stop_after`.

    Args:
        target: the device to build for; without one the module's own
            `stepwell.target` counts, and without that the host.
        stop_after: a level of `phases`; `None` runs all of them.
        after: called behind each pass.
        phases: the road; by default that of the target.

    Raises:
        OptionError: no phase reaches `stop_after`, or the module is below it.
        CompileError: a pass cannot lower something, or broke a level's contract.
    """
    if target is not None:
        target.attach(module)
    if phases is None:
        phases = phases_of(Target.of(module))
    for phase in phases_left(module, stop_after, phases):
        passes = parse_passes(",".join(phase.passes))
        run_passes(module, context, passes, phase=phase.name, after=after)
        module.verify()
        verify_level(module, phase.level)
